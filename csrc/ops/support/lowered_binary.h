// Lowered int8 add, mul and cat: from operator arguments to the kernels' description.
#pragma once

#include <vector>

#include "kernels/quantize.h"
#include "pt2q/op.h"

namespace pt2q::ops {

constexpr size_t kQBinaryTail = 7;  // pt2q.qadd, pt2q.qmul: position of out_scale
constexpr size_t kQCatTail = 4;     // pt2q.qcat
constexpr size_t kRequantizeTail = 3;

struct QuantOutput {
  QuantParams params;
  DType dtype = DType::Float32;
};
QuantOutput read_quant_output(const std::vector<Value>& args, size_t tail);
// Parameters of one operand: scale at `i`, zero point at `i + 1`.
QuantParams read_operand(const std::vector<Value>& args, size_t i);
// Throws TypeError unless the dtype is uint8 or int8; true for int8.
bool is_signed_operand(DType dtype);

}  // namespace pt2q::ops
