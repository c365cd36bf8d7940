#include "pt2q/symint.h"

#include <algorithm>

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using Kind = SymExpr::Kind;

[[noreturn]] void refuse_overflow(const char* symbol, int64_t a, int64_t b) {
  throw ValueError(cat("the size ", a, " ", symbol, " ", b, " exceeds 64 bits"));
}

int64_t apply(Kind kind, int64_t a, int64_t b) {
  int64_t out = 0;
  switch (kind) {
    case Kind::Add:
      if (__builtin_add_overflow(a, b, &out)) refuse_overflow("+", a, b);
      return out;
    case Kind::Mul:
      if (__builtin_mul_overflow(a, b, &out)) refuse_overflow("*", a, b);
      return out;
    case Kind::FloorDiv: {
      if (b == 0) throw ValueError("division of a size by zero");
      if (b == -1) return apply(Kind::Mul, a, b);  // INT64_MIN / -1 traps
      const int64_t q = a / b;
      return q * b != a && ((a < 0) != (b < 0)) ? q - 1 : q;
    }
    case Kind::Mod: {
      if (b == 0) throw ValueError("modulo of a size by zero");
      if (b == -1) return 0;  // INT64_MIN % -1 traps
      const int64_t r = a % b;
      return r != 0 && ((r < 0) != (b < 0)) ? r + b : r;
    }
    case Kind::Max:
      return std::max(a, b);
    case Kind::Min:
      return std::min(a, b);
    default:
      throw InternalError("SymInt: not a binary expression");
  }
}

SymInt combine(Kind kind, const SymInt& a, const SymInt& b) {
  const int64_t hint = apply(kind, a.hint(), b.hint());
  if (a.is_constant() && b.is_constant()) return SymInt(hint);
  auto expr = std::make_shared<SymExpr>();
  expr->kind = kind;
  expr->operands = {a.as_expr(), b.as_expr()};
  return SymInt(std::move(expr), hint);
}

bool is_value(const SymInt& a, int64_t value) { return a.is_constant() && a.hint() == value; }

int64_t evaluate_expr(const SymExpr& e, const std::map<std::string, int64_t>& bindings) {
  if (e.kind == Kind::Constant) return e.value;
  if (e.kind == Kind::Symbol) {
    const auto it = bindings.find(e.symbol);
    if (it == bindings.end())
      throw KeyError(cat("dynamic dimension '", e.symbol, "' has no value"));
    return it->second;
  }
  return apply(e.kind, evaluate_expr(*e.operands.at(0), bindings),
               evaluate_expr(*e.operands.at(1), bindings));
}

std::string expr_text(const SymExpr& e) {
  switch (e.kind) {
    case Kind::Constant:
      return std::to_string(e.value);
    case Kind::Symbol:
      return e.symbol;
    default:
      break;
  }
  const std::string a = expr_text(*e.operands.at(0));
  const std::string b = expr_text(*e.operands.at(1));
  switch (e.kind) {
    case Kind::Add:
      return "(" + a + " + " + b + ")";
    case Kind::Mul:
      return a + "*" + b;
    case Kind::FloorDiv:
      return "(" + a + "//" + b + ")";
    case Kind::Mod:
      return "(" + a + "%" + b + ")";
    case Kind::Max:
      return "max(" + a + ", " + b + ")";
    default:
      return "min(" + a + ", " + b + ")";
  }
}

}  // namespace

SymInt SymInt::symbol(const std::string& name, int64_t hint) {
  auto expr = std::make_shared<SymExpr>();
  expr->kind = Kind::Symbol;
  expr->symbol = name;
  return SymInt(std::move(expr), hint);
}

int64_t SymInt::constant() const {
  if (!is_constant()) {
    throw ValueError(cat("a fixed size is needed here, but it is the dynamic size ", to_string()),
                     "export with a fixed size for this dimension");
  }
  return hint_;
}

std::shared_ptr<const SymExpr> SymInt::as_expr() const {
  if (expr_) return expr_;
  auto expr = std::make_shared<SymExpr>();
  expr->value = hint_;
  return expr;
}

int64_t SymInt::evaluate(const std::map<std::string, int64_t>& bindings) const {
  return expr_ ? evaluate_expr(*expr_, bindings) : hint_;
}

std::string SymInt::to_string() const { return expr_ ? expr_text(*expr_) : std::to_string(hint_); }

SymInt operator+(const SymInt& a, const SymInt& b) {
  if (is_value(a, 0)) return b;
  if (is_value(b, 0)) return a;
  if (a.is_constant() && !b.is_constant()) return b + a;  // constants stand last
  // (x + c) + d is x + (c + d): a convolution that keeps the size then shows the same expression.
  if (b.is_constant() && a.expr() != nullptr && a.expr()->kind == Kind::Add) {
    const SymExpr& right = *a.expr()->operands[1];
    if (right.kind == Kind::Constant) {
      return SymInt(a.expr()->operands[0],
                    apply(Kind::Add, a.hint(), apply(Kind::Mul, right.value, -1))) +
             SymInt(apply(Kind::Add, right.value, b.hint()));
    }
  }
  return combine(Kind::Add, a, b);
}
SymInt operator-(const SymInt& a, const SymInt& b) { return a + b * SymInt(-1); }
SymInt operator*(const SymInt& a, const SymInt& b) {
  if (is_value(a, 1)) return b;
  if (is_value(b, 1)) return a;
  if (is_value(a, 0) || is_value(b, 0)) return SymInt(0);
  return combine(Kind::Mul, a, b);
}
SymInt floordiv(const SymInt& a, const SymInt& b) {
  if (is_value(b, 1)) return a;
  if (a == b && !is_value(b, 0)) return SymInt(1);
  // (x*c)//c with a constant c: shapes make this often.
  if (!a.is_constant() && b.is_constant() && a.expr()->kind == Kind::Mul) {
    const SymExpr& right = *a.expr()->operands[1];
    if (right.kind == Kind::Constant && b.hint() != 0 && right.value == b.hint()) {
      return SymInt(a.expr()->operands[0], apply(Kind::FloorDiv, a.hint(), b.hint()));
    }
  }
  return combine(Kind::FloorDiv, a, b);
}
SymInt mod(const SymInt& a, const SymInt& b) { return combine(Kind::Mod, a, b); }
SymInt max(const SymInt& a, const SymInt& b) { return a == b ? a : combine(Kind::Max, a, b); }
SymInt min(const SymInt& a, const SymInt& b) { return a == b ? a : combine(Kind::Min, a, b); }

bool operator==(const SymInt& a, const SymInt& b) {
  if (a.is_constant() != b.is_constant()) return false;
  if (a.is_constant()) return a.hint() == b.hint();
  return a.to_string() == b.to_string();
}

std::ostream& operator<<(std::ostream& out, const SymInt& value) {
  return out << value.to_string();
}

std::vector<int64_t> hints(const SymShape& shape) {
  std::vector<int64_t> out;
  out.reserve(shape.size());
  for (const SymInt& s : shape) out.push_back(s.hint());
  return out;
}

SymShape to_sym(const std::vector<int64_t>& shape) { return SymShape(shape.begin(), shape.end()); }

}  // namespace pt2q
