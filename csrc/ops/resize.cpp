// Interpolation: nearest, linear in one to three dimensions, bicubic.
#include <cmath>

#include "base/parallel.h"
#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/gather.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

enum class Mode { Nearest, NearestExact, Linear, Cubic };

// How the rows give the output size: ".vec" with output_size or scale_factors, or plainly.
struct ResizeRow {
  size_t spatial;
  Mode mode;
  bool vec;
};

bool has_corners(const ResizeRow& row) {
  return row.mode == Mode::Linear || row.mode == Mode::Cubic;
}

// Scale factor of spatial dimension i, or 0 when only the sizes count.
double scale_argument(const Args& args, const ResizeRow& row, size_t i) {
  const size_t first = has_corners(row) ? 3 : 2;
  if (row.vec) return args.is_none(first) ? 0 : args.value(first).list().at(i).to_double();
  return args.is_none(first + i) ? 0 : args.number(first + i);
}

SymInt scaled_size(const SymInt& size, double scale) {
  if (size.is_constant()) {
    return static_cast<int64_t>(std::floor(static_cast<double>(size.hint()) * scale));
  }
  if (scale == std::floor(scale)) return size * SymInt(static_cast<int64_t>(scale));
  const double inverse = 1 / scale;
  if (inverse == std::floor(inverse)) return floordiv(size, static_cast<int64_t>(inverse));
  return size.constant();  // throws: no formula for this factor of a dynamic size
}

Value infer_resize(const Args& args, const ResizeRow& row) {
  TensorMeta meta = args.meta(0);
  require_rank(meta, static_cast<int64_t>(row.spatial) + 2, "input");
  const bool by_size = !args.is_none(1);
  if (row.vec) {
    const size_t scales = has_corners(row) ? 3 : 2;
    if (by_size == !args.is_none(scales)) {
      throw ValueError("Must specify exactly one of output_size and scale_factors");
    }
  }
  for (size_t i = 0; i < row.spatial; ++i) {
    SymInt& size = meta.sizes[i + 2];
    size = by_size ? args.sym_ints(1).at(i) : scaled_size(size, scale_argument(args, row, i));
    if (size.hint() <= 0 || args.meta(0).sizes[i + 2].hint() <= 0) {
      throw ValueError(cat("Input and output sizes should be greater than 0, but got input ",
                           text(args.meta(0).sizes), " and output ", text(meta.sizes)));
    }
  }
  return meta;
}

// --- one dimension -------------------------------------------------------------------------------

// Output element i is sum of weight[k] * x[index[k]] over its taps.
struct Taps {
  int64_t count = 1;
  Ints index;                  // [out][count]
  std::vector<double> weight;  // [out][count]
};

// PyTorch computes source positions in float32.
float source_scale(int64_t in, int64_t out, double scale, bool corners) {
  if (corners) {
    return out > 1 ? static_cast<float>(in - 1) / static_cast<float>(out - 1) : 0.0F;
  }
  return scale > 0 ? static_cast<float>(1.0 / scale)
                   : static_cast<float>(in) / static_cast<float>(out);
}

Ints nearest_table(int64_t in, int64_t out, double scale, bool exact) {
  const float step = source_scale(in, out, scale, false);
  Ints table;
  for (int64_t i = 0; i < out; ++i) {
    const float at = exact ? (static_cast<float>(i) + 0.5F) * step : static_cast<float>(i) * step;
    table.push_back(std::min(static_cast<int64_t>(std::floor(at)), in - 1));
  }
  return table;
}

Taps linear_taps(int64_t in, int64_t out, double scale, bool corners) {
  const float step = source_scale(in, out, scale, corners);
  Taps taps;
  taps.count = 2;
  for (int64_t i = 0; i < out; ++i) {
    const float at = corners ? step * static_cast<float>(i)
                             : std::max(0.0F, step * (static_cast<float>(i) + 0.5F) - 0.5F);
    const int64_t low = std::min(static_cast<int64_t>(at), in - 1);
    const double fraction =
        std::min(1.0, std::max(0.0, static_cast<double>(at - static_cast<float>(low))));
    taps.index.push_back(low);
    taps.index.push_back(std::min(low + 1, in - 1));
    taps.weight.push_back(1 - fraction);
    taps.weight.push_back(fraction);
  }
  return taps;
}

// Keys' cubic convolution with A = -0.75.
double cubic_weight(double distance) {
  constexpr double kA = -0.75;
  const double d = std::abs(distance);
  if (d <= 1) return ((kA + 2) * d - (kA + 3)) * d * d + 1;
  return ((kA * d - 5 * kA) * d + 8 * kA) * d - 4 * kA;
}

Taps cubic_taps(int64_t in, int64_t out, double scale, bool corners) {
  const float step = source_scale(in, out, scale, corners);
  Taps taps;
  taps.count = 4;
  for (int64_t i = 0; i < out; ++i) {
    const float at =
        corners ? step * static_cast<float>(i) : step * (static_cast<float>(i) + 0.5F) - 0.5F;
    const auto low = static_cast<int64_t>(std::floor(at));
    const double fraction = static_cast<double>(at - static_cast<float>(low));
    for (int64_t k = -1; k < 3; ++k) {
      taps.index.push_back(std::clamp<int64_t>(low + k, 0, in - 1));
      taps.weight.push_back(cubic_weight(fraction - static_cast<double>(k)));
    }
  }
  return taps;
}

template <typename T>
Tensor apply_taps(const Tensor& x, int64_t dim, const Taps& taps) {
  Shape sizes = x.sizes();
  const int64_t in = sizes[idx(dim)];
  const auto out_size = static_cast<int64_t>(taps.index.size()) / taps.count;
  sizes[idx(dim)] = out_size;
  Tensor out = Tensor::zeros(sizes, DTypeOf<T>::value);
  if (out.numel() == 0) return out;
  int64_t inner = 1;
  for (int64_t d = dim + 1; d < x.dim(); ++d) inner *= sizes[idx(d)];
  const int64_t outer = out.numel() / (inner * out_size);
  const T* from = x.data<T>();
  T* to = out.mutable_data<T>();
  parallel_for(outer, grain_for(taps.count * out_size * inner), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin * out_size; row < end * out_size; ++row) {
      T* y = to + row * inner;
      for (int64_t k = 0; k < taps.count; ++k) {
        const size_t tap = idx(row % out_size * taps.count + k);
        const T weight = static_cast<T>(taps.weight[tap]);
        const T* source = from + (row / out_size * in + taps.index[tap]) * inner;
        for (int64_t i = 0; i < inner; ++i) y[i] += weight * source[i];
      }
    }
  });
  return out;
}

// --- all dimensions ------------------------------------------------------------------------------

Value resize(const Args& args, const ResizeRow& row) {
  const TensorMeta meta = infer_output(args);
  const Shape sizes = hints(meta.sizes);
  const bool corners = has_corners(row) && args.boolean(2);
  Tensor x = args.tensor(0);
  if (!has_corners(row)) {
    for (size_t i = 0; i < row.spatial; ++i) {
      const auto dim = static_cast<int64_t>(i) + 2;
      x = take_slices(x, dim,
                      nearest_table(x.size(dim), sizes[i + 2], scale_argument(args, row, i),
                                    row.mode == Mode::NearestExact));
    }
    return x;
  }
  return visit_float(meta.dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    Tensor y = dense<T>(x);
    for (size_t i = row.spatial; i-- > 0;) {  // the innermost first, as PyTorch does
      const auto dim = static_cast<int64_t>(i) + 2;
      const double scale = scale_argument(args, row, i);
      y = apply_taps<T>(y, dim,
                        row.mode == Mode::Linear
                            ? linear_taps(y.size(dim), sizes[i + 2], scale, corners)
                            : cubic_taps(y.size(dim), sizes[i + 2], scale, corners));
    }
    return y.to(meta.dtype);
  });
}

void define_resize(OpTable& t, const std::string& name, ResizeRow row) {
  const char* corners = has_corners(row) ? "bool align_corners, " : "";
  const char* const scales[] = {"float? scales=None", "float? scales_h=None, float? scales_w=None",
                                "float? scales_d=None, float? scales_h=None, float? scales_w=None"};
  for (const bool vec : {false, true}) {
    row.vec = vec;
    OpDef& op = t.define(cat("aten.", name, vec ? ".vec" : ".default"),
                         vec ? cat("(Tensor input, SymInt[]? output_size, ", corners,
                                   "float[]? scale_factors) -> Tensor")
                             : cat("(Tensor self, SymInt[", row.spatial, "] output_size, ", corners,
                                   scales[row.spatial - 1], ") -> Tensor"));
    op.infer = [row](const Args& args) { return infer_resize(args, row); };
    op.reference = [row](const Args& args) { return resize(args, row); };
    op.quant = has_corners(row) ? own({0}) : shares_input();
  }
}

}  // namespace

void register_resize(OpTable& t) {
  for (const size_t n : {1U, 2U, 3U}) {
    define_resize(t, cat("upsample_nearest", n, "d"), {n, Mode::Nearest, false});
    define_resize(t, cat("_upsample_nearest_exact", n, "d"), {n, Mode::NearestExact, false});
  }
  define_resize(t, "upsample_linear1d", {1, Mode::Linear, false});
  define_resize(t, "upsample_bilinear2d", {2, Mode::Linear, false});
  define_resize(t, "upsample_trilinear3d", {3, Mode::Linear, false});
  define_resize(t, "upsample_bicubic2d", {2, Mode::Cubic, false});
}

}  // namespace pt2q
