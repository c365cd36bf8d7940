#include <cmath>
#include <type_traits>
#include <vector>

#include "kernels/attention_rows.h"
#include "kernels/elementwise.h"

namespace pt2q {
namespace {

template <typename Out>
void attend_row(const AttentionShape& s, const AttentionHead<Out>& head, int64_t i, float* scores,
                float* out) {
  const int64_t n = visible_keys(s, i);
  for (int64_t j = 0; j < n; ++j) {
    float sum = 0.0f;
    for (int64_t e = 0; e < s.depth; ++e) {
      sum = std::fma(head.q[i * s.q[2] + e], head.k[j * s.k[2] + e], sum);
    }
    scores[j] = sum * s.scale;
  }
  std::fill(out, out + s.value_depth, 0.0f);
  mask_scores(s, head, i, n, scores);
  if (sees_nothing(scores, n)) return;
  const float inverse = softmax_exponentials_reference(scores, n, scores);
  for (int64_t j = 0; j < n; ++j) {
    const float* v = head.v + j * s.v[2];
    for (int64_t e = 0; e < s.value_depth; ++e) out[e] = std::fma(scores[j], v[e], out[e]);
  }
  for (int64_t e = 0; e < s.value_depth; ++e) out[e] *= inverse;
}

}  // namespace

template <typename Out>
void attend_rows_reference(const AttentionShape& shape, const AttentionHead<Out>& head,
                           int64_t first, int64_t last, const QuantParams& to) {
  std::vector<float> scores(static_cast<size_t>(shape.source));
  std::vector<float> row(static_cast<size_t>(shape.value_depth));
  for (int64_t i = first; i < last; ++i) {
    attend_row(shape, head, i, scores.data(), row.data());
    Out* out = head.out + i * shape.out[2];
    if constexpr (std::is_same_v<Out, float>) {
      std::copy(row.begin(), row.end(), out);
    } else {
      quantize_reference(row.data(), shape.value_depth, to, out);
    }
  }
}

template <typename Out>
void attention_reference(const AttentionShape& shape, const float* q, const float* k,
                         const float* v, const AttentionMask& mask, Out* out,
                         const QuantParams& to) {
  for (int64_t h = 0; h < shape.batch * shape.heads; ++h) {
    attend_rows_reference(shape, attention_head(shape, h, q, k, v, mask, out), 0, shape.length, to);
  }
}

#define PT2Q_ATTENTION(Out)                                                                      \
  template void attend_rows_reference(const AttentionShape&, const AttentionHead<Out>&, int64_t, \
                                      int64_t, const QuantParams&);                              \
  template void attention_reference(const AttentionShape&, const float*, const float*,           \
                                    const float*, const AttentionMask&, Out*, const QuantParams&);
PT2Q_ATTENTION(float)
PT2Q_ATTENTION(uint8_t)
PT2Q_ATTENTION(int8_t)
#undef PT2Q_ATTENTION

}  // namespace pt2q
