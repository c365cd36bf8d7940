// AVX-512 micro-kernels: VNNI, and exact vpmaddubsw / vpmaddwd for CPUs without it.
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
  [[gnu::always_inline]] static void finish(Acc (&acc)[kPixels][kPanels], const DotStore& out,
                                            ptrdiff_t pixel) {
    Store512(out, pixel).finish(acc);
  }
};

struct Avx512Vnni : Avx512Base {
  using Src = __m512i;
  using W = __m512i;
  static constexpr bool kMixed = false;
  static constexpr int kMaxPanels = 4;
  static constexpr int kPixels1 = 12;
  static Src bcast(const uint8_t* p) { return quad(p); }
  static W weights(const int8_t* p) { return _mm512_loadu_si512(p); }
  static void mac(Acc& acc, Src s, W w) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(s), "v"(w));
  }
};

// Without VNNI. A wide quad is split into bytes 0, 2 and 1, 3; its weights are 16-bit pairs in that
// order.
struct Avx512Mixed : Avx512Base {
  struct Weights {
    __m512i first, second;
  };
  static constexpr bool kMixed = true;
  static constexpr int kMaxPanels = 2;
  static constexpr int kPixels1 = 14;
  static constexpr int kPixels2 = 10;
  template <DotStep kStep>
  static Weights weights_of(const int8_t* p) {
    const __m512i first = _mm512_loadu_si512(p);
    return {first, kStep == DotStep::single ? first : _mm512_loadu_si512(p + 64)};
  }
  template <DotStep kStep, int kPanels>
  [[gnu::always_inline]] static void mac(Acc (&acc)[kPanels], const uint8_t* p, const uint8_t* q,
                                         const Weights (&w)[kPanels]) {
    const __m512i s = quad(p);
    if (kStep == DotStep::wide) {
      const __m512i even = _mm512_and_si512(s, _mm512_set1_epi16(0xff));
      const __m512i odd = _mm512_srli_epi16(s, 8);
#pragma GCC unroll 2
      for (int j = 0; j < kPanels; ++j) {
        add(acc[j], _mm512_madd_epi16(even, w[j].first));
        add(acc[j], _mm512_madd_epi16(odd, w[j].second));
      }
      return;
    }
    const __m512i next = kStep == DotStep::pair ? quad(q) : s;
#pragma GCC unroll 2
    for (int j = 0; j < kPanels; ++j) {
      __m512i pairs = _mm512_maddubs_epi16(s, w[j].first);
      if (kStep == DotStep::pair)
        pairs = _mm512_add_epi16(pairs, _mm512_maddubs_epi16(next, w[j].second));
      add(acc[j], _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
    }
  }
};

// Pairs of 16-bit numbers, for winograd.h. Their blocks are never stored by the kernel.
struct Avx512Words : Avx512Vnni {
  static constexpr bool kStores = false;
  static void mac(Acc& acc, Src s, W w) {
    __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(s), "v"(w));
  }
};
struct Avx512WordsMixed : Avx512Words {
  static constexpr int kMaxPanels = 2;
  static constexpr int kPixels1 = 14;
  static constexpr int kPixels2 = 12;
  static void mac(Acc& acc, Src s, W w) { add(acc, _mm512_madd_epi16(s, w)); }
};

struct Avx512Reals {
  using Acc = __m512;
  using Src = __m512;
  using W = __m512;
  static constexpr bool kMixed = false;
  static constexpr bool kStores = false;
  static constexpr int kMaxPanels = 4;
  static constexpr int kPixels1 = 12;
  static Acc load(const int32_t* p) { return _mm512_loadu_ps(p); }
  static void store(int32_t* p, Acc a) { _mm512_storeu_ps(p, a); }
  static Src bcast(const uint8_t* p) {
    float x;
    __builtin_memcpy(&x, p, 4);
    return _mm512_set1_ps(x);
  }
  static W weights(const int8_t* p) { return _mm512_loadu_ps(p); }
  static void mac(Acc& acc, Src s, W w) {
    __asm__("vfmadd231ps %2, %1, %0" : "+v"(acc) : "v"(s), "v"(w));
  }
};

DotTable with_half(DotTable table) {
  table.stores_half = true;
  return table;
}

}  // namespace

const DotTable& dot_table_avx512(DotKind kind) {
  static const DotTable vnni = with_half(make_dot_table<Avx512Vnni>());
  static const DotTable mixed = with_half(make_dot_table<Avx512Mixed>());
  return kind == DotKind::vnni ? vnni : mixed;
}

const DotTable& word_table_avx512(bool vnni) {
  static const DotTable with = make_dot_table<Avx512Words>();
  static const DotTable without = make_dot_table<Avx512WordsMixed>();
  return vnni ? with : without;
}

const DotTable& real_table_avx512() {
  static const DotTable table = make_dot_table<Avx512Reals>();
  return table;
}

void epilogue_avx512(const Epilogue& epilogue, const EpilogueBlock& block) {
  EpilogueKernel<VecAvx512>::run(epilogue, block);
}

}  // namespace pt2q::kernels
#pragma GCC pop_options
