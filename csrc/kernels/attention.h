// softmax(q k^T * scale + mask) v of float32 in one pass over blocks of query rows; the scores of a
// block stay in cache. The result may be quantized on the way out.
//
// Every sum runs in a fixed order (fused multiply-adds over the depth, then over the keys; the row
// sum as in softmax_rows), so results are the same bits for every instruction set and thread count.
// The division by the row's sum comes last. A row that may look at nothing gives zeros.
#pragma once

#include <cstdint>

#include "kernels/quantize.h"

namespace pt2q {

// Strides count elements; the last dimension of q, k, v and out is contiguous.
struct AttentionShape {
  int64_t batch = 1, heads = 1;
  int64_t heads_per_key = 1;  // query heads that share a key head
  int64_t length = 0, source = 0, depth = 0, value_depth = 0;
  int64_t q[3] = {}, k[3] = {}, v[3] = {}, out[3] = {};  // batch, head, row
  int64_t mask[4] = {};                                  // batch, head, row, column; 0: broadcast
  bool causal = false;                                   // query i looks at keys 0 .. i
  float scale = 1.0f;
};

struct AttentionMask {
  const float* added = nullptr;   // added to the scaled scores, or null
  const bool* allowed = nullptr;  // keys that count, or null
};

// Out: float, or uint8_t or int8_t, which is quantize(result, to).
template <typename Out>
void attention(const AttentionShape& shape, const float* q, const float* k, const float* v,
               const AttentionMask& mask, Out* out, const QuantParams& to = {});
template <typename Out>
void attention_reference(const AttentionShape& shape, const float* q, const float* k,
                         const float* v, const AttentionMask& mask, Out* out,
                         const QuantParams& to = {});

}  // namespace pt2q
