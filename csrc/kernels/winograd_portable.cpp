// Winograd transforms in plain C++: the emulation of the vector kernels.
#include "kernels/winograd_kernel.h"
#include "kernels/winograd_transform-inl.h"

namespace pt2q::kernels {
namespace {

struct Portable;

}  // namespace

const WinogradTable& winograd_table_portable(bool real) {
  using Transform = WinogradTransform<Portable, 16>;
  static const WinogradTable integers =
      Transform::table(&word_table_portable(), &epilogue_portable);
  static const WinogradTable reals =
      Transform::real_table(&real_table_portable(), &epilogue_portable);
  return real ? reals : integers;
}

}  // namespace pt2q::kernels
