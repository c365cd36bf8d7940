// The 16-lane vector layer for AVX-512 (F, BW, VL, DQ). Include inside a target region of exactly
// these extensions: every file must compile these functions alike.
#pragma once

namespace pt2q::kernels {

struct VecAvx512 {
  using F = __m512;
  using I = __m512i;
  struct Pack {
    __m512i zero_point;  // 16-bit
    __m512i qmin, qmax;  // 8-bit
    __m512i order;       // 32-bit groups back into channel order after the in-lane packs
  };

  static __mmask16 mask(int n) { return static_cast<__mmask16>((1U << n) - 1U); }

  static I load_i(const int32_t* p) { return _mm512_loadu_si512(p); }
  static F load_f(const float* p) { return _mm512_loadu_ps(p); }
  static F load_fn(const float* p, int n) { return _mm512_maskz_loadu_ps(mask(n), p); }
  static I load_q(const uint8_t* p, int n, bool is_s8) {
    const __m128i x = n == 16 ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(p))
                              : _mm_maskz_loadu_epi8(mask(n), p);
    return is_s8 ? _mm512_cvtepi8_epi32(x) : _mm512_cvtepu8_epi32(x);
  }
  static F set_f(float x) { return _mm512_set1_ps(x); }
  static I set_i(int32_t x) { return _mm512_set1_epi32(x); }
  static F to_float(I a) { return _mm512_cvtepi32_ps(a); }
  static I to_int(F a) { return _mm512_cvtps_epi32(a); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F select_lt(F a, F b, F x, F y) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
  }
  static I add_i(I a, I b) { return _mm512_add_epi32(a, b); }
  static I mul_i(I a, I b) { return _mm512_mullo_epi32(a, b); }
  static I sub_i(I a, I b) { return _mm512_sub_epi32(a, b); }
  static I zero_if_nan(I a, F f) {
    return _mm512_maskz_mov_epi32(_mm512_cmp_ps_mask(f, f, _CMP_ORD_Q), a);
  }
  static void store_fn(float* p, F a, int n) { _mm512_mask_storeu_ps(p, mask(n), a); }
  static void store_bf16(uint16_t* p, F a, int n) {
    const __m512i bits = _mm512_castps_si512(a);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i r = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    r = _mm512_mask_mov_epi32(r, _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q),
                              _mm512_set1_epi32(0x7fc00000));
    _mm256_mask_storeu_epi16(p, mask(n), _mm512_cvtepi32_epi16(_mm512_srli_epi32(r, 16)));
  }
  static void store_q16(uint8_t* p, I a, int n) {
    _mm_mask_storeu_epi8(p, mask(n), _mm512_cvtepi32_epi8(a));
  }

  static constexpr bool kTables = true;
  struct Table {
    __m512 low, high;
  };
  static Table load_table(const float* p) { return {_mm512_loadu_ps(p), _mm512_loadu_ps(p + 16)}; }
  static F lookup(const Table& t, I at) { return _mm512_permutex2var_ps(t.low, at, t.high); }
  static I bits(F a) { return _mm512_castps_si512(a); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F fnma(F a, F b, F c) { return _mm512_fnmadd_ps(a, b, c); }
  static F positive(F a) { return _mm512_max_ps(a, _mm512_setzero_ps()); }
  // Of the magnitudes, without sign.
  static F min_magnitude(F a, F b) { return _mm512_range_ps(a, b, 0x0a); }
  static F max_magnitude(F a, F b) { return _mm512_range_ps(a, b, 0x0b); }
  static F rounding_error(F a) { return _mm512_reduce_ps(a, 0); }
  static bool any_above(F a, float bound) {
    return _mm512_cmp_ps_mask(a, _mm512_set1_ps(bound), _CMP_GT_OQ) != 0;
  }

  template <bool kS8>
  static Pack make_pack(int32_t zero_point, int32_t qmin, int32_t qmax) {
    return {_mm512_set1_epi16(static_cast<int16_t>(zero_point)),
            _mm512_set1_epi8(static_cast<char>(qmin)), _mm512_set1_epi8(static_cast<char>(qmax)),
            _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)};
  }
  template <bool kS8>
  static __m512i pack(I a, I b, I c, I d, const Pack& k) {
    const __m512i ab = _mm512_adds_epi16(_mm512_packs_epi32(a, b), k.zero_point);
    const __m512i cd = _mm512_adds_epi16(_mm512_packs_epi32(c, d), k.zero_point);
    const __m512i q = kS8 ? _mm512_packs_epi16(ab, cd) : _mm512_packus_epi16(ab, cd);
    const __m512i clamped = kS8 ? _mm512_min_epi8(_mm512_max_epi8(q, k.qmin), k.qmax)
                                : _mm512_min_epu8(_mm512_max_epu8(q, k.qmin), k.qmax);
    return _mm512_permutexvar_epi32(k.order, clamped);
  }
  template <bool kS8>
  static void store_packed16(uint8_t* p, I a, const Pack& k, int n) {
    const __m128i q = _mm512_castsi512_si128(pack<kS8>(a, a, a, a, k));
    if (n == 16) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p), q);
    } else {
      _mm_mask_storeu_epi8(p, mask(n), q);
    }
  }
  template <bool kS8>
  static void store_q64(uint8_t* p, I a, I b, I c, I d, const Pack& k) {
    _mm512_storeu_si512(p, pack<kS8>(a, b, c, d, k));
  }
  template <bool kS8>
  static void store_q32x2(uint8_t* p, uint8_t* q, I a, I b, I c, I d, const Pack& k) {
    const __m512i x = pack<kS8>(a, b, c, d, k);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_castsi512_si256(x));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), _mm512_extracti64x4_epi64(x, 1));
  }
  template <bool kS8>
  static void store_q16x4(uint8_t* p, ptrdiff_t stride, I a, I b, I c, I d, const Pack& k) {
    const __m512i x = pack<kS8>(a, b, c, d, k);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_castsi512_si128(x));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + stride), _mm512_extracti32x4_epi32(x, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 2 * stride), _mm512_extracti32x4_epi32(x, 2));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 3 * stride), _mm512_extracti32x4_epi32(x, 3));
  }
};

}  // namespace pt2q::kernels
