// Normalisation over layers, groups and instances; RMS norm.
#include <cmath>

#include "base/parallel.h"
#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/moments.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

// Normalises `rows` runs of `length` elements. weight/bias are indexed by
// (row % row_period) * (length / inner) + i / inner: per element (inner 1) or per channel.
struct RowNorm {
  int64_t rows, length, row_period, inner;
  double eps;
};

// Returns {y, means, 1/std}.
Value::List normalize_rows(const Args& args, size_t weight_arg, size_t bias_arg,
                           const RowNorm& norm) {
  const Tensor& input = args.tensor(0);
  return visit_float(input.dtype(), [&](auto tag) -> Value::List {
    using T = decltype(tag);
    const Tensor x = dense<T>(input);
    const int64_t per_row = norm.length / std::max<int64_t>(1, norm.inner);
    const Tensor weight = dense_or_fill<T>(args, weight_arg, norm.row_period * per_row, 1);
    const Tensor bias = dense_or_fill<T>(args, bias_arg, norm.row_period * per_row, 0);
    Tensor y = Tensor::empty(input.sizes(), DTypeOf<T>::value);
    Tensor means = Tensor::empty({norm.rows}, DTypeOf<T>::value);
    Tensor scales = Tensor::empty({norm.rows}, DTypeOf<T>::value);
    T* out = y.template mutable_data<T>();
    T* mean_out = means.template mutable_data<T>();
    T* scale_out = scales.template mutable_data<T>();
    parallel_for(norm.rows, grain_for(4 * norm.length), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* in = x.data<T>() + r * norm.length;
        const auto m = Moments<T>::of(in, 1, norm.length, 0);
        const T mean = static_cast<T>(m.mean);
        const T scale = static_cast<T>(1 / std::sqrt(m.variance + norm.eps));
        mean_out[r] = mean;
        scale_out[r] = scale;
        const int64_t first = r % norm.row_period * per_row;
        for (int64_t i = 0; i < norm.length; ++i) {
          const int64_t p = first + i / norm.inner;
          out[r * norm.length + i] =
              (in[i] - mean) * scale * weight.data<T>()[p] + bias.data<T>()[p];
        }
      }
    });
    return {y.to(input.dtype()), means, scales};
  });
}

// The trailing dimensions must equal normalized_shape, as must weight and bias.
size_t check_normalized(const Args& args, std::initializer_list<size_t> params) {
  const TensorMeta& x = args.meta(0);
  const SymShape shape = args.sym_ints(1);
  const auto ends_with = [&](const SymShape& sizes) {
    return !shape.empty() && sizes.size() >= shape.size() &&
           std::equal(shape.begin(), shape.end(), sizes.end() - static_cast<int64_t>(shape.size()),
                      same_size);
  };
  if (!ends_with(x.sizes)) {
    throw ValueError(cat("Given normalized_shape=", text(shape), ", expected input with shape [*, ",
                         text(shape), "], but got input of size ", text(x.sizes)));
  }
  for (const size_t i : params) {
    if (args.is_none(i)) continue;
    const SymShape& sizes = args.meta(i).sizes;
    if (sizes.size() == shape.size() && ends_with(sizes)) continue;
    throw ValueError(cat("Expected ", args.op().schema.args[i].name,
                         " to be of same shape as normalized_shape, but got ", text(sizes),
                         " and normalized_shape = ", text(shape)));
  }
  return x.sizes.size() - shape.size();
}

RowNorm layer_rows(const Tensor& x, size_t normalized, double eps) {
  int64_t length = 1;
  for (size_t i = x.sizes().size() - normalized; i < x.sizes().size(); ++i) length *= x.sizes()[i];
  return {length == 0 ? 0 : x.numel() / length, length, 1, 1, eps};
}

void register_layer_norm(OpTable& t) {
  OpDef& op = t.define("aten.layer_norm.default",
                       "(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, Tensor? "
                       "bias=None, float eps=1e-05, bool cudnn_enable=True) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    check_normalized(args, {2, 3});
    return args.meta(0);
  };
  op.reference = [](const Args& args) -> Value {
    infer_output(args);
    return normalize_rows(args, 2, 3,
                          layer_rows(args.tensor(0), args.integers(1).size(), args.number(4)))[0];
  };
  op.quant = own({0});
  OpDef& native = t.define("aten.native_layer_norm.default",
                           "(Tensor input, SymInt[] normalized_shape, Tensor? weight, Tensor? "
                           "bias, float eps) -> (Tensor, Tensor, Tensor)");
  native.infer = [](const Args& args) -> Value {
    const size_t outer = check_normalized(args, {2, 3});
    const TensorMeta& x = args.meta(0);
    SymShape sizes = x.sizes;
    for (size_t i = outer; i < sizes.size(); ++i) sizes[i] = 1;
    const TensorMeta stat = with_sizes(x, sizes);
    return Value::List{x, stat, stat};
  };
  native.reference = [](const Args& args) -> Value {
    const Value metas = infer_outputs(args);
    Value::List out = normalize_rows(
        args, 2, 3, layer_rows(args.tensor(0), args.integers(1).size(), args.number(4)));
    for (size_t i = 1; i < 3; ++i) {
      const TensorMeta& meta = metas.list()[i].as<TensorMeta>();
      out[i] = out[i].as<Tensor>().to(meta.dtype).reshape(hints(meta.sizes));
    }
    return out;
  };
}

// x / sqrt(mean(x^2) + eps) * weight; eps None: the machine epsilon of the dtype.
void register_rms_norm(OpTable& t) {
  OpDef& op = t.define("aten.rms_norm.default",
                       "(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, float? "
                       "eps=None) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    check_normalized(args, {2});
    return args.meta(0);
  };
  op.reference = [](const Args& args) -> Value {
    infer_output(args);
    const Tensor& input = args.tensor(0);
    const RowNorm rows = layer_rows(input, args.integers(1).size(), 0);
    return visit_float(input.dtype(), [&](auto tag) -> Value {
      using T = decltype(tag);
      const Tensor x = dense<T>(input);
      const Tensor weight = dense_or_fill<T>(args, 2, rows.length, 1);
      const double eps =
          args.is_none(3) ? static_cast<double>(std::numeric_limits<T>::epsilon()) : args.number(3);
      Tensor y = Tensor::empty(input.sizes(), DTypeOf<T>::value);
      T* out = y.template mutable_data<T>();
      for (int64_t r = 0; r < rows.rows; ++r) {
        const T* in = x.data<T>() + r * rows.length;
        double squares = 0;
        for (int64_t i = 0; i < rows.length; ++i) squares += static_cast<double>(in[i]) * in[i];
        const T scale =
            static_cast<T>(1 / std::sqrt(squares / static_cast<double>(rows.length) + eps));
        for (int64_t i = 0; i < rows.length; ++i) {
          out[r * rows.length + i] = in[i] * scale * weight.data<T>()[i];
        }
      }
      return y.to(input.dtype());
    });
  };
  op.quant = own({0});
}

void check_groups(const SymInt& channels, int64_t groups, const TensorMeta& x) {
  if (groups > 0 && channels.hint() % groups == 0) return;
  throw ValueError(
      cat("Expected number of channels in input to be divisible by num_groups, but got "
          "input of shape ",
          text(x.sizes), " and num_groups=", groups));
}

RowNorm group_rows(const Tensor& x, int64_t groups, double eps) {
  const int64_t n = x.size(0), c = x.size(1);
  const int64_t plane = n * c == 0 ? 0 : x.numel() / (n * c);
  return {n * groups, c / groups * plane, groups, plane, eps};
}

void register_group_norm(OpTable& t) {
  OpDef& op = t.define("aten.group_norm.default",
                       "(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, "
                       "float eps=1e-05, bool cudnn_enabled=True) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    check_channels(args, args.meta(0), {2, 3});
    check_groups(args.meta(0).sizes[1], args.integer(1), args.meta(0));
    return args.meta(0);
  };
  op.reference = [](const Args& args) -> Value {
    infer_output(args);
    return normalize_rows(args, 2, 3,
                          group_rows(args.tensor(0), args.integer(1), args.number(4)))[0];
  };
  op.quant = own({0});
  OpDef& native =
      t.define("aten.native_group_norm.default",
               "(Tensor input, Tensor? weight, Tensor? bias, SymInt N, SymInt C, SymInt "
               "HxW, int group, float eps) -> (Tensor, Tensor, Tensor)");
  native.infer = [](const Args& args) -> Value {
    check_channels(args, args.meta(0), {1, 2});
    check_groups(args.meta(0).sizes[1], args.integer(6), args.meta(0));
    const TensorMeta stat = with_sizes(args.meta(0), {args.meta(0).sizes[0], args.integer(6)});
    return Value::List{args.meta(0), stat, stat};
  };
  native.reference = [](const Args& args) -> Value {
    infer_outputs(args);
    const int64_t groups = args.integer(6);
    Value::List out =
        normalize_rows(args, 1, 2, group_rows(args.tensor(0), groups, args.number(7)));
    for (size_t i = 1; i < 3; ++i) {
      out[i] =
          out[i].as<Tensor>().to(args.tensor(0).dtype()).reshape({args.tensor(0).size(0), groups});
    }
    return out;
  };
}

// With input statistics each channel of each sample is a group of its own; else batch norm in eval.
void register_instance_norm(OpTable& t) {
  OpDef& op = t.define("aten.instance_norm.default",
                       "(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? "
                       "running_var, bool use_input_stats, float momentum, float eps, bool "
                       "cudnn_enabled) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    check_channels(args, args.meta(0), {1, 2, 3, 4});
    if (!args.boolean(5)) check_statistics(args);
    return args.meta(0);
  };
  op.reference = [](const Args& args) -> Value {
    infer_output(args);
    if (!args.boolean(5)) {
      return call("aten.batch_norm.default",
                  {args.value(0), args.value(1), args.value(2), args.value(3), args.value(4), false,
                   args.value(6), args.value(7), args.value(8)});
    }
    const Tensor& x = args.tensor(0);
    return normalize_rows(args, 1, 2, group_rows(x, x.size(1), args.number(7)))[0];
  };
  op.quant = own({0});
}

}  // namespace

void register_norm(OpTable& t) {
  register_layer_norm(t);
  register_rms_norm(t);
  register_group_norm(t);
  register_instance_norm(t);
}

}  // namespace pt2q
