// Layer norm and attention with quantized results, in lowered form: the arguments of the float
// operator, then out_scale, out_zero_point, out_min, out_max and out_dtype from these positions on.
// pt2q.qlayer_norm gives the float result and the codes, pt2q.qattention the codes.
#pragma once

#include <cstddef>

namespace pt2q::ops {

constexpr size_t kQNormTail = 5;
constexpr size_t kQAttentionTail = 8;

}  // namespace pt2q::ops
