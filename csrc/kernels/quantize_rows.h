// Rows quantized to uint8 codes with parameters of their own, in the arithmetic of
// quantized_decomposed.quantize_per_token (the zero point is added before rounding):
//   code = clamp(rint(x * (1 / scale) + zero_point), quant_min, quant_max) + shift; NaN gives shift
// In double, or with a float32 scale in float32. Equals its `*_reference` twin bit for bit.
#pragma once

#include <cstdint>

namespace pt2q {

struct RowQuantParams {
  double scale = 1.0;
  double zero_point = 0.0;
  double quant_min = -128.0;
  double quant_max = 127.0;
  bool single = false;  // in float32
  int32_t shift = 128;
};

void quantize_row(const float* x, int64_t n, const RowQuantParams& params, uint8_t* q);
void quantize_row_reference(const float* x, int64_t n, const RowQuantParams& params, uint8_t* q);

}  // namespace pt2q
