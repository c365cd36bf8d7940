// Winograd transforms in plain C++: the emulation of the vector kernels.
#include "kernels/qwinograd_kernel.h"
#include "kernels/qwinograd_transform-inl.h"

namespace pt2q::kernels {
namespace {

struct Portable;

}  // namespace

const WinogradTable& winograd_table_portable() {
  using Transform = WinogradTransform<Portable, 16>;
  static const WinogradTable table{&Transform::input, &Transform::output, &word_table_portable(),
                                   &epilogue_portable};
  return table;
}

}  // namespace pt2q::kernels
