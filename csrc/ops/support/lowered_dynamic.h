// Quantization with parameters chosen at run time, in lowered form.
#pragma once

#include <string>

#include "kernels/qconv.h"
#include "pt2q/op.h"

namespace pt2q::ops {

// How pt2q.quantize_dynamic chooses its parameters: the quantized_decomposed operators of that
// name.
enum class DynamicRule { Tensor, TensorSymmetric, TokenSymmetric, TokenAsymmetric };
// "tensor", "tensor_symmetric", "token_symmetric", "token_asymmetric"; else ValueError.
DynamicRule read_dynamic_rule(const std::string& text);
constexpr bool per_token(DynamicRule rule) { return rule >= DynamicRule::TokenSymmetric; }

// pt2q.layer_norm_dynamic: the arguments of layer norm, then from here on those that
// pt2q.quantize_dynamic has behind its tensor. Gives the float result, codes, scale, zero point.
constexpr size_t kDynamicNormTail = 5;

// What is stored of a row's parameters. Infinities in the row leave no zero point (NaN, or what
// that becomes as an integer): the row's values are no numbers then, and the scale is NaN.
struct StoredRow {
  float scale;
  int32_t zero_point;  // of codes plus `shift`
};
StoredRow stored_row(double scale, double zero_point, int32_t shift);

// pt2q.qlinear_dynamic: positions are those of pt2q.qlinear, with tensors for scale and zero point.
kernels::QConvSpec qlinear_dynamic_spec(const std::vector<Value>& args, const Shape& x,
                                        const Shape& weight, const Tensor& w_scale,
                                        const Tensor& bias);

}  // namespace pt2q::ops
