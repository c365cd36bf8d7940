#include "io/pt2_codes.h"

#include <cctype>

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

struct Code {
  int code;
  DType dtype;
};
constexpr Code kCodes[] = {
    {1, DType::UInt8},       {2, DType::Int8},      {3, DType::Int16},   {4, DType::Int32},
    {5, DType::Int64},       {6, DType::Float16},   {7, DType::Float32}, {8, DType::Float64},
    {12, DType::Bool},       {13, DType::BFloat16}, {28, DType::UInt16}, {29, DType::Float8E4M3FN},
    {30, DType::Float8E5M2},
};

constexpr int kDeepestExpression = 100;

// value = numerator / denominator; sizes are integers, so the division is exact or floored.
struct Fraction {
  SymInt numerator = SymInt(1);
  SymInt denominator = SymInt(1);
};

class SreprParser {
 public:
  SreprParser(const std::string& text, const std::map<std::string, int64_t>& hints)
      : text_(text), hints_(hints) {}

  SymInt parse() {
    const SymInt value = integral(expression(0));
    skip_space();
    if (pos_ != text_.size()) fail("trailing text");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw FileError(cat("symbolic size '", text_.substr(0, 200), "': ", what, " at ", pos_));
  }
  void skip_space() {
    while (pos_ < text_.size() && text_[pos_] == ' ') ++pos_;
  }
  bool accept(char c) {
    skip_space();
    if (pos_ >= text_.size() || text_[pos_] != c) return false;
    ++pos_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(cat("expected '", c, "'"));
  }
  std::string word() {
    skip_space();
    const size_t begin = pos_;
    while (pos_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[pos_])) != 0 || text_[pos_] == '_')) {
      ++pos_;
    }
    if (pos_ == begin) fail("expected a name");
    return text_.substr(begin, pos_ - begin);
  }
  int64_t number() {
    skip_space();
    const bool negative = accept('-');
    int64_t value = 0;
    const size_t begin = pos_;
    while (pos_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[pos_])) != 0) {
      if (__builtin_mul_overflow(value, int64_t{10}, &value) ||
          __builtin_add_overflow(value, int64_t{text_[pos_] - '0'}, &value)) {
        fail("a number beyond 64 bits");
      }
      ++pos_;
    }
    if (pos_ == begin) fail("expected a number");
    return negative ? -value : value;
  }

  SymInt integral(const Fraction& f) const { return floordiv(f.numerator, f.denominator); }

  Fraction symbol() {
    skip_space();
    if (!accept('\'') && !accept('"')) fail("expected a quoted name");
    const std::string name = word();
    ++pos_;  // closing quote; the parenthesis below proves it was there
    while (accept(',')) {
      word();
      expect('=');
      word();
    }
    expect(')');
    const auto hint = hints_.find(name);
    return {SymInt::symbol(name, hint == hints_.end() ? 0 : hint->second), SymInt(1)};
  }

  std::vector<Fraction> operands(int depth) {
    std::vector<Fraction> out;
    do {
      out.push_back(expression(depth + 1));
    } while (accept(','));
    expect(')');
    return out;
  }

  Fraction power(const std::vector<Fraction>& args) {
    if (args.size() != 2 || !args[1].numerator.is_constant()) fail("unsupported power");
    const int64_t exponent = args[1].numerator.hint();
    if (exponent < -8 || exponent > 8) fail("unsupported power");
    Fraction out;
    for (int64_t i = 0; i < std::abs(exponent); ++i) {
      out.numerator = out.numerator * args[0].numerator;
      out.denominator = out.denominator * args[0].denominator;
    }
    if (exponent < 0) std::swap(out.numerator, out.denominator);
    return out;
  }

  Fraction combine(const std::string& name, const std::vector<Fraction>& args) {
    const auto two = [&] {
      if (args.size() != 2) fail(cat(name, " needs two operands"));
    };
    if (name == "Add" || name == "Mul") {
      Fraction out = args[0];
      for (size_t i = 1; i < args.size(); ++i) {
        if (name == "Mul") {
          out.numerator = out.numerator * args[i].numerator;
          out.denominator = out.denominator * args[i].denominator;
        } else if (out.denominator == args[i].denominator) {
          out.numerator = out.numerator + args[i].numerator;
        } else {
          out.numerator = out.numerator * args[i].denominator + args[i].numerator * out.denominator;
          out.denominator = out.denominator * args[i].denominator;
        }
      }
      return out;
    }
    if (name == "Pow" || name == "PowByNatural") return power(args);
    if (name == "Max" || name == "Min") {
      SymInt out = integral(args[0]);
      for (size_t i = 1; i < args.size(); ++i)
        out = name == "Max" ? max(out, integral(args[i])) : min(out, integral(args[i]));
      return {out, SymInt(1)};
    }
    if (name == "FloorDiv" || name == "CleanDiv" || name == "CeilDiv") {
      two();
      const SymInt divisor = integral(args[1]);
      const SymInt dividend = integral(args[0]);
      const SymInt extra = name == "CeilDiv" ? divisor - SymInt(1) : SymInt(0);
      return {floordiv(dividend + extra, divisor), SymInt(1)};
    }
    if (name == "Mod" || name == "PythonMod") {
      two();
      return {mod(integral(args[0]), integral(args[1])), SymInt(1)};
    }
    if ((name == "Identity" || name == "floor") && args.size() == 1)
      return {integral(args[0]), SymInt(1)};
    throw NotImplementedError(
        cat("symbolic sizes with ", name.substr(0, 40), " are not supported"));
  }

  Fraction expression(int depth) {
    if (depth > kDeepestExpression) fail("nested too deeply");
    const std::string name = word();
    expect('(');
    if (name == "Symbol") return symbol();
    if (name == "Integer") {
      const int64_t value = number();
      expect(')');
      return {SymInt(value), SymInt(1)};
    }
    if (name == "Rational") {
      const int64_t top = number();
      expect(',');
      const int64_t bottom = number();
      expect(')');
      if (bottom == 0) fail("division by zero");
      return {SymInt(top), SymInt(bottom)};
    }
    return combine(name, operands(depth));
  }

  const std::string& text_;
  const std::map<std::string, int64_t>& hints_;
  size_t pos_ = 0;
};

std::string srepr_of(const SymExpr& e) {
  using Kind = SymExpr::Kind;
  switch (e.kind) {
    case Kind::Constant:
      return cat("Integer(", e.value, ")");
    case Kind::Symbol:
      return cat("Symbol('", e.symbol, "', positive=True, integer=True)");
    default:
      break;
  }
  static constexpr const char* kNames[] = {"", "", "Add", "Mul", "FloorDiv", "Mod", "Max", "Min"};
  std::string text = cat(kNames[static_cast<size_t>(e.kind)], "(");
  for (size_t i = 0; i < e.operands.size(); ++i)
    text += (i > 0 ? ", " : "") + srepr_of(*e.operands[i]);
  return text + ")";
}

}  // namespace

DType dtype_of_code(int64_t code) {
  for (const Code& c : kCodes) {
    if (c.code == code) return c.dtype;
  }
  if (code >= 0 && code <= 35)
    throw NotImplementedError(
        cat("tensors of the schema's ScalarType ", code,
            " (complex, unsigned 32/64-bit or unusual float8) are not supported"));
  throw FileError(cat("unknown ScalarType ", code));
}

int code_of_dtype(DType dtype) {
  for (const Code& c : kCodes) {
    if (c.dtype == dtype) return c.code;
  }
  throw ValueError(cat("tensors of dtype ", dtype_name(dtype), " cannot be saved"));
}

MemoryFormat memory_format_of_code(int64_t code) {
  switch (code) {
    case 1:
      return MemoryFormat::Contiguous;
    case 2:
      return MemoryFormat::ChannelsLast;
    case 3:
      return MemoryFormat::ChannelsLast3d;
    case 4:
      return MemoryFormat::Preserve;
    default:
      throw FileError(cat("unknown MemoryFormat ", code));
  }
}

int code_of_memory_format(MemoryFormat format) {
  switch (format) {
    case MemoryFormat::ChannelsLast:
      return 2;
    case MemoryFormat::ChannelsLast3d:
      return 3;
    case MemoryFormat::Preserve:
      return 4;
    default:
      return 1;
  }
}

SymInt parse_srepr(const std::string& text, int64_t hint,
                   const std::map<std::string, int64_t>& symbol_hints) {
  const SymInt value = SreprParser(text, symbol_hints).parse();
  return value.is_constant() ? value : SymInt(value.expr(), hint);
}

std::string to_srepr(const SymInt& value) { return srepr_of(*value.as_expr()); }

std::string symbol_name_of(const std::string& srepr) {
  if (!starts_with(srepr, "Symbol('")) return "";
  const size_t end = srepr.find('\'', 8);
  return end == std::string::npos || srepr.find('(', 8) != std::string::npos
             ? ""
             : srepr.substr(8, end - 8);
}

}  // namespace pt2q
