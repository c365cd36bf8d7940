// float32 <-> bfloat16: round to nearest even, quiet NaN.
#pragma once

#include <cstdint>
#include <cstring>

namespace pt2q::kernels {

// Always inlined: callers are compiled for different instruction sets.
[[gnu::always_inline]] inline uint16_t to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  return static_cast<uint16_t>((bits & 0x7fffffffU) > 0x7f800000U ? 0x7fc0U : rounded);
}

void bfloat16_to_float(const uint16_t* x, int64_t n, float* y);
void float_to_bfloat16(const float* x, int64_t n, uint16_t* y);

}  // namespace pt2q::kernels
