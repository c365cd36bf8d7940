// Binary arithmetic: add, sub, mul, div, pow, remainder, maximum ...
#include <cmath>
#include <type_traits>

#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/pointwise.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

template <typename T>
T floor_quotient(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    if (b == 0) throw RuntimeError("ZeroDivisionError: integer division by zero");
    const T q = a / b;
    return q * b != a && ((a < 0) != (b < 0)) ? q - 1 : q;
  } else {
    return std::floor(a / b);
  }
}

// Python's sign rule: the result has the sign of b.
template <typename T>
T floor_remainder(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return a - floor_quotient(a, b) * b;
  } else {
    const T r = std::fmod(a, b);
    return r != 0 && ((r < 0) != (b < 0)) ? r + b : r;
  }
}

template <typename T>
T truncated_remainder(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    if (b == 0) throw RuntimeError("ZeroDivisionError: integer remainder by zero");
    return a % b;
  } else {
    return std::fmod(a, b);
  }
}

template <typename T>
T power(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 == 0 ? 1 : -1) : 0;
    T result = 1;
    for (T base = a; b > 0; b >>= 1, base *= base) {
      if ((b & 1) != 0) result *= base;
    }
    return result;
  } else {
    if (b == T(2)) return a * a;
    if (b == T(3)) return a * a * a;
    if (b == T(0.5)) return std::sqrt(a);
    return std::pow(a, b);
  }
}

// NaN wins, as in PyTorch.
template <typename T>
T larger(T a, T b) {
  return a != a || a > b ? a : b;
}
template <typename T>
T smaller(T a, T b) {
  return a != a || a < b ? a : b;
}

DType common_type(const Args& args) { return result_type({args.value(0), args.value(1)}); }

template <typename Fn>
KernelFn promoted(Fn fn) {
  return [fn](const Args& args) {
    return binary_same(args, args.value(0), args.value(1), common_type(args), fn);
  };
}

// Integers are divided as float32.
template <typename Fn>
KernelFn floating(Fn fn) {
  return [fn](const Args& args) {
    return binary_float(args, args.value(0), args.value(1), to_float(common_type(args)), fn);
  };
}

// a + sign * alpha * b; `swapped`: b - alpha * a.
KernelFn add_kernel(int sign, bool swapped) {
  return [sign, swapped](const Args& args) {
    const Value& scale = args.value(2);
    const Value& a = args.value(swapped ? 1 : 0);
    const Value& b = args.value(swapped ? 0 : 1);
    const DType common = common_type(args);
    if (!is_floating_point(common) && scale.is<double>()) {
      throw ValueError(
          "For integral input tensors, argument alpha must not be a floating point "
          "number.");
    }
    const double alpha = sign * scale.to_double();
    if (alpha == 1.0) {
      return binary_same(args, a, b, common, [](auto x, auto y) { return x + y; });
    }
    if (alpha == -1.0) {
      return binary_same(args, a, b, common, [](auto x, auto y) { return x - y; });
    }
    return binary_same(args, a, b, common,
                       [alpha](auto x, auto y) { return x + static_cast<decltype(y)>(alpha) * y; });
  };
}

Value infer_divide_mode(const Args& args) {
  return args.is_none(2) ? infer_binary_float(args) : infer_binary_promoted(args);
}

Value divide_mode(const Args& args) {
  if (args.is_none(2)) return floating([](auto a, auto b) { return a / b; })(args);
  const std::string& mode = args.string(2);
  if (mode == "floor") return promoted([](auto a, auto b) { return floor_quotient(a, b); })(args);
  if (mode != "trunc") {
    throw ValueError(
        cat("div expected rounding_mode to be one of None, 'trunc', or 'floor' but "
            "found '",
            mode, "'"));
  }
  return promoted([](auto a, auto b) {
    using T = decltype(a);
    if constexpr (std::is_integral_v<T>) {
      if (b == 0) throw RuntimeError("ZeroDivisionError: integer division by zero");
      return a / b;
    } else {
      return std::trunc(a / b);
    }
  })(args);
}

// Defines <base>.Tensor and <base>.Scalar with in-place variants.
void define_pair(OpTable& t, const std::string& base, const InferFn& infer, const KernelFn& kernel,
                 bool commutative, const char* extra_tensor = "", const char* extra_scalar = "") {
  for (const bool tensor : {true, false}) {
    const std::string overload = tensor ? ".Tensor" : ".Scalar";
    const std::string name = "aten." + base + overload;
    OpDef& op = t.define(name, cat("(Tensor self, ", tensor ? "Tensor" : "Scalar", " other",
                                   tensor ? extra_tensor : extra_scalar, ") -> Tensor"));
    op.infer = infer;
    op.reference = kernel;
    op.traits.pointwise = true;
    op.traits.commutative = commutative;
    op.quant = own(tensor ? std::vector<int>{0, 1} : std::vector<int>{0});
    t.define_inplace("aten." + base + "_" + overload, name);
  }
}

void define_binary(OpTable& t, const std::string& name, const InferFn& infer,
                   const KernelFn& kernel, bool commutative = false) {
  OpDef& op = t.define("aten." + name, "(Tensor self, Tensor other) -> Tensor");
  op.infer = infer;
  op.reference = kernel;
  op.traits.pointwise = true;
  op.traits.commutative = commutative;
}

void register_basic(OpTable& t) {
  const char* alpha = ", *, Scalar alpha=1";
  const char* scalar_alpha = ", Scalar alpha=1";
  define_pair(t, "add", infer_binary_promoted, add_kernel(1, false), true, alpha, scalar_alpha);
  define_pair(t, "sub", infer_binary_promoted, add_kernel(-1, false), false, alpha, scalar_alpha);
  define_pair(t, "mul", infer_binary_promoted, promoted([](auto a, auto b) { return a * b; }),
              true);
  define_pair(t, "div", infer_binary_float, floating([](auto a, auto b) { return a / b; }), false);
  for (const bool tensor : {true, false}) {
    OpDef& rsub = t.define(tensor ? "aten.rsub.Tensor" : "aten.rsub.Scalar",
                           tensor ? "(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor"
                                  : "(Tensor self, Scalar other, Scalar alpha=1) -> Tensor");
    rsub.infer = infer_binary_promoted;
    rsub.reference = add_kernel(-1, true);
    rsub.traits.pointwise = true;
    OpDef& mode = t.define(tensor ? "aten.div.Tensor_mode" : "aten.div.Scalar_mode",
                           cat("(Tensor self, ", tensor ? "Tensor" : "Scalar",
                               " other, *, str? rounding_mode) -> Tensor"));
    mode.infer = infer_divide_mode;
    mode.reference = divide_mode;
    mode.traits.pointwise = true;
    t.define_inplace(tensor ? "aten.div_.Tensor_mode" : "aten.div_.Scalar_mode", mode.name);
  }
  t.define_alias("aten.multiply.Tensor", "aten.mul.Tensor");
  t.define_alias("aten.subtract.Tensor", "aten.sub.Tensor");
  t.define_alias("aten.divide.Tensor", "aten.div.Tensor");
  t.define_alias("aten.true_divide.Tensor", "aten.div.Tensor");
}

void register_modular(OpTable& t) {
  define_pair(t, "remainder", infer_binary_promoted,
              promoted([](auto a, auto b) { return floor_remainder(a, b); }), false);
  define_pair(t, "fmod", infer_binary_promoted,
              promoted([](auto a, auto b) { return truncated_remainder(a, b); }), false);
  const KernelFn floor_divide = promoted([](auto a, auto b) { return floor_quotient(a, b); });
  define_binary(t, "floor_divide.default", infer_binary_promoted, floor_divide);
  OpDef& scalar = t.define("aten.floor_divide.Scalar", "(Tensor self, Scalar other) -> Tensor");
  scalar.infer = infer_binary_promoted;
  scalar.reference = floor_divide;
  scalar.traits.pointwise = true;
  t.define_inplace("aten.floor_divide_.Tensor", "aten.floor_divide.default");
  t.define_inplace("aten.floor_divide_.Scalar", "aten.floor_divide.Scalar");
}

void register_power(OpTable& t) {
  const KernelFn kernel = promoted([](auto a, auto b) { return power(a, b); });
  const char* const rows[][2] = {
      {"aten.pow.Tensor_Scalar", "(Tensor self, Scalar exponent) -> Tensor"},
      {"aten.pow.Tensor_Tensor", "(Tensor self, Tensor exponent) -> Tensor"},
      {"aten.pow.Scalar", "(Scalar self, Tensor exponent) -> Tensor"}};
  for (const auto& row : rows) {
    OpDef& op = t.define(row[0], row[1]);
    op.infer = infer_binary_promoted;
    op.reference = kernel;
    op.traits.pointwise = true;
  }
  t.define_inplace("aten.pow_.Scalar", "aten.pow.Tensor_Scalar");
}

}  // namespace

void register_arithmetic(OpTable& t) {
  register_basic(t);
  register_modular(t);
  register_power(t);
  const KernelFn largest = promoted([](auto a, auto b) { return larger(a, b); });
  const KernelFn smallest = promoted([](auto a, auto b) { return smaller(a, b); });
  define_binary(t, "maximum.default", infer_binary_promoted, largest, true);
  define_binary(t, "minimum.default", infer_binary_promoted, smallest, true);
  t.define_alias("aten.max.other", "aten.maximum.default");
  t.define_alias("aten.min.other", "aten.minimum.default");
  define_binary(t, "hypot.default", infer_binary_float,
                floating([](auto a, auto b) { return std::hypot(a, b); }), true);
  define_binary(t, "copysign.Tensor", infer_binary_float,
                floating([](auto a, auto b) { return std::copysign(a, b); }));
  define_binary(t, "xlogy.Tensor", infer_binary_float, floating([](auto a, auto b) {
                  if (b != b) return b;
                  return a == 0 ? a * 0 : a * std::log(b);
                }));
  // fmax and fmin prefer the number to NaN.
  define_binary(t, "fmax.default", infer_binary_promoted,
                promoted([](auto a, auto b) { return a != a || b > a ? b : a; }), true);
  define_binary(t, "fmin.default", infer_binary_promoted,
                promoted([](auto a, auto b) { return a != a || b < a ? b : a; }), true);
  define_binary(t, "atan2.default", infer_binary_float,
                floating([](auto a, auto b) { return std::atan2(a, b); }));
  define_binary(t, "logaddexp.default", infer_binary_float, floating([](auto a, auto b) {
                  const auto top = larger(a, b);
                  return std::isinf(top) ? top : top + std::log1p(std::exp(-std::abs(a - b)));
                }));
}

}  // namespace pt2q
