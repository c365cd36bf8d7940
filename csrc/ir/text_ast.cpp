#include "ir/text_ast.h"

#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>

#include "base/strings.h"
#include "ir/text_scanner.h"
#include "pt2q/error.h"

namespace pt2q::text {
namespace {

class Parser : private Scanner {
 public:
  using Scanner::Scanner;

  Document parse_document() {
    skip_blank();
    if (at_word("graph")) parse_header();
    for (skip_blank(); pos_ < source_.size(); skip_blank()) {
      document_.statements.push_back(parse_statement());
      skip_space();
      if (pos_ < source_.size() && source_[pos_] != '\n') fail("unexpected text after a statement");
    }
    return std::move(document_);
  }

 private:
  // --- statements ---
  void parse_header() {
    accept_word("graph");
    expect('(');
    while (!accept(')')) {
      const std::string name = word();
      expect('=');
      document_.symbols[name] = parse_sym().constant();
      if (peek() != ')') expect(',');
    }
    expect(':');
  }

  Statement parse_statement() {
    Statement s;
    s.line = line();
    if (accept_word("return")) {
      s.opcode = OpCode::Output;
      s.args.push_back(parse_expr());
      while (accept(',')) s.args.push_back(parse_expr());
      return s;
    }
    expect('%');
    s.name = word();
    if (accept(':')) s.val = parse_meta();
    expect('=');
    if (accept_word("placeholder")) {
      s.opcode = OpCode::Placeholder;
      s.targets = {bracketed()};
    } else if (accept_word("get_attr")) {
      s.opcode = OpCode::GetAttr;
      s.targets = {peek() == '[' ? bracketed() : ""};
    } else if (accept_word("call_module")) {
      s.opcode = OpCode::CallModule;
      s.targets = {peek() == '[' ? bracketed() : ""};
      parse_args(&s);
    } else if (accept_word("output")) {
      s.opcode = OpCode::Output;
      parse_args(&s);
    } else {
      s.targets = alternatives(dotted());
      parse_args(&s);
    }
    return s;
  }

  static std::vector<std::string> alternatives(const std::string& text) {
    std::vector<std::string> out;
    for (const std::string& one : split(text, '|')) {
      const size_t open = one.find('{');
      const size_t close = one.find('}');
      if (open == std::string::npos || close == std::string::npos) {
        out.push_back(strip(one));
        continue;
      }
      for (const std::string& middle : split(one.substr(open + 1, close - open - 1), ',')) {
        out.push_back(one.substr(0, open) + strip(middle) + one.substr(close + 1));
      }
    }
    return out;
  }

  void parse_args(Statement* s) {
    expect('(');
    ++depth_;
    while (!accept(')')) {
      const size_t saved = pos_;
      skip_space();
      size_t end = pos_;
      while (end < source_.size() && word_char(source_[end])) ++end;
      if (end > pos_ && end < source_.size() && source_[end] == '=') {
        const std::string name = word();
        expect('=');
        s->kwargs.emplace_back(name, parse_expr());
      } else {
        pos_ = saved;
        s->args.push_back(parse_expr());
      }
      if (peek() != ')') expect(',');
    }
    --depth_;
  }

  Value parse_meta() {
    if (peek() == '(') {
      accept('(');
      ++depth_;
      Value::List items;
      while (!accept(')')) {
        items.push_back(parse_meta());
        if (peek() != ')') expect(',');
      }
      --depth_;
      return Value(std::move(items));
    }
    const std::string kind = word();
    if (kind == "int" || kind == "float" || kind == "bool" || kind == "str") {
      if (!accept('(')) return Value();
      const Expr e = parse_expr();
      expect(')');
      if (e.kind != Expr::Kind::Literal) fail("expected a value");
      return e.literal;
    }
    if (kind == "None") return Value();
    TensorMeta meta;
    meta.dtype = parse_dtype(kind);
    expect('[');
    while (!accept(']')) {
      meta.sizes.push_back(parse_sym());
      if (peek() != ']') expect(',');
    }
    if (accept('@')) {
      std::string device = word();
      if (accept(':')) device += ":" + word();
      meta.device = parse_device(device);
    }
    return Value(std::move(meta));
  }

  // --- values ---
  Expr parse_expr() {
    Expr e;
    e.line = line();
    const char c = peek();
    if (c == '%') {
      accept('%');
      e.name = word();
      e.kind = accept('?') ? Expr::Kind::Optional : Expr::Kind::Ref;
    } else if (c == '$') {
      accept('$');
      e.name = word();
      e.kind = Expr::Kind::Variable;
    } else if (c == '[') {
      parse_list(&e);
    } else if (c == '"') {
      e.literal = Value(parse_string());
    } else if (source_.compare(pos_, 3, "...") == 0) {
      pos_ += 3;
      e.kind = Expr::Kind::Ellipsis;
    } else if (at_word("_")) {
      accept_word("_");
      e.kind = Expr::Kind::Any;
    } else {
      e.literal = parse_literal();
    }
    return e;
  }

  void parse_list(Expr* e) {
    expect('[');
    ++depth_;
    bool literal = true;
    while (!accept(']')) {
      e->items.push_back(parse_expr());
      literal = literal && e->items.back().kind == Expr::Kind::Literal;
      if (peek() != ']') expect(',');
    }
    --depth_;
    e->kind = literal ? Expr::Kind::Literal : Expr::Kind::List;
    if (!literal) return;
    Value::List values;
    for (const Expr& item : e->items) values.push_back(item.literal);
    e->literal = Value(std::move(values));
  }

  std::string parse_string() {
    expect('"');
    std::string out;
    while (pos_ < source_.size() && source_[pos_] != '"') {
      if (source_[pos_] == '\\' && pos_ + 1 < source_.size()) {
        ++pos_;
        out += source_[pos_] == 'n' ? '\n' : source_[pos_];
      } else {
        out += source_[pos_];
      }
      ++pos_;
    }
    if (pos_ >= source_.size()) fail("unclosed string");
    ++pos_;
    return out;
  }

  static std::optional<Value> keyword(const std::string& name) {
    if (name == "None") return Value();
    if (name == "True") return Value(true);
    if (name == "False") return Value(false);
    if (name == "strided") return Value(Layout::Strided);
    if (name == "inf") return Value(std::numeric_limits<double>::infinity());
    if (name == "nan") return Value(std::nan(""));
    for (const MemoryFormat f : {MemoryFormat::Contiguous, MemoryFormat::ChannelsLast,
                                 MemoryFormat::ChannelsLast3d, MemoryFormat::Preserve}) {
      if (name == memory_format_name(f)) return Value(f);
    }
    for (int i = 0; i <= static_cast<int>(DType::QUInt4x2); ++i) {
      if (name == dtype_name(static_cast<DType>(i))) return Value(static_cast<DType>(i));
    }
    return std::nullopt;
  }

  Value parse_literal() {
    const size_t begin = pos_;
    const char c = source_[pos_];
    if (std::isalpha(static_cast<unsigned char>(c)) != 0) {
      const std::string name = word();
      if (name == "device") {
        expect('(');
        std::string device = word();
        if (accept(':')) device += ":" + word();
        expect(')');
        return Value(parse_device(device));
      }
      if (const auto value = keyword(name)) return *value;
      pos_ = begin;
      return Value(parse_sym());
    }
    if (source_.compare(pos_, 4, "-inf") == 0) {
      pos_ += 4;
      return Value(-std::numeric_limits<double>::infinity());
    }
    size_t end = pos_ + (c == '-' ? 1 : 0);
    bool is_float = false;
    while (end < source_.size()) {
      const char d = source_[end];
      const bool exponent = end > begin && (source_[end - 1] == 'e' || source_[end - 1] == 'E');
      if (d == '.' || d == 'e' || d == 'E') {
        is_float = true;
      } else if (std::isdigit(static_cast<unsigned char>(d)) == 0 &&
                 !(exponent && (d == '-' || d == '+'))) {
        break;
      }
      ++end;
    }
    if (!is_float) return Value(parse_sym());
    pos_ = end;
    return Value(std::strtod(source_.substr(begin, end - begin).c_str(), nullptr));
  }

  // --- symbolic sizes: + - * // % max min and parentheses ---
  SymInt parse_sym() {
    SymInt value = parse_term();
    while (peek() == '+' || (peek() == '-' && depth_ > 0)) {
      const bool minus = source_[pos_++] == '-';
      const SymInt right = parse_term();
      value = minus ? value - right : value + right;
    }
    return value;
  }
  SymInt parse_term() {
    SymInt value = parse_primary();
    for (char c = peek(); c == '*' || c == '/' || c == '%'; c = peek()) {
      ++pos_;
      if (c == '/') expect('/');
      const SymInt right = parse_primary();
      value = c == '*' ? value * right : c == '/' ? floordiv(value, right) : mod(value, right);
    }
    return value;
  }
  SymInt parse_primary() {
    const char c = peek();
    if (accept('(')) {
      const SymInt value = parse_sym();
      expect(')');
      return value;
    }
    if (c == '-' || std::isdigit(static_cast<unsigned char>(c)) != 0) return parse_int();
    const std::string name = word();
    if ((name == "max" || name == "min") && peek() == '(') {
      expect('(');
      const SymInt a = parse_sym();
      expect(',');
      const SymInt b = parse_sym();
      expect(')');
      return name == "max" ? max(a, b) : min(a, b);
    }
    const auto it = document_.symbols.find(name);
    if (it == document_.symbols.end()) {
      fail(cat("unknown word '", name, "' (dynamic sizes are declared as graph(", name, "=8):)"));
    }
    return SymInt::symbol(name, it->second);
  }
  SymInt parse_int() {
    const size_t begin = pos_;
    if (source_[pos_] == '-') ++pos_;
    while (pos_ < source_.size() && std::isdigit(static_cast<unsigned char>(source_[pos_])) != 0)
      ++pos_;
    const std::string digits = source_.substr(begin, pos_ - begin);
    errno = 0;
    const int64_t value = std::strtoll(digits.c_str(), nullptr, 10);
    if (digits.empty() || digits == "-" || errno == ERANGE) fail(cat("bad number '", digits, "'"));
    return SymInt(value);
  }

  Document document_;
};

}  // namespace

Document parse(const std::string& source) { return Parser(source).parse_document(); }

}  // namespace pt2q::text
