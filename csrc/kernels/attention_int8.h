// Attention of quantized operands: softmax((q - zq) (k - zk)^T c + mask), quantized, times (v -
// zv).
//
// Both products are exact int32 sums. c is float(scale of q * scale of k * shape.scale); scores and
// softmax are float32 as in softmax_rows, the probabilities' codes rint(e * (inverse_sum /
// p.scale)) + zero point, clamped: one rounding, so that a code may differ by one from that of a
// probability rounded before it is quantized. The result is float(sum) * float(p.scale * v.scale),
// quantized as in quantize.h where Out is an integer. Every instruction set and thread count gives
// the reference's bits. A row that may look at nothing has probabilities of zero.
#pragma once

#include <cstdint>

#include "kernels/attention.h"

namespace pt2q::kernels {

// Of the operands and of the probabilities; all are uint8.
struct AttentionQuant {
  QuantParams q, k, v, p;
};

// Whether the kernels take the shape: a depth of whole words, whole vectors of 16 values, sums
// within int32; no causal form.
bool attention_int8_fits(const AttentionShape& shape);

// By AVX512-VNNI's products of bytes where the CPU (up to the cap on the instruction set) has them,
// else by products of 16-bit words. Out: float, or uint8_t or int8_t, which is quantize(result,
// to).
template <typename Out>
void attention_int8(const AttentionShape& shape, const AttentionQuant& quant, const uint8_t* q,
                    const uint8_t* k, const uint8_t* v, const AttentionMask& mask, Out* out,
                    const QuantParams& to = {});
// Of any shape, causal ones too.
template <typename Out>
void attention_int8_reference(const AttentionShape& shape, const AttentionQuant& quant,
                              const uint8_t* q, const uint8_t* k, const uint8_t* v,
                              const AttentionMask& mask, Out* out, const QuantParams& to = {});

// What both agree on.
inline float score_factor(const AttentionShape& s, const AttentionQuant& quant) {
  return static_cast<float>(quant.q.scale * quant.k.scale * static_cast<double>(s.scale));
}
inline float result_factor(const AttentionQuant& quant) {
  return static_cast<float>(quant.p.scale * quant.v.scale);
}

}  // namespace pt2q::kernels
