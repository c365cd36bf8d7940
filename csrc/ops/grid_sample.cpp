// grid_sampler and affine_grid_generator: sampling an image at arbitrary positions.
#include <array>
#include <cmath>

#include "base/parallel.h"
#include "base/strings.h"
#include "ops/support/operands.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

enum Interpolation : int64_t { kBilinear = 0, kNearest = 1, kBicubic = 2 };
enum Padding : int64_t { kZeros = 0, kBorder = 1, kReflection = 2 };

// [-1, 1] → pixel position.
template <typename T>
T unnormalize(T x, int64_t size, bool corners) {
  const T n = static_cast<T>(size);
  return corners ? (x + 1) / 2 * (n - 1) : ((x + 1) * n - 1) / 2;
}

template <typename T>
T reflect(T x, T low, T high) {
  if (low == high) return 0;
  const T span = high - low;
  x = std::abs(x - low);
  const T extra = std::fmod(x, span);
  const auto flips = static_cast<int64_t>(std::floor(x / span));
  return flips % 2 == 0 ? extra + low : span - extra + low;
}

// Position after the padding rule; zeros keeps it outside.
template <typename T>
T padded(T x, int64_t size, int64_t padding, bool corners) {
  const T last = static_cast<T>(size - 1);
  if (padding == kReflection) {
    x = corners ? reflect(x, T(0), last) : reflect(x, T(-0.5), static_cast<T>(size) - T(0.5));
  }
  if (padding != kZeros) x = std::min(last, std::max(x, T(0)));
  return x;
}

template <typename T>
struct Plane {
  const T* data;
  int64_t height, width;
  T at(int64_t y, int64_t x) const {
    return y >= 0 && y < height && x >= 0 && x < width ? data[y * width + x] : T(0);
  }
};

template <typename T>
std::array<T, 4> cubic_weights(T t) {
  constexpr T kA = T(-0.75);
  const auto near = [](T d) { return ((kA + 2) * d - (kA + 3)) * d * d + 1; };
  const auto far = [](T d) { return ((kA * d - 5 * kA) * d + 8 * kA) * d - 4 * kA; };
  return {far(t + 1), near(t), near(1 - t), far(2 - t)};
}

// Bicubic looks at 16 pixels, each moved by the padding rule.
template <typename T>
T sample_cubic(const Plane<T>& p, T y, T x, int64_t padding, bool corners) {
  const auto row = static_cast<int64_t>(std::floor(y)),
             column = static_cast<int64_t>(std::floor(x));
  const auto wy = cubic_weights(y - static_cast<T>(row));
  const auto wx = cubic_weights(x - static_cast<T>(column));
  T sum = 0;
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 4; ++j) {
      const T py = padded(static_cast<T>(row - 1 + i), p.height, padding, corners);
      const T px = padded(static_cast<T>(column - 1 + j), p.width, padding, corners);
      sum += wy[idx(i)] * wx[idx(j)] * p.at(static_cast<int64_t>(py), static_cast<int64_t>(px));
    }
  }
  return sum;
}

template <typename T>
T sample(const Plane<T>& p, T y, T x, int64_t mode, int64_t padding, bool corners) {
  if (mode == kBicubic) return sample_cubic(p, y, x, padding, corners);
  y = padded(y, p.height, padding, corners);
  x = padded(x, p.width, padding, corners);
  if (mode == kNearest) {
    return p.at(static_cast<int64_t>(std::nearbyint(y)), static_cast<int64_t>(std::nearbyint(x)));
  }
  const auto row = static_cast<int64_t>(std::floor(y)),
             column = static_cast<int64_t>(std::floor(x));
  const T fy = y - static_cast<T>(row), fx = x - static_cast<T>(column);
  return p.at(row, column) * (1 - fy) * (1 - fx) + p.at(row, column + 1) * (1 - fy) * fx +
         p.at(row + 1, column) * fy * (1 - fx) + p.at(row + 1, column + 1) * fy * fx;
}

// input [N, C, H, W], grid [N, h, w, 2] of (x, y) → [N, C, h, w]
Value infer_sampler(const Args& args) {
  const TensorMeta &x = args.meta(0), &grid = args.meta(1);
  require_rank(x, 4, "input");
  require_rank(grid, 4, "grid");
  if (!same_size(x.sizes[0], grid.sizes[0]) || !same_size(grid.sizes[3], 2)) {
    throw ValueError(cat("grid_sampler(): expected grid of shape [", x.sizes[0], ", h, w, 2], got ",
                         text(grid.sizes)));
  }
  return with_sizes(x, {x.sizes[0], x.sizes[1], grid.sizes[1], grid.sizes[2]});
}

Value sampler(const Args& args) {
  const TensorMeta meta = infer_output(args);
  const int64_t mode = args.integer(2), padding = args.integer(3);
  const bool corners = args.boolean(4);
  return visit_float(meta.dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    const Tensor x = dense<T>(args.tensor(0)), grid = dense<T>(args.tensor(1));
    Tensor out = make_output(with_dtype(meta, DTypeOf<T>::value));
    const int64_t channels = x.size(1), h = x.size(2), w = x.size(3);
    const int64_t points = out.size(2) * out.size(3);
    T* y = out.mutable_data<T>();
    parallel_for(x.size(0) * channels, grain_for(16 * points), [&](int64_t begin, int64_t end) {
      for (int64_t plane = begin; plane < end; ++plane) {
        const Plane<T> image{x.data<T>() + plane * h * w, h, w};
        const T* at = grid.data<T>() + plane / channels * points * 2;
        for (int64_t i = 0; i < points; ++i) {
          y[plane * points + i] =
              sample(image, unnormalize(at[2 * i + 1], h, corners),
                     unnormalize(at[2 * i], w, corners), mode, padding, corners);
        }
      }
    });
    return out.to(meta.dtype);
  });
}

// Pixel centres of an axis in [-1, 1].
double centre(int64_t i, int64_t size, bool corners) {
  if (size <= 1) return 0;
  const double step = 2.0 / static_cast<double>(corners ? size - 1 : size);
  const double start = corners ? -1.0 : -1.0 + step / 2;
  return start + step * static_cast<double>(i);
}

// theta [N, d, d+1], size [N, C, spatial...] → [N, spatial..., d]
Value infer_affine(const Args& args) {
  const TensorMeta& theta = args.meta(0);
  require_rank(theta, 3, "theta");
  const SymShape size = args.sym_ints(1);
  const auto d = static_cast<int64_t>(size.size()) - 2;
  if ((d != 2 && d != 3) || !same_size(theta.sizes[1], d) || !same_size(theta.sizes[2], d + 1)) {
    throw ValueError(cat("affine_grid_generator: theta of shape ", text(theta.sizes),
                         " does not fit an output of size ", text(size)));
  }
  SymShape out = {size[0]};
  out.insert(out.end(), size.begin() + 2, size.end());
  out.emplace_back(d);
  return with_sizes(theta, out);
}

Value affine(const Args& args) {
  const TensorMeta meta = infer_output(args);
  const Shape sizes = hints(meta.sizes);
  const int64_t d = sizes.back();
  return visit_float(meta.dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    const Tensor theta = dense<T>(args.tensor(0));
    Tensor out = make_output(with_dtype(meta, DTypeOf<T>::value));
    T* y = out.mutable_data<T>();
    const int64_t points = numel_of(sizes) / (sizes[0] * d);
    for (int64_t i = 0; i < sizes[0] * points; ++i) {
      std::array<T, 4> at = {};  // x, y(, z), 1
      int64_t rest = i % points;
      for (int64_t axis = 0; axis < d; ++axis) {
        const int64_t n = sizes[idx(d - axis)];
        at[idx(axis)] = static_cast<T>(centre(rest % n, n, args.boolean(2)));
        rest /= n;
      }
      at[idx(d)] = 1;
      const T* matrix = theta.data<T>() + i / points * d * (d + 1);
      for (int64_t r = 0; r < d; ++r) {
        T sum = 0;
        for (int64_t k = 0; k <= d; ++k) sum += matrix[r * (d + 1) + k] * at[idx(k)];
        y[i * d + r] = sum;
      }
    }
    return out.to(meta.dtype);
  });
}

}  // namespace

void register_grid_sample(OpTable& t) {
  OpDef& op = t.define("aten.grid_sampler.default",
                       "(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool "
                       "align_corners) -> Tensor");
  op.infer = infer_sampler;
  op.reference = sampler;
  t.define_alias("aten.grid_sampler_2d.default", "aten.grid_sampler.default");
  OpDef& grid = t.define("aten.affine_grid_generator.default",
                         "(Tensor theta, SymInt[] size, bool align_corners) -> Tensor");
  grid.infer = infer_affine;
  grid.reference = affine;
}

}  // namespace pt2q
