// Winograd transforms for AVX2.
#include "kernels/qwinograd_kernel.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#include "kernels/qwinograd_transform-inl.h"

namespace pt2q::kernels {
namespace {

struct Avx2;

}  // namespace

const WinogradTable& winograd_table_avx2() {
  using Transform = WinogradTransform<Avx2, 32>;
  static const WinogradTable table{&Transform::input, &Transform::output, &word_table_avx2(),
                                   &epilogue_avx2};
  return table;
}

}  // namespace pt2q::kernels
#pragma GCC pop_options
