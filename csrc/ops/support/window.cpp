#include "ops/support/window.h"

#include <algorithm>

#include "base/parallel.h"
#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q::ops {

SymInt window_size(const SymInt& in, int64_t kernel, int64_t stride, int64_t before, int64_t after,
                   int64_t dilation) {
  const SymInt span = in + SymInt(before + after - dilation * (kernel - 1) - 1);
  if (span.hint() < 0) {
    throw ValueError(cat("Calculated padded input size per channel: ", in.hint() + before + after,
                         ". Kernel size: ", dilation * (kernel - 1) + 1,
                         ". Kernel size can't be greater than actual input size"));
  }
  return floordiv(span, stride) + SymInt(1);
}

SymInt window_size_ceil(const SymInt& in, int64_t kernel, int64_t stride, int64_t padding,
                        int64_t dilation) {
  const SymInt span = in + SymInt(2 * padding - dilation * (kernel - 1) - 1);
  if (span.hint() < 0) return window_size(in, kernel, stride, padding, padding, dilation);
  const SymInt up = floordiv(span + SymInt(stride - 1), stride) + SymInt(1);
  return min(up, floordiv(in + SymInt(padding - 1), stride) + SymInt(1));
}

Dims3 dims3(const Ints& values, int64_t fill) {
  Dims3 out = {fill, fill, fill};
  for (size_t i = 0; i < values.size(); ++i) out[3 - values.size() + i] = values[i];
  return out;
}

void Window::valid_range(size_t axis, int64_t k, int64_t* begin, int64_t* end) const {
  const int64_t shift = k * dilation[axis] - padding[axis];
  const int64_t s = stride[axis];
  *begin = std::clamp<int64_t>(shift >= 0 ? 0 : (-shift + s - 1) / s, 0, out[axis]);
  const int64_t last = image[axis] - 1 - shift;
  *end = last < 0 ? *begin : std::clamp<int64_t>(last / s + 1, *begin, out[axis]);
}

namespace {

// Calls fn(image row offset, column row offset, x0, x1, first image x) for every kernel tap and
// output row; rows outside the image have x0 == x1.
template <typename Fn>
void for_each_tap_row(const Window& w, int64_t row, Fn&& fn) {
  const int64_t taps = volume(w.kernel);
  const int64_t channel = row / taps;
  const int64_t tap = row % taps;
  const int64_t kx = tap % w.kernel[2];
  const int64_t ky = tap / w.kernel[2] % w.kernel[1];
  const int64_t kz = tap / (w.kernel[2] * w.kernel[1]);
  int64_t x0 = 0;
  int64_t x1 = 0;
  w.valid_range(2, kx, &x0, &x1);
  for (int64_t z = 0; z < w.out[0]; ++z) {
    const int64_t iz = z * w.stride[0] - w.padding[0] + kz * w.dilation[0];
    for (int64_t y = 0; y < w.out[1]; ++y) {
      const int64_t iy = y * w.stride[1] - w.padding[1] + ky * w.dilation[1];
      const bool inside = iz >= 0 && iz < w.image[0] && iy >= 0 && iy < w.image[1];
      const int64_t image_row = ((channel * w.image[0] + iz) * w.image[1] + iy) * w.image[2];
      const int64_t column_row = ((row * w.out[0] + z) * w.out[1] + y) * w.out[2];
      const int64_t first = x0 * w.stride[2] - w.padding[2] + kx * w.dilation[2];
      fn(image_row, column_row, inside ? x0 : w.out[2], inside ? x1 : w.out[2], first);
    }
  }
}

}  // namespace

template <typename T>
void im2col(const Window& w, int64_t channels, const T* image, T* columns) {
  const int64_t rows = channels * volume(w.kernel);
  parallel_for(rows, std::max<int64_t>(1, (1 << 16) / std::max<int64_t>(1, volume(w.out))),
               [&](int64_t begin, int64_t end) {
                 for (int64_t row = begin; row < end; ++row) {
                   for_each_tap_row(
                       w, row, [&](int64_t from, int64_t to, int64_t x0, int64_t x1, int64_t x) {
                         T* out = columns + to;
                         std::fill(out, out + x0, T(0));
                         if (x0 < x1) {
                           const T* in = image + from + x;
                           for (int64_t i = x0; i < x1; ++i) out[i] = in[(i - x0) * w.stride[2]];
                           std::fill(out + x1, out + w.out[2], T(0));
                         } else {
                           std::fill(out + x0, out + w.out[2], T(0));
                         }
                       });
                 }
               });
}

template <typename T>
void col2im(const Window& w, int64_t channels, const T* columns, T* image) {
  const int64_t taps = volume(w.kernel);
  parallel_for(channels, grain_for(taps * volume(w.out)), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin * taps; row < end * taps; ++row) {
      for_each_tap_row(w, row, [&](int64_t to, int64_t from, int64_t x0, int64_t x1, int64_t x) {
        if (x0 >= x1) return;
        T* out = image + to + x;
        const T* in = columns + from;
        for (int64_t i = x0; i < x1; ++i) out[(i - x0) * w.stride[2]] += in[i];
      });
    }
  });
}

template void im2col<float>(const Window&, int64_t, const float*, float*);
template void im2col<double>(const Window&, int64_t, const double*, double*);
template void im2col<int64_t>(const Window&, int64_t, const int64_t*, int64_t*);
template void col2im<float>(const Window&, int64_t, const float*, float*);
template void col2im<double>(const Window&, int64_t, const double*, double*);
template void col2im<int64_t>(const Window&, int64_t, const int64_t*, int64_t*);

}  // namespace pt2q::ops
