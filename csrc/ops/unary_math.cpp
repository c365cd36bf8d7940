// Elementwise functions of one tensor: exp, log, roots, trigonometry, rounding, clamp.
#include <cmath>
#include <type_traits>
#include <utility>

#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/pointwise.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

void define_unary(OpTable& t, const std::string& name, InferFn infer, KernelFn kernel) {
  const std::string full = "aten." + name + ".default";
  OpDef& op = t.define(full, "(Tensor self) -> Tensor");
  op.infer = std::move(infer);
  op.reference = std::move(kernel);
  op.traits.pointwise = true;
  op.quant = own({0});
  t.define_inplace("aten." + name + "_.default", full);
}

// Integers become float32.
template <typename Fn>
void define_float(OpTable& t, const std::string& name, Fn fn) {
  define_unary(t, name, same_as_input_float,
               [fn](const Args& args) { return unary_float(args, fn); });
}

// The dtype stays.
template <typename Fn>
void define_same(OpTable& t, const std::string& name, Fn fn) {
  define_unary(t, name, same_as_input, [fn](const Args& args) { return unary_same(args, fn); });
}

// Rounding: integers are themselves.
template <typename Fn>
void define_rounding(OpTable& t, const std::string& name, Fn fn) {
  define_same(t, name, [fn](auto x) {
    if constexpr (std::is_integral_v<decltype(x)>) {
      return x;
    } else {
      return fn(x);
    }
  });
}

template <typename T>
T sign_of(T x) {
  return x > 0 ? T(1) : x < 0 ? T(-1) : x != x ? x : T(0);
}

// Winitzki's start and Newton steps on erf; exact to the last few bits.
template <typename T>
T inverse_erf(T y) {
  if (y <= T(-1) || y >= T(1)) {
    return std::abs(y) == T(1) ? y * std::numeric_limits<T>::infinity()
                               : std::numeric_limits<T>::quiet_NaN();
  }
  constexpr double kA = 0.147;
  const double v = static_cast<double>(y);
  const double ln = std::log1p(-v * v);
  const double first = 2 / (M_PI * kA) + ln / 2;
  double x = std::copysign(std::sqrt(std::sqrt(first * first - ln / kA) - first), v);
  for (int i = 0; i < 3; ++i) x -= (std::erf(x) - v) / (M_2_SQRTPI * std::exp(-x * x));
  return static_cast<T>(x);
}

void register_exponentials(OpTable& t) {
  define_float(t, "exp", [](auto x) { return std::exp(x); });
  define_float(t, "exp2", [](auto x) { return std::exp2(x); });
  define_float(t, "expm1", [](auto x) { return std::expm1(x); });
  define_float(t, "log", [](auto x) { return std::log(x); });
  define_float(t, "log2", [](auto x) { return std::log2(x); });
  define_float(t, "log10", [](auto x) { return std::log10(x); });
  define_float(t, "log1p", [](auto x) { return std::log1p(x); });
  define_float(t, "sqrt", [](auto x) { return std::sqrt(x); });
  define_float(t, "rsqrt", [](auto x) { return decltype(x)(1) / std::sqrt(x); });
  define_float(t, "reciprocal", [](auto x) { return decltype(x)(1) / x; });
  define_float(t, "erf", [](auto x) { return std::erf(x); });
  define_float(t, "erfc", [](auto x) { return std::erfc(x); });
  define_float(t, "erfinv", [](auto x) { return inverse_erf(x); });
}

void register_trigonometry(OpTable& t) {
  define_float(t, "sin", [](auto x) { return std::sin(x); });
  define_float(t, "cos", [](auto x) { return std::cos(x); });
  define_float(t, "tan", [](auto x) { return std::tan(x); });
  define_float(t, "asin", [](auto x) { return std::asin(x); });
  define_float(t, "acos", [](auto x) { return std::acos(x); });
  define_float(t, "atan", [](auto x) { return std::atan(x); });
  define_float(t, "sinh", [](auto x) { return std::sinh(x); });
  define_float(t, "cosh", [](auto x) { return std::cosh(x); });
  define_float(t, "deg2rad", [](auto x) { return x * decltype(x)(M_PI / 180); });
  define_float(t, "rad2deg", [](auto x) { return x * decltype(x)(180 / M_PI); });
  define_float(t, "sinc", [](auto x) {
    using T = decltype(x);
    return x == 0 ? T(1) : std::sin(x * T(M_PI)) / (x * T(M_PI));
  });
  define_float(t, "asinh", [](auto x) { return std::asinh(x); });
  define_float(t, "acosh", [](auto x) { return std::acosh(x); });
  define_float(t, "atanh", [](auto x) { return std::atanh(x); });
}

void register_signs(OpTable& t) {
  define_same(t, "abs", [](auto x) { return x < 0 ? -x : x == 0 ? decltype(x)(0) : x; });
  define_same(t, "neg", [](auto x) { return -x; });
  define_same(t, "square", [](auto x) { return x * x; });
  define_same(t, "sign", [](auto x) { return sign_of(x); });
  t.define_alias("aten.sgn.default", "aten.sign.default");
  t.define_alias("aten.absolute.default", "aten.abs.default");
  t.define_alias("aten.negative.default", "aten.neg.default");
}

void register_rounding(OpTable& t) {
  define_rounding(t, "ceil", [](auto x) { return std::ceil(x); });
  define_rounding(t, "floor", [](auto x) { return std::floor(x); });
  define_rounding(t, "trunc", [](auto x) { return std::trunc(x); });
  define_rounding(t, "round", [](auto x) { return std::nearbyint(x); });  // ties to even
  define_rounding(t, "frac", [](auto x) { return x - std::trunc(x); });
  OpDef& decimals = t.define("aten.round.decimals", "(Tensor self, *, int decimals) -> Tensor");
  decimals.infer = same_as_input;
  decimals.reference = [](const Args& args) {
    const int64_t digits = args.integer(1);
    const double power = std::pow(10.0, static_cast<double>(std::abs(digits)));
    return unary_float(args, [=](auto x) {
      using T = decltype(x);
      const T p = static_cast<T>(power);
      return digits >= 0 ? std::nearbyint(x * p) / p : std::nearbyint(x / p) * p;
    });
  };
  decimals.traits.pointwise = true;
}

// clamp: bounds are None, numbers or tensors; a bound above the other wins as max(min(x, hi)...).
Value infer_clamp(const Args& args) {
  TensorMeta meta = args.meta(0);
  std::vector<Value> operands = {args.value(0)};
  for (size_t i = 1; i < args.size(); ++i) {
    if (args.is_none(i)) continue;
    operands.push_back(args.value(i));
    meta.sizes = broadcast(meta.sizes, meta_of(args.value(i)).sizes);
  }
  if (operands.size() == 1) throw ValueError("At least one of 'min' or 'max' must not be None");
  meta.dtype = result_type(operands);
  return meta;
}

Value clamp_with(const Args& args, const Value& low, const Value& high) {
  const TensorMeta meta = infer_output(args);
  return visit_compute(meta.dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    const Tensor x = operand<T>(args.value(0), meta.dtype);
    Tensor out = make_output(with_dtype(meta, DTypeOf<T>::value), x);
    const Tensor source = x.sizes() == out.sizes() ? x : x.expand(out.sizes());
    out.copy_(source);
    if (!low.is_none()) {
      map2<T, T>(out, operand<T>(low, meta.dtype), out,
                 [](T v, T bound) { return v != v || v > bound ? v : bound; });
    }
    if (!high.is_none()) {
      map2<T, T>(out, operand<T>(high, meta.dtype), out,
                 [](T v, T bound) { return v != v || v < bound ? v : bound; });
    }
    return out.to(meta.dtype);
  });
}

void define_clamp(OpTable& t, const std::string& name, const std::string& overload,
                  const std::string& schema, KernelFn kernel) {
  const std::string full = cat("aten.", name, ".", overload);
  OpDef& op = t.define(full, schema);
  op.infer = infer_clamp;
  op.reference = std::move(kernel);
  op.traits.pointwise = true;
  op.quant = shares_input();
  t.define_inplace(cat("aten.", name, "_.", overload), full);
}

void register_clamp(OpTable& t) {
  const KernelFn both = [](const Args& a) { return clamp_with(a, a.value(1), a.value(2)); };
  const KernelFn low = [](const Args& a) { return clamp_with(a, a.value(1), Value()); };
  const KernelFn high = [](const Args& a) { return clamp_with(a, Value(), a.value(1)); };
  define_clamp(t, "clamp", "default", "(Tensor self, Scalar? min=None, Scalar? max=None) -> Tensor",
               both);
  define_clamp(t, "clamp", "Tensor", "(Tensor self, Tensor? min=None, Tensor? max=None) -> Tensor",
               both);
  define_clamp(t, "clamp_min", "default", "(Tensor self, Scalar min) -> Tensor", low);
  define_clamp(t, "clamp_min", "Tensor", "(Tensor self, Tensor min) -> Tensor", low);
  define_clamp(t, "clamp_max", "default", "(Tensor self, Scalar max) -> Tensor", high);
  define_clamp(t, "clamp_max", "Tensor", "(Tensor self, Tensor max) -> Tensor", high);
  t.define_alias("aten.clip.default", "aten.clamp.default");
}

// log(x / (1 - x)) with x kept eps away from 0 and 1 when eps is given.
void register_logit(OpTable& t) {
  OpDef& op = t.define("aten.logit.default", "(Tensor self, float? eps=None) -> Tensor");
  op.infer = same_as_input_float;
  op.reference = [](const Args& args) -> Value {
    const double eps = args.is_none(1) ? 0 : args.number(1);
    const bool limited = !args.is_none(1);
    return unary_float(args, [=](auto x) {
      using T = decltype(x);
      const T low = static_cast<T>(eps), high = T(1) - static_cast<T>(eps);
      const T p = !limited || x != x ? x : std::min(std::max(x, low), high);
      return std::log(p / (T(1) - p));
    });
  };
  op.traits.pointwise = true;
  t.define_inplace("aten.logit_.default", "aten.logit.default");
}

void register_nan_to_num(OpTable& t) {
  OpDef& op = t.define("aten.nan_to_num.default",
                       "(Tensor self, float? nan=None, float? posinf=None, float? neginf=None) -> "
                       "Tensor");
  op.infer = same_as_input;
  op.reference = [](const Args& args) -> Value {
    const DType dtype = args.tensor(0).dtype();
    if (!is_floating_point(dtype)) return args.tensor(0).clone();
    // The largest finite value of the tensor's own dtype.
    const double limit = dtype == DType::Float64    ? std::numeric_limits<double>::max()
                         : dtype == DType::Float16  ? 65504.0
                         : dtype == DType::BFloat16 ? 3.3895313892515355e38
                                                    : std::numeric_limits<float>::max();
    const double nan = args.is_none(1) ? 0.0 : args.number(1);
    const double high = args.is_none(2) ? limit : args.number(2);
    const double low = args.is_none(3) ? -limit : args.number(3);
    return unary_float(args, [=](auto x) {
      using T = decltype(x);
      if (x != x) return static_cast<T>(nan);
      if (std::isinf(x)) return static_cast<T>(x > 0 ? high : low);
      return x;
    });
  };
  op.traits.pointwise = true;
  t.define_inplace("aten.nan_to_num_.default", "aten.nan_to_num.default");
}

}  // namespace

void register_unary_math(OpTable& t) {
  register_exponentials(t);
  register_trigonometry(t);
  register_signs(t);
  register_rounding(t);
  register_clamp(t);
  register_logit(t);
  register_nan_to_num(t);
}

}  // namespace pt2q
