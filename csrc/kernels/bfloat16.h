// float32 <-> bfloat16 in bulk; the bits of tensor/half.h: round to nearest even, quiet NaN.
#pragma once

#include <cstdint>

namespace pt2q::kernels {

void bfloat16_to_float(const uint16_t* x, int64_t n, float* y);
void float_to_bfloat16(const float* x, int64_t n, uint16_t* y);

}  // namespace pt2q::kernels
