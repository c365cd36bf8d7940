// Affine quantization of float32 arrays and the layout changes that go with it.
//
// Arithmetic of kernels/affine.h (one rounding per line, everything in float32, no fused
// multiply-add):
//   inv = float(1.0 / double(scale))
//   quantize(x)   = clamp(rint(x * inv) + float(zero_point), quant_min, quant_max); NaN gives 0,
//                   +-inf give quant_max / quant_min; rint is half to even
//   dequantize(q) = (float(q) - float(zero_point)) * float(scale)
// This is what quantized_decomposed.quantize_per_tensor / dequantize_per_tensor compute in PyTorch.
// Every function equals its `*_reference` twin bit for bit, for every instruction set and any
// number of threads. Input and output must not overlap (equal pointers are allowed where the
// element sizes are equal and no layout changes).
//
// Q below is uint8_t or int8_t. Arrays are dense. Sizes are element counts and may be 0.
#pragma once

#include <cstdint>

#include "kernels/affine.h"

namespace pt2q {

// Per-tensor parameters. zero_point, quant_min and quant_max are values of the quantized type.
struct QuantParams {
  double scale = 1.0;
  int32_t zero_point = 0;
  int32_t quant_min = 0;
  int32_t quant_max = 255;
};

// --- per tensor, same layout -------------------------------------------------------------------
template <typename Q>
void quantize(const float* x, int64_t n, const QuantParams& params, Q* q);
// Rows of `width` elements, `stride` elements apart in q (at least width) and dense in x.
template <typename Q>
void quantize_apart(const float* x, int64_t rows, int64_t width, const QuantParams& params, Q* q,
                    int64_t stride);
template <typename Q>
void dequantize(const Q* q, int64_t n, const QuantParams& params, float* x);
// quantize(dequantize(q, from), to) in one pass.
template <typename QIn, typename QOut>
void requantize(const QIn* q, int64_t n, const QuantParams& from, const QuantParams& to, QOut* out);
// dequantize(quantize(x)) in one pass; the integer type does not matter.
void fake_quantize(const float* x, int64_t n, const QuantParams& params, float* y);

template <typename Q>
void quantize_reference(const float* x, int64_t n, const QuantParams& params, Q* q);
template <typename Q>
void dequantize_reference(const Q* q, int64_t n, const QuantParams& params, float* x);
template <typename QIn, typename QOut>
void requantize_reference(const QIn* q, int64_t n, const QuantParams& from, const QuantParams& to,
                          QOut* out);
void fake_quantize_reference(const float* x, int64_t n, const QuantParams& params, float* y);

// --- per channel -------------------------------------------------------------------------------
// Arrays of shape [outer, channels, inner]; scales and zero_points have `channels` entries.
// zero_points are float32 so that float_qparams schemes work; integer ones are exact.
struct ChannelQuantParams {
  const float* scales = nullptr;
  const float* zero_points = nullptr;
  int32_t quant_min = -128;
  int32_t quant_max = 127;
};

template <typename Q>
void quantize_per_channel(const float* x, int64_t outer, int64_t channels, int64_t inner,
                          const ChannelQuantParams& params, Q* q);
template <typename Q>
void dequantize_per_channel(const Q* q, int64_t outer, int64_t channels, int64_t inner,
                            const ChannelQuantParams& params, float* x);
void fake_quantize_per_channel(const float* x, int64_t outer, int64_t channels, int64_t inner,
                               const ChannelQuantParams& params, float* y);

template <typename Q>
void quantize_per_channel_reference(const float* x, int64_t outer, int64_t channels, int64_t inner,
                                    const ChannelQuantParams& params, Q* q);
template <typename Q>
void dequantize_per_channel_reference(const Q* q, int64_t outer, int64_t channels, int64_t inner,
                                      const ChannelQuantParams& params, float* x);
void fake_quantize_per_channel_reference(const float* x, int64_t outer, int64_t channels,
                                         int64_t inner, const ChannelQuantParams& params, float* y);

}  // namespace pt2q
