// What the scalar and the vector form of attention share: rows of one head, scores to
// probabilities.
#pragma once

#include <algorithm>
#include <limits>

#include "kernels/attention.h"

namespace pt2q {

// Pointers of one (batch, head).
template <typename Out>
struct AttentionHead {
  const float* q;
  const float* k;
  const float* v;
  const float* added;   // mask of row 0, or null
  const bool* allowed;  // likewise
  Out* out;
};

template <typename Out>
AttentionHead<Out> attention_head(const AttentionShape& s, int64_t index, const float* q,
                                  const float* k, const float* v, const AttentionMask& mask,
                                  Out* out) {
  const int64_t b = index / s.heads, h = index % s.heads, hk = h / s.heads_per_key;
  const int64_t masked = b * s.mask[0] + h * s.mask[1];
  return {q + b * s.q[0] + h * s.q[1],
          k + b * s.k[0] + hk * s.k[1],
          v + b * s.v[0] + hk * s.v[1],
          mask.added == nullptr ? nullptr : mask.added + masked,
          mask.allowed == nullptr ? nullptr : mask.allowed + masked,
          out + b * s.out[0] + h * s.out[1]};
}

// Rows [first, last) of one head with plain loops.
template <typename Out>
void attend_rows_reference(const AttentionShape& shape, const AttentionHead<Out>& head,
                           int64_t first, int64_t last, const QuantParams& to);

// Keys that query row i may look at, before the mask.
inline int64_t visible_keys(const AttentionShape& s, int64_t i) {
  return s.causal ? std::min(s.source, i + 1) : s.source;
}

// Masks scores[0, n), scaled before, of row i.
template <typename Out>
void mask_scores(const AttentionShape& s, const AttentionHead<Out>& head, int64_t i, int64_t n,
                 float* scores) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  const int64_t at = i * s.mask[2], step = s.mask[3];
  if (head.added != nullptr) {
    for (int64_t j = 0; j < n; ++j) scores[j] += head.added[at + j * step];
  } else if (head.allowed != nullptr) {
    for (int64_t j = 0; j < n; ++j) scores[j] = head.allowed[at + j * step] ? scores[j] : kNever;
  }
}

// Whether a row of masked scores has nothing to look at.
inline bool sees_nothing(const float* scores, int64_t n) {
  return std::all_of(scores, scores + n,
                     [](float v) { return v == -std::numeric_limits<float>::infinity(); });
}

}  // namespace pt2q
