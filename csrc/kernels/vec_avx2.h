// The 16-lane vector layer for AVX2 + FMA: two 8-lane halves. Include inside a target region.
#pragma once

namespace pt2q::kernels {

struct VecAvx2 {
  struct F {
    __m256 lo, hi;
  };
  struct I {
    __m256i lo, hi;
  };
  struct Pack {
    __m256i zero_point, qmin, qmax, order;
  };

  static __m256i load256(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
  }
  static I load_i(const int32_t* p) { return {load256(p), load256(p + 8)}; }
  static F load_f(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static F load_fn(const float* p, int n) {
    if (n == 16) return load_f(p);
    alignas(32) float t[16] = {};
    for (int i = 0; i < n; ++i) t[i] = p[i];
    return load_f(t);
  }
  static I load_q(const uint8_t* p, int n, bool is_s8) {
    __m128i x;
    if (n == 16) {
      x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    } else {
      alignas(16) uint8_t t[16] = {};
      for (int i = 0; i < n; ++i) t[i] = p[i];
      x = _mm_load_si128(reinterpret_cast<const __m128i*>(t));
    }
    const __m128i high = _mm_srli_si128(x, 8);
    if (is_s8) return {_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(high)};
    return {_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(high)};
  }
  static F set_f(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static I set_i(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
  static F to_float(I a) { return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }
  static I to_int(F a) { return {_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)}; }
  static F fma(F a, F b, F c) {
    return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
  }
  static F mul(F a, F b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
  static F add(F a, F b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
  static F div(F a, F b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
  static __m256 select8(__m256 a, __m256 b, __m256 x, __m256 y) {
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
  }
  static F select_lt(F a, F b, F x, F y) {
    return {select8(a.lo, b.lo, x.lo, y.lo), select8(a.hi, b.hi, x.hi, y.hi)};
  }
  static I add_i(I a, I b) { return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }
  static I mul_i(I a, I b) {
    return {_mm256_mullo_epi32(a.lo, b.lo), _mm256_mullo_epi32(a.hi, b.hi)};
  }
  static I sub_i(I a, I b) { return {_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)}; }
  static __m256i ordered(__m256i a, __m256 f) {
    return _mm256_and_si256(a, _mm256_castps_si256(_mm256_cmp_ps(f, f, _CMP_ORD_Q)));
  }
  static I zero_if_nan(I a, F f) { return {ordered(a.lo, f.lo), ordered(a.hi, f.hi)}; }
  static void store_fn(float* p, F a, int n) {
    if (n == 16) {
      _mm256_storeu_ps(p, a.lo);
      _mm256_storeu_ps(p + 8, a.hi);
      return;
    }
    alignas(32) float t[16];
    _mm256_store_ps(t, a.lo);
    _mm256_store_ps(t + 8, a.hi);
    for (int i = 0; i < n; ++i) p[i] = t[i];
  }
  static void store_bf16(uint16_t* p, F a, int n) {
    float t[16];
    store_fn(t, a, 16);
    for (int i = 0; i < n; ++i) p[i] = to_bfloat16(t[i]);
  }
  static void store_q16(uint8_t* p, I a, int n) {
    alignas(32) int32_t t[16];
    _mm256_store_si256(reinterpret_cast<__m256i*>(t), a.lo);
    _mm256_store_si256(reinterpret_cast<__m256i*>(t + 8), a.hi);
    for (int i = 0; i < n; ++i) p[i] = static_cast<uint8_t>(t[i]);
  }

  static constexpr bool kTables = false;

  template <bool kS8>
  static Pack make_pack(int32_t zero_point, int32_t qmin, int32_t qmax) {
    return {_mm256_set1_epi16(static_cast<int16_t>(zero_point)),
            _mm256_set1_epi8(static_cast<char>(qmin)), _mm256_set1_epi8(static_cast<char>(qmax)),
            _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)};
  }
  template <bool kS8>
  static __m256i pack(I a, I b, const Pack& k) {
    const __m256i x = _mm256_adds_epi16(_mm256_packs_epi32(a.lo, a.hi), k.zero_point);
    const __m256i y = _mm256_adds_epi16(_mm256_packs_epi32(b.lo, b.hi), k.zero_point);
    const __m256i q = kS8 ? _mm256_packs_epi16(x, y) : _mm256_packus_epi16(x, y);
    const __m256i clamped = kS8 ? _mm256_min_epi8(_mm256_max_epi8(q, k.qmin), k.qmax)
                                : _mm256_min_epu8(_mm256_max_epu8(q, k.qmin), k.qmax);
    return _mm256_permutevar8x32_epi32(clamped, k.order);
  }
  template <bool kS8>
  static void store_packed16(uint8_t* p, I a, const Pack& k, int n) {
    const __m128i q = _mm256_castsi256_si128(pack<kS8>(a, a, k));
    if (n == 16) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p), q);
      return;
    }
    alignas(16) uint8_t t[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(t), q);
    for (int i = 0; i < n; ++i) p[i] = t[i];
  }
  template <bool kS8>
  static void store32(uint8_t* p, I a, I b, const Pack& k) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), pack<kS8>(a, b, k));
  }
  template <bool kS8>
  static void store_q64(uint8_t* p, I a, I b, I c, I d, const Pack& k) {
    store32<kS8>(p, a, b, k);
    store32<kS8>(p + 32, c, d, k);
  }
  template <bool kS8>
  static void store_q32x2(uint8_t* p, uint8_t* q, I a, I b, I c, I d, const Pack& k) {
    store32<kS8>(p, a, b, k);
    store32<kS8>(q, c, d, k);
  }
  template <bool kS8>
  static void store_q16x4(uint8_t* p, ptrdiff_t stride, I a, I b, I c, I d, const Pack& k) {
    store_packed16<kS8>(p, a, k, 16);
    store_packed16<kS8>(p + stride, b, k, 16);
    store_packed16<kS8>(p + 2 * stride, c, k, 16);
    store_packed16<kS8>(p + 3 * stride, d, k, 16);
  }
};

}  // namespace pt2q::kernels
