#include <cmath>
#include <vector>

#include "kernels/attention_rows.h"
#include "kernels/elementwise.h"

namespace pt2q {
namespace {

void attend_row(const AttentionShape& s, const AttentionHead& head, int64_t i, float* scores) {
  const int64_t n = visible_keys(s, i);
  for (int64_t j = 0; j < n; ++j) {
    float sum = 0.0f;
    for (int64_t e = 0; e < s.depth; ++e) {
      sum = std::fma(head.q[i * s.q[2] + e], head.k[j * s.k[2] + e], sum);
    }
    scores[j] = sum * s.scale;
  }
  float* out = head.out + i * s.out[2];
  std::fill(out, out + s.value_depth, 0.0f);
  if (!mask_scores(s, head, i, n, scores)) return;
  const float inverse = softmax_exponentials_reference(scores, n, scores);
  for (int64_t j = 0; j < n; ++j) {
    const float* v = head.v + j * s.v[2];
    for (int64_t e = 0; e < s.value_depth; ++e) out[e] = std::fma(scores[j], v[e], out[e]);
  }
  for (int64_t e = 0; e < s.value_depth; ++e) out[e] *= inverse;
}

}  // namespace

void attend_rows_reference(const AttentionShape& shape, const AttentionHead& head, int64_t first,
                           int64_t last) {
  std::vector<float> scores(static_cast<size_t>(shape.source));
  for (int64_t i = first; i < last; ++i) attend_row(shape, head, i, scores.data());
}

void attention_reference(const AttentionShape& shape, const float* q, const float* k,
                         const float* v, const AttentionMask& mask, float* out) {
  for (int64_t h = 0; h < shape.batch * shape.heads; ++h) {
    attend_rows_reference(shape, attention_head(shape, h, q, k, v, mask, out), 0, shape.length);
  }
}

}  // namespace pt2q
