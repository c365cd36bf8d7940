#include "pt2q/schema.h"

#include <cctype>
#include <map>

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

const std::map<std::string, ArgType>& type_names() {
  static const std::map<std::string, ArgType> names = {
      {"Tensor", ArgType::Tensor},       {"int", ArgType::Int},
      {"SymInt", ArgType::Int},          {"float", ArgType::Float},
      {"double", ArgType::Float},        {"bool", ArgType::Bool},
      {"Scalar", ArgType::Scalar},       {"str", ArgType::String},
      {"ScalarType", ArgType::DType},    {"Device", ArgType::Device},
      {"Layout", ArgType::Layout},       {"MemoryFormat", ArgType::MemoryFormat},
      {"Generator", ArgType::Generator}, {"Any", ArgType::Any},
      {"number", ArgType::Scalar},       {"SymFloat", ArgType::Float}};
  return names;
}

class SchemaParser {
 public:
  explicit SchemaParser(const std::string& text) : text_(text) {}

  Schema parse() {
    Schema schema;
    schema.text = text_;
    expect('(');
    bool kwarg_only = false;
    while (!accept(')')) {
      if (accept('*')) {
        kwarg_only = true;
      } else {
        schema.args.push_back(parse_arg(kwarg_only));
      }
      if (peek() != ')') expect(',');
    }
    expect('-');
    expect('>');
    parse_returns(&schema);
    skip_space();
    if (pos_ != text_.size()) fail("trailing text");
    return schema;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw ValueError(cat("schema '", text_, "': ", what, " at position ", pos_));
  }
  void skip_space() {
    while (pos_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[pos_])) != 0)
      ++pos_;
  }
  char peek() {
    skip_space();
    return pos_ < text_.size() ? text_[pos_] : '\0';
  }
  bool accept(char c) {
    if (peek() != c) return false;
    ++pos_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(cat("expected '", c, "'"));
  }
  std::string word() {
    skip_space();
    const size_t begin = pos_;
    while (pos_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[pos_])) != 0 ||
                                   text_[pos_] == '_' || text_[pos_] == '.')) {
      ++pos_;
    }
    if (pos_ == begin) fail("expected a name");
    return text_.substr(begin, pos_ - begin);
  }
  std::string literal() {  // up to ',' or ')' outside brackets and quotes
    skip_space();
    const size_t begin = pos_;
    int depth = 0;
    char quoted = '\0';
    while (pos_ < text_.size()) {
      const char c = text_[pos_];
      if (quoted != '\0') {
        if (c == quoted) quoted = '\0';
      } else if (c == '"' || c == '\'') {
        quoted = c;
      } else if (c == '[') {
        ++depth;
      } else if (c == ']') {
        --depth;
      } else if ((c == ',' || c == ')') && depth == 0) {
        break;
      }
      ++pos_;
    }
    return strip(text_.substr(begin, pos_ - begin));
  }

  ArgType base_type(bool* written) {
    const std::string name = word();
    const auto it = type_names().find(name);
    if (it == type_names().end()) fail(cat("unknown type '", name, "'"));
    if (accept('(')) {  // alias annotation: (a), (a!), (a -> *), (a|b)
      while (peek() != ')') {
        if (peek() == '\0') fail("unclosed alias annotation");
        if (text_[pos_] == '!') *written = true;
        ++pos_;
      }
      ++pos_;
    }
    return it->second;
  }

  SchemaArg parse_arg(bool kwarg_only) {
    SchemaArg arg;
    arg.kwarg_only = kwarg_only;
    arg.type = base_type(&arg.written);
    const bool first_optional = accept('?');
    if (accept('[')) {
      arg.is_list = true;
      arg.optional_items = first_optional;
      if (peek() != ']') arg.list_size = std::stoi(word());
      expect(']');
      arg.optional = accept('?');
    } else {
      arg.optional = first_optional;
    }
    arg.name = word();
    if (accept('=')) {
      arg.has_default = true;
      arg.default_value = parse_default(arg, literal());
    }
    return arg;
  }

  Value parse_scalar(const SchemaArg& arg, const std::string& text) const {
    if (text == "None") return Value();
    if (text == "True") return Value(true);
    if (text == "False") return Value(false);
    if (text == "contiguous_format") return Value(MemoryFormat::Contiguous);
    if (text == "preserve_format") return Value(MemoryFormat::Preserve);
    if (text == "strided") return Value(Layout::Strided);
    if (text == "Mean") return Value(int64_t{1});
    if (arg.type == ArgType::DType || arg.type == ArgType::MemoryFormat) {
      if (arg.type == ArgType::DType) return Value(parse_dtype(text));
      fail(cat("unknown default '", text, "'"));
    }
    if (!text.empty() && (text[0] == '"' || text[0] == '\''))
      return Value(text.substr(1, text.size() - 2));
    try {
      const bool is_float = text.find_first_of(".einf") != std::string::npos;
      if (arg.type == ArgType::Float) return Value(std::stod(text));
      if (arg.type == ArgType::Scalar && is_float) return Value(std::stod(text));
      return Value(static_cast<int64_t>(std::stoll(text)));
    } catch (const std::exception&) {
      fail(cat("bad default '", text, "'"));
    }
  }

  Value parse_default(const SchemaArg& arg, const std::string& text) const {
    if (!arg.is_list || text == "None") return parse_scalar(arg, text);
    Value::List items;
    if (starts_with(text, "[")) {
      const std::string inner = strip(text.substr(1, text.size() - 2));
      if (!inner.empty()) {
        for (const std::string& part : split(inner, ','))
          items.push_back(parse_scalar(arg, strip(part)));
      }
    } else {
      items.assign(static_cast<size_t>(std::max(1, arg.list_size)), parse_scalar(arg, text));
    }
    return Value(std::move(items));
  }

  void parse_returns(Schema* schema) {
    if (accept('(')) {
      while (!accept(')')) {
        schema->returns.push_back(parse_return());
        if (peek() != ')') expect(',');
      }
    } else {
      schema->returns.push_back(parse_return());
    }
  }

  SchemaReturn parse_return() {
    SchemaReturn ret;
    bool written = false;
    ret.type = base_type(&written);
    accept('?');
    if (accept('[')) {
      if (peek() != ']') word();
      expect(']');
      ret.is_list = true;
    }
    const char next = peek();
    if (next != ',' && next != ')' && next != '\0') ret.name = word();
    return ret;
  }

  std::string text_;
  size_t pos_ = 0;
};

}  // namespace

int Schema::index_of(const std::string& name) const {
  for (size_t i = 0; i < args.size(); ++i) {
    if (args[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

size_t Schema::positional_count() const {
  size_t count = 0;
  while (count < args.size() && !args[count].kwarg_only) ++count;
  return count;
}

Schema parse_schema(const std::string& text) { return SchemaParser(text).parse(); }

}  // namespace pt2q
