// What steps with quantized results share.
#pragma once

#include <vector>

#include "kernels/quantize.h"
#include "onednn/plan_builder.h"

namespace pt2q {

// out_scale, out_zero_point, out_min and out_max from argument `tail` on.
QuantParams read_result_params(const PlanBuilder& builder, const Node& node, size_t tail);

// layer_norm(input, normalized_shape, weight?, bias?, eps, ...) of float32 values.
struct LayerNorm {
  int x = -1, weight = -1, bias = -1;
  std::vector<int> inputs;
  Shape sizes;
  int64_t rows = 0, n = 0;
  float eps = 0;

  const float* parameter(RunContext& ctx, int id) const {
    return id < 0 ? nullptr : ctx.data<const float>(id);
  }
};
bool read_layer_norm(PlanBuilder& builder, const Node& node, LayerNorm* out);

}  // namespace pt2q
