// Lowered int8 convolution and linear: from operator arguments to the kernels' description. Used by
// the reference kernels and by the plan alike.
#pragma once

#include <string>
#include <vector>

#include "kernels/qconv.h"
#include "pt2q/op.h"

namespace pt2q::ops {

// Positions of pt2q.qconv's and pt2q.qlinear's arguments.
constexpr size_t kQConvTail = 10;
constexpr size_t kQLinearTail = 6;

void check_source(DType x);  // throws TypeError

// The part that depends on x [N, C, (H,) W] and the weight alone.
kernels::ConvShape qconv_shape(const Value& stride, const Value& padding, const Value& dilation,
                               const Value& groups, const Shape& x, const Shape& weight);

kernels::ConvShape qlinear_shape(const Shape& x, const Shape& weight);

// x [N, C, (H,) W] -> spec; args as of pt2q.qconv, tensors or descriptions, w_scale and bias real.
kernels::QConvSpec qconv_spec(const std::vector<Value>& args, const Shape& x, DType x_dtype,
                              const Shape& weight, const Tensor& w_scale, const Tensor& bias);
kernels::QConvSpec qlinear_spec(const std::vector<Value>& args, const Shape& x, DType x_dtype,
                                const Shape& weight, const Tensor& w_scale, const Tensor& bias);

// A row whose shape inference and reference kernel are all it has.
void define_lowered(OpTable& table, const std::string& name, const std::string& schema,
                    InferFn infer, KernelFn reference);

}  // namespace pt2q::ops
