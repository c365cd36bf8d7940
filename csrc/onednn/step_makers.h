// The families of step makers; each adds its operators to the map.
#pragma once

#include <string>
#include <unordered_map>

#include "onednn/plan_builder.h"

namespace pt2q {

using StepMakerMap = std::unordered_map<std::string, StepMaker>;

void add_conv_steps(StepMakerMap& makers);
void add_matmul_steps(StepMakerMap& makers);
void add_pool_steps(StepMakerMap& makers);
void add_pointwise_steps(StepMakerMap& makers);
void add_norm_steps(StepMakerMap& makers);
void add_qdq_steps(StepMakerMap& makers);
void add_lowered_steps(StepMakerMap& makers);
void add_qbinary_steps(StepMakerMap& makers);
void add_attention_steps(StepMakerMap& makers);
void add_cast_steps(StepMakerMap& makers);
void add_reduce_steps(StepMakerMap& makers);
void add_copy_steps(StepMakerMap& makers);
void add_dynamic_steps(StepMakerMap& makers);

// Whether the value is a float32 tensor of known shape; false for -1.
inline bool is_float32(const PlanBuilder& builder, int id) {
  return id >= 0 && builder.value(id).dtype == DType::Float32;
}

// A mean over height and width that keeps them, as a pooling step.
bool make_spatial_mean(PlanBuilder& builder, const Node& node);

}  // namespace pt2q
