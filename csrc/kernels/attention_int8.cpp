// GCC 12 takes the undefined pass-through operands of its own AVX-512 intrinsics for a defect.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include "kernels/attention_int8.h"

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
#include "kernels/attention_int8_words.h"
#include "kernels/isa.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")

namespace pt2q::kernels {

// With AVX512-VNNI.
template <typename Out>
void attention_int8_bytes(const AttentionShape& shape, const AttentionQuant& quant,
                          const uint8_t* q, const uint8_t* k, const uint8_t* v,
                          const AttentionMask& mask, Out* out, const QuantParams& to);

namespace {

#include "kernels/attention512-inl.h"

// The instruction's second operand is signed: keys and values are packed 128 lower.
constexpr uint32_t kFlip = 0x80808080U;

// Scratch memory of a thread, in words: keys, what each adds to its scores, values, what each
// column adds to its results, scores. All begin at a cache line.
struct Scratch {
  int64_t pitch, keys, key_terms, values, value_terms, scores;

  explicit Scratch(const AttentionShape& s)
      : pitch(round_up(s.source, kPanel)),
        keys(pitch * s.depth / 4),
        key_terms(pitch),
        values(round_up(s.source, 4) / 4 * s.value_depth),
        value_terms(s.value_depth),
        scores(kBlock * pitch) {}
  int64_t bytes() const { return 4 * (keys + key_terms + values + value_terms + scores); }
};

struct Product {
  using Sum = __m512i;
  const int32_t* terms;  // of the columns
  Sum start(int c) const { return _mm512_loadu_si512(terms + 16 * c); }
  static Sum dot(Sum sum, __m512i a, __m512i b) { return _mm512_dpbusd_epi32(sum, a, b); }
};

// Sums of `words` words per lane, `stride` apart: 16 columns.
__m512i sum_columns(const uint32_t* packed, int64_t words, int64_t stride) {
  const __m512i ones = _mm512_set1_epi8(1);
  __m512i sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < words; ++i)
    sum = _mm512_dpbusd_epi32(sum, ones, _mm512_loadu_si512(packed + i * stride));
  return sum;
}

int32_t sum_bytes(const void* bytes, int64_t n) {
  const auto* const p = static_cast<const char*>(bytes);
  __m512i sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < n; i += 64) {
    const __mmask64 m = n - i >= 64 ? ~__mmask64{0} : (__mmask64{1} << (n - i)) - 1;
    sum = _mm512_add_epi64(
        sum, _mm512_sad_epu8(_mm512_maskz_loadu_epi8(m, p + i), _mm512_setzero_si512()));
  }
  return static_cast<int32_t>(_mm512_reduce_add_epi64(sum));
}

// sum (q - zq) (k - zk) = sum q k' - zq sum k' - zk' sum q + depth zq zk', k' = k - 128: what does
// not depend on the query.
void add_up_keys(const AttentionShape& s, const AttentionQuant& quant, const uint32_t* keys,
                 int32_t* terms) {
  const int64_t words = s.depth / 4;
  const int32_t zq = quant.q.zero_point, zk = quant.k.zero_point - 128;
  const __m512i constant = _mm512_set1_epi32(static_cast<int32_t>(s.depth) * zq * zk);
  for (int64_t j = 0; j < s.source; j += 16) {
    const uint32_t* panel = keys + j / kPanel * kPanel * words + j % kPanel;
    const __m512i sums = sum_columns(panel, words, kPanel);
    const __m512i product = _mm512_mullo_epi32(sums, _mm512_set1_epi32(zq));
    _mm512_storeu_si512(terms + j, _mm512_sub_epi32(constant, product));
  }
}

__m128i load16(const uint8_t* p) {
  return _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), _mm_set1_epi8(-128));
}

// Values of four keys side by side, by column; zeros behind the last.
void pack_values(const AttentionShape& s, const uint8_t* v, uint32_t* to) {
  for (int64_t j = 0; j < s.source; j += 4) {
    for (int64_t c = 0; c < s.value_depth; c += 16, to += 16) {
      __m128i r[4];
      for (int64_t i = 0; i < 4; ++i) {
        r[i] = j + i < s.source ? load16(v + (j + i) * s.v[2] + c) : _mm_setzero_si128();
      }
      const __m128i a0 = _mm_unpacklo_epi8(r[0], r[1]), b0 = _mm_unpacklo_epi8(r[2], r[3]);
      const __m128i a1 = _mm_unpackhi_epi8(r[0], r[1]), b1 = _mm_unpackhi_epi8(r[2], r[3]);
      auto* const out = reinterpret_cast<__m128i*>(to);
      _mm_storeu_si128(out, _mm_unpacklo_epi16(a0, b0));
      _mm_storeu_si128(out + 1, _mm_unpackhi_epi16(a0, b0));
      _mm_storeu_si128(out + 2, _mm_unpacklo_epi16(a1, b1));
      _mm_storeu_si128(out + 3, _mm_unpackhi_epi16(a1, b1));
    }
  }
}

// As add_up_keys: sum (p - zp) (v - zv) = sum p v' - zp sum v' - zv' sum p + keys zp zv'.
void add_up_values(const AttentionShape& s, const AttentionQuant& quant, const uint32_t* values,
                   int32_t* terms) {
  const int32_t zp = quant.p.zero_point, zv = quant.v.zero_point - 128;
  const __m512i constant = _mm512_set1_epi32(static_cast<int32_t>(s.source) * zp * zv);
  for (int64_t c = 0; c < s.value_depth; c += 16) {
    const __m512i sums = sum_columns(values + c, (s.source + 3) / 4, s.value_depth);
    const __m512i product = _mm512_mullo_epi32(sums, _mm512_set1_epi32(zp));
    _mm512_storeu_si512(terms + c, _mm512_sub_epi32(constant, product));
  }
}

// What the blocks of one head share.
template <typename Out>
struct Work {
  const AttentionShape& s;
  const AttentionQuant& quant;
  const Head<uint8_t>& head;
  const QuantizeLanes& quantize;
  Out* out;
  const Scratch& sizes;
  uint32_t* scratch;
  float factors[kBlock];  // of the exponentials of a row
  int32_t terms[kBlock];  // what a query adds to its scores, then its codes to the results

  const uint32_t* keys() const { return scratch; }
  const int32_t* key_terms() const {
    return reinterpret_cast<const int32_t*>(scratch + sizes.keys);
  }
  const uint32_t* values() const { return scratch + sizes.keys + sizes.key_terms; }
  const int32_t* value_terms() const {
    return reinterpret_cast<const int32_t*>(values() + sizes.values);
  }
  float* scores(int64_t row) const {
    return reinterpret_cast<float*>(scratch + sizes.keys + sizes.key_terms + sizes.values +
                                    sizes.value_terms) +
           row * sizes.pitch;
  }
};

template <int kV, typename Out>
void score_keys(const Work<Out>& w, const Rows& q, int64_t row, int64_t j) {
  const __m512 factor = _mm512_set1_ps(score_factor(w.s, w.quant));
  float* const scores = w.scores(row) + j;
  multiply<kV>(
      Product{w.key_terms() + j}, q, w.s.depth / 4, w.keys() + j * w.s.depth / 4,
      kPanel, [&](int r, int c, __m512i sum) __attribute__((always_inline)) {
        const __m512i whole = _mm512_add_epi32(sum, _mm512_set1_epi32(w.terms[row + r]));
        _mm512_storeu_ps(scores + r * w.sizes.pitch + 16 * c,
                         _mm512_mul_ps(_mm512_cvtepi32_ps(whole), factor));
      });
}

template <typename Out>
void score_block(Work<Out>& w, int64_t first, int64_t count) {
  const AttentionShape& s = w.s;
  const int32_t zk = w.quant.k.zero_point - 128;
  const auto query = [&](int64_t row) {
    return w.head.q + (first + std::min(row, count - 1)) * s.q[2];
  };
  for (int64_t row = 0; row < round_up(count, kRows); ++row)
    w.terms[row] = -zk * sum_bytes(query(row), s.depth);
  for (int64_t j = 0; j < s.source; j += kPanel) {
    for (int64_t row = 0; row < count; row += kRows) {
      Rows q;
      for (int64_t r = 0; r < kRows; ++r) q.p[r] = query(row + r);
      const int64_t used = keys_for(s.source - j);
      if (used == 64) {
        score_keys<4>(w, q, row, j);
      } else if (used == 32) {
        score_keys<2>(w, q, row, j);
      } else {
        score_keys<1>(w, q, row, j);
      }
    }
  }
}

// Exponentials of a row to the codes of their probabilities.
struct Encoder {
  __m512 factor;
  __m512i zero_point, low, high;
  __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);

  Encoder(float f, const QuantParams& p)
      : factor(_mm512_set1_ps(f)),
        zero_point(_mm512_set1_epi16(static_cast<int16_t>(p.zero_point))),
        low(_mm512_set1_epi8(static_cast<char>(p.quant_min))),
        high(_mm512_set1_epi8(static_cast<char>(p.quant_max))) {}

  __m512i integers(const float* e) const {
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(e), factor));
  }
  // Saturation on the way to bytes clamps; NaN is the least integer. Dwords come out interleaved.
  __m512i pack(__m512i a, __m512i b, __m512i c, __m512i d) const {
    const __m512i ab = _mm512_adds_epi16(_mm512_packs_epi32(a, b), zero_point);
    const __m512i cd = _mm512_adds_epi16(_mm512_packs_epi32(c, d), zero_point);
    const __m512i q = _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(ab, cd), low), high);
    return _mm512_permutexvar_epi32(order, q);
  }
};

// Exponentials [0, whole) of a row to codes at its beginning; returns their sum. `whole` is a
// multiple of 32.
int32_t encode_row(float* row, int64_t whole, float factor, const QuantParams& p) {
  const Encoder encoder(factor, p);
  auto* const to = reinterpret_cast<char*>(row);
  const __m512i zero = _mm512_setzero_si512();
  __m512i sum = zero;
  int64_t j = 0;
  // All are loaded before any is stored, which may lie on them.
  for (; j + 64 <= whole; j += 64) {
    const __m512i codes =
        encoder.pack(encoder.integers(row + j), encoder.integers(row + j + 16),
                     encoder.integers(row + j + 32), encoder.integers(row + j + 48));
    sum = _mm512_add_epi64(sum, _mm512_sad_epu8(codes, zero));
    _mm512_storeu_si512(to + j, codes);
  }
  if (j < whole) {
    const __m512i a = encoder.integers(row + j), b = encoder.integers(row + j + 16);
    const __m256i codes = _mm512_castsi512_si256(encoder.pack(a, b, a, b));
    const __m256i part = _mm256_sad_epu8(codes, _mm256_setzero_si256());
    sum = _mm512_add_epi64(sum, _mm512_zextsi256_si512(part));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + j), codes);
  }
  return static_cast<int32_t>(_mm512_reduce_add_epi64(sum));
}

template <int kV, typename Out>
void value_columns(const Work<Out>& w, const Rows& p, int64_t first, int64_t row, int64_t count,
                   int64_t at) {
  const __m512 factor = _mm512_set1_ps(result_factor(w.quant));
  multiply<kV>(
      Product{w.value_terms() + at}, p, (w.s.source + 3) / 4, w.values() + at,
      w.s.value_depth, [&](int r, int c, __m512i sum) __attribute__((always_inline)) {
        if (row + r >= count) return;
        const __m512i whole = _mm512_add_epi32(sum, _mm512_set1_epi32(w.terms[row + r]));
        const __m512 real = _mm512_mul_ps(_mm512_cvtepi32_ps(whole), factor);
        Out* const out = w.out + (first + row + r) * w.s.out[2] + at + 16 * c;
        if constexpr (std::is_same_v<Out, float>) {
          _mm512_storeu_ps(out, real);
        } else {
          _mm_storeu_si128(reinterpret_cast<__m128i*>(out), w.quantize(real));
        }
      });
}

// Scores of rows [row, row + kRows) to codes, and what the codes add to the results.
template <typename Out>
void soften(Work<Out>& w, int64_t first, int64_t row, int64_t count) {
  const AttentionShape& s = w.s;
  const int64_t whole = round_up(s.source, 32);
  const int64_t rows = std::min<int64_t>(kRows, count - row);
  for (int64_t r = row; r < row + rows; ++r)
    mask_row(s, w.head, first + r, s.source, whole, w.scores(r));
  // Rows behind the last hold scores of the last one; nobody reads what becomes of them.
  soften_rows(
      w.scores(row), w.sizes.pitch, whole, w.factors + row,
      [](float* to, int64_t j, __m512 a, __m512 b) __attribute__((always_inline)) {
        _mm512_storeu_ps(to + j, a);
        _mm512_storeu_ps(to + j + 16, b);
      });
  const float inverse = inverse_scale(w.quant.p.scale);
  const int32_t zv = w.quant.v.zero_point - 128;
  const QuantParams& p = w.quant.p;
  const int64_t zero = std::min(std::max(p.zero_point, p.quant_min), p.quant_max);
  const auto behind = static_cast<int32_t>((whole - s.source) * zero);  // their values are zero
  for (int64_t r = row; r < row + rows; ++r)
    w.terms[r] = -zv * (encode_row(w.scores(r), whole, w.factors[r] * inverse, p) - behind);
}

template <typename Out>
void attend_block(Work<Out>& w, int64_t first, int64_t count) {
  score_block(w, first, count);
  for (int64_t row = 0; row < count; row += kRows) {
    soften(w, first, row, count);
    Rows p;
    for (int64_t r = 0; r < kRows; ++r) p.p[r] = w.scores(std::min(row + r, count - 1));
    int64_t at = 0;
    for (; at + 64 <= w.s.value_depth; at += 64) value_columns<4>(w, p, first, row, count, at);
    for (; at + 32 <= w.s.value_depth; at += 32) value_columns<2>(w, p, first, row, count, at);
    for (; at < w.s.value_depth; at += 16) value_columns<1>(w, p, first, row, count, at);
  }
}

template <typename Out>
void attend_all(const AttentionShape& s, const AttentionQuant& quant, const uint8_t* q,
                const uint8_t* k, const uint8_t* v, const AttentionMask& mask, Out* out,
                const QuantParams& to) {
  const Scratch sizes(s);
  const QuantizeLanes quantize(to);
  const auto attend = [&](const Head<uint8_t>& head, int64_t at, int64_t first, int64_t last,
                          uint32_t* scratch) {
    Work<Out> w{s, quant, head, quantize, out + at, sizes, scratch, {}, {}};
    pack_keys(s, head.k, kFlip, scratch);
    add_up_keys(s, quant, w.keys(), reinterpret_cast<int32_t*>(scratch + sizes.keys));
    uint32_t* const values = scratch + sizes.keys + sizes.key_terms;
    pack_values(s, head.v, values);
    add_up_values(s, quant, values, reinterpret_cast<int32_t*>(values + sizes.values));
    for (int64_t i = first; i < last; i += kBlock)
      attend_block(w, i, std::min<int64_t>(kBlock, last - i));
  };
  for_heads(s, q, k, v, mask, sizes.bytes(), attend);
}

}  // namespace

#define PT2Q_ATTENTION(Out)                                                               \
  template <>                                                                             \
  void attention_int8_bytes(const AttentionShape& shape, const AttentionQuant& quant,     \
                            const uint8_t* q, const uint8_t* k, const uint8_t* v,         \
                            const AttentionMask& mask, Out* out, const QuantParams& to) { \
    attend_all(shape, quant, q, k, v, mask, out, to);                                     \
  }
PT2Q_ATTENTION(float)
PT2Q_ATTENTION(uint8_t)
PT2Q_ATTENTION(int8_t)
#undef PT2Q_ATTENTION

}  // namespace pt2q::kernels
#pragma GCC pop_options

namespace pt2q::kernels {

template <typename Out>
void attention_int8(const AttentionShape& shape, const AttentionQuant& quant, const uint8_t* q,
                    const uint8_t* k, const uint8_t* v, const AttentionMask& mask, Out* out,
                    const QuantParams& to) {
  const bool bytes = best_isa() >= Isa::avx512_vnni;
  (bytes ? attention_int8_bytes<Out> : attention_int8_words<Out>)(shape, quant, q, k, v, mask, out,
                                                                  to);
}

#define PT2Q_ATTENTION(Out)                                                                  \
  template void attention_int8(const AttentionShape&, const AttentionQuant&, const uint8_t*, \
                               const uint8_t*, const uint8_t*, const AttentionMask&, Out*,   \
                               const QuantParams&);
PT2Q_ATTENTION(float)
PT2Q_ATTENTION(uint8_t)
PT2Q_ATTENTION(int8_t)
#undef PT2Q_ATTENTION

bool attention_int8_fits(const AttentionShape& s) {
  constexpr int64_t kMost = 32768;  // products of two bytes in an int32
  return !s.causal && s.depth > 0 && s.depth % 4 == 0 && s.depth <= kMost &&
         s.value_depth % 16 == 0 && s.source > 0 && s.source <= kMost;
}

}  // namespace pt2q::kernels
