#include "tensor/half.h"

#include <cmath>
#include <cstring>

#include "kernels/bfloat16.h"

namespace pt2q {
namespace {

uint32_t bits_of(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float from_bits(uint32_t bits) {
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Rounds |value| to a small float with `mantissa` bits and exponent bias `bias`; returns the
// magnitude bits without sign, or a value above `max_bits` when it overflows.
uint32_t round_magnitude(float value, int mantissa, int bias) {
  int exponent = 0;
  const float m = std::frexp(std::fabs(value), &exponent);  // value = m * 2^exponent, m in [.5,1)
  if (m == 0.0F) return 0;
  int e = exponent - 1 + bias;                             // biased exponent of the normal form
  const int shift = e >= 1 ? mantissa : mantissa + e - 1;  // fewer bits when subnormal
  const float scaled = std::ldexp(m, shift + 1);
  auto rounded = static_cast<uint32_t>(std::nearbyint(scaled));
  if (e >= 1) return (static_cast<uint32_t>(e) << mantissa) + rounded - (1U << mantissa);
  return rounded;
}

float expand_magnitude(uint32_t bits, int mantissa, int bias) {
  const auto e = static_cast<int>(bits >> mantissa);
  const uint32_t m = bits & ((1U << mantissa) - 1U);
  if (e == 0) return std::ldexp(static_cast<float>(m), 1 - bias - mantissa);
  return std::ldexp(static_cast<float>(m + (1U << mantissa)), e - bias - mantissa);
}

}  // namespace

float half_to_float(uint16_t bits) {
  const float sign = (bits & 0x8000U) != 0 ? -1.0F : 1.0F;
  const uint32_t magnitude = bits & 0x7fffU;
  if (magnitude > 0x7c00U)
    return from_bits(bits_of(sign) & 0x80000000U ? 0xffc00000U : 0x7fc00000U);
  if (magnitude == 0x7c00U) return sign * INFINITY;
  return sign * expand_magnitude(magnitude, 10, 15);
}

uint16_t float_to_half(float value) {
  const auto sign = static_cast<uint16_t>((bits_of(value) >> 16) & 0x8000U);
  if (std::isnan(value)) return static_cast<uint16_t>(sign | 0x7e00U);
  if (std::isinf(value)) return static_cast<uint16_t>(sign | 0x7c00U);
  const uint32_t magnitude = round_magnitude(value, 10, 15);
  return static_cast<uint16_t>(sign | (magnitude >= 0x7c00U ? 0x7c00U : magnitude));
}

float bfloat16_to_float(uint16_t bits) { return from_bits(static_cast<uint32_t>(bits) << 16); }

uint16_t float_to_bfloat16(float value) { return kernels::to_bfloat16(value); }

float float8_e4m3fn_to_float(uint8_t bits) {
  const float sign = (bits & 0x80U) != 0 ? -1.0F : 1.0F;
  const uint32_t magnitude = bits & 0x7fU;
  if (magnitude == 0x7fU) return NAN;
  return sign * expand_magnitude(magnitude, 3, 7);
}

uint8_t float_to_float8_e4m3fn(float value) {
  const auto sign = static_cast<uint8_t>((bits_of(value) >> 24) & 0x80U);
  if (std::isnan(value) || std::isinf(value)) return static_cast<uint8_t>(sign | 0x7fU);
  const uint32_t magnitude = round_magnitude(value, 3, 7);
  return static_cast<uint8_t>(sign | (magnitude > 0x7eU ? 0x7fU : magnitude));
}

float float8_e5m2_to_float(uint8_t bits) { return half_to_float(static_cast<uint16_t>(bits << 8)); }

uint8_t float_to_float8_e5m2(float value) {
  const auto sign = static_cast<uint8_t>((bits_of(value) >> 24) & 0x80U);
  if (std::isnan(value)) return static_cast<uint8_t>(sign | 0x7fU);
  if (std::isinf(value)) return static_cast<uint8_t>(sign | 0x7cU);
  const uint32_t magnitude = round_magnitude(value, 2, 15);
  return static_cast<uint8_t>(sign | (magnitude >= 0x7cU ? 0x7cU : magnitude));
}

}  // namespace pt2q
