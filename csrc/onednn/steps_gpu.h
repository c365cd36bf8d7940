// int8 convolution and linear on a GPU, where our own kernels cannot run: oneDNN computes them.
#pragma once

#include "kernels/qconv.h"
#include "onednn/plan_builder.h"

namespace pt2q {

// The step of pt2q.qconv or pt2q.qlinear, both described as a convolution on NHWC data; `x` and
// `other` (-1: none) are in that layout. Same arithmetic as the CPU's kernels up to the rounding of
// the float32 part. False when oneDNN has no optimised implementation.
bool add_gpu_qconv(PlanBuilder& builder, const Node& node, const kernels::QConvSpec& spec,
                   const Tensor& weight, int x, int other, const Shape& out_strides);

}  // namespace pt2q
