#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "kernels/attention_int8.h"
#include "kernels/attention_rows.h"
#include "kernels/elementwise.h"

namespace pt2q::kernels {
namespace {

int32_t probability_code(float x, const QuantParams& p) {
  const auto low = static_cast<float>(p.quant_min), high = static_cast<float>(p.quant_max);
  if (std::isnan(x)) return p.quant_min;
  const float code = std::nearbyint(x) + static_cast<float>(p.zero_point);
  return static_cast<int32_t>(std::min(std::max(code, low), high));
}

// One head of one batch.
struct Operands {
  const AttentionShape& s;
  const AttentionQuant& quant;
  const uint8_t* q;
  const uint8_t* k;
  const uint8_t* v;

  int32_t score(int64_t i, int64_t j) const {
    int32_t sum = 0;
    for (int64_t e = 0; e < s.depth; ++e) {
      sum += (q[i * s.q[2] + e] - quant.q.zero_point) * (k[j * s.k[2] + e] - quant.k.zero_point);
    }
    return sum;
  }
};

template <typename Out>
void attend_row(const Operands& o, const AttentionHead<Out>& head, int64_t i, float* scores,
                const QuantParams& to) {
  const AttentionShape& s = o.s;
  const int64_t n = visible_keys(s, i);
  for (int64_t j = 0; j < n; ++j)
    scores[j] = static_cast<float>(o.score(i, j)) * score_factor(s, o.quant);
  mask_scores(s, head, i, n, scores);
  float factor = 0.0F;
  if (sees_nothing(scores, n)) {
    std::fill(scores, scores + n, 0.0F);
  } else {
    factor = softmax_exponentials_reference(scores, n, scores) * inverse_scale(o.quant.p.scale);
  }
  for (int64_t e = 0; e < s.value_depth; ++e) {
    int32_t sum = 0;
    for (int64_t j = 0; j < n; ++j) {
      sum += (probability_code(scores[j] * factor, o.quant.p) - o.quant.p.zero_point) *
             (o.v[j * s.v[2] + e] - o.quant.v.zero_point);
    }
    const float real = static_cast<float>(sum) * result_factor(o.quant);
    Out* out = head.out + i * s.out[2] + e;
    if constexpr (std::is_same_v<Out, float>) {
      *out = real;
    } else {
      quantize_reference(&real, 1, to, out);
    }
  }
}

}  // namespace

template <typename Out>
void attention_int8_reference(const AttentionShape& s, const AttentionQuant& quant,
                              const uint8_t* q, const uint8_t* k, const uint8_t* v,
                              const AttentionMask& mask, Out* out, const QuantParams& to) {
  std::vector<float> scores(static_cast<size_t>(s.source));
  for (int64_t index = 0; index < s.batch * s.heads; ++index) {
    const int64_t b = index / s.heads, h = index % s.heads, hk = h / s.heads_per_key;
    const int64_t masked = b * s.mask[0] + h * s.mask[1];
    const AttentionHead<Out> head{nullptr,
                                  nullptr,
                                  nullptr,
                                  mask.added == nullptr ? nullptr : mask.added + masked,
                                  mask.allowed == nullptr ? nullptr : mask.allowed + masked,
                                  out + b * s.out[0] + h * s.out[1]};
    const Operands o{s, quant, q + b * s.q[0] + h * s.q[1], k + b * s.k[0] + hk * s.k[1],
                     v + b * s.v[0] + hk * s.v[1]};
    for (int64_t i = 0; i < s.length; ++i) attend_row(o, head, i, scores.data(), to);
  }
}

#define PT2Q_ATTENTION(Out)                                                              \
  template void attention_int8_reference(const AttentionShape&, const AttentionQuant&,   \
                                         const uint8_t*, const uint8_t*, const uint8_t*, \
                                         const AttentionMask&, Out*, const QuantParams&);
PT2Q_ATTENTION(float)
PT2Q_ATTENTION(uint8_t)
PT2Q_ATTENTION(int8_t)
#undef PT2Q_ATTENTION

}  // namespace pt2q::kernels
