// 256-bit parts shared by the AVX2 and the AVX-512 files; included inside their target region and
// anonymous namespace. Derived Ops add load, store_n, dot and kPixels.

// What becomes of accumulators: the shared epilogue, or bytes packed in registers. plain_u8 has
// zero point 0 and the full range, which saturation gives for free.
enum class Store { general, u8, plain_u8, s8 };

struct Bits256 {
  using V = __m256i;
  static constexpr int kBytes = 32;

  static V load_full(const uint8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static V xor_bits(V a, V b) { return _mm256_xor_si256(a, b); }
  static V set_byte(uint8_t b) { return _mm256_set1_epi8(static_cast<char>(b)); }
  static V load_parts(const uint8_t* p) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  }
  static void store_parts(uint8_t* p, V v) { _mm256_store_si256(reinterpret_cast<__m256i*>(p), v); }
  // Two taps per 16-bit lane, four parts of eight channels each; VNNI's files interleave four rows.
  static void interleave(const V (&rows)[2], V (&parts)[4]) {
    const V zero = _mm256_setzero_si256();
    const V low = _mm256_unpacklo_epi8(rows[0], rows[1]);
    const V high = _mm256_unpackhi_epi8(rows[0], rows[1]);
    parts[0] = _mm256_unpacklo_epi8(low, zero);
    parts[1] = _mm256_unpackhi_epi8(low, zero);
    parts[2] = _mm256_unpacklo_epi8(high, zero);
    parts[3] = _mm256_unpackhi_epi8(high, zero);
  }
  // One part: lane l to channels 16 l .. 16 l + 3 of `out`.
  static void store_channels(int32_t* out, V v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(v));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 16), _mm256_extracti128_si256(v, 1));
  }

  struct Quantizer {
    __m256 inv_scale;
    __m256i zero_point, qmin, qmax;
    const float* scale;  // packed
    const float* bias;
    Quantizer(const Epilogue& e, const float* packed_scale, const float* packed_bias,
              int first_channel)
        : inv_scale(_mm256_set1_ps(e.inv_scale)),
          zero_point(_mm256_set1_epi16(static_cast<int16_t>(e.zero_point))),
          qmin(_mm256_set1_epi8(static_cast<char>(e.qmin))),
          qmax(_mm256_set1_epi8(static_cast<char>(e.qmax))),
          scale(packed_scale + first_channel / 4),
          bias(packed_bias + first_channel / 4) {}
  };

  // Packing within lanes undoes the interleaving: the result is in channel order.
  template <Store kStore>
  static V quantize(const V (&acc)[4], const Quantizer& k) {
    __m256i q[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m256 y = _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc[j]), _mm256_load_ps(k.scale + 16 * j),
                                       _mm256_load_ps(k.bias + 16 * j));
      q[j] = _mm256_cvtps_epi32(_mm256_mul_ps(y, k.inv_scale));
    }
    __m256i low = _mm256_packs_epi32(q[0], q[1]), high = _mm256_packs_epi32(q[2], q[3]);
    if (kStore == Store::plain_u8) return _mm256_packus_epi16(low, high);
    low = _mm256_adds_epi16(low, k.zero_point);
    high = _mm256_adds_epi16(high, k.zero_point);
    if (kStore == Store::s8) {
      return _mm256_min_epi8(_mm256_max_epi8(_mm256_packs_epi16(low, high), k.qmin), k.qmax);
    }
    return _mm256_min_epu8(_mm256_max_epu8(_mm256_packus_epi16(low, high), k.qmin), k.qmax);
  }
};
