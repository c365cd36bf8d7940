// Concatenation along the channels of NHWC arrays of uint8 / int8, each part copied or requantized.
//
// Part k is dense [pixels, channels_k] (pixels = batch * height * width); output pixel p holds the
// parts side by side and starts at y + p * y_stride. A part whose type and parameters equal those
// of the output is copied; others are requantized as in quantize.h: the bits of dequantize, cat,
// quantize.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/quantize.h"

namespace pt2q {

struct ConcatPart {
  const void* data = nullptr;
  bool is_signed = false;
  int64_t channels = 0;
  QuantParams params;
};

// Q is uint8_t or int8_t; y_stride 0 means the sum of the channels.
template <typename Q>
void concat_channels(const std::vector<ConcatPart>& parts, int64_t pixels, const QuantParams& to,
                     Q* y, int64_t y_stride = 0);
template <typename Q>
void concat_channels_reference(const std::vector<ConcatPart>& parts, int64_t pixels,
                               const QuantParams& to, Q* y, int64_t y_stride = 0);
// The same for rows of bytes (plain copies of any type): part k is dense [rows, bytes_k].
struct BytePart {
  const void* data = nullptr;
  int64_t bytes = 0;
};
void concat_rows(const std::vector<BytePart>& parts, int64_t rows, void* y, int64_t y_stride = 0);

}  // namespace pt2q
