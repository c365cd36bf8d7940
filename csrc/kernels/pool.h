// Pooling of NHWC arrays: maximum, average and adaptive average, on uint8, int8 and float32.
//
// Arrays are dense [batch, height, width, channels]; `y_stride` is the distance in elements between
// two output pixels (0 means channels), so that results can go into a slice of a wider array.
// Maximum: padding never wins; for float32 a NaN in the window gives NaN.
// Average of integers: sum = the exact integer sum of (x - zero_point) over the window (padding
// adds
//   nothing), y = float(sum) * float(scale / divisor), then quantized as in quantize.h if the
//   output is an integer type.
// Average of float32: each window row is summed left to right, the row sums are added top to
// bottom,
//   all in float32, then divided by float(divisor).
// Results do not depend on instruction set, thread count or batch size.
#pragma once

#include <cstdint>

#include "kernels/quantize.h"

namespace pt2q {

struct NhwcShape {
  int64_t batch = 1;
  int64_t height = 1;
  int64_t width = 1;
  int64_t channels = 1;
};

// As torch.nn.MaxPool2d / AvgPool2d (dilation must be 1 for averages).
struct Pool2d {
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t padding_h = 0, padding_w = 0;
  int64_t dilation_h = 1, dilation_w = 1;
  bool ceil_mode = false;
  bool count_include_pad = true;  // averages only
  int64_t divisor_override = 0;   // averages only; 0 is none
};

// Output extent of one axis, with PyTorch's rule that a window must start inside the input or its
// left padding.
int64_t pool_output_size(int64_t input, int64_t kernel, int64_t stride, int64_t padding,
                         int64_t dilation, bool ceil_mode);

// T is uint8_t, int8_t or float.
template <typename T>
void max_pool(const T* x, const NhwcShape& shape, const Pool2d& pool, T* y, int64_t y_stride = 0);
template <typename T>
void max_pool_reference(const T* x, const NhwcShape& shape, const Pool2d& pool, T* y,
                        int64_t y_stride = 0);

// In is uint8_t or int8_t with parameters `from`; Out is uint8_t, int8_t (parameters `to`) or float
// (`to` is not used).
template <typename In, typename Out>
void avg_pool(const In* x, const NhwcShape& shape, const Pool2d& pool, const QuantParams& from,
              const QuantParams& to, Out* y, int64_t y_stride = 0);
template <typename In, typename Out>
void avg_pool_reference(const In* x, const NhwcShape& shape, const Pool2d& pool,
                        const QuantParams& from, const QuantParams& to, Out* y,
                        int64_t y_stride = 0);
void avg_pool_f32(const float* x, const NhwcShape& shape, const Pool2d& pool, float* y,
                  int64_t y_stride = 0);
void avg_pool_f32_reference(const float* x, const NhwcShape& shape, const Pool2d& pool, float* y,
                            int64_t y_stride = 0);

// Output pixel i of n averages input [floor(i * size / n), ceil((i + 1) * size / n)), as
// torch.nn.AdaptiveAvgPool2d; 1 x 1 is the global average pool.
template <typename In, typename Out>
void adaptive_avg_pool(const In* x, const NhwcShape& shape, int64_t out_h, int64_t out_w,
                       const QuantParams& from, const QuantParams& to, Out* y,
                       int64_t y_stride = 0);
template <typename In, typename Out>
void adaptive_avg_pool_reference(const In* x, const NhwcShape& shape, int64_t out_h, int64_t out_w,
                                 const QuantParams& from, const QuantParams& to, Out* y,
                                 int64_t y_stride = 0);
void adaptive_avg_pool_f32(const float* x, const NhwcShape& shape, int64_t out_h, int64_t out_w,
                           float* y, int64_t y_stride = 0);
void adaptive_avg_pool_f32_reference(const float* x, const NhwcShape& shape, int64_t out_h,
                                     int64_t out_w, float* y, int64_t y_stride = 0);

}  // namespace pt2q
