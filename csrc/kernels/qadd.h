// Elementwise sum and product of quantized arrays, and their concatenation along channels.
//
// add: y = dequantize(a) + dequantize(b) in float32 (one rounding per operation, no fused
// multiply-add), then relu if asked, then quantize as in quantize.h if the output is an integer
// type: the bits of the dequantize / add / relu / quantize operators one after another.
// mul: the same with *. A NaN (only possible with non-finite scales) passes relu.
// Each input is uint8 or int8 and has n elements, or is one scalar (`*_scalar`). Output is uint8,
// int8 or float32 and may be the memory of an input of the same element size.
#pragma once

#include <cstdint>

#include "kernels/quantize.h"

namespace pt2q {

// One quantized operand: uint8 data unless `is_signed`.
struct QuantOperand {
  const void* data = nullptr;
  bool is_signed = false;
  QuantParams params;
};

enum class QuantBinary { add, mul };

// Out is uint8_t, int8_t or float; `to` is not used for float.
template <typename Out>
void quantized_binary(QuantBinary op, const QuantOperand& a, const QuantOperand& b, int64_t n,
                      bool relu, const QuantParams& to, Out* y);
// b is the float32 value `scalar` (already dequantized).
template <typename Out>
void quantized_binary_scalar(QuantBinary op, const QuantOperand& a, float scalar, int64_t n,
                             bool relu, const QuantParams& to, Out* y);

template <typename Out>
void quantized_binary_reference(QuantBinary op, const QuantOperand& a, const QuantOperand& b,
                                int64_t n, bool relu, const QuantParams& to, Out* y);
template <typename Out>
void quantized_binary_scalar_reference(QuantBinary op, const QuantOperand& a, float scalar,
                                       int64_t n, bool relu, const QuantParams& to, Out* y);

}  // namespace pt2q
