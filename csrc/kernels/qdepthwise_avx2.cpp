// Depthwise tiles for AVX2: two taps per 16-bit multiply-add.
#include <immintrin.h>

#include <cstring>

#include "kernels/qconv_kernel.h"
#include "kernels/qdepthwise_kernel.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma")

namespace pt2q::kernels {
namespace {

#include "kernels/qdepthwise_ops256-inl.h"

struct OpsAvx2 : Bits256 {
  static constexpr int kRows = 2;
  static constexpr int kPixels = 2;
  static constexpr bool kStreams = false;

  static V load(const uint8_t* p, int n) {
    alignas(32) uint8_t bytes[kBytes] = {};
    std::memcpy(bytes, p, static_cast<size_t>(n));
    return load_parts(bytes);
  }
  static void dot(V& acc, V x, V w) {
    asm("vpaddd %1, %0, %0" : "+x"(acc) : "x"(_mm256_madd_epi16(x, w)));
  }

  template <Store kStore, bool kFull>
  static void quantize_store(const V (&acc)[4], const Quantizer& k, uint8_t* dst, int n) {
    const V q = quantize<kStore>(acc, k);
    if (kFull) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst), q);
      return;
    }
    alignas(32) uint8_t bytes[kBytes];
    store_parts(bytes, q);
    std::memcpy(dst, bytes, static_cast<size_t>(n));
  }
  static void run_epilogue(const Epilogue& e, const EpilogueBlock& b) { epilogue_avx2(e, b); }
};

#include "kernels/qdepthwise_tile-inl.h"

}  // namespace

void depthwise_avx2(const DepthwiseTile& tile) {
  for (int first = 0; first < tile.channels; first += OpsAvx2::kBytes) {
    DepthwiseTileKernel<OpsAvx2>(tile, first).run();
  }
}

}  // namespace pt2q::kernels

#pragma GCC pop_options
