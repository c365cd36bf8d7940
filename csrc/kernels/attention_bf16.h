// Attention of bfloat16 operands with AVX512-BF16 products: softmax(q k^T * scale + mask) v.
//
// Scores are float32 sums of exact products; exponentials and their sum are float32, the
// exponentials are rounded to bfloat16 for the product with v, and the result is rounded once. The
// order of the sums is fixed per row, so results do not depend on threads or batch splits; they
// differ from float32 attention of the same operands by the rounding of the exponentials (2^-9 of
// each). A row that may look at nothing gives zeros.
#pragma once

#include <cstdint>

#include "kernels/attention.h"

namespace pt2q::kernels {

// Whether this CPU (up to the cap on the instruction set) has it and the shape suits it: an even
// depth, whole vectors of 16 values.
bool attention_bf16_fits(const AttentionShape& shape);
// Whether the CPU has it.
bool has_attention_bf16();

// q, k, v: bfloat16. Out: uint16_t, which is bfloat16, or uint8_t or int8_t, which is that result
// quantized.
template <typename Out>
void attention_bf16(const AttentionShape& shape, const uint16_t* q, const uint16_t* k,
                    const uint16_t* v, const AttentionMask& mask, Out* out,
                    const QuantParams& to = {});

}  // namespace pt2q::kernels
