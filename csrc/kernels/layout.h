// Layout changes between NCHW and NHWC, alone or fused with quantization.
//
// NCHW arrays are dense [batch, channels, pixels]; NHWC arrays are dense [batch, pixels, channels]
// (pixels = height * width). The arithmetic is that of quantize.h; the references are
// `*_reference` of quantize.h followed by a plain permutation, and results are bit-identical.
// Input and output must not overlap.
#pragma once

#include <cstdint>

#include "kernels/quantize.h"

namespace pt2q {

struct ImageShape {
  int64_t batch = 1;
  int64_t channels = 1;
  int64_t pixels = 1;
};

// T is float, uint8_t or int8_t.
template <typename T>
void nchw_to_nhwc(const T* x, const ImageShape& shape, T* y);
template <typename T>
void nhwc_to_nchw(const T* x, const ImageShape& shape, T* y);
template <typename T>
void nchw_to_nhwc_reference(const T* x, const ImageShape& shape, T* y);
template <typename T>
void nhwc_to_nchw_reference(const T* x, const ImageShape& shape, T* y);

// float32 NCHW -> Q NHWC and Q NHWC -> float32 NCHW; Q is uint8_t or int8_t.
template <typename Q>
void quantize_nchw_to_nhwc(const float* x, const ImageShape& shape, const QuantParams& params,
                           Q* q);
template <typename Q>
void dequantize_nhwc_to_nchw(const Q* q, const ImageShape& shape, const QuantParams& params,
                             float* x);

}  // namespace pt2q
