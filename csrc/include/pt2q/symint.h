// An integer that may depend on symbolic input sizes ("dynamic dimensions").
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

namespace pt2q {

// Expression tree over symbols; immutable and shared.
struct SymExpr {
  enum class Kind { Symbol, Constant, Add, Mul, FloorDiv, Mod, Max, Min };
  Kind kind = Kind::Constant;
  std::string symbol;  // Symbol
  int64_t value = 0;   // Constant
  std::vector<std::shared_ptr<const SymExpr>> operands;
};

// A size: a plain integer, or an expression together with its value for the example input (hint).
// Arithmetic on constants stays constant, else builds an expression. Copies are thread-safe.
class SymInt {
 public:
  SymInt() = default;
  SymInt(int64_t value) : hint_(value) {}  // NOLINT: implicit on purpose
  static SymInt symbol(const std::string& name, int64_t hint);
  SymInt(std::shared_ptr<const SymExpr> expr, int64_t hint) : hint_(hint), expr_(std::move(expr)) {}

  bool is_constant() const { return expr_ == nullptr; }
  int64_t hint() const { return hint_; }
  // The value; throws ValueError when symbolic (the caller must not depend on a dynamic size).
  int64_t constant() const;
  const std::shared_ptr<const SymExpr>& expr() const { return expr_; }
  std::shared_ptr<const SymExpr> as_expr() const;  // a Constant node for constants
  // Value under a binding of symbols to sizes; throws KeyError for a missing symbol.
  int64_t evaluate(const std::map<std::string, int64_t>& bindings) const;
  std::string to_string() const;  // "s0", "2*s0 + 1", "7"

  friend SymInt operator+(const SymInt& a, const SymInt& b);
  friend SymInt operator-(const SymInt& a, const SymInt& b);
  friend SymInt operator*(const SymInt& a, const SymInt& b);
  friend SymInt floordiv(const SymInt& a, const SymInt& b);  // rounds down; throws on division by 0
  friend SymInt mod(const SymInt& a, const SymInt& b);       // Python's sign rule
  friend SymInt max(const SymInt& a, const SymInt& b);
  friend SymInt min(const SymInt& a, const SymInt& b);
  // Structural equality: constants by value, expressions by text.
  friend bool operator==(const SymInt& a, const SymInt& b);
  friend bool operator!=(const SymInt& a, const SymInt& b) { return !(a == b); }

 private:
  int64_t hint_ = 0;
  std::shared_ptr<const SymExpr> expr_;
};

std::ostream& operator<<(std::ostream& out, const SymInt& value);
using SymShape = std::vector<SymInt>;
std::vector<int64_t> hints(const SymShape& shape);
SymShape to_sym(const std::vector<int64_t>& shape);

}  // namespace pt2q
