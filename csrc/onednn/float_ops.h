// Floating-point convolution and linear as steps take them: the arguments of all their operator
// forms (aten.conv2d, aten.convolution, onednn.conv ...) brought to one form.
#pragma once

#include <string>
#include <vector>

#include "kernels/epilogue.h"
#include "onednn/compat.h"
#include "onednn/plan_builder.h"

namespace pt2q {

struct FloatPostOp {
  bool is_add = false;  // adds `other`
  onednn::Eltwise kind = onednn::Eltwise::Relu;
  float alpha = 0.0F;
  float beta = 0.0F;
  kernels::PostOp source;  // in our own kernels' terms
};

FloatPostOp float_post_op(const kernels::PostOp& op);

// The post-ops of a lowered operator's text.
std::vector<FloatPostOp> float_post_ops(const std::string& text);

// float32, and bfloat16 where oneDNN has instructions for it.
bool computes_in(DType dtype);

struct FloatConv {
  int x = -1, weight = -1, bias = -1, other = -1;  // value ids; -1: none
  Shape stride, padding_low, padding_high, dilation;
  int64_t groups = 1;
  std::vector<FloatPostOp> post_ops;
};
bool add_float_conv(PlanBuilder& builder, const Node& node, const FloatConv& conv,
                    std::string* why);

// Multiplications and additions of a convolution's products; weight [OC, IC/groups, ...].
double conv_flops(const Shape& out, const Shape& weight);

// The same by our own kernel, where that is expected to be faster; false: nothing was added.
bool add_winograd_conv(PlanBuilder& builder, const Node& node, const FloatConv& conv);

struct FloatLinear {
  int x = -1;                // [..., K]
  int computed_weight = -1;  // in place of a constant weight
  Tensor weight;             // [N, K], any strides, known at plan time
  Tensor key;                // the constant `weight` is a view of
  std::string form;          // which view (see packed_weights)
  int bias = -1, other = -1;
  std::vector<FloatPostOp> post_ops;
};
bool add_float_linear(PlanBuilder& builder, const Node& node, const FloatLinear& linear,
                      std::string* why);

// An argument of a convolution with `spatial` dimensions, a single number standing for all.
Shape per_dimension(const PlanBuilder& builder, const Node& node, size_t i, size_t spatial);

// Channels-last strides for 3-D to 5-D.
Shape channels_last_of(const Shape& sizes);

}  // namespace pt2q
