// Pointwise activations. Each is a lambda on one element; parameters come from the arguments.
#include <cmath>
#include <utility>

#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/pointwise.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

constexpr double kSqrtHalf = 0.70710678118654752440;
constexpr double kSeluAlpha = 1.6732632423543772848170429916717;
constexpr double kSeluScale = 1.0507009873554804934193349852946;

template <typename T>
T sigmoid(T x) {
  return T(1) / (T(1) + std::exp(-x));
}

// NaN passes through, as in PyTorch.
template <typename T>
T clip(T x, T low, T high) {
  return x < low ? low : x > high ? high : x;
}

template <typename T>
T softplus(T x, T beta, T threshold) {
  return x * beta > threshold ? x : std::log1p(std::exp(x * beta)) / beta;
}

void require_float(const Args& args) {
  if (!is_floating_point(args.meta(0).dtype)) {
    throw TypeError(cat("not implemented for ", dtype_name(args.meta(0).dtype)),
                    "convert the input to a floating-point dtype");
  }
}

Value infer_float_only(const Args& args) {
  require_float(args);
  return args.meta(0);
}

// One activation and its in-place variant.
OpDef& define_activation(OpTable& t, const std::string& name, const std::string& schema,
                         KernelFn kernel, const std::string& post_op, QuantFacts quant,
                         const InferFn& infer = infer_float_only, bool inplace = true) {
  const std::string full = "aten." + name + ".default";
  OpDef& op = t.define(full, schema);
  op.infer = infer;
  op.reference = std::move(kernel);
  op.quant = std::move(quant);
  op.traits.pointwise = true;
  op.post_op = post_op;
  if (inplace) t.define_inplace("aten." + name + "_.default", full);
  return op;
}

Value gelu(const Args& args) {
  const std::string& kind = args.string(1);
  if (kind == "none") {
    return unary_float(args, [](auto x) {
      using T = decltype(x);
      return x * T(0.5) * (T(1) + std::erf(x * T(kSqrtHalf)));
    });
  }
  if (kind != "tanh") {
    throw ValueError(cat("approximate argument must be either none or tanh, got ", kind));
  }
  return unary_float(args, [](auto x) {
    using T = decltype(x);
    constexpr T kBeta = T(0.79788456080286535588);  // sqrt(2 / pi)
    return T(0.5) * x * (T(1) + std::tanh(kBeta * (x + T(0.044715) * x * x * x)));
  });
}

Value elu(const Args& args) {
  const double alpha = args.number(1), scale = args.number(2), input_scale = args.number(3);
  return unary_float(args, [=](auto x) {
    using T = decltype(x);
    return x <= 0 ? std::expm1(x * T(input_scale)) * T(alpha) * T(scale) : x * T(scale);
  });
}

void register_clipping(OpTable& t) {
  define_activation(
      t, "relu", "(Tensor self) -> Tensor",
      [](const Args& a) {
        return unary_same(a, [](auto x) { return x < 0 ? decltype(x)(0) : x; });
      },
      "relu", shares_input(), same_as_input);
  define_activation(
      t, "relu6", "(Tensor self) -> Tensor",
      [](const Args& a) {
        return unary_same(a, [](auto x) { return clip(x, decltype(x)(0), decltype(x)(6)); });
      },
      "relu6", shares_input(), same_as_input);
  define_activation(
      t, "hardtanh", "(Tensor self, Scalar min_val=-1, Scalar max_val=1) -> Tensor",
      [](const Args& a) {
        const double low = a.number(1), high = a.number(2);
        return unary_same(a, [=](auto x) {
          using T = decltype(x);
          return clip(x, static_cast<T>(low), static_cast<T>(high));
        });
      },
      "hardtanh", shares_input(), same_as_input);
}

void register_smooth(OpTable& t) {
  const char* plain = "(Tensor self) -> Tensor";
  define_activation(
      t, "sigmoid", plain,
      [](const Args& a) { return unary_float(a, [](auto x) { return sigmoid(x); }); }, "sigmoid",
      fixed(1.0 / 256, 0), same_as_input_float);
  define_activation(
      t, "tanh", plain,
      [](const Args& a) { return unary_float(a, [](auto x) { return std::tanh(x); }); }, "tanh",
      fixed(2.0 / 256, 128), same_as_input_float);
  define_activation(
      t, "silu", plain,
      [](const Args& a) { return unary_float(a, [](auto x) { return x * sigmoid(x); }); }, "silu",
      own({0}));
  define_activation(t, "gelu", "(Tensor self, *, str approximate=\"none\") -> Tensor", gelu, "gelu",
                    own({0}));
  define_activation(
      t, "mish", plain,
      [](const Args& a) {
        return unary_float(a, [](auto x) {
          using T = decltype(x);
          return x * std::tanh(softplus(x, T(1), T(20)));
        });
      },
      "", own({0}));
  define_activation(
      t, "log_sigmoid", plain,
      [](const Args& a) {
        return unary_float(a, [](auto x) {
          using T = decltype(x);
          return std::min(T(0), x) - std::log1p(std::exp(-std::abs(x)));
        });
      },
      "", own({0}), infer_float_only, false);
}

void register_hard(OpTable& t) {
  const char* plain = "(Tensor self) -> Tensor";
  define_activation(
      t, "hardswish", plain,
      [](const Args& a) {
        return unary_float(a, [](auto x) {
          using T = decltype(x);
          return x * clip(x + T(3), T(0), T(6)) / T(6);
        });
      },
      "hardswish", own({0}));
  define_activation(
      t, "hardsigmoid", plain,
      [](const Args& a) {
        return unary_float(a, [](auto x) {
          using T = decltype(x);
          return clip(x + T(3), T(0), T(6)) / T(6);
        });
      },
      "", fixed(1.0 / 256, 0));
  define_activation(
      t, "leaky_relu", "(Tensor self, Scalar negative_slope=0.01) -> Tensor",
      [](const Args& a) {
        const double slope = a.number(1);
        return unary_float(a,
                           [=](auto x) { return x > 0 ? x : x * static_cast<decltype(x)>(slope); });
      },
      "leaky_relu", own({0}));
  define_activation(
      t, "threshold", "(Tensor self, Scalar threshold, Scalar value) -> Tensor",
      [](const Args& a) {
        const double limit = a.number(1), value = a.number(2);
        return unary_same(a, [=](auto x) {
          using T = decltype(x);
          return x <= static_cast<T>(limit) ? static_cast<T>(value) : x;
        });
      },
      "", own({0}), same_as_input);
}

void register_exponential(OpTable& t) {
  define_activation(t, "elu",
                    "(Tensor self, Scalar alpha=1, Scalar scale=1, Scalar input_scale=1) -> Tensor",
                    elu, "", own({0}));
  define_activation(
      t, "selu", "(Tensor self) -> Tensor",
      [](const Args& a) {
        return unary_float(a, [](auto x) {
          using T = decltype(x);
          return x <= 0 ? std::expm1(x) * T(kSeluAlpha) * T(kSeluScale) : x * T(kSeluScale);
        });
      },
      "", own({0}));
  define_activation(
      t, "celu", "(Tensor self, Scalar alpha=1.0) -> Tensor",
      [](const Args& a) {
        const double alpha = a.number(1);
        return unary_float(a, [=](auto x) {
          using T = decltype(x);
          return x <= 0 ? std::expm1(x / T(alpha)) * T(alpha) : x;
        });
      },
      "", own({0}));
  define_activation(
      t, "softplus", "(Tensor self, Scalar beta=1, Scalar threshold=20) -> Tensor",
      [](const Args& a) {
        const double beta = a.number(1), threshold = a.number(2);
        return unary_float(a, [=](auto x) {
          using T = decltype(x);
          return softplus(x, T(beta), T(threshold));
        });
      },
      "", own({0}), infer_float_only, false);
}

void register_shrink(OpTable& t) {
  define_activation(
      t, "hardshrink", "(Tensor self, Scalar lambd=0.5) -> Tensor",
      [](const Args& a) {
        const double lambda = a.number(1);
        return unary_float(a, [=](auto x) {
          using T = decltype(x);
          return x >= -T(lambda) && x <= T(lambda) ? T(0) : x;
        });
      },
      "", own({0}), infer_float_only, false);
  define_activation(
      t, "softshrink", "(Tensor self, Scalar lambd=0.5) -> Tensor",
      [](const Args& a) {
        const double lambda = a.number(1);
        return unary_float(a, [=](auto x) {
          using T = decltype(x);
          return x > T(lambda) ? x - T(lambda) : x < -T(lambda) ? x + T(lambda) : x * T(0);
        });
      },
      "", own({0}), infer_float_only, false);
}

// In evaluation a leaky ReLU with the mean slope.
void register_rrelu(OpTable& t) {
  define_activation(
      t, "rrelu",
      "(Tensor self, Scalar lower=0.125, Scalar upper=0.33333333333333331, bool training=False, "
      "Generator? generator=None) -> Tensor",
      [](const Args& a) {
        if (a.boolean(3)) {
          throw NotImplementedError("rrelu with training=True is not supported",
                                    "export the model in eval mode");
        }
        const double slope = (a.number(1) + a.number(2)) / 2;
        return unary_float(a,
                           [=](auto x) { return x > 0 ? x : x * static_cast<decltype(x)>(slope); });
      },
      "", own({0}));
}

// One slope, or one per channel (dimension 1).
void register_prelu(OpTable& t) {
  OpDef& op = t.define("aten.prelu.default", "(Tensor self, Tensor weight) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    require_float(args);
    const TensorMeta& x = args.meta(0);
    const SymInt slopes = product(args.meta(1).sizes);
    const SymInt channels = rank(x) > 1 ? x.sizes[1] : SymInt(1);
    if (slopes.hint() != 1 && !same_size(slopes, channels)) {
      throw ValueError(
          cat("Mismatch of parameter numbers and input channel size. Found parameter "
              "numbers = ",
              slopes, " and channel size = ", channels, "."));
    }
    return x;
  };
  op.reference = [](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    return visit_float(meta.dtype, [&](auto tag) -> Value {
      using T = decltype(tag);
      const Tensor x = args.tensor(0).to(DTypeOf<T>::value);
      Tensor slope = args.tensor(1).to(DTypeOf<T>::value).reshape({-1});
      if (slope.numel() > 1) {
        Shape sizes(idx(x.dim()), 1);
        sizes[1] = slope.numel();
        slope = slope.reshape(sizes);
      }
      Tensor out = ops::empty_like(x, DTypeOf<T>::value);
      map2<T, T>(x, slope, out, [](T v, T s) { return v > 0 ? v : v * s; });
      return out.to(meta.dtype);
    });
  };
  op.traits.pointwise = true;
  op.quant = own({0});
}

// The first half of a dimension, gated by the sigmoid of the second half.
void register_glu(OpTable& t) {
  OpDef& op = t.define("aten.glu.default", "(Tensor self, int dim=-1) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    require_float(args);
    TensorMeta meta = args.meta(0);
    SymInt& size = meta.sizes.at(idx(wrap_dim(args.integer(1), rank(meta))));
    if (size.hint() % 2 != 0) {
      throw ValueError(cat("Halving dimension must be even, but dimension ", args.integer(1),
                           " is size ", size));
    }
    size = floordiv(size, 2);
    return meta;
  };
  op.reference = [](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    const int64_t dim = args.integer(1);
    return visit_float(meta.dtype, [&](auto tag) -> Value {
      using T = decltype(tag);
      const Tensor x = args.tensor(0).to(DTypeOf<T>::value);
      const int64_t half = x.size(dim) / 2;
      Tensor out = make_output(with_dtype(meta, DTypeOf<T>::value));
      map2<T, T>(x.slice(dim, 0, half), x.slice(dim, half, 2 * half), out,
                 [](T a, T b) { return a * sigmoid(b); });
      return out.to(meta.dtype);
    });
  };
  op.quant = own({0});
}

}  // namespace

void register_activation(OpTable& t) {
  register_clipping(t);
  register_smooth(t);
  register_hard(t);
  register_exponential(t);
  register_shrink(t);
  register_rrelu(t);
  register_prelu(t);
  register_glu(t);
}

}  // namespace pt2q
