// GCC 12 takes the undefined pass-through operands of its own AVX-512 intrinsics for a defect.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include "kernels/attention_bf16.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "base/cpu.h"
#include "base/parallel.h"
#include "hwy/base.h"
#include "kernels/affine.h"
#include "kernels/isa.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")

namespace pt2q::kernels {
namespace {

struct Ops512 {
  using V = __m512;
  using M = __mmask16;
  static V set(float v) { return _mm512_set1_ps(v); }
  static V add(V a, V b) { return _mm512_add_ps(a, b); }
  static V sub(V a, V b) { return _mm512_sub_ps(a, b); }
  static V mul(V a, V b) { return _mm512_mul_ps(a, b); }
  static V div(V a, V b) { return _mm512_div_ps(a, b); }
  static V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static V fnma(V a, V b, V c) { return _mm512_fnmadd_ps(a, b, c); }
  static V min(V a, V b) { return _mm512_min_ps(a, b); }
  static V max(V a, V b) { return _mm512_max_ps(a, b); }
  static M less(V a, V b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  static V select(M m, V yes, V no) { return _mm512_mask_blend_ps(m, no, yes); }
  static V round(V a) { return _mm512_roundscale_ps(a, 0); }
  static V scale_by_power(V a, V n) { return _mm512_scalef_ps(a, n); }
};

// The members that are used compile; the others are never instantiated.
#include "kernels/float_math-inl.h"
using Math = FloatMath<Ops512>;

constexpr int kRows = 4;        // query rows multiplied at a time
constexpr int64_t kBlock = 32;  // query rows whose scores are kept
constexpr int64_t kPanel = 64;  // keys per panel
constexpr float kNever = -std::numeric_limits<float>::infinity();

int64_t round_up(int64_t a, int64_t b) { return (a + b - 1) / b * b; }

// Pointers of one (batch, head).
struct Head {
  const uint16_t* q;
  const uint16_t* k;
  const uint16_t* v;
  const float* added;
  const bool* allowed;
};

// Scratch memory of a thread: pairs of the depth by key, pairs of values by column, scores.
struct Scratch {
  int64_t pitch, keys, values, scores;

  explicit Scratch(const AttentionShape& s)
      : pitch(round_up(s.source, kPanel)),
        keys(pitch * s.depth / 2),
        values((s.source + 1) / 2 * s.value_depth),
        scores(kBlock * pitch) {}
  int64_t bytes() const { return 4 * (keys + values + scores); }
};

uint32_t pair_at(const uint16_t* p) {
  uint32_t x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

// Four pairs of four keys, turned.
void pack_square(const uint16_t* row, int64_t stride, uint32_t* to) {
  const auto* const p = reinterpret_cast<const char*>(row);
  const int64_t step = 2 * stride;
  const __m128i r0 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const __m128i r1 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + step));
  const __m128i r2 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 2 * step));
  const __m128i r3 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 3 * step));
  const __m128i a0 = _mm_unpacklo_epi32(r0, r2), a1 = _mm_unpacklo_epi32(r1, r3);
  const __m128i b0 = _mm_unpackhi_epi32(r0, r2), b1 = _mm_unpackhi_epi32(r1, r3);
  auto* const out = reinterpret_cast<__m128i*>(to);
  constexpr int64_t kNext = kPanel / 4;
  _mm_storeu_si128(out, _mm_unpacklo_epi32(a0, a1));
  _mm_storeu_si128(out + kNext, _mm_unpackhi_epi32(a0, a1));
  _mm_storeu_si128(out + 2 * kNext, _mm_unpacklo_epi32(b0, b1));
  _mm_storeu_si128(out + 3 * kNext, _mm_unpackhi_epi32(b0, b1));
}

// Keys that scores are computed for at a time when `left` keys are left.
int64_t keys_for(int64_t left) { return left > 32 ? 64 : left > 16 ? 32 : 16; }

// Panels [depth / 2][kPanel] of pairs; of the last one, what is read, with zeros behind the last
// key.
void pack_keys(const AttentionShape& s, const uint16_t* k, uint32_t* to) {
  const int64_t pairs = s.depth / 2;
  for (int64_t j0 = 0; j0 < s.source; j0 += kPanel, to += kPanel * pairs) {
    const int64_t used = keys_for(s.source - j0);
    for (int64_t j = 0; j < used; j += 4) {
      const uint16_t* row = k + (j0 + j) * s.k[2];
      int64_t e = 0;
      if (j0 + j + 4 <= s.source) {
        for (; e + 4 <= pairs; e += 4) pack_square(row + 2 * e, s.k[2], to + e * kPanel + j);
      }
      for (; e < pairs; ++e) {
        for (int64_t r = 0; r < 4; ++r)
          to[e * kPanel + j + r] = j0 + j + r < s.source ? pair_at(row + r * s.k[2] + 2 * e) : 0;
      }
    }
  }
}

__m512i load_words(const uint16_t* p) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// Values of two keys side by side, by column.
void pack_values(const AttentionShape& s, const uint16_t* v, uint32_t* to) {
  for (int64_t j = 0; j < s.source; j += 2) {
    const uint16_t* row = v + j * s.v[2];
    for (int64_t c = 0; c < s.value_depth; c += 16, to += 16) {
      __m512i pairs = load_words(row + c);
      if (j + 1 < s.source)
        pairs = _mm512_or_si512(pairs, _mm512_slli_epi32(load_words(row + s.v[2] + c), 16));
      _mm512_storeu_si512(to, pairs);
    }
  }
}

struct Rows {
  const uint16_t* p[kRows];
};

// sums[r][c] += rows.p[r][2 i], [2 i + 1] times panel[i * stride + 16 c], over n pairs.
template <int kV, class Store>
[[gnu::always_inline]] inline void multiply(const Rows& rows, int64_t n, const uint32_t* panel,
                                            int64_t stride, const Store& store) {
  __m512 sums[kRows][kV];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kV; ++c) sums[r][c] = _mm512_setzero_ps();
  }
  for (int64_t i = 0; i < n; ++i, panel += stride) {
    __m512bh b[kV];
#pragma GCC unroll 4
    for (int c = 0; c < kV; ++c) b[c] = (__m512bh)_mm512_loadu_si512(panel + 16 * c);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const auto pair = static_cast<int>(pair_at(rows.p[r] + 2 * i));
      const __m512bh a = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 4
      for (int c = 0; c < kV; ++c) sums[r][c] = _mm512_dpbf16_ps(sums[r][c], a, b[c]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kV; ++c) store(r, c, sums[r][c]);
  }
}

// Where results go.
template <typename Out>
struct Sink {
  __m512 inv, zero_point, low, high;

  explicit Sink(const QuantParams& p)
      : inv(_mm512_set1_ps(inverse_scale(p.scale))),
        zero_point(_mm512_set1_ps(static_cast<float>(p.zero_point))),
        low(_mm512_set1_ps(static_cast<float>(p.quant_min))),
        high(_mm512_set1_ps(static_cast<float>(p.quant_max))) {}

  void put(__m512 y, Out* out) const {
    const __m256bh half = _mm512_cvtneps_pbh(y);
    if constexpr (std::is_same_v<Out, uint16_t>) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), (__m256i)half);
    } else {
      const __m512 x =
          _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)half), 16));
      const __m512 shifted =
          _mm512_add_ps(_mm512_roundscale_ps(_mm512_mul_ps(x, inv), 0), zero_point);
      const __m512 clamped = _mm512_min_ps(_mm512_max_ps(shifted, low), high);
      const __mmask16 real = _mm512_cmp_ps_mask(shifted, shifted, _CMP_ORD_Q);
      const __m512i codes = _mm512_maskz_cvtps_epi32(real, clamped);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(codes));
    }
  }
};

int64_t visible_keys(const AttentionShape& s, int64_t i) {
  return s.causal ? std::min(s.source, i + 1) : s.source;
}

__mmask16 first_lanes(int64_t n) {
  return n >= 16 ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1U << n) - 1U);
}

void mask_row(const AttentionShape& s, const Head& head, int64_t i, int64_t n, float* scores) {
  const int64_t at = i * s.mask[2], step = s.mask[3];
  if (head.added != nullptr && step == 1) {
    for (int64_t j = 0; j < n; j += 16) {
      const __mmask16 m = first_lanes(n - j);
      const __m512 sum =
          _mm512_add_ps(_mm512_loadu_ps(scores + j), _mm512_maskz_loadu_ps(m, head.added + at + j));
      _mm512_mask_storeu_ps(scores + j, m, sum);
    }
  } else if (head.added != nullptr) {
    for (int64_t j = 0; j < n; ++j) scores[j] += head.added[at + j * step];
  } else if (head.allowed != nullptr) {
    for (int64_t j = 0; j < n; ++j) scores[j] = head.allowed[at + j * step] ? scores[j] : kNever;
  }
}

// Scores of kRows rows, `pitch` apart, to bfloat16 exponentials at each row's beginning, and what
// they are multiplied with in the end. `whole` columns, a multiple of 32.
void soften_rows(float* scores, int64_t pitch, int64_t whole, float* inverse) {
  __m512 most[kRows], sums[kRows];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) most[r] = _mm512_set1_ps(kNever);
  for (int64_t j = 0; j < whole; j += 16) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r)
      most[r] = _mm512_max_ps(_mm512_loadu_ps(scores + r * pitch + j), most[r]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    const float max = _mm512_reduce_max_ps(most[r]);
    most[r] = _mm512_set1_ps(max == kNever ? 0.0F : max);  // sees nothing: all are exp(-inf)
    sums[r] = _mm512_setzero_ps();
  }
  for (int64_t j = 0; j < whole; j += 32) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      float* const row = scores + r * pitch;
      const __m512 a = Math::exp_of_negative(_mm512_sub_ps(_mm512_loadu_ps(row + j), most[r]));
      const __m512 b = Math::exp_of_negative(_mm512_sub_ps(_mm512_loadu_ps(row + j + 16), most[r]));
      sums[r] = _mm512_add_ps(sums[r], _mm512_add_ps(a, b));
      _mm512_storeu_si512(reinterpret_cast<uint16_t*>(row) + j, (__m512i)_mm512_cvtne2ps_pbh(b, a));
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    const float total = _mm512_reduce_add_ps(sums[r]);
    inverse[r] = total == 0.0F ? 0.0F : 1.0F / total;
  }
}

// What the blocks of one head share.
template <typename Out>
struct Work {
  const AttentionShape& s;
  const Head& head;
  const Sink<Out>& sink;
  Out* out;
  const uint32_t* keys;
  const uint32_t* values;
  float* scores;
  int64_t pitch;
  float inverse[kBlock];
};

template <typename Out>
void score_block(Work<Out>& w, int64_t first, int64_t count, int64_t keys) {
  const AttentionShape& s = w.s;
  const __m512 scale = _mm512_set1_ps(s.scale);
  for (int64_t j = 0; j < keys; j += kPanel) {
    for (int64_t row = 0; row < count; row += kRows) {
      Rows q;
      for (int64_t r = 0; r < kRows; ++r)
        q.p[r] = w.head.q + (first + std::min(row + r, count - 1)) * s.q[2];
      float* const scores = w.scores + row * w.pitch + j;
      const auto store = [&](int r, int c, __m512 sum) __attribute__((always_inline)) {
        _mm512_storeu_ps(scores + r * w.pitch + 16 * c, _mm512_mul_ps(sum, scale));
      };
      const uint32_t* const panel = w.keys + j * s.depth / 2;
      const int64_t used = keys_for(keys - j);
      if (used == 64) {
        multiply<4>(q, s.depth / 2, panel, kPanel, store);
      } else if (used == 32) {
        multiply<2>(q, s.depth / 2, panel, kPanel, store);
      } else {
        multiply<1>(q, s.depth / 2, panel, kPanel, store);
      }
    }
  }
}

template <int kV, typename Out>
void value_columns(const Work<Out>& w, const Rows& p, int64_t pairs, int64_t first, int64_t row,
                   int64_t count, int64_t at) {
  multiply<kV>(
      p, pairs, w.values + at,
      w.s.value_depth, [&](int r, int c, __m512 sum) __attribute__((always_inline)) {
        if (row + r >= count) return;
        w.sink.put(_mm512_mul_ps(sum, _mm512_set1_ps(w.inverse[row + r])),
                   w.out + (first + row + r) * w.s.out[2] + at + 16 * c);
      });
}

template <typename Out>
void attend_block(Work<Out>& w, int64_t first, int64_t count) {
  const AttentionShape& s = w.s;
  const int64_t keys = visible_keys(s, first + count - 1), pairs = (keys + 1) / 2;
  score_block(w, first, count, keys);
  const int64_t whole = round_up(keys, 32);
  for (int64_t r = 0; r < count; ++r) {
    float* const row = w.scores + r * w.pitch;
    const int64_t n = visible_keys(s, first + r);
    mask_row(s, w.head, first + r, n, row);
    std::fill(row + n, row + whole, kNever);
  }
  for (int64_t row = 0; row < count; row += kRows) {
    // Rows behind the last hold scores of the last one; nobody reads what becomes of them.
    soften_rows(w.scores + row * w.pitch, w.pitch, whole, w.inverse + row);
    Rows p;
    for (int64_t r = 0; r < kRows; ++r)
      p.p[r] = reinterpret_cast<const uint16_t*>(w.scores + std::min(row + r, count - 1) * w.pitch);
    int64_t at = 0;
    for (; at + 64 <= s.value_depth; at += 64) value_columns<4>(w, p, pairs, first, row, count, at);
    for (; at + 32 <= s.value_depth; at += 32) value_columns<2>(w, p, pairs, first, row, count, at);
    for (; at < s.value_depth; at += 16) value_columns<1>(w, p, pairs, first, row, count, at);
  }
}

template <typename Out>
void attend(const AttentionShape& s, const Head& head, Out* out, int64_t first, int64_t last,
            const QuantParams& to, uint32_t* scratch) {
  const Scratch sizes(s);
  const Sink<Out> sink(to);
  pack_keys(s, head.k, scratch);
  pack_values(s, head.v, scratch + sizes.keys);
  Work<Out> w{s,
              head,
              sink,
              out,
              scratch,
              scratch + sizes.keys,
              reinterpret_cast<float*>(scratch + sizes.keys + sizes.values),
              sizes.pitch,
              {}};
  for (int64_t i = first; i < last; i += kBlock) attend_block(w, i, std::min(kBlock, last - i));
}

template <typename Out>
void attend_all(const AttentionShape& s, const uint16_t* q, const uint16_t* k, const uint16_t* v,
                const AttentionMask& mask, Out* out, const QuantParams& to) {
  const int64_t heads = s.batch * s.heads;
  if (heads == 0 || s.length == 0) return;
  const int64_t wanted = heads >= 2 * num_threads() ? 1 : num_threads();
  const int64_t parts = std::max<int64_t>(1, std::min(wanted, s.length / 16));
  const int64_t work = s.length * s.source * (s.depth + s.value_depth) / parts;
  const auto words = static_cast<size_t>(Scratch(s).bytes() / 4 + 16);
  parallel_for(heads * parts, 1 + 65536 / std::max<int64_t>(1, work),
               [&](int64_t begin, int64_t end) {
                 thread_local std::vector<uint32_t> memory;
                 if (memory.size() < words) memory.resize(words);
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t part = i % parts, head = i / parts;
                   const int64_t b = head / s.heads, h = head % s.heads, hk = h / s.heads_per_key;
                   const int64_t masked = b * s.mask[0] + h * s.mask[1];
                   const Head of{q + b * s.q[0] + h * s.q[1], k + b * s.k[0] + hk * s.k[1],
                                 v + b * s.v[0] + hk * s.v[1],
                                 mask.added == nullptr ? nullptr : mask.added + masked,
                                 mask.allowed == nullptr ? nullptr : mask.allowed + masked};
                   attend(s, of, out + b * s.out[0] + h * s.out[1], s.length * part / parts,
                          s.length * (part + 1) / parts, to, memory.data());
                 }
               });
}

}  // namespace

template <>
void attention_bf16(const AttentionShape& shape, const uint16_t* q, const uint16_t* k,
                    const uint16_t* v, const AttentionMask& mask, uint16_t* out,
                    const QuantParams& to) {
  attend_all(shape, q, k, v, mask, out, to);
}
template <>
void attention_bf16(const AttentionShape& shape, const uint16_t* q, const uint16_t* k,
                    const uint16_t* v, const AttentionMask& mask, uint8_t* out,
                    const QuantParams& to) {
  attend_all(shape, q, k, v, mask, out, to);
}
template <>
void attention_bf16(const AttentionShape& shape, const uint16_t* q, const uint16_t* k,
                    const uint16_t* v, const AttentionMask& mask, int8_t* out,
                    const QuantParams& to) {
  attend_all(shape, q, k, v, mask, out, to);
}

}  // namespace pt2q::kernels
#pragma GCC pop_options

namespace pt2q::kernels {

bool has_attention_bf16() { return best_isa() >= Isa::avx512 && cpu_features().avx512bf16; }

bool attention_bf16_fits(const AttentionShape& s) {
  return has_attention_bf16() && s.depth > 0 && s.depth % 2 == 0 && s.value_depth % 16 == 0 &&
         s.source > 0;
}

}  // namespace pt2q::kernels
