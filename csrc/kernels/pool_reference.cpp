// Window geometry of pooling and the scalar definitions of pool.h.
#include "kernels/pool.h"
#include "kernels/pool_windows.h"

namespace pt2q {

int64_t pool_output_size(int64_t input, int64_t kernel, int64_t stride, int64_t padding,
                         int64_t dilation, bool ceil_mode) {
  const int64_t span = input + 2 * padding - dilation * (kernel - 1) - 1;
  if (span < 0) return 0;
  int64_t size = (span + (ceil_mode ? stride - 1 : 0)) / stride + 1;
  if (ceil_mode && (size - 1) * stride >= input + padding) --size;
  return size;
}

namespace {

std::vector<PoolWindow> axis_windows(int64_t input, int64_t kernel, int64_t stride, int64_t padding,
                                     int64_t dilation, bool ceil_mode) {
  std::vector<PoolWindow> windows;
  const int64_t size = pool_output_size(input, kernel, stride, padding, dilation, ceil_mode);
  for (int64_t i = 0; i < size; ++i) {
    PoolWindow window;
    const int64_t first = i * stride - padding;
    window.begin = first;
    while (window.begin < 0) window.begin += dilation;
    window.end = std::min(first + (kernel - 1) * dilation + 1, input);
    window.padded = std::min(first + kernel, input + padding) - first;
    windows.push_back(window);
  }
  return windows;
}

std::vector<PoolWindow> adaptive_axis(int64_t input, int64_t output) {
  std::vector<PoolWindow> windows;
  for (int64_t i = 0; i < output; ++i) {
    const int64_t begin = i * input / output;
    const int64_t end = ((i + 1) * input + output - 1) / output;
    windows.push_back({begin, end, end - begin});
  }
  return windows;
}

void store(float v, const QuantParams&, float* y) { *y = v; }
template <typename Q>
void store(float v, const QuantParams& p, Q* y) {
  quantize_reference(&v, 1, p, y);
}

// body(image pointer offset, row window, column window, output pixel index) for every output pixel.
template <class Body>
void for_each_pixel(const NhwcShape& s, const PoolWindows& windows, const Body& body) {
  int64_t pixel = 0;
  for (int64_t b = 0; b < s.batch; ++b) {
    for (const PoolWindow& row : windows.rows) {
      for (const PoolWindow& column : windows.columns) {
        body(b * s.height * s.width * s.channels, row, column, pixel++);
      }
    }
  }
}

template <typename Sum, typename In, typename Out>
void average_windows(const In* x, const NhwcShape& s, const PoolWindows& windows,
                     const Pool2d& pool, const QuantParams& from, const QuantParams& to, Out* y,
                     int64_t y_stride) {
  if (y_stride == 0) y_stride = s.channels;
  for_each_pixel(
      s, windows,
      [&](int64_t image, const PoolWindow& row, const PoolWindow& column, int64_t pixel) {
        const AverageScale scale = average_scale(row, column, pool, from);
        for (int64_t c = 0; c < s.channels; ++c) {
          const Sum sum = window_sum<Sum>(x + image + c, s.width, s.channels, row, column);
          store(average(sum, scale), to, y + pixel * y_stride + c);
        }
      });
}

}  // namespace

PoolWindows pool_windows(const NhwcShape& s, const Pool2d& p) {
  return {axis_windows(s.height, p.kernel_h, p.stride_h, p.padding_h, p.dilation_h, p.ceil_mode),
          axis_windows(s.width, p.kernel_w, p.stride_w, p.padding_w, p.dilation_w, p.ceil_mode),
          p.dilation_h, p.dilation_w};
}

PoolWindows adaptive_windows(const NhwcShape& s, int64_t out_h, int64_t out_w) {
  return {adaptive_axis(s.height, out_h), adaptive_axis(s.width, out_w), 1, 1};
}

AverageScale average_scale(const PoolWindow& row, const PoolWindow& column, const Pool2d& pool,
                           const QuantParams& from) {
  const double divisor = static_cast<double>(window_divisor(row, column, pool));
  const int64_t count = (row.end - row.begin) * (column.end - column.begin);
  return {static_cast<float>(from.scale / divisor), static_cast<float>(divisor),
          static_cast<int32_t>(count * from.zero_point)};
}

template <typename T>
void max_pool_reference(const T* x, const NhwcShape& s, const Pool2d& pool, T* y,
                        int64_t y_stride) {
  if (y_stride == 0) y_stride = s.channels;
  const PoolWindows windows = pool_windows(s, pool);
  for_each_pixel(
      s, windows,
      [&](int64_t image, const PoolWindow& row, const PoolWindow& column, int64_t pixel) {
        for (int64_t c = 0; c < s.channels; ++c) {
          y[pixel * y_stride + c] = window_max(x + image + c, s.width, s.channels, row,
                                               windows.step_h, column, windows.step_w);
        }
      });
}

template <typename In, typename Out>
void avg_pool_reference(const In* x, const NhwcShape& s, const Pool2d& pool,
                        const QuantParams& from, const QuantParams& to, Out* y, int64_t y_stride) {
  average_windows<int32_t>(x, s, pool_windows(s, pool), pool, from, to, y, y_stride);
}

void avg_pool_f32_reference(const float* x, const NhwcShape& s, const Pool2d& pool, float* y,
                            int64_t y_stride) {
  average_windows<float>(x, s, pool_windows(s, pool), pool, {}, {}, y, y_stride);
}

template <typename In, typename Out>
void adaptive_avg_pool_reference(const In* x, const NhwcShape& s, int64_t out_h, int64_t out_w,
                                 const QuantParams& from, const QuantParams& to, Out* y,
                                 int64_t y_stride) {
  average_windows<int32_t>(x, s, adaptive_windows(s, out_h, out_w), {}, from, to, y, y_stride);
}

void adaptive_avg_pool_f32_reference(const float* x, const NhwcShape& s, int64_t out_h,
                                     int64_t out_w, float* y, int64_t y_stride) {
  average_windows<float>(x, s, adaptive_windows(s, out_h, out_w), {}, {}, {}, y, y_stride);
}

template void max_pool_reference(const float*, const NhwcShape&, const Pool2d&, float*, int64_t);
template void max_pool_reference(const uint8_t*, const NhwcShape&, const Pool2d&, uint8_t*,
                                 int64_t);
template void max_pool_reference(const int8_t*, const NhwcShape&, const Pool2d&, int8_t*, int64_t);
#define PT2Q_FOR_AVERAGE(In, Out)                                                                  \
  template void avg_pool_reference(const In*, const NhwcShape&, const Pool2d&, const QuantParams&, \
                                   const QuantParams&, Out*, int64_t);                             \
  template void adaptive_avg_pool_reference(const In*, const NhwcShape&, int64_t, int64_t,         \
                                            const QuantParams&, const QuantParams&, Out*, int64_t)
PT2Q_FOR_AVERAGE(uint8_t, uint8_t);
PT2Q_FOR_AVERAGE(uint8_t, int8_t);
PT2Q_FOR_AVERAGE(uint8_t, float);
PT2Q_FOR_AVERAGE(int8_t, uint8_t);
PT2Q_FOR_AVERAGE(int8_t, int8_t);
PT2Q_FOR_AVERAGE(int8_t, float);
#undef PT2Q_FOR_AVERAGE

}  // namespace pt2q
