// Winograd transforms for AVX2.
#include "kernels/winograd_kernel.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#include "kernels/winograd_transform-inl.h"

namespace pt2q::kernels {
namespace {

struct Avx2;

}  // namespace

const WinogradTable& winograd_table_avx2(bool real) {
  using Transform = WinogradTransform<Avx2, 32>;
  static const WinogradTable integers = Transform::table(&word_table_avx2(), &epilogue_avx2);
  static const WinogradTable reals = Transform::real_table(&real_table_avx2(), &epilogue_avx2);
  return real ? reals : integers;
}

}  // namespace pt2q::kernels
#pragma GCC pop_options
