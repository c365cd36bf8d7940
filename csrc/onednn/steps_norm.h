// What steps with quantized results share.
#pragma once

#include "kernels/quantize.h"
#include "onednn/plan_builder.h"

namespace pt2q {

// out_scale, out_zero_point, out_min and out_max from argument `tail` on.
QuantParams read_result_params(const PlanBuilder& builder, const Node& node, size_t tail);

}  // namespace pt2q
