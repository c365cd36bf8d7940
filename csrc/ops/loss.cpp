// Training and evaluation losses.
#include <cmath>
#include <utility>

#include "base/strings.h"
#include "ops/support/pointwise.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

enum Reduction : int64_t { kNone = 0, kMean = 1, kSum = 2 };

TensorMeta reduced_loss(TensorMeta each, int64_t reduction) {
  if (reduction != kNone) each.sizes.clear();
  return each;
}

// Mean or sum of a dense tensor of T in double.
template <typename T>
Tensor reduce_loss(const Tensor& each, int64_t reduction) {
  if (reduction == kNone) return each;
  double sum = 0;
  for (int64_t i = 0; i < each.numel(); ++i) sum += static_cast<double>(each.data<T>()[i]);
  if (reduction == kMean) sum /= static_cast<double>(each.numel());
  return Tensor::scalar(sum, DTypeOf<T>::value);
}

// --- losses of two tensors, element by element ---------------------------------------------------

template <typename Fn>
void define_elementwise(OpTable& t, const std::string& name, const std::string& rest,
                        size_t reduction_arg, Fn make_fn) {
  OpDef& op = t.define("aten." + name + ".default",
                       cat("(Tensor self, Tensor target, ", rest, ") -> Tensor"));
  op.infer = [=](const Args& args) -> Value {
    return reduced_loss(infer_binary(args), args.integer(reduction_arg));
  };
  op.reference = [=](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    return visit_float(meta.dtype, [&](auto tag) -> Value {
      using T = decltype(tag);
      const Tensor x = args.tensor(0).to(DTypeOf<T>::value);
      const Tensor y = args.tensor(1).to(DTypeOf<T>::value);
      Tensor each = Tensor::empty(broadcast_shapes(x.sizes(), y.sizes()), DTypeOf<T>::value);
      map2<T, T>(x, y, each, make_fn(args));
      return reduce_loss<T>(each, args.integer(reduction_arg)).to(meta.dtype);
    });
  };
}

void register_elementwise(OpTable& t) {
  define_elementwise(t, "mse_loss", "int reduction=1", 2,
                     [](const Args&) { return [](auto x, auto y) { return (x - y) * (x - y); }; });
  define_elementwise(t, "l1_loss", "int reduction=1", 2,
                     [](const Args&) { return [](auto x, auto y) { return std::abs(x - y); }; });
  define_elementwise(t, "smooth_l1_loss", "int reduction=1, float beta=1.0", 2,
                     [](const Args& args) {
                       const double beta = args.number(3);
                       return [beta](auto x, auto y) {
                         using T = decltype(x);
                         const T d = std::abs(x - y);
                         return d < T(beta) ? T(0.5) * d * d / T(beta) : d - T(0.5) * T(beta);
                       };
                     });
  define_elementwise(t, "huber_loss", "int reduction=1, float delta=1.0", 2, [](const Args& args) {
    const double delta = args.number(3);
    return [delta](auto x, auto y) {
      using T = decltype(x);
      const T d = std::abs(x - y);
      return d <= T(delta) ? T(0.5) * d * d : T(delta) * (d - T(0.5) * T(delta));
    };
  });
  define_elementwise(t, "soft_margin_loss", "int reduction=1", 2, [](const Args&) {
    return [](auto x, auto y) { return std::log1p(std::exp(-x * y)); };
  });
  define_elementwise(t, "kl_div", "int reduction=1, *, bool log_target=False", 2,
                     [](const Args& args) {
                       const bool log_target = args.boolean(3);
                       return [log_target](auto x, auto y) {
                         using T = decltype(x);
                         if (log_target) return std::exp(y) * (y - x);
                         return y > 0 ? y * (std::log(y) - x) : T(0);
                       };
                     });
}

// --- binary cross entropy ------------------------------------------------------------------------

// Multiplies by an optional weight that broadcasts.
template <typename T>
void apply_weight(const Args& args, size_t i, Tensor* each) {
  if (args.is_none(i)) return;
  map2<T, T>(*each, args.tensor(i).to(DTypeOf<T>::value), *each, [](T a, T w) { return a * w; });
}

void register_binary_cross_entropy(OpTable& t) {
  const InferFn infer = [](const Args& args) -> Value {
    if (hints(args.meta(0).sizes) != hints(args.meta(1).sizes)) {
      throw ValueError(cat("Using a target size (", text(args.meta(1).sizes),
                           ") that is different to the input size (", text(args.meta(0).sizes),
                           ")"));
    }
    return reduced_loss(args.meta(0), args.integer(args.size() - 1));
  };
  OpDef& plain = t.define("aten.binary_cross_entropy.default",
                          "(Tensor self, Tensor target, Tensor? weight=None, int reduction=1) -> "
                          "Tensor");
  plain.infer = infer;
  plain.reference = [](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    return visit_float(meta.dtype, [&](auto tag) -> Value {
      using T = decltype(tag);
      const Tensor x = args.tensor(0).to(DTypeOf<T>::value),
                   y = args.tensor(1).to(DTypeOf<T>::value);
      Tensor each = Tensor::empty(x.sizes(), DTypeOf<T>::value);
      map2<T, T>(x, y, each, [](T p, T target) {  // logarithms are cut at -100, as in PyTorch
        return (target - 1) * std::max(std::log1p(-p), T(-100)) -
               target * std::max(std::log(p), T(-100));
      });
      apply_weight<T>(args, 2, &each);
      return reduce_loss<T>(each, args.integer(3)).to(meta.dtype);
    });
  };
  OpDef& logits = t.define("aten.binary_cross_entropy_with_logits.default",
                           "(Tensor self, Tensor target, Tensor? weight=None, Tensor? "
                           "pos_weight=None, int reduction=1) -> Tensor");
  logits.infer = infer;
  logits.reference = [](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    return visit_float(meta.dtype, [&](auto tag) -> Value {
      using T = decltype(tag);
      const Tensor x = args.tensor(0).to(DTypeOf<T>::value),
                   y = args.tensor(1).to(DTypeOf<T>::value);
      const Tensor positive = args.is_none(3) ? Tensor::scalar(1, DTypeOf<T>::value)
                                              : args.tensor(3).to(DTypeOf<T>::value);
      Tensor each = Tensor::empty(x.sizes(), DTypeOf<T>::value);
      map3<T, T, T>(x, y, positive, each, [](T v, T target, T w) {
        const T log_weight = (w - 1) * target + 1;
        return (1 - target) * v +
               log_weight * (std::log1p(std::exp(-std::abs(v))) + std::max(-v, T(0)));
      });
      apply_weight<T>(args, 2, &each);
      return reduce_loss<T>(each, args.integer(4)).to(meta.dtype);
    });
  };
}

// --- classification ------------------------------------------------------------------------------

// Log probabilities [N, C, ...] (or [C]) against class indices [N, ...] (or []).
struct ClassLoss {
  Tensor log_probs;  // [N][C][positions], dense float or double
  Tensor target;     // int64 [N][positions]
  int64_t n = 1, classes = 1, positions = 1;
};

SymShape target_shape(const TensorMeta& x) {
  SymShape sizes = x.sizes;
  sizes.erase(sizes.begin() + (rank(x) == 1 ? 0 : 1));
  return sizes;
}

void check_target(const TensorMeta& x, const TensorMeta& target) {
  if (rank(x) < 1) throw ValueError("cross entropy needs an input of at least 1 dimension");
  if (hints(target.sizes) == hints(target_shape(x))) return;
  throw ValueError(
      cat("Expected target size ", text(target_shape(x)), ", got ", text(target.sizes)));
}

template <typename T>
struct LossSums {
  Tensor each;
  double total = 0;
  double weight = 0;
};

// -weight[t] * log_probs[t] per position, smoothed; positions with target == ignore are 0.
template <typename T>
LossSums<T> class_losses(const ClassLoss& loss, const Tensor& weight, int64_t ignore,
                         double smoothing) {
  LossSums<T> out;
  out.each = Tensor::zeros(loss.target.sizes(), DTypeOf<T>::value);
  const T* x = loss.log_probs.data<T>();
  const int64_t* target = loss.target.data<int64_t>();
  for (int64_t i = 0; i < loss.n * loss.positions; ++i) {
    const int64_t t = target[i];
    if (t == ignore) continue;
    if (t < 0 || t >= loss.classes) {
      throw IndexError(cat("Target ", t, " is out of bounds for ", loss.classes, " classes."));
    }
    const int64_t base = i / loss.positions * loss.classes * loss.positions + i % loss.positions;
    const auto weight_of = [&](int64_t c) {
      return weight.defined() ? static_cast<double>(weight.data<T>()[c]) : 1.0;
    };
    double smooth = 0;
    for (int64_t c = 0; smoothing > 0 && c < loss.classes; ++c) {
      smooth -= static_cast<double>(x[base + c * loss.positions]) * weight_of(c);
    }
    const double nll = -static_cast<double>(x[base + t * loss.positions]) * weight_of(t);
    const double value =
        (1 - smoothing) * nll + smoothing / static_cast<double>(loss.classes) * smooth;
    out.each.template mutable_data<T>()[i] = static_cast<T>(value);
    out.total += value;
    out.weight += weight_of(t);
  }
  return out;
}

template <typename T>
ClassLoss make_class_loss(const Args& args) {
  const Tensor& x = args.tensor(0);
  ClassLoss loss;
  loss.log_probs = dense<T>(x);
  loss.target = dense<int64_t>(args.tensor(1));
  loss.n = x.dim() == 1 ? 1 : x.size(0);
  loss.classes = x.dim() == 1 ? x.size(0) : x.size(1);
  loss.positions = loss.n * loss.classes == 0 ? 0 : x.numel() / (loss.n * loss.classes);
  return loss;
}

template <typename T>
Tensor reduced_class_loss(const LossSums<T>& sums, int64_t reduction) {
  if (reduction == kNone) return sums.each;
  return Tensor::scalar(reduction == kMean ? sums.total / sums.weight : sums.total,
                        DTypeOf<T>::value);
}

Tensor log_softmax(const Tensor& x, int64_t axis) {
  return call("aten.log_softmax.int", {x, axis}).as<Tensor>();
}

Tensor sum_over(const Tensor& x, int64_t axis) {
  return call("aten.sum.dim_IntList", {x, Ints{axis}}).as<Tensor>();
}

bool probabilities(const TensorMeta& target) { return is_floating_point(target.dtype); }

// Class probabilities as the target: -sum(w * p * log_softmax(x)) per position.
template <typename T>
Tensor soft_cross_entropy(const Tensor& log_probs, const Tensor& target, const Tensor& weight,
                          int64_t reduction, double smoothing) {
  const int64_t classes = log_probs.dim() == 1 ? log_probs.size(0) : log_probs.size(1);
  const int64_t axis = log_probs.dim() == 1 ? 0 : 1;
  Tensor product = Tensor::empty(log_probs.sizes(), DTypeOf<T>::value);
  const T share = static_cast<T>(smoothing / static_cast<double>(classes));
  map2<T, T>(log_probs, target, product,
             [=](T l, T p) { return -l * (p * static_cast<T>(1 - smoothing) + share); });
  if (weight.defined()) {
    Shape sizes(idx(log_probs.dim()), 1);
    sizes[idx(axis)] = classes;
    map2<T, T>(product, weight.reshape(sizes), product, [](T a, T w) { return a * w; });
  }
  return reduce_loss<T>(sum_over(product, axis), reduction);
}

void register_cross_entropy(OpTable& t) {
  OpDef& op = t.define("aten.cross_entropy_loss.default",
                       "(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, SymInt "
                       "ignore_index=-100, float label_smoothing=0.0) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    const TensorMeta& x = args.meta(0);
    if (!probabilities(args.meta(1))) {
      check_target(x, args.meta(1));
    } else if (hints(args.meta(1).sizes) != hints(x.sizes)) {
      throw ValueError(cat("Expected floating point type target with class probabilities of shape ",
                           text(x.sizes), ", got ", text(args.meta(1).sizes)));
    }
    return reduced_loss(with_sizes(x, target_shape(x)), args.integer(3));
  };
  op.reference = [](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    return visit_float(meta.dtype, [&](auto tag) -> Value {
      using T = decltype(tag);
      const int64_t axis = args.tensor(0).dim() == 1 ? 0 : 1;
      const Tensor logs = log_softmax(args.tensor(0).to(DTypeOf<T>::value), axis);
      const Tensor weight = args.is_none(2) ? Tensor() : dense<T>(args.tensor(2));
      const int64_t reduction = args.integer(3);
      if (is_floating_point(args.tensor(1).dtype())) {
        Tensor out = soft_cross_entropy<T>(logs, args.tensor(1).to(DTypeOf<T>::value), weight,
                                           reduction == kMean ? kSum : reduction, args.number(5));
        if (reduction == kMean) {  // over samples and positions, not classes
          const auto count = static_cast<double>(logs.numel() / logs.size(axis));
          out = Tensor::scalar(out.item() / count, DTypeOf<T>::value);
        }
        return out.to(meta.dtype);
      }
      ClassLoss loss = make_class_loss<T>(args);
      loss.log_probs = logs.contiguous();
      return reduced_class_loss(class_losses<T>(loss, weight, args.integer(4), args.number(5)),
                                reduction)
          .to(meta.dtype);
    });
  };
}

void register_nll(OpTable& t) {
  const auto kernel = [](const Args& args) -> Value::List {
    const DType dtype = args.tensor(0).dtype();
    return visit_float(dtype, [&](auto tag) -> Value::List {
      using T = decltype(tag);
      const Tensor weight = args.is_none(2) ? Tensor() : dense<T>(args.tensor(2));
      const auto sums = class_losses<T>(make_class_loss<T>(args), weight, args.integer(4), 0);
      const double total = args.integer(3) == kNone ? 0 : sums.weight;
      return {reduced_class_loss(sums, args.integer(3)).to(dtype), Tensor::scalar(total, dtype)};
    });
  };
  const auto infer = [](const Args& args) {
    check_target(args.meta(0), args.meta(1));
    return reduced_loss(with_sizes(args.meta(0), target_shape(args.meta(0))), args.integer(3));
  };
  const char* defaults =
      "(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, SymInt "
      "ignore_index=-100) -> Tensor";
  for (const char* name : {"aten.nll_loss.default", "aten.nll_loss_nd.default"}) {
    OpDef& op = t.define(name, defaults);
    op.infer = [infer](const Args& args) -> Value { return infer(args); };
    op.reference = [kernel](const Args& args) -> Value {
      infer_output(args);
      return kernel(args)[0];
    };
  }
  OpDef& forward = t.define("aten.nll_loss_forward.default",
                            "(Tensor self, Tensor target, Tensor? weight, int reduction, SymInt "
                            "ignore_index) -> (Tensor output, Tensor total_weight)");
  forward.infer = [infer](const Args& args) -> Value {
    return Value::List{infer(args), with_sizes(args.meta(0), {})};
  };
  forward.reference = [kernel](const Args& args) -> Value {
    infer_outputs(args);
    return kernel(args);
  };
}

}  // namespace

void register_loss(OpTable& t) {
  register_elementwise(t);
  register_binary_cross_entropy(t);
  register_cross_entropy(t);
  register_nll(t);
}

}  // namespace pt2q
