// The fast epilogue on the accumulators of a vector block while they are still in registers, as
// qconv_store512-inl.h. Included by the AVX2 file inside its target region, after all other
// includes.
#pragma once

#include "kernels/qconv_kernel.h"

namespace pt2q::kernels {

class Store256 {
 public:
  struct Acc {
    __m256i lo, hi;
  };

  // `pixel`: of `out`, where the block starts.
  Store256(const DotStore& out, ptrdiff_t pixel)
      : out_(out),
        dst_(out.dst + pixel * out.dst_stride),
        residual_(out.residual == nullptr ? nullptr : out.residual + pixel * out.residual_stride),
        step_(out.dst_stride) {}

  template <int kPixels>
  [[gnu::always_inline]] void finish(const Acc (&acc)[kPixels][1]) const {
    if (out_.real) {
      if (out_.channels != 16) return put_real_tails(acc);
      return residual_ != nullptr ? put_real<true>(acc) : put_real<false>(acc);
    }
    if (out_.channels != 16) return put_tails(acc);
    if (residual_ != nullptr) return put<true, false>(acc);
    out_.lean ? put<false, true>(acc) : put<false, false>(acc);
  }

 private:
  // Eight values as 32-bit integers, before the zero point.
  template <bool kAdd>
  [[gnu::always_inline]] __m256i quantize(__m256i acc, const float* scale, const float* bias,
                                          __m128i residual) const {
    __m256 y =
        _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc), _mm256_loadu_ps(scale), _mm256_loadu_ps(bias));
    if (kAdd) {
      const __m128i flipped = _mm_xor_si128(residual, _mm_set1_epi32(out_.residual_flip));
      const __m256i wide = _mm256_sub_epi32(_mm256_cvtepu8_epi32(flipped),
                                            _mm256_set1_epi32(out_.residual_zero_point));
      y = _mm256_fmadd_ps(_mm256_cvtepi32_ps(wide), _mm256_set1_ps(out_.residual_scale), y);
    }
    return _mm256_cvtps_epi32(_mm256_mul_ps(y, _mm256_set1_ps(out_.inv_scale)));
  }

  // A pixel's 16 values as 16-bit integers: channels 0-3, 8-11, 4-7, 12-15.
  template <bool kAdd, bool kLean = false>
  [[gnu::always_inline]] __m256i pixel(const Acc& acc, __m128i residual) const {
    const __m256i lo = quantize<kAdd>(acc.lo, out_.scale, out_.bias, residual);
    const __m256i hi =
        quantize<kAdd>(acc.hi, out_.scale + 8, out_.bias + 8, _mm_srli_si128(residual, 8));
    const __m256i both = _mm256_packs_epi32(lo, hi);
    return kLean ? both : _mm256_adds_epi16(both, _mm256_set1_epi32(out_.zero_points));
  }

  // Two pixels, one after the other.
  template <bool kLean = false>
  [[gnu::always_inline]] __m256i bytes(__m256i a, __m256i b) const {
    const __m256i q = _mm256_packus_epi16(a, b);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    if (kLean) return _mm256_permutevar8x32_epi32(q, order);
    const __m256i clamped = _mm256_min_epu8(_mm256_max_epu8(q, _mm256_set1_epi32(out_.qmins)),
                                            _mm256_set1_epi32(out_.qmaxs));
    const __m256i flipped = _mm256_xor_si256(clamped, _mm256_set1_epi32(out_.flips));
    return _mm256_permutevar8x32_epi32(flipped, order);
  }

  // Eight of the sixteen values, from the `half`th eight of scale and bias.
  [[gnu::always_inline]] __m256 real(__m256i acc, int half) const {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc), _mm256_loadu_ps(out_.scale + 8 * half),
                           _mm256_loadu_ps(out_.bias + 8 * half));
  }

  template <bool kAdd, int kPixels>
  [[gnu::always_inline]] void put_real(const Acc (&acc)[kPixels][1]) const {
#pragma GCC unroll 8
    for (int i = 0; i < kPixels; ++i) {
      auto* const to = reinterpret_cast<float*>(dst_ + i * step_);
      __m256 lo = real(acc[i][0].lo, 0), hi = real(acc[i][0].hi, 1);
      if (kAdd) {
        const auto* const from =
            reinterpret_cast<const float*>(residual_ + i * out_.residual_stride);
        lo = _mm256_add_ps(lo, _mm256_loadu_ps(from));
        hi = _mm256_add_ps(hi, _mm256_loadu_ps(from + 8));
      }
      _mm256_storeu_ps(to, lo);
      _mm256_storeu_ps(to + 8, hi);
    }
  }

  template <int kPixels>
  [[gnu::always_inline]] void put_real_tails(const Acc (&acc)[kPixels][1]) const {
    const auto bytes = static_cast<size_t>(out_.channels) * sizeof(float);
#pragma GCC unroll 8
    for (int i = 0; i < kPixels; ++i) {
      alignas(32) float buffer[16] = {};
      if (residual_ != nullptr)
        __builtin_memcpy(buffer, residual_ + i * out_.residual_stride, bytes);
      const __m256 lo = real(acc[i][0].lo, 0), hi = real(acc[i][0].hi, 1);
      const bool add = residual_ != nullptr;
      _mm256_store_ps(buffer, add ? _mm256_add_ps(lo, _mm256_load_ps(buffer)) : lo);
      _mm256_store_ps(buffer + 8, add ? _mm256_add_ps(hi, _mm256_load_ps(buffer + 8)) : hi);
      __builtin_memcpy(dst_ + i * step_, buffer, bytes);
    }
  }

  static __m128i load16(const uint8_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }
  static void put16(uint8_t* p, __m128i x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), x); }

  template <bool kAdd, bool kLean, int kPixels>
  [[gnu::always_inline]] void put(const Acc (&acc)[kPixels][1]) const {
#pragma GCC unroll 8
    for (int i = 0; i < kPixels; i += 2) {
      const int next = i + 1 < kPixels ? i + 1 : i;
      const __m256i a = pixel<kAdd, kLean>(acc[i][0], residual_at<kAdd>(i));
      const __m256i b = next == i ? a : pixel<kAdd, kLean>(acc[next][0], residual_at<kAdd>(next));
      const __m256i q = bytes<kLean>(a, b);
      put16(dst_ + i * step_, _mm256_castsi256_si128(q));
      if (next != i) put16(dst_ + next * step_, _mm256_extracti128_si256(q, 1));
    }
  }

  template <bool kAdd>
  [[gnu::always_inline]] __m128i residual_at(int i) const {
    return kAdd ? load16(residual_ + i * out_.residual_stride) : _mm_setzero_si128();
  }

  // Fewer channels than the panel holds.
  template <int kPixels>
  [[gnu::always_inline]] void put_tails(const Acc (&acc)[kPixels][1]) const {
    const auto n = static_cast<size_t>(out_.channels);
#pragma GCC unroll 8
    for (int i = 0; i < kPixels; ++i) {
      alignas(16) uint8_t buffer[16] = {};
      __m256i x;
      if (residual_ != nullptr) {
        __builtin_memcpy(buffer, residual_ + i * out_.residual_stride, n);
        x = pixel<true>(acc[i][0], load16(buffer));
      } else {
        x = pixel<false>(acc[i][0], _mm_setzero_si128());
      }
      put16(buffer, _mm256_castsi256_si128(bytes(x, x)));
      __builtin_memcpy(dst_ + i * step_, buffer, n);
    }
  }

  const DotStore& out_;
  uint8_t* const dst_;
  const uint8_t* const residual_;
  const ptrdiff_t step_;
};

}  // namespace pt2q::kernels
