// Winograd transforms for AVX-512.
#include "kernels/winograd_kernel.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")
#include "kernels/winograd_transform-inl.h"

namespace pt2q::kernels {
namespace {

struct Avx512;

}  // namespace

const WinogradTable& winograd_table_avx512(bool real, bool vnni) {
  using Transform = WinogradTransform<Avx512, 64>;
  static const WinogradTable integers[] = {
      Transform::table(&word_table_avx512(false), &epilogue_avx512),
      Transform::table(&word_table_avx512(true), &epilogue_avx512)};
  static const WinogradTable reals = Transform::real_table(&real_table_avx512(), &epilogue_avx512);
  return real ? reals : integers[vnni ? 1 : 0];
}

}  // namespace pt2q::kernels
#pragma GCC pop_options
