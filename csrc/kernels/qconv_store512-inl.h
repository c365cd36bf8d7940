// The fast epilogue on the accumulators of a vector block while they are still in registers.
// Included by the AVX-512 file inside its target region, after all other includes. Computes what
// EpilogueKernel::fast does, bit for bit.
#pragma once

#include "kernels/qconv_kernel.h"
#include "kernels/vec_avx512.h"

namespace pt2q::kernels {

class Store512 {
 public:
  // `pixel`: of `out`, where the block starts.
  Store512(const DotStore& out, ptrdiff_t pixel)
      : out_(out),
        scale_(out.scale),
        bias_(out.bias),
        dst_(out.dst + pixel * out.dst_stride),
        residual_(out.residual == nullptr ? nullptr : out.residual + pixel * out.residual_stride),
        step_(out.dst_stride),
        residual_step_(out.residual_stride),
        inv_scale_(_mm512_set1_ps(out.inv_scale)),
        order_(_mm512_load_si512(kOrder)) {}

  template <int kPixels, int kPanels>
  [[gnu::always_inline]] void finish(const __m512i (&acc)[kPixels][kPanels]) const {
    if (out_.half) return put_half(acc);
    if (out_.real) {
      return residual_ != nullptr ? put_real<true>(acc) : put_real<false>(acc);
    }
    if (out_.channels != 16 * kPanels) return put_tails(acc);
    if (residual_ != nullptr) {
      return out_.lean_add ? put<Add::lean, true>(acc) : put<Add::any, false>(acc);
    }
    if (out_.lean) return put<Add::none, true>(acc);
    put<Add::none, false>(acc);
  }

 private:
  enum class Add { none, lean, any };  // lean: of u8 without zero point

  // The scale and bias of a panel. Reloaded for each: the accumulators need the registers.
  struct Affine {
    __m512 scale, bias;
    [[gnu::always_inline]] __m512 operator()(__m512i acc) const {
      return _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc), scale, bias);
    }
  };
  [[gnu::always_inline]] Affine affine(int panel) const {
    __asm__ volatile("" ::: "memory");
    return {_mm512_loadu_ps(scale_ + 16 * panel), _mm512_loadu_ps(bias_ + 16 * panel)};
  }

  template <Add kAdd>
  [[gnu::always_inline]] __m512 add(__m512 y, __m128i residual) const {
    if (kAdd == Add::lean) {
      return _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(residual)),
                             _mm512_set1_ps(out_.residual_scale), y);
    }
    const __m128i flipped = _mm_xor_si128(residual, _mm_set1_epi32(out_.residual_flip));
    const __m512i wide = _mm512_sub_epi32(_mm512_cvtepu8_epi32(flipped),
                                          _mm512_set1_epi32(out_.residual_zero_point));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(wide), _mm512_set1_ps(out_.residual_scale), y);
  }

  // Panel by panel, so that a panel's numbers are loaded once.
  template <Add kAdd, int kPixels, int kPanels>
  [[gnu::always_inline]] void quantize(const __m512i (&acc)[kPixels][kPanels],
                                       __m512i (&q)[kPixels][kPanels], __mmask16 last) const {
#pragma GCC unroll 4
    for (int j = 0; j < kPanels; ++j) {
      const Affine real = affine(j);
#pragma GCC unroll 14
      for (int i = 0; i < kPixels; ++i) {
        __m512 y = real(acc[i][j]);
        if (kAdd != Add::none) {
          const auto* at = residual_ + i * residual_step_ + 16 * j;
          y = add<kAdd>(y, j + 1 < kPanels ? load16(at) : load_last(at, last));
        }
        q[i][j] = _mm512_cvtps_epi32(_mm512_mul_ps(y, inv_scale_));
      }
    }
  }

  // Dword groups come out interleaved; `order_` sorts them.
  template <bool kLean>
  [[gnu::always_inline]] __m512i pack(__m512i a, __m512i b, __m512i c, __m512i d) const {
    if (kLean) {
      const __m512i q = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
      return _mm512_permutexvar_epi32(order_, q);
    }
    const __m512i zero_point = _mm512_set1_epi32(out_.zero_points);
    const __m512i ab = _mm512_adds_epi16(_mm512_packs_epi32(a, b), zero_point);
    const __m512i cd = _mm512_adds_epi16(_mm512_packs_epi32(c, d), zero_point);
    const __m512i q = _mm512_packus_epi16(ab, cd);
    const __m512i clamped = _mm512_min_epu8(_mm512_max_epu8(q, _mm512_set1_epi32(out_.qmins)),
                                            _mm512_set1_epi32(out_.qmaxs));
    return _mm512_permutexvar_epi32(order_,
                                    _mm512_xor_si512(clamped, _mm512_set1_epi32(out_.flips)));
  }

  static void put16(uint8_t* to, __m128i x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(to), x); }
  static void put32(uint8_t* to, __m256i x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), x);
  }

  template <Add kAdd, bool kLean, int kPixels, int kPanels>
  [[gnu::always_inline]] void put(const __m512i (&acc)[kPixels][kPanels]) const {
    __m512i q[kPixels][kPanels];
    quantize<kAdd>(acc, q, kAll);
    store<kLean>(q);
  }

  template <bool kLean, int kPixels>
  [[gnu::always_inline]] void store(const __m512i (&q)[kPixels][4]) const {
#pragma GCC unroll 14
    for (int i = 0; i < kPixels; ++i) {
      _mm512_storeu_si512(dst_ + i * step_, pack<kLean>(q[i][0], q[i][1], q[i][2], q[i][3]));
    }
  }

  template <bool kLean, int kPixels>
  [[gnu::always_inline]] void store(const __m512i (&q)[kPixels][3]) const {
#pragma GCC unroll 14
    for (int i = 0; i < kPixels; ++i) {
      const __m512i x = pack<kLean>(q[i][0], q[i][1], q[i][2], q[i][2]);
      put32(dst_ + i * step_, _mm512_castsi512_si256(x));
      put16(dst_ + i * step_ + 32, _mm512_extracti32x4_epi32(x, 2));
    }
  }

  template <bool kLean, int kPixels>
  [[gnu::always_inline]] void store(const __m512i (&q)[kPixels][2]) const {
#pragma GCC unroll 14
    for (int i = 0; i < kPixels; i += 2) {
      const int next = i + 1 < kPixels ? i + 1 : i;
      const __m512i x = pack<kLean>(q[i][0], q[i][1], q[next][0], q[next][1]);
      put32(dst_ + i * step_, _mm512_castsi512_si256(x));
      if (next != i) put32(dst_ + next * step_, _mm512_extracti64x4_epi64(x, 1));
    }
  }

  template <bool kLean, int kPixels>
  [[gnu::always_inline]] void store(const __m512i (&q)[kPixels][1]) const {
#pragma GCC unroll 14
    for (int i = 0; i < kPixels; i += 4) {
      const auto at = [&](int n) { return q[i + n < kPixels ? i + n : i][0]; };
      const __m512i x = pack<kLean>(at(0), at(1), at(2), at(3));
      put16(dst_ + i * step_, _mm512_castsi512_si128(x));
      if (i + 1 < kPixels) put16(dst_ + (i + 1) * step_, _mm512_extracti32x4_epi32(x, 1));
      if (i + 2 < kPixels) put16(dst_ + (i + 2) * step_, _mm512_extracti32x4_epi32(x, 2));
      if (i + 3 < kPixels) put16(dst_ + (i + 3) * step_, _mm512_extracti32x4_epi32(x, 3));
    }
  }

  template <bool kAdd, int kPixels, int kPanels>
  [[gnu::always_inline]] void put_real(const __m512i (&acc)[kPixels][kPanels]) const {
#pragma GCC unroll 4
    for (int j = 0; j < kPanels; ++j) {
      const Affine real = affine(j);
      const __mmask16 valid = j + 1 < kPanels ? kAll : last_mask(kPanels);
#pragma GCC unroll 14
      for (int i = 0; i < kPixels; ++i) {
        auto* const to = reinterpret_cast<float*>(dst_ + i * step_);
        const auto* const from = reinterpret_cast<const float*>(residual_ + i * residual_step_);
        __m512 y = real(acc[i][j]);
        if (kAdd) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(valid, from + 16 * j));
        _mm512_mask_storeu_ps(to + 16 * j, valid, y);
      }
    }
  }

  template <int kPixels, int kPanels>
  [[gnu::always_inline]] void put_half(const __m512i (&acc)[kPixels][kPanels]) const {
#pragma GCC unroll 4
    for (int j = 0; j < kPanels; ++j) {
      const Affine real = affine(j);
      const int left = j + 1 < kPanels ? 16 : out_.channels - 16 * j;
#pragma GCC unroll 14
      for (int i = 0; i < kPixels; ++i) {
        auto* const to = reinterpret_cast<uint16_t*>(dst_ + i * step_);
        VecAvx512::store_bf16(to + 16 * j, real(acc[i][j]), left);
      }
    }
  }

  // Fewer channels than the panels hold. Masked loads and stores of bytes are slow; half a panel is
  // common.
  template <int kPixels, int kPanels>
  [[gnu::always_inline]] void put_tails(const __m512i (&acc)[kPixels][kPanels]) const {
    const __mmask16 valid = last_mask(kPanels);
    const bool half = valid == kHalf;
    __m512i q[kPixels][kPanels];
    if (residual_ != nullptr) {
      quantize<Add::any>(acc, q, valid);
    } else {
      quantize<Add::none>(acc, q, valid);
    }
#pragma GCC unroll 14
    for (int i = 0; i < kPixels; ++i) {
      const auto at = [&](int j) { return q[i][j < kPanels ? j : 0]; };
      const __m512i x = pack<false>(at(0), at(1), at(2), at(3));
      uint8_t* const to = dst_ + i * step_;
      if (kPanels > 1) put16(to, _mm512_castsi512_si128(x));
      if (kPanels > 2) put16(to + 16, _mm512_extracti32x4_epi32(x, 1));
      if (kPanels > 3) put16(to + 32, _mm512_extracti32x4_epi32(x, 2));
      const __m128i last = _mm512_extracti32x4_epi32(x, kPanels - 1);
      uint8_t* const end = to + 16 * (kPanels - 1);
      if (half) {
        _mm_storel_epi64(reinterpret_cast<__m128i*>(end), last);
      } else {
        _mm_mask_storeu_epi8(end, valid, last);
      }
    }
  }

  static constexpr __mmask16 kAll = 0xffff, kHalf = 0xff;
  __mmask16 last_mask(int panels) const {
    return static_cast<__mmask16>((1U << (out_.channels - 16 * (panels - 1))) - 1);
  }
  static __m128i load16(const uint8_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }
  [[gnu::always_inline]] static __m128i load_last(const uint8_t* p, __mmask16 valid) {
    if (valid == kAll) return load16(p);
    if (valid == kHalf) return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm_maskz_loadu_epi8(valid, p);
  }

  alignas(64) static constexpr int32_t kOrder[16] = {0, 4, 8,  12, 1, 5, 9,  13,
                                                     2, 6, 10, 14, 3, 7, 11, 15};

  const DotStore& out_;
  const float* const scale_;
  const float* const bias_;
  uint8_t* const dst_;
  const uint8_t* const residual_;
  const ptrdiff_t step_, residual_step_;
  const __m512 inv_scale_;
  const __m512i order_;
};

}  // namespace pt2q::kernels
