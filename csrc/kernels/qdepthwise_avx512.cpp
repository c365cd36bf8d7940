// Depthwise tiles for AVX-512 without VNNI: two taps per 16-bit multiply-add.
#include <immintrin.h>

#include "kernels/qconv_kernel.h"
#include "kernels/qdepthwise_kernel.h"

// GCC 12 takes the undefined pass-through operand inside unmasked AVX-512 intrinsics for a mistake.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")

namespace pt2q::kernels {
namespace {

#include "kernels/qdepthwise_ops256-inl.h"
#include "kernels/qdepthwise_ops512-inl.h"

struct Ops256 : Masked256 {
  static constexpr int kRows = 2;
  static void dot(V& acc, V x, V w) {
    asm("vpaddd %1, %0, %0" : "+v"(acc) : "v"(_mm256_madd_epi16(x, w)));
  }
  static void dot_memory(V& acc, V x, const uint8_t* w) { dot(acc, x, load_parts(w)); }
};

struct Ops512 : Bits512 {
  static constexpr int kRows = 2;
  static void interleave(const V (&rows)[2], V (&parts)[4]) {
    const V zero = _mm512_setzero_si512();
    const V low = _mm512_unpacklo_epi8(rows[0], rows[1]);
    const V high = _mm512_unpackhi_epi8(rows[0], rows[1]);
    parts[0] = _mm512_unpacklo_epi8(low, zero);
    parts[1] = _mm512_unpackhi_epi8(low, zero);
    parts[2] = _mm512_unpacklo_epi8(high, zero);
    parts[3] = _mm512_unpackhi_epi8(high, zero);
  }
  static void dot(V& acc, V x, V w) {
    asm("vpaddd %1, %0, %0" : "+v"(acc) : "v"(_mm512_madd_epi16(x, w)));
  }
  static void dot_memory(V& acc, V x, const uint8_t* w) { dot(acc, x, load_parts(w)); }
};

#include "kernels/qdepthwise_tile-inl.h"

}  // namespace

void depthwise_avx512(const DepthwiseTile& tile) {
  if (tile.channels <= Ops256::kBytes) {
    DepthwiseTileKernel<Ops256>(tile, 0).run();
  } else {
    DepthwiseTileKernel<Ops512>(tile, 0).run();
  }
}

}  // namespace pt2q::kernels

#pragma GCC pop_options
