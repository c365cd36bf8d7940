// Winograd transforms for AVX2.
#include <immintrin.h>

#include <cstring>

#include "kernels/qwinograd_kernel.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#include "kernels/qwinograd_transform-inl.h"

namespace pt2q::kernels {
namespace {

struct Avx2Winograd {
  using Words [[gnu::vector_size(32)]] = int16_t;
  using HalfWords [[gnu::vector_size(32)]] = int16_t;
  using Ints [[gnu::vector_size(32)]] = uint32_t;
  using SignedInts [[gnu::vector_size(32)]] = int32_t;

  template <class W>
  [[gnu::always_inline]] static W load(const uint8_t* p, uint8_t flip) {
    using Bytes [[gnu::vector_size(sizeof(W) / 2)]] = uint8_t;
    Bytes x;
    std::memcpy(&x, p, sizeof x);
    return __builtin_convertvector(x ^ flip, W);
  }
  [[gnu::always_inline]] static Ints shift(Ints x) {
    return reinterpret_cast<Ints>(reinterpret_cast<SignedInts>(x) >> 6);
  }
};

}  // namespace

const WinogradTable& winograd_table_avx2() {
  using Transform = WinogradTransform<Avx2Winograd>;
  static const WinogradTable table{&Transform::input, &Transform::output, &word_table_avx2(),
                                   &epilogue_avx2};
  return table;
}

}  // namespace pt2q::kernels
#pragma GCC pop_options
