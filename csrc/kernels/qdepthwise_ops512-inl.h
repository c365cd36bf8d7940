// 512-bit parts, and the masked 256-bit ones for 32 channels or fewer, shared by the AVX-512 files;
// included inside their target region and anonymous namespace after qdepthwise_ops256-inl.h.

struct Masked256 : Bits256 {
  static constexpr int kPixels = 4;
  static constexpr bool kStreams = true;

  static __mmask32 mask(int n) { return static_cast<__mmask32>((uint64_t{1} << n) - 1); }
  static V load(const uint8_t* p, int n) { return _mm256_maskz_loadu_epi8(mask(n), p); }

  template <Store kStore, bool kFull>
  static void quantize_store(const V (&acc)[4], const Quantizer& k, uint8_t* dst, int n) {
    const V bytes = quantize<kStore>(acc, k);
    if (kFull) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst), bytes);
    } else {
      _mm256_mask_storeu_epi8(dst, mask(n), bytes);
    }
  }
  static void run_epilogue(const Epilogue& e, const EpilogueBlock& b) { epilogue_avx512(e, b); }
};

struct Bits512 {
  using V = __m512i;
  static constexpr int kBytes = 64;
  static constexpr int kPixels = 4;
  static constexpr bool kStreams = true;

  static __mmask64 mask(int n) {
    return n == kBytes ? ~__mmask64{0} : static_cast<__mmask64>((uint64_t{1} << n) - 1);
  }
  static V load_full(const uint8_t* p) { return _mm512_loadu_si512(p); }
  static V load(const uint8_t* p, int n) { return _mm512_maskz_loadu_epi8(mask(n), p); }
  static V xor_bits(V a, V b) { return _mm512_xor_si512(a, b); }
  static V set_byte(uint8_t b) { return _mm512_set1_epi8(static_cast<char>(b)); }
  static V load_parts(const uint8_t* p) { return _mm512_load_si512(p); }
  static void store_parts(uint8_t* p, V v) { _mm512_store_si512(p, v); }
  static void store_channels(int32_t* out, V v) {
    const auto store = [&](int lane, __m128i four) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 16 * lane), four);
    };
    store(0, _mm512_castsi512_si128(v));
    store(1, _mm512_extracti32x4_epi32(v, 1));
    store(2, _mm512_extracti32x4_epi32(v, 2));
    store(3, _mm512_extracti32x4_epi32(v, 3));
  }

  struct Quantizer {
    __m512 inv_scale;
    __m512i zero_point, qmin, qmax;
    const float* scale;  // packed
    const float* bias;
    Quantizer(const Epilogue& e, const float* packed_scale, const float* packed_bias,
              int first_channel)
        : inv_scale(_mm512_set1_ps(e.inv_scale)),
          zero_point(_mm512_set1_epi16(static_cast<int16_t>(e.zero_point))),
          qmin(_mm512_set1_epi8(static_cast<char>(e.qmin))),
          qmax(_mm512_set1_epi8(static_cast<char>(e.qmax))),
          scale(packed_scale + first_channel / 4),
          bias(packed_bias + first_channel / 4) {}
  };

  template <Store kStore, bool kFull>
  static void quantize_store(const V (&acc)[4], const Quantizer& k, uint8_t* dst, int n) {
    __m512i q[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m512 y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[j]), _mm512_load_ps(k.scale + 16 * j),
                                       _mm512_load_ps(k.bias + 16 * j));
      q[j] = _mm512_cvtps_epi32(_mm512_mul_ps(y, k.inv_scale));
    }
    __m512i low = _mm512_packs_epi32(q[0], q[1]), high = _mm512_packs_epi32(q[2], q[3]);
    if (kStore != Store::plain_u8) {
      low = _mm512_adds_epi16(low, k.zero_point);
      high = _mm512_adds_epi16(high, k.zero_point);
    }
    __m512i bytes =
        kStore == Store::s8 ? _mm512_packs_epi16(low, high) : _mm512_packus_epi16(low, high);
    if (kStore == Store::s8) bytes = _mm512_min_epi8(_mm512_max_epi8(bytes, k.qmin), k.qmax);
    if (kStore == Store::u8) bytes = _mm512_min_epu8(_mm512_max_epu8(bytes, k.qmin), k.qmax);
    if (kFull) {
      _mm512_storeu_si512(dst, bytes);
    } else {
      _mm512_mask_storeu_epi8(dst, mask(n), bytes);
    }
  }
  static void run_epilogue(const Epilogue& e, const EpilogueBlock& b) { epilogue_avx512(e, b); }
};
