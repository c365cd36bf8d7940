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

#include "kernels/attention512-inl.h"

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

// Where results go.
template <typename Out>
struct Sink {
  QuantizeLanes quantize;

  explicit Sink(const QuantParams& p) : quantize(p) {}

  void put(__m512 y, Out* out) const {
    const __m256bh half = _mm512_cvtneps_pbh(y);
    if constexpr (std::is_same_v<Out, uint16_t>) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), (__m256i)half);
    } else {
      const __m512i words = _mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)half), 16);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out), quantize(_mm512_castsi512_ps(words)));
    }
  }
};

struct Product {
  using Sum = __m512;
  static Sum start(int) { return _mm512_setzero_ps(); }
  static Sum dot(Sum sum, __m512i a, __m512i b) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
  }
};

int64_t visible_keys(const AttentionShape& s, int64_t i) {
  return s.causal ? std::min(s.source, i + 1) : s.source;
}

// What the blocks of one head share.
template <typename Out>
struct Work {
  const AttentionShape& s;
  const Head<uint16_t>& head;
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
        multiply<4>(Product(), q, s.depth / 2, panel, kPanel, store);
      } else if (used == 32) {
        multiply<2>(Product(), q, s.depth / 2, panel, kPanel, store);
      } else {
        multiply<1>(Product(), q, s.depth / 2, panel, kPanel, store);
      }
    }
  }
}

template <int kV, typename Out>
void value_columns(const Work<Out>& w, const Rows& p, int64_t pairs, int64_t first, int64_t row,
                   int64_t count, int64_t at) {
  multiply<kV>(
      Product(), p, pairs, w.values + at,
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
    mask_row(s, w.head, first + r, n, whole, row);
  }
  for (int64_t row = 0; row < count; row += kRows) {
    // Rows behind the last hold scores of the last one; nobody reads what becomes of them.
    soften_rows(
        w.scores + row * w.pitch, w.pitch, whole, w.inverse + row,
        [](float* to, int64_t j, __m512 a, __m512 b) __attribute__((always_inline)) {
          _mm512_storeu_si512(reinterpret_cast<uint16_t*>(to) + j,
                              (__m512i)_mm512_cvtne2ps_pbh(b, a));
        });
    Rows p;
    for (int64_t r = 0; r < kRows; ++r) p.p[r] = w.scores + std::min(row + r, count - 1) * w.pitch;
    int64_t at = 0;
    for (; at + 64 <= s.value_depth; at += 64) value_columns<4>(w, p, pairs, first, row, count, at);
    for (; at + 32 <= s.value_depth; at += 32) value_columns<2>(w, p, pairs, first, row, count, at);
    for (; at < s.value_depth; at += 16) value_columns<1>(w, p, pairs, first, row, count, at);
  }
}

template <typename Out>
void attend(const AttentionShape& s, const Head<uint16_t>& head, Out* out, int64_t first,
            int64_t last, const QuantParams& to, uint32_t* scratch) {
  const Scratch sizes(s);
  const Sink<Out> sink(to);
  pack_keys(s, head.k, 0, scratch);
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
  for_heads(s, q, k, v, mask, Scratch(s).bytes(),
            [&](const Head<uint16_t>& head, int64_t at, int64_t first, int64_t last,
                uint32_t* scratch) { attend(s, head, out + at, first, last, to, scratch); });
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
