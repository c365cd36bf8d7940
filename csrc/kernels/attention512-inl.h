// What the AVX-512 forms of attention share: operands of two bytes or one, read four bytes at a
// time, keys packed in panels, scores of four rows at once, their exponentials.
//
// No include guard: include once, inside an anonymous namespace and where AVX-512 is the target.

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

inline int64_t round_up(int64_t a, int64_t b) { return (a + b - 1) / b * b; }

// Pointers of one (batch, head).
template <typename T>
struct Head {
  const T* q;
  const T* k;
  const T* v;
  const float* added;
  const bool* allowed;
};

// Four bytes: what a product instruction takes of one lane.
inline uint32_t word_at(const void* p) {
  uint32_t x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

// Four words of four keys, turned; `step` in bytes.
inline void pack_square(const void* row, int64_t step, __m128i flip, uint32_t* to) {
  const auto* const p = static_cast<const char*>(row);
  const auto load = [&](int64_t i) {
    return _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i * step)), flip);
  };
  const __m128i r0 = load(0), r1 = load(1), r2 = load(2), r3 = load(3);
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
inline int64_t keys_for(int64_t left) { return left > 32 ? 64 : left > 16 ? 32 : 16; }

// Panels [words of the depth][kPanel], each word exclusive-or `flip`. Behind the last key stays
// what is there: its scores are thrown away.
template <typename T>
void pack_keys(const AttentionShape& s, const T* k, uint32_t flip, uint32_t* packed) {
  constexpr int64_t kPerWord = 4 / sizeof(T);
  const int64_t words = s.depth / kPerWord;
  const int64_t step = s.k[2] * static_cast<int64_t>(sizeof(T));
  const __m128i flips = _mm_set1_epi32(static_cast<int>(flip));
  for (int64_t j = 0; j < s.source; j += 4) {
    uint32_t* to = packed + j / kPanel * kPanel * words + j % kPanel;
    const T* row = k + j * s.k[2];
    const int64_t rows = std::min<int64_t>(4, s.source - j);
    int64_t e = 0;
    if (rows == 4) {
      for (; e + 4 <= words; e += 4) pack_square(row + kPerWord * e, step, flips, to + e * kPanel);
    }
    for (; e < words; ++e) {
      for (int64_t r = 0; r < rows; ++r)
        to[e * kPanel + r] = word_at(row + r * s.k[2] + kPerWord * e) ^ flip;
    }
  }
}

struct Rows {
  const void* p[kRows];
};

// sums[r][c] += word i of rows.p[r] times panel[i * stride + 16 c], over n words. Product: Sum (a
// vector), start(c), the sum's beginning, and dot(sum, a, b).
template <int kV, class Product, class Store>
[[gnu::always_inline]] inline void multiply(const Product& product, const Rows& rows, int64_t n,
                                            const uint32_t* panel, int64_t stride,
                                            const Store& store) {
  typename Product::Sum sums[kRows][kV];
#pragma GCC unroll 4
  for (int c = 0; c < kV; ++c) {
    const auto start = product.start(c);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) sums[r][c] = start;
  }
  for (int64_t i = 0; i < n; ++i, panel += stride) {
    __m512i b[kV];
#pragma GCC unroll 4
    for (int c = 0; c < kV; ++c) b[c] = _mm512_loadu_si512(panel + 16 * c);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const auto word = word_at(static_cast<const char*>(rows.p[r]) + 4 * i);
      const __m512i a = _mm512_set1_epi32(static_cast<int>(word));
#pragma GCC unroll 4
      for (int c = 0; c < kV; ++c) sums[r][c] = product.dot(sums[r][c], a, b[c]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kV; ++c) store(r, c, sums[r][c]);
  }
}

inline __mmask16 first_lanes(int64_t n) {
  return n >= 16 ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1U << n) - 1U);
}

// Scores [0, n) of row i masked, [n, whole) never.
template <typename T>
void mask_row(const AttentionShape& s, const Head<T>& head, int64_t i, int64_t n, int64_t whole,
              float* scores) {
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
  std::fill(scores + n, scores + whole, kNever);
}

// Scores of kRows rows, `pitch` apart, to exponentials, and what they are multiplied with in the
// end. `whole` columns, a multiple of 32. put(row's beginning, column, exponentials from there on).
template <class Put>
[[gnu::always_inline]] inline void soften_rows(float* scores, int64_t pitch, int64_t whole,
                                               float* inverse, const Put& put) {
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
      sums[r] = _mm512_add_ps(_mm512_add_ps(sums[r], a), b);
      put(row, j, a, b);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    const float total = _mm512_reduce_add_ps(sums[r]);
    inverse[r] = total == 0.0F ? 0.0F : 1.0F / total;
  }
}

// quantize (affine.h) on lanes; NaN gives 0.
struct QuantizeLanes {
  __m512 inv, zero_point, low, high;

  explicit QuantizeLanes(const QuantParams& p)
      : inv(_mm512_set1_ps(inverse_scale(p.scale))),
        zero_point(_mm512_set1_ps(static_cast<float>(p.zero_point))),
        low(_mm512_set1_ps(static_cast<float>(p.quant_min))),
        high(_mm512_set1_ps(static_cast<float>(p.quant_max))) {}

  __m128i operator()(__m512 x) const {
    const __m512 shifted =
        _mm512_add_ps(_mm512_roundscale_ps(_mm512_mul_ps(x, inv), 0), zero_point);
    const __m512 clamped = _mm512_min_ps(_mm512_max_ps(shifted, low), high);
    const __mmask16 real = _mm512_cmp_ps_mask(shifted, shifted, _CMP_ORD_Q);
    return _mm512_cvtepi32_epi8(_mm512_maskz_cvtps_epi32(real, clamped));
  }
};

// The next cache line, so that no load crosses two.
inline uint32_t* aligned(uint32_t* p) {
  return reinterpret_cast<uint32_t*>((reinterpret_cast<uintptr_t>(p) + 63) / 64 * 64);
}

// Runs body(head, offset of its results, first row, end of rows, scratch) over all heads and their
// parts; `bytes` of scratch memory per thread.
template <typename T, class Body>
void for_heads(const AttentionShape& s, const T* q, const T* k, const T* v,
               const AttentionMask& mask, int64_t bytes, const Body& body) {
  const int64_t heads = s.batch * s.heads;
  if (heads == 0 || s.length == 0) return;
  const int64_t wanted = heads >= 2 * num_threads() ? 1 : num_threads();
  const int64_t parts = std::max<int64_t>(1, std::min(wanted, s.length / 16));
  const int64_t work = s.length * s.source * (s.depth + s.value_depth) / parts;
  const auto words = static_cast<size_t>(bytes / 4 + 16);
  const auto run = [&](int64_t begin, int64_t end) {
    thread_local std::vector<uint32_t> memory;
    if (memory.size() < words) memory.resize(words);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t part = i % parts, head = i / parts;
      const int64_t b = head / s.heads, h = head % s.heads, hk = h / s.heads_per_key;
      const int64_t masked = b * s.mask[0] + h * s.mask[1];
      const Head<T> of{q + b * s.q[0] + h * s.q[1], k + b * s.k[0] + hk * s.k[1],
                       v + b * s.v[0] + hk * s.v[1],
                       mask.added == nullptr ? nullptr : mask.added + masked,
                       mask.allowed == nullptr ? nullptr : mask.allowed + masked};
      body(of, b * s.out[0] + h * s.out[1], s.length * part / parts, s.length * (part + 1) / parts,
           aligned(memory.data()));
    }
  };
  parallel_for(heads * parts, 1 + 65536 / std::max<int64_t>(1, work), run);
}
