// Max, average and adaptive pooling in one to three dimensions.
#include <limits>

#include "base/parallel.h"
#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/operands.h"
#include "ops/support/window.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

struct PoolParams {
  Ints kernel, stride, padding, dilation;
  bool ceil_mode = false;
  bool count_padding = true;
  int64_t divisor = 0;  // 0: the number of elements of the window
};

// Arguments 1..3 are kernel_size, stride ([]: the kernel's), padding.
PoolParams window_params(const Args& args, size_t spatial) {
  PoolParams p;
  p.kernel = repeat_to(args.integers(1), spatial, 1);
  p.stride = args.integers(2).empty() ? p.kernel : repeat_to(args.integers(2), spatial, 1);
  p.padding = repeat_to(args.integers(3), spatial, 0);
  p.dilation = Ints(spatial, 1);
  for (size_t i = 0; i < spatial; ++i) {
    if (p.kernel[i] <= 0) throw ValueError("kernel size should be greater than zero");
    if (p.stride[i] <= 0) throw ValueError("stride should be greater than zero");
    if (p.padding[i] < 0 || p.padding[i] > p.kernel[i] / 2) {
      throw ValueError(cat("pad should be at most half of effective kernel size, but got pad=",
                           p.padding[i], ", kernel_size=", p.kernel[i]));
    }
  }
  return p;
}

PoolParams max_params(const Args& args, size_t spatial) {
  PoolParams p = window_params(args, spatial);
  p.dilation = repeat_to(args.integers(4), spatial, 1);
  p.ceil_mode = args.boolean(5);
  return p;
}

PoolParams average_params(const Args& args, size_t spatial) {
  PoolParams p = window_params(args, spatial);
  p.ceil_mode = args.boolean(4);
  p.count_padding = args.boolean(5);
  if (args.size() > 6 && !args.is_none(6)) {
    p.divisor = args.integer(6);
    if (p.divisor == 0) throw ValueError("divisor must be not zero");
  }
  return p;
}

// Input [N, C, spatial...] or [C, spatial...].
void check_input(const TensorMeta& x, size_t spatial) {
  const auto n = static_cast<int64_t>(spatial);
  if (rank(x) == n + 1 || rank(x) == n + 2) return;
  throw ValueError(cat("Expected ", n + 1, "D or ", n + 2,
                       "D (batch mode) tensor for input, but "
                       "got: ",
                       text(x.sizes)));
}

TensorMeta infer_pool(const TensorMeta& x, const PoolParams& p) {
  check_input(x, p.kernel.size());
  TensorMeta out = x;
  const size_t first = x.sizes.size() - p.kernel.size();
  for (size_t i = 0; i < p.kernel.size(); ++i) {
    SymInt& size = out.sizes[first + i];
    size = p.ceil_mode
               ? window_size_ceil(size, p.kernel[i], p.stride[i], p.padding[i], p.dilation[i])
               : window_size(size, p.kernel[i], p.stride[i], p.padding[i], p.padding[i],
                             p.dilation[i]);
  }
  return out;
}

struct Range {
  int64_t begin, end;
  int64_t padded_end = 0;  // end before clipping to the input, at most input + padding
};

// Calls fn(plane index, out index inside the plane, z, y, x) for all output elements.
template <typename Fn>
void for_each_output(int64_t planes, const Dims3& out, Fn&& fn) {
  parallel_for(planes, std::max<int64_t>(1, 4096 / std::max<int64_t>(1, volume(out))),
               [&](int64_t begin, int64_t end) {
                 for (int64_t plane = begin; plane < end; ++plane) {
                   int64_t i = 0;
                   for (int64_t z = 0; z < out[0]; ++z) {
                     for (int64_t y = 0; y < out[1]; ++y) {
                       for (int64_t x = 0; x < out[2]; ++x) fn(plane, i++, Dims3{z, y, x});
                     }
                   }
                 }
               });
}

struct PoolShape {
  Dims3 in, out;
  int64_t planes;
};

PoolShape pool_shape(const Tensor& x, const Tensor& y, size_t spatial) {
  const auto n = static_cast<int64_t>(spatial);
  const Dims3 in = dims3(Ints(x.sizes().end() - n, x.sizes().end()), 1);
  const Dims3 out = dims3(Ints(y.sizes().end() - n, y.sizes().end()), 1);
  const int64_t plane = volume(out);
  return {in, out, plane == 0 ? 0 : y.numel() / plane};
}

// The largest element of a window and where it is; NaN wins.
template <typename T>
void max_pool(const PoolShape& s, const PoolParams& p, const T* x, T* y, int64_t* indices) {
  const Dims3 k = dims3(p.kernel, 1), stride = dims3(p.stride, 1), pad = dims3(p.padding, 0),
              dilation = dims3(p.dilation, 1);
  for_each_output(s.planes, s.out, [&](int64_t plane, int64_t i, const Dims3& at) {
    const T* in = x + plane * volume(s.in);
    int64_t best = -1;
    T top = T(0);
    for (int64_t a = 0; a < k[0]; ++a) {
      const int64_t iz = at[0] * stride[0] - pad[0] + a * dilation[0];
      if (iz < 0 || iz >= s.in[0]) continue;
      for (int64_t b = 0; b < k[1]; ++b) {
        const int64_t iy = at[1] * stride[1] - pad[1] + b * dilation[1];
        if (iy < 0 || iy >= s.in[1]) continue;
        const int64_t row = (iz * s.in[1] + iy) * s.in[2];
        for (int64_t c = 0; c < k[2]; ++c) {
          const int64_t ix = at[2] * stride[2] - pad[2] + c * dilation[2];
          if (ix < 0 || ix >= s.in[2]) continue;
          const T v = in[row + ix];
          if (best < 0 || v > top || v != v) {
            top = v;
            best = row + ix;
          }
        }
      }
    }
    y[plane * volume(s.out) + i] = top;
    if (indices != nullptr) indices[plane * volume(s.out) + i] = best;
  });
}

template <typename T, typename Window>
void average_windows(const PoolShape& s, const T* x, T* y, Window&& window) {
  for_each_output(s.planes, s.out, [&](int64_t plane, int64_t i, const Dims3& at) {
    const T* in = x + plane * volume(s.in);
    std::array<Range, 3> r;
    const int64_t divisor = window(at, &r);
    T sum = 0;
    for (int64_t z = r[0].begin; z < r[0].end; ++z) {
      for (int64_t yy = r[1].begin; yy < r[1].end; ++yy) {
        const T* row = in + (z * s.in[1] + yy) * s.in[2];
        for (int64_t xx = r[2].begin; xx < r[2].end; ++xx) sum += row[xx];
      }
    }
    y[plane * volume(s.out) + i] = sum / static_cast<T>(divisor);
  });
}

Value reference_max(const Args& args, size_t spatial, bool with_indices) {
  const Value inferred = infer_outputs(args);
  const TensorMeta meta =
      with_indices ? inferred.list()[0].as<TensorMeta>() : inferred.as<TensorMeta>();
  const PoolParams p = max_params(args, spatial);
  return visit_compute(meta.dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    const Tensor x = dense<T>(args.tensor(0));
    Tensor y = make_output(with_dtype(meta, DTypeOf<T>::value));
    Tensor indices = with_indices ? make_output(with_dtype(meta, DType::Int64)) : Tensor();
    max_pool(pool_shape(x, y, spatial), p, x.data<T>(), y.mutable_data<T>(),
             with_indices ? indices.mutable_data<int64_t>() : nullptr);
    const Tensor values = y.to(meta.dtype);
    return with_indices ? Value(Value::List{values, indices}) : Value(values);
  });
}

Value reference_average(const Args& args, size_t spatial) {
  const TensorMeta meta = infer_output(args);
  const PoolParams p = average_params(args, spatial);
  const Dims3 k = dims3(p.kernel, 1), stride = dims3(p.stride, 1), pad = dims3(p.padding, 0);
  return visit_compute(meta.dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    const Tensor x = dense<T>(args.tensor(0));
    Tensor y = make_output(with_dtype(meta, DTypeOf<T>::value));
    const PoolShape s = pool_shape(x, y, spatial);
    average_windows(s, x.data<T>(), y.mutable_data<T>(),
                    [&](const Dims3& at, std::array<Range, 3>* r) {
                      int64_t padded = 1, inside = 1;
                      for (size_t d = 0; d < 3; ++d) {
                        const int64_t begin = at[d] * stride[d] - pad[d];
                        const int64_t end = std::min(begin + k[d], s.in[d] + pad[d]);
                        padded *= end - begin;
                        (*r)[d] = {std::max<int64_t>(begin, 0), std::min(end, s.in[d]), end};
                        inside *= std::max<int64_t>(0, (*r)[d].end - (*r)[d].begin);
                      }
                      if (p.divisor != 0) return p.divisor;
                      return std::max<int64_t>(1, p.count_padding ? padded : inside);
                    });
    return y.to(meta.dtype);
  });
}

// --- adaptive ----------------------------------------------------------------------------------

TensorMeta infer_adaptive(const Args& args, size_t spatial) {
  const TensorMeta& x = args.meta(0);
  check_input(x, spatial);
  const SymShape wanted = args.sym_ints(1);
  TensorMeta out = x;
  const size_t first = x.sizes.size() - spatial;
  for (size_t i = 0; i < spatial; ++i) {
    out.sizes[first + i] = wanted.size() == 1 ? wanted[0] : wanted.at(i);
    if (out.sizes[first + i].hint() < 0) {
      throw ValueError(
          cat("elements of output_size must be greater than or equal to 0 but received ",
              text(wanted)));
    }
    if (x.sizes[first + i].hint() == 0) {
      throw ValueError(
          cat("Expected input to have non-zero size for non-batch dimensions, but "
              "input has sizes ",
              text(x.sizes)));
    }
  }
  return out;
}

Range adaptive_range(int64_t i, int64_t in, int64_t out) {
  return {i * in / out, ((i + 1) * in + out - 1) / out};
}

Value reference_adaptive_average(const Args& args, size_t spatial) {
  const TensorMeta meta = infer_output(args);
  return visit_compute(meta.dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    const Tensor x = dense<T>(args.tensor(0));
    Tensor y = make_output(with_dtype(meta, DTypeOf<T>::value));
    const PoolShape s = pool_shape(x, y, spatial);
    average_windows(s, x.data<T>(), y.mutable_data<T>(),
                    [&](const Dims3& at, std::array<Range, 3>* r) {
                      int64_t count = 1;
                      for (size_t d = 0; d < 3; ++d) {
                        (*r)[d] = adaptive_range(at[d], s.in[d], s.out[d]);
                        count *= (*r)[d].end - (*r)[d].begin;
                      }
                      return count;
                    });
    return y.to(meta.dtype);
  });
}

Value reference_adaptive_max(const Args& args, size_t spatial) {
  const TensorMeta meta = infer_outputs(args).list()[0].as<TensorMeta>();
  return visit_compute(meta.dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    const Tensor x = dense<T>(args.tensor(0));
    Tensor y = make_output(with_dtype(meta, DTypeOf<T>::value));
    Tensor indices = make_output(with_dtype(meta, DType::Int64));
    const PoolShape s = pool_shape(x, y, spatial);
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    auto* where = indices.mutable_data<int64_t>();
    for_each_output(s.planes, s.out, [&](int64_t plane, int64_t i, const Dims3& at) {
      const T* image = in + plane * volume(s.in);
      std::array<Range, 3> r;
      for (size_t d = 0; d < 3; ++d) r[d] = adaptive_range(at[d], s.in[d], s.out[d]);
      int64_t best = (r[0].begin * s.in[1] + r[1].begin) * s.in[2] + r[2].begin;
      for (int64_t z = r[0].begin; z < r[0].end; ++z) {
        for (int64_t yy = r[1].begin; yy < r[1].end; ++yy) {
          for (int64_t xx = r[2].begin; xx < r[2].end; ++xx) {
            const int64_t j = (z * s.in[1] + yy) * s.in[2] + xx;
            if (image[j] > image[best] || image[j] != image[j]) best = j;
          }
        }
      }
      out[plane * volume(s.out) + i] = image[best];
      where[plane * volume(s.out) + i] = best;
    });
    return Value(Value::List{y.to(meta.dtype), indices});
  });
}

// --- rows --------------------------------------------------------------------------------------

void define_max(OpTable& t, size_t n) {
  const std::string args =
      cat("(Tensor self, int[", n, "] kernel_size, int[", n, "] stride=[], int[", n,
          "] padding=0, int[", n, "] dilation=1, bool ceil_mode=False)");
  OpDef& op = t.define(cat("aten.max_pool", n, "d.default"), args + " -> Tensor");
  op.infer = [n](const Args& a) -> Value { return infer_pool(a.meta(0), max_params(a, n)); };
  op.reference = [n](const Args& a) { return reference_max(a, n, false); };
  op.quant = shares_input();
  OpDef& pair =
      t.define(cat("aten.max_pool", n, "d_with_indices.default"), args + " -> (Tensor, Tensor)");
  pair.infer = [n](const Args& a) -> Value {
    const TensorMeta out = infer_pool(a.meta(0), max_params(a, n));
    return Value::List{out, with_dtype(out, DType::Int64)};
  };
  pair.reference = [n](const Args& a) { return reference_max(a, n, true); };
}

void define_average(OpTable& t, size_t n) {
  OpDef& op = t.define(cat("aten.avg_pool", n, "d.default"),
                       cat("(Tensor self, int[", n, "] kernel_size, int[", n, "] stride=[], int[",
                           n, "] padding=0, bool ceil_mode=False, bool count_include_pad=True",
                           n == 1 ? "" : ", int? divisor_override=None", ") -> Tensor"));
  op.infer = [n](const Args& a) -> Value { return infer_pool(a.meta(0), average_params(a, n)); };
  op.reference = [n](const Args& a) { return reference_average(a, n); };
  op.quant = shares_input();
}

void define_adaptive(OpTable& t, size_t n) {
  OpDef& average = t.define(
      cat("aten.adaptive_avg_pool", n, "d.default"),
      cat("(Tensor self, ", n == 1 ? "int" : "SymInt", "[", n, "] output_size) -> Tensor"));
  average.infer = [n](const Args& a) -> Value { return infer_adaptive(a, n); };
  average.reference = [n](const Args& a) { return reference_adaptive_average(a, n); };
  average.quant = shares_input();
  OpDef& largest = t.define(cat("aten.adaptive_max_pool", n, "d.default"),
                            cat("(Tensor self, int[", n, "] output_size) -> (Tensor, Tensor)"));
  largest.infer = [n](const Args& a) -> Value {
    const TensorMeta out = infer_adaptive(a, n);
    return Value::List{out, with_dtype(out, DType::Int64)};
  };
  largest.reference = [n](const Args& a) { return reference_adaptive_max(a, n); };
}

}  // namespace

void register_pool(OpTable& t) {
  for (const size_t n : {1U, 2U, 3U}) {
    define_max(t, n);
    define_average(t, n);
    define_adaptive(t, n);
  }
  t.define_alias("aten._adaptive_avg_pool2d.default", "aten.adaptive_avg_pool2d.default");
  t.define_alias("aten._adaptive_avg_pool3d.default", "aten.adaptive_avg_pool3d.default");
}

}  // namespace pt2q
