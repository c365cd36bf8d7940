// float16, bfloat16 and float8 bit conversions; round to nearest even.
#pragma once

#include <cstdint>

namespace pt2q {

float half_to_float(uint16_t bits);
uint16_t float_to_half(float value);
float bfloat16_to_float(uint16_t bits);
uint16_t float_to_bfloat16(float value);
float float8_e4m3fn_to_float(uint8_t bits);
uint8_t float_to_float8_e4m3fn(float value);  // overflow gives NaN, as PyTorch's cast
float float8_e5m2_to_float(uint8_t bits);
uint8_t float_to_float8_e5m2(float value);  // overflow gives inf

}  // namespace pt2q
