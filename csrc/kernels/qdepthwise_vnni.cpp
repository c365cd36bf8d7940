// Depthwise tiles for AVX-512 with VNNI: four taps per dot product.
#include <immintrin.h>

#include "kernels/qconv_kernel.h"
#include "kernels/qdepthwise_kernel.h"

// GCC 12 takes the undefined pass-through operand inside unmasked AVX-512 intrinsics for a mistake.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")

namespace pt2q::kernels {
namespace {

#include "kernels/qdepthwise_ops256-inl.h"
#include "kernels/qdepthwise_ops512-inl.h"

struct Ops256 : Masked256 {
  static constexpr int kRows = 4;
  static void interleave(const V (&rows)[4], V (&parts)[4]) {
    const V low01 = _mm256_unpacklo_epi8(rows[0], rows[1]);
    const V high01 = _mm256_unpackhi_epi8(rows[0], rows[1]);
    const V low23 = _mm256_unpacklo_epi8(rows[2], rows[3]);
    const V high23 = _mm256_unpackhi_epi8(rows[2], rows[3]);
    parts[0] = _mm256_unpacklo_epi16(low01, low23);
    parts[1] = _mm256_unpackhi_epi16(low01, low23);
    parts[2] = _mm256_unpacklo_epi16(high01, high23);
    parts[3] = _mm256_unpackhi_epi16(high01, high23);
  }
  static void dot(V& acc, V x, V w) { asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w)); }
  static void dot_memory(V& acc, V x, const uint8_t* w) {
    asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "m"(*reinterpret_cast<const V*>(w)));
  }
};

struct Ops512 : Bits512 {
  static constexpr int kRows = 4;
  static void interleave(const V (&rows)[4], V (&parts)[4]) {
    const V low01 = _mm512_unpacklo_epi8(rows[0], rows[1]);
    const V high01 = _mm512_unpackhi_epi8(rows[0], rows[1]);
    const V low23 = _mm512_unpacklo_epi8(rows[2], rows[3]);
    const V high23 = _mm512_unpackhi_epi8(rows[2], rows[3]);
    parts[0] = _mm512_unpacklo_epi16(low01, low23);
    parts[1] = _mm512_unpackhi_epi16(low01, low23);
    parts[2] = _mm512_unpacklo_epi16(high01, high23);
    parts[3] = _mm512_unpackhi_epi16(high01, high23);
  }
  static void dot(V& acc, V x, V w) { asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w)); }
  static void dot_memory(V& acc, V x, const uint8_t* w) {
    asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "m"(*reinterpret_cast<const V*>(w)));
  }
};

#include "kernels/qdepthwise_tile-inl.h"

}  // namespace

void depthwise_vnni(const DepthwiseTile& tile) {
  if (tile.channels <= Ops256::kBytes) {
    DepthwiseTileKernel<Ops256>(tile, 0).run();
  } else {
    DepthwiseTileKernel<Ops512>(tile, 0).run();
  }
}

}  // namespace pt2q::kernels

#pragma GCC pop_options
