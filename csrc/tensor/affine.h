// Affine quantization of tensors: ranges of dtypes, and quantize, dequantize and fake-quantize per
// tensor, per channel and per row. The scalar arithmetic is kernels/affine.h; contiguous float32 to
// uint8 and int8 runs through the vector kernels of kernels/quantize.h.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/affine.h"
#include "pt2q/tensor.h"

namespace pt2q {

// `value` as a tensor of floating dtype would hold it. Adding, subtracting, multiplying or dividing
// values of that dtype in double and rounding once gives the dtype's own correctly rounded result.
double round_to(DType dtype, double value);
// An integer as a tensor of integer dtype would hold it (wraps).
int64_t wrap_to(DType dtype, int64_t value);

// --- ranges ------------------------------------------------------------------------------------

struct QuantRange {
  int64_t min = 0;
  int64_t max = 255;
};
// What tensors of an observer's dtype are stored as: quint8 → uint8, quint4x2 → uint8, qint8 →
// int8, qint32 → int32; any other dtype is itself.
DType storage_dtype(DType dtype);
bool is_quantized_storage(DType dtype);  // uint8 int8 uint16 int16 int32 float8_e5m2 float8_e4m3fn
// Values the dtype can hold. Throws ValueError "Unsupported dtype: ...".
QuantRange quant_bounds(DType dtype);
// Throws AssertionError "quant_min out of bounds for dtype, ..." as PyTorch does.
void check_quant_range(int64_t quant_min, int64_t quant_max, DType dtype);
// "torch.uint8", as error texts spell dtypes.
std::string torch_name(DType dtype);

// --- tensors -----------------------------------------------------------------------------------
// Inputs of any layout; dense layouts (row-major, channels_last) are kept. float16 and bfloat16
// inputs are widened to float32.

Tensor quantize_per_tensor(const Tensor& x, double scale, int64_t zero_point, QuantRange range,
                           DType dtype);
// Computed in `out_dtype`: (q - zero_point) * scale, rounded after each step.
Tensor dequantize_per_tensor(const Tensor& q, double scale, int64_t zero_point, DType out_dtype);

// scales and zero_points are vectors with one entry (or the same for all) per index of `axis`.
// Arithmetic is in float64 when scales or zero_points are float64, else in float32.
Tensor quantize_per_channel(const Tensor& x, const Tensor& scales, const Tensor& zero_points,
                            int64_t axis, QuantRange range, DType dtype);
// zero_points may be undefined: none is subtracted.
Tensor dequantize_per_channel(const Tensor& q, const Tensor& scales, const Tensor& zero_points,
                              int64_t axis, DType out_dtype);

// Rows of `row_length` neighbouring elements share one scale and zero point ("per token", "per
// group"): clamp(rint(x * (1 / scale) + zero_point)); here the zero point is added before rounding.
Tensor quantize_rows(const Tensor& x, const Tensor& scales, const Tensor& zero_points,
                     int64_t row_length, QuantRange range, DType dtype);
Tensor dequantize_rows(const Tensor& q, const Tensor& scales, const Tensor& zero_points,
                       int64_t row_length, DType out_dtype);

// Quantize and dequantize in one step, in the input's dtype, as
// torch.fake_quantize_per_tensor_affine and torch.fake_quantize_per_channel_affine: NaN gives
// quant_min; per channel, so do values beyond 2^63 steps.
Tensor fake_quantize_per_tensor(const Tensor& x, double scale, int64_t zero_point,
                                QuantRange range);
Tensor fake_quantize_per_channel(const Tensor& x, const Tensor& scales, const Tensor& zero_points,
                                 int64_t axis, QuantRange range);

// --- helpers shared with observers
// ----------------------------------------------------------------

// `x` itself when its elements fill memory without gaps in row-major or channels_last order, else a
// contiguous copy.
Tensor densely_packed(const Tensor& x);
// A new tensor of the same sizes and (dense) strides.
Tensor empty_like_dense(const Tensor& dense, DType dtype);
// A densely packed tensor seen as [outer, channels, inner] around `axis`.
struct ChannelView {
  int64_t outer = 1;
  int64_t channels = 1;
  int64_t inner = 1;
};
ChannelView channel_view(const Tensor& dense, int64_t axis);

}  // namespace pt2q
