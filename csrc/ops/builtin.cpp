// Python operators on sizes and lists that stay in exported graphs, and size queries.
#include <cmath>
#include <utility>

#include "base/strings.h"
#include "ops/support/operands.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

bool is_float(const Value& v) { return v.is<double>(); }

void require_numbers(const Value& a, const Value& b) {
  if (is_number(a) && is_number(b)) return;
  throw TypeError(cat("expected numbers, got ", a.kind_name(), " and ", b.kind_name()));
}

// The same function serves inference (symbolic) and run time (plain numbers).
template <typename IntFn, typename FloatFn>
void define_arithmetic(OpTable& t, const std::string& name, IntFn on_ints, FloatFn on_floats) {
  OpDef& op = t.define("_operator." + name, "(Any a, Any b) -> Any");
  op.infer = [=](const Args& args) -> Value {
    const Value &a = args.value(0), &b = args.value(1);
    require_numbers(a, b);
    if (is_float(a) || is_float(b)) return Value(on_floats(a.to_double(), b.to_double()));
    return Value(on_ints(a.to_sym_int(), b.to_sym_int()));
  };
  op.reference = op.infer;
}

template <typename Fn>
void define_comparison(OpTable& t, const std::string& name, Fn fn) {
  OpDef& op = t.define("_operator." + name, "(Any a, Any b) -> Any");
  // Symbolic sizes compare by their hints: the capture's example decides, as a Python `if` would.
  op.infer = [=](const Args& args) -> Value {
    const Value &a = args.value(0), &b = args.value(1);
    require_numbers(a, b);
    if (is_float(a) || is_float(b)) return Value(fn(a.to_double(), b.to_double()));
    return Value(fn(a.to_sym_int().hint(), b.to_sym_int().hint()));
  };
  op.reference = op.infer;
}

double floor_quotient(double a, double b) {
  if (b == 0) throw ValueError("division by zero");
  return std::floor(a / b);
}

void register_numbers(OpTable& t) {
  define_arithmetic(
      t, "add", [](const SymInt& a, const SymInt& b) { return a + b; },
      [](double a, double b) { return a + b; });
  define_arithmetic(
      t, "sub", [](const SymInt& a, const SymInt& b) { return a - b; },
      [](double a, double b) { return a - b; });
  define_arithmetic(
      t, "mul", [](const SymInt& a, const SymInt& b) { return a * b; },
      [](double a, double b) { return a * b; });
  define_arithmetic(
      t, "floordiv", [](const SymInt& a, const SymInt& b) { return floordiv(a, b); },
      floor_quotient);
  define_arithmetic(
      t, "mod", [](const SymInt& a, const SymInt& b) { return mod(a, b); },
      [](double a, double b) { return a - floor_quotient(a, b) * b; });
  define_comparison(t, "eq", [](auto a, auto b) { return a == b; });
  define_comparison(t, "ne", [](auto a, auto b) { return a != b; });
  define_comparison(t, "lt", [](auto a, auto b) { return a < b; });
  define_comparison(t, "le", [](auto a, auto b) { return a <= b; });
  define_comparison(t, "gt", [](auto a, auto b) { return a > b; });
  define_comparison(t, "ge", [](auto a, auto b) { return a >= b; });
  OpDef& neg = t.define("_operator.neg", "(Any a) -> Any");
  neg.infer = [](const Args& args) -> Value {
    const Value& a = args.value(0);
    require_numbers(a, a);
    return is_float(a) ? Value(-a.to_double()) : Value(SymInt(0) - a.to_sym_int());
  };
  neg.reference = neg.infer;
  OpDef& divide = t.define("_operator.truediv", "(Any a, Any b) -> Any");
  divide.infer = [](const Args& args) -> Value {
    require_numbers(args.value(0), args.value(1));
    const auto value = [](const Value& v) {
      return is_float(v) ? v.to_double() : static_cast<double>(v.to_sym_int().hint());
    };
    if (value(args.value(1)) == 0) throw ValueError("division by zero");
    return value(args.value(0)) / value(args.value(1));
  };
  divide.reference = divide.infer;
}

// Item of a list of results (or of a list argument).
Value get_item(const Args& args) {
  const Value::List& items = args.value(0).list();
  const auto n = static_cast<int64_t>(items.size());
  const int64_t i = args.integer(1);
  if (i < -n || i >= n) {
    throw IndexError(cat("list index ", i, " out of range for a list of ", n));
  }
  return items[idx(i < 0 ? i + n : i)];
}

void register_sizes(OpTable& t) {
  OpDef& size = t.define("aten.sym_size.int", "(Tensor self, int dim) -> SymInt");
  size.infer = [](const Args& args) -> Value { return size_at(args.meta(0), args.integer(1)); };
  size.reference = [](const Args& args) -> Value { return args.tensor(0).size(args.integer(1)); };
  OpDef& numel = t.define("aten.sym_numel.default", "(Tensor self) -> SymInt");
  numel.infer = [](const Args& args) -> Value { return product(args.meta(0).sizes); };
  numel.reference = [](const Args& args) -> Value { return args.tensor(0).numel(); };
}

}  // namespace

void register_builtin(OpTable& t) {
  OpDef& item = t.define("_operator.getitem", "(Any a, Any b) -> Any");
  item.infer = get_item;
  item.reference = get_item;
  register_numbers(t);
  register_sizes(t);
}

}  // namespace pt2q
