// attention_int8 by 16-bit products, for CPUs that have no instruction for bytes; the reference
// where there is no fused multiply-add either.
#pragma once

#include "kernels/attention_int8.h"

namespace pt2q::kernels {

template <typename Out>
void attention_int8_words(const AttentionShape& shape, const AttentionQuant& quant,
                          const uint8_t* q, const uint8_t* k, const uint8_t* v,
                          const AttentionMask& mask, Out* out, const QuantParams& to);

}  // namespace pt2q::kernels
