#include "ir/sym_range.h"

#include <algorithm>

namespace pt2q {
namespace {

using Kind = SymExpr::Kind;
constexpr int64_t kMax = SymRange::kInfinity;
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();

bool infinite(int64_t v) { return v == kMax || v == kMin; }

int64_t add(int64_t a, int64_t b) {
  if (infinite(a)) return a;
  if (infinite(b)) return b;
  int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return a > 0 ? kMax : kMin;
  return sum;
}

int64_t multiply(int64_t a, int64_t b) {
  if (a == 0 || b == 0) return 0;
  int64_t product = 0;
  if (infinite(a) || infinite(b) || __builtin_mul_overflow(a, b, &product)) {
    return (a > 0) == (b > 0) ? kMax : kMin;
  }
  return product;
}

SymRange multiply(const SymRange& a, const SymRange& b) {
  const int64_t corners[] = {multiply(a.low, b.low), multiply(a.low, b.high),
                             multiply(a.high, b.low), multiply(a.high, b.high)};
  return {*std::min_element(corners, corners + 4), *std::max_element(corners, corners + 4)};
}

int64_t floor_divide(int64_t a, int64_t b) {  // b > 0
  if (infinite(a)) return a;
  return a / b - (a % b != 0 && a < 0 ? 1 : 0);
}

// A sum of products: coefficient by the sorted factors' text.
struct Term {
  int64_t coefficient = 0;
  SymRange range;  // of the product of the factors
};
using Terms = std::map<std::string, Term>;

SymRange range_of_terms(const Terms& terms) {
  SymRange out{0, 0};
  for (const auto& [text, term] : terms) {
    const SymRange part = multiply({term.coefficient, term.coefficient}, term.range);
    out = {add(out.low, part.low), add(out.high, part.high)};
  }
  return out;
}

class Expander {
 public:
  explicit Expander(const SymRanges& ranges) : ranges_(ranges) {}

  Terms expand(const SymExpr& e) const {
    switch (e.kind) {
      case Kind::Constant:
        return {{"", {e.value, {1, 1}}}};
      case Kind::Symbol: {
        const auto it = ranges_.find(e.symbol);
        return {{e.symbol, {1, it == ranges_.end() ? SymRange{} : it->second}}};
      }
      case Kind::Add:
        return sum(expand(*e.operands[0]), expand(*e.operands[1]));
      case Kind::Mul:
        return product(expand(*e.operands[0]), expand(*e.operands[1]));
      default:
        return {{SymInt(std::make_shared<SymExpr>(e), 0).to_string(), {1, opaque(e)}}};
    }
  }

 private:
  static Terms sum(Terms a, const Terms& b) {
    for (const auto& [text, term] : b) {
      Term& mine = a[text];
      mine.range = term.range;
      mine.coefficient = add(mine.coefficient, term.coefficient);
    }
    for (auto it = a.begin(); it != a.end();) {
      it = it->second.coefficient == 0 ? a.erase(it) : std::next(it);
    }
    return a;
  }

  static std::string joined(const std::string& a, const std::string& b) {
    if (a.empty() || b.empty()) return a + b;
    return std::min(a, b) + "*" + std::max(a, b);
  }

  static Terms product(const Terms& a, const Terms& b) {
    Terms out;
    for (const auto& [ta, x] : a) {
      for (const auto& [tb, y] : b) {
        out = sum(std::move(out),
                  {{joined(ta, tb),
                    {multiply(x.coefficient, y.coefficient), multiply(x.range, y.range)}}});
      }
    }
    return out;
  }

  // Division, remainder, maximum, minimum: only their interval is known.
  SymRange opaque(const SymExpr& e) const {
    const SymRange a = range_of_terms(expand(*e.operands[0]));
    const SymRange b = range_of_terms(expand(*e.operands[1]));
    if (e.kind == Kind::Max) return {std::max(a.low, b.low), std::max(a.high, b.high)};
    if (e.kind == Kind::Min) return {std::min(a.low, b.low), std::min(a.high, b.high)};
    if (b.low != b.high || b.low <= 0) return {kMin, kMax};
    if (e.kind == Kind::Mod) return {0, b.low - 1};
    return {floor_divide(a.low, b.low), floor_divide(a.high, b.low)};
  }

  const SymRanges& ranges_;
};

void collect(const SymExpr& e, std::set<std::string>* out) {
  if (e.kind == Kind::Symbol) out->insert(e.symbol);
  for (const auto& operand : e.operands) collect(*operand, out);
}

}  // namespace

std::set<std::string> symbols_of(const SymInt& size) {
  std::set<std::string> out;
  if (!size.is_constant()) collect(*size.expr(), &out);
  return out;
}

SymRange range_of(const SymInt& size, const SymRanges& ranges) {
  return range_of_terms(Expander(ranges).expand(*size.as_expr()));
}

SymRanges& active_ranges() {
  static thread_local SymRanges ranges;
  return ranges;
}

}  // namespace pt2q
