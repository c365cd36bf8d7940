// AVX2 micro-kernels: exact vpmaddubsw / vpmaddwd, and AVX-VNNI.
#include <immintrin.h>

#include "kernels/bfloat16.h"
#include "kernels/qconv_kernel.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#include "kernels/epilogue_kernel.h"
#include "kernels/qconv_dot.h"
#include "kernels/qconv_store256-inl.h"
#include "kernels/vec_avx2.h"

namespace pt2q::kernels {
namespace {

struct Avx2Base {
  using Acc = Store256::Acc;
  static constexpr int kMaxPanels = 1;
  static constexpr bool kStores = true;
  static __m256i load256(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
  }
  static Acc load(const int32_t* p) { return {load256(p), load256(p + 8)}; }
  static void store(int32_t* p, Acc a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.lo);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), a.hi);
  }
  template <int kPixels>
  [[gnu::always_inline]] static void finish(const Acc (&acc)[kPixels][1], const DotStore& out,
                                            ptrdiff_t pixel) {
    Store256(out, pixel).finish(acc);
  }
  static void add(__m256i& acc, __m256i x) { __asm__("vpaddd %1, %0, %0" : "+x"(acc) : "x"(x)); }
  static __m256i quad(const uint8_t* p) {
    int32_t x;
    __builtin_memcpy(&x, p, 4);
    return _mm256_set1_epi32(x);
  }
};

struct Avx2Vnni : Avx2Base {
  using Src = __m256i;
  using W = Acc;
  static constexpr bool kMixed = false;
  static constexpr int kPixels1 = 6;
  static Src bcast(const uint8_t* p) { return quad(p); }
  static W weights(const int8_t* p) { return {load256(p), load256(p + 32)}; }
  static void mac(Acc& acc, Src s, const W& w) {
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc.lo) : "x"(s), "x"(w.lo));
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc.hi) : "x"(s), "x"(w.hi));
  }
};

// See Avx512Mixed; weights are read from memory where they are used.
struct Avx2Mixed : Avx2Base {
  using Weights = const int8_t*;
  static constexpr bool kMixed = true;
  static constexpr int kPixels1 = 5;
  template <DotStep kStep>
  static Weights weights_of(const int8_t* p) {
    return p;
  }
  template <DotStep kStep>
  [[gnu::always_inline]] static void mac(Acc (&accs)[1], const uint8_t* p, const uint8_t* q,
                                         const Weights (&weights)[1]) {
    Acc& acc = accs[0];
    const int8_t* w = weights[0];
    const __m256i s = quad(p);
    if (kStep == DotStep::wide) {
      const __m256i even = _mm256_and_si256(s, _mm256_set1_epi16(0xff));
      const __m256i odd = _mm256_srli_epi16(s, 8);
      add(acc.lo, _mm256_madd_epi16(even, load256(w)));
      add(acc.hi, _mm256_madd_epi16(even, load256(w + 32)));
      add(acc.lo, _mm256_madd_epi16(odd, load256(w + 64)));
      add(acc.hi, _mm256_madd_epi16(odd, load256(w + 96)));
      return;
    }
    __m256i lo = _mm256_maddubs_epi16(s, load256(w));
    __m256i hi = _mm256_maddubs_epi16(s, load256(w + 32));
    if (kStep == DotStep::pair) {
      const __m256i next = quad(q);
      lo = _mm256_add_epi16(lo, _mm256_maddubs_epi16(next, load256(w + 64)));
      hi = _mm256_add_epi16(hi, _mm256_maddubs_epi16(next, load256(w + 96)));
    }
    add(acc.lo, _mm256_madd_epi16(lo, _mm256_set1_epi16(1)));
    add(acc.hi, _mm256_madd_epi16(hi, _mm256_set1_epi16(1)));
  }
};

// Pairs of 16-bit numbers, for winograd.h.
struct Avx2Words : Avx2Base {
  using Src = __m256i;
  using W = const int8_t*;
  static constexpr bool kMixed = false;
  static constexpr bool kStores = false;
  static constexpr int kPixels1 = 6;
  static Src bcast(const uint8_t* p) { return quad(p); }
  static W weights(const int8_t* p) { return p; }
  static void mac(Acc& acc, Src s, W w) {
    add(acc.lo, _mm256_madd_epi16(s, load256(w)));
    add(acc.hi, _mm256_madd_epi16(s, load256(w + 32)));
  }
};

struct Avx2Reals {
  struct Acc {
    __m256 lo, hi;
  };
  using Src = __m256;
  using W = const float*;
  static constexpr bool kMixed = false;
  static constexpr bool kStores = false;
  static constexpr int kMaxPanels = 1;
  static constexpr int kPixels1 = 6;
  static Acc load(const int32_t* p) {
    const auto* f = reinterpret_cast<const float*>(p);
    return {_mm256_loadu_ps(f), _mm256_loadu_ps(f + 8)};
  }
  static void store(int32_t* p, Acc a) {
    auto* f = reinterpret_cast<float*>(p);
    _mm256_storeu_ps(f, a.lo);
    _mm256_storeu_ps(f + 8, a.hi);
  }
  static Src bcast(const uint8_t* p) {
    float x;
    __builtin_memcpy(&x, p, 4);
    return _mm256_set1_ps(x);
  }
  static W weights(const int8_t* p) { return reinterpret_cast<const float*>(p); }
  static void mac(Acc& acc, Src s, W w) {
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(acc.lo) : "x"(s), "m"(*w8(w)));
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(acc.hi) : "x"(s), "m"(*w8(w + 8)));
  }

 private:
  using Floats8 [[gnu::vector_size(32), gnu::aligned(4), gnu::may_alias]] = float;
  static const Floats8* w8(const float* p) { return reinterpret_cast<const Floats8*>(p); }
};

}  // namespace

const DotTable& dot_table_avx2(DotKind kind) {
  static const DotTable vnni = make_dot_table<Avx2Vnni>();
  static const DotTable mixed = make_dot_table<Avx2Mixed>();
  return kind == DotKind::vnni ? vnni : mixed;
}

const DotTable& word_table_avx2() {
  static const DotTable table = make_dot_table<Avx2Words>();
  return table;
}

const DotTable& real_table_avx2() {
  static const DotTable table = make_dot_table<Avx2Reals>();
  return table;
}

void epilogue_avx2(const Epilogue& epilogue, const EpilogueBlock& block) {
  EpilogueKernel<VecAvx2>::run(epilogue, block);
}

}  // namespace pt2q::kernels
#pragma GCC pop_options
