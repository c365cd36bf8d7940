// Which operands autocast converts.
#pragma once

#include <optional>
#include <vector>

#include "pt2q/autocast.h"
#include "pt2q/op.h"

namespace pt2q {

// The dtype floating-point operands of `op` are brought to: bfloat16 for convolutions and matrix
// products, float32 for operators that need its range; nothing for those that take what comes.
std::optional<DType> autocast_dtype(const OpDef& op);

// Converts the tensors of a call under the policy, when autocast is on for their device.
void autocast_args(const OpDef& op, std::vector<Value>* args);

}  // namespace pt2q
