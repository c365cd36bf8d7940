// AVX-512 micro-kernels: VNNI, and exact vpmaddubsw / vpmaddwd routes for CPUs without it.
// GCC 12 takes the undefined pass-through operands of its own AVX-512 intrinsics for a defect.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include "kernels/qconv_kernel.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")
#include "kernels/epilogue_kernel.h"
#include "kernels/qconv_dot.h"
#include "kernels/qconv_store512-inl.h"
#include "kernels/vec_avx512.h"

namespace pt2q::kernels {
namespace {

struct Avx512Base {
  using Acc = __m512i;
  static constexpr int kMaxPanels = 4;
  static constexpr int kPixels1 = 12;
  static constexpr bool kStores = true;
  static Acc load(const int32_t* p) { return _mm512_loadu_si512(p); }
  static void store(int32_t* p, Acc a) { _mm512_storeu_si512(p, a); }
  // In place, so that the register allocator keeps all accumulators in registers.
  static void add(Acc& acc, __m512i x) { __asm__("vpaddd %1, %0, %0" : "+v"(acc) : "v"(x)); }
  static __m512i quad(const uint8_t* p) {
    int32_t x;
    __builtin_memcpy(&x, p, 4);
    return _mm512_set1_epi32(x);
  }
  template <int kPixels, int kPanels>
  [[gnu::always_inline]] static void finish(Acc (&acc)[kPixels][kPanels], const DotStore& out) {
    Store512(out).finish(acc);
  }
};

struct Avx512Vnni : Avx512Base {
  using Src = __m512i;
  using W = __m512i;
  static constexpr int kBytesPerQuad = 64;
  static Src bcast(const uint8_t* p) { return quad(p); }
  static W weights(const int8_t* p) { return _mm512_loadu_si512(p); }
  static void mac(Acc& acc, Src s, W w) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(s), "v"(w));
  }
};

struct Avx512Maddubs : Avx512Base {
  using Src = __m512i;
  using W = __m512i;
  static constexpr int kBytesPerQuad = 64;
  static Src bcast(const uint8_t* p) { return quad(p); }
  static W weights(const int8_t* p) { return _mm512_loadu_si512(p); }
  static void mac(Acc& acc, Src s, W w) {
    const __m512i pairs = _mm512_maddubs_epi16(s, w);
    add(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
  }
};

// Bytes 0, 2 and 1, 3 of a quad as 16-bit pairs; weights are packed as 16 bit in the same order.
struct Avx512S16 : Avx512Base {
  struct Src {
    __m512i even, odd;
  };
  using W = const int8_t*;
  static constexpr int kBytesPerQuad = 128;
  static Src bcast(const uint8_t* p) {
    const __m512i x = quad(p);
    return {_mm512_and_si512(x, _mm512_set1_epi16(0xff)), _mm512_srli_epi16(x, 8)};
  }
  static W weights(const int8_t* p) { return p; }
  static void mac(Acc& acc, Src s, W w) {
    add(acc, _mm512_madd_epi16(s.even, _mm512_loadu_si512(w)));
    add(acc, _mm512_madd_epi16(s.odd, _mm512_loadu_si512(w + 64)));
  }
};

}  // namespace

const DotTable& dot_table_avx512(DotKind kind) {
  static const DotTable vnni = make_dot_table<Avx512Vnni>();
  static const DotTable maddubs = make_dot_table<Avx512Maddubs>();
  static const DotTable s16 = make_dot_table<Avx512S16>();
  return kind == DotKind::vnni ? vnni : (kind == DotKind::maddubs ? maddubs : s16);
}

void epilogue_avx512(const Epilogue& epilogue, const EpilogueBlock& block) {
  EpilogueKernel<VecAvx512>::run(epilogue, block);
}

}  // namespace pt2q::kernels
#pragma GCC pop_options
