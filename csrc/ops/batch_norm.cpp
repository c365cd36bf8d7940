// Batch normalisation, in evaluation and training.
#include <cmath>

#include "base/parallel.h"
#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/moments.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

// Where the statistics stand and what to do with them.
struct BatchNorm {
  size_t mean = 3, var = 4;
  bool training = false;
  double momentum = 0.1, eps = 1e-5;
};

void update_running(const Tensor& stat, int64_t channel, double value, double momentum) {
  if (!stat.defined()) return;
  Tensor one = stat.select(0, channel);
  one.copy_(Tensor::scalar((1 - momentum) * one.item() + momentum * value, DType::Float64));
}

// y = x * scale + shift per channel; returns {y, batch mean, 1/std of the batch} (the last two
// empty in eval mode).
Value::List batch_norm(const Args& args, const BatchNorm& bn) {
  const Tensor& input = args.tensor(0);
  const int64_t n = input.size(0), c = input.size(1);
  const int64_t plane = n * c == 0 ? 0 : input.numel() / (n * c);
  const Tensor mean = bn.mean < args.size() ? args.optional_tensor(bn.mean) : Tensor();
  const Tensor var = bn.mean < args.size() ? args.optional_tensor(bn.var) : Tensor();
  return visit_float(input.dtype(), [&](auto tag) -> Value::List {
    using T = decltype(tag);
    const Tensor x = dense<T>(input);
    const Tensor weight = dense_or_fill<T>(args, 1, c, 1), bias = dense_or_fill<T>(args, 2, c, 0);
    Tensor y = Tensor::empty(input.sizes(), DTypeOf<T>::value);
    const int64_t saved = bn.training ? c : 0;
    Tensor saved_mean = Tensor::empty({saved}, DTypeOf<T>::value);
    Tensor saved_invstd = Tensor::empty({saved}, DTypeOf<T>::value);
    T* out = y.template mutable_data<T>();
    const Tensor m = bn.training ? Tensor() : dense<T>(mean);
    const Tensor v = bn.training ? Tensor() : dense<T>(var);
    parallel_for(c, grain_for(n * plane), [&](int64_t begin, int64_t end) {
      for (int64_t ch = begin; ch < end; ++ch) {
        const T* in = x.data<T>() + ch * plane;
        double mu = 0, variance = 0;
        if (bn.training) {
          const auto batch = Moments<T>::of(in, n, plane, c * plane);
          mu = batch.mean;
          variance = batch.variance;
          const auto count = static_cast<double>(n * plane);
          update_running(mean, ch, mu, bn.momentum);
          update_running(var, ch, variance * count / (count - 1), bn.momentum);
          saved_mean.mutable_data<T>()[ch] = static_cast<T>(mu);
          saved_invstd.mutable_data<T>()[ch] = static_cast<T>(1 / std::sqrt(variance + bn.eps));
        } else {
          mu = static_cast<double>(m.data<T>()[ch]);
          variance = static_cast<double>(v.data<T>()[ch]);
        }
        const T scale = static_cast<T>(1 / std::sqrt(static_cast<T>(variance) + T(bn.eps))) *
                        weight.data<T>()[ch];
        const T shift = bias.data<T>()[ch] - static_cast<T>(mu) * scale;
        for (int64_t b = 0; b < n; ++b) {
          const int64_t at = (b * c + ch) * plane;
          for (int64_t i = 0; i < plane; ++i) out[at + i] = in[b * c * plane + i] * scale + shift;
        }
      }
    });
    return {y.to(input.dtype()), saved_mean, saved_invstd};
  });
}

Value infer_triple(const TensorMeta& x, const SymInt& saved) {
  const TensorMeta stat{
      {saved}, x.dtype == DType::Float64 ? DType::Float64 : DType::Float32, x.device};
  return Value::List{x, stat, stat};
}

void register_layer(OpTable& t) {
  OpDef& op = t.define("aten.batch_norm.default",
                       "(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? "
                       "running_var, bool training, float momentum, float eps, bool cudnn_enabled) "
                       "-> Tensor");
  op.infer = [](const Args& args) -> Value {
    check_channels(args, args.meta(0), {1, 2, 3, 4});
    if (!args.boolean(5)) check_statistics(args);
    return args.meta(0);
  };
  op.reference = [](const Args& args) -> Value {
    infer_output(args);
    return batch_norm(args, {3, 4, args.boolean(5), args.number(6), args.number(7)})[0];
  };
  op.quant = own({0}, 1, 2);
  op.traits.training_arg = 5;
  OpDef& eval = t.define("aten._native_batch_norm_legit_no_training.default",
                         "(Tensor input, Tensor? weight, Tensor? bias, Tensor running_mean, Tensor "
                         "running_var, float momentum, float eps) -> (Tensor, Tensor, Tensor)");
  eval.infer = [](const Args& args) -> Value {
    check_channels(args, args.meta(0), {1, 2, 3, 4});
    return infer_triple(args.meta(0), 0);
  };
  eval.reference = [](const Args& args) -> Value {
    infer_outputs(args);
    return batch_norm(args, {3, 4, false, args.number(5), args.number(6)});
  };
  eval.quant = own({0}, 1, 2);
}

void register_native(OpTable& t) {
  const InferFn infer = [](const Args& args) -> Value {
    check_channels(args, args.meta(0), {1, 2, 3, 4});
    if (!args.boolean(5)) check_statistics(args);
    return infer_triple(args.meta(0), args.boolean(5) ? args.meta(0).sizes[1] : SymInt(0));
  };
  const KernelFn kernel = [](const Args& args) -> Value {
    infer_outputs(args);
    return batch_norm(args, {3, 4, args.boolean(5), args.number(6), args.number(7)});
  };
  const char* rest = "bool training, float momentum, float eps) -> (Tensor, Tensor, Tensor)";
  OpDef& op = t.define("aten._native_batch_norm_legit.default",
                       cat("(Tensor input, Tensor? weight, Tensor? bias, Tensor(a!) running_mean, "
                           "Tensor(b!) running_var, ",
                           rest));
  op.infer = infer;
  op.reference = kernel;
  op.traits.training_arg = 5;
  OpDef& native = t.define("aten.native_batch_norm.default",
                           cat("(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, "
                               "Tensor? running_var, ",
                               rest));
  native.infer = infer;
  native.reference = kernel;
  native.traits.training_arg = 5;
  OpDef& free = t.define("aten._native_batch_norm_legit.no_stats",
                         cat("(Tensor input, Tensor? weight, Tensor? bias, ", rest));
  free.infer = [](const Args& args) -> Value {
    check_channels(args, args.meta(0), {1, 2});
    return infer_triple(args.meta(0), args.meta(0).sizes[1]);
  };
  free.reference = [](const Args& args) -> Value {
    infer_outputs(args);
    constexpr size_t kNone = SIZE_MAX;
    return batch_norm(args, {kNone, kNone, true, args.number(4), args.number(5)});
  };
}

}  // namespace

void register_batch_norm(OpTable& t) {
  register_layer(t);
  register_native(t);
}

}  // namespace pt2q
