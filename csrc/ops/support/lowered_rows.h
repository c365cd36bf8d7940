// Layer norm and attention with quantized results, in lowered form: the arguments of the float
// operator, then out_scale, out_zero_point, out_min, out_max and out_dtype from these positions on.
// pt2q.qlayer_norm gives the float result and the codes, pt2q.qattention the codes.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/attention_int8.h"
#include "pt2q/value.h"

namespace pt2q::ops {

constexpr size_t kQNormTail = 5;
constexpr size_t kQAttentionTail = 8;

// pt2q.attention_int8: uint8 query, key and value, mask, scale, then scale and zero point of each
// and of the probabilities, whose bounds follow; the result's parameters from the tail on.
constexpr size_t kInt8AttentionScale = 4;
constexpr size_t kInt8AttentionTail = 15;
kernels::AttentionQuant int8_attention_quant(const std::vector<Value>& args);
QuantParams int8_attention_result(const std::vector<Value>& args);

}  // namespace pt2q::ops
