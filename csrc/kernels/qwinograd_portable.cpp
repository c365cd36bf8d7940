// Winograd transforms in plain C++: the emulation of the vector kernels.
#include <cstring>

#include "kernels/qwinograd_kernel.h"
#include "kernels/qwinograd_transform-inl.h"

namespace pt2q::kernels {
namespace {

struct PortableWinograd {
  using Words [[gnu::vector_size(16)]] = int16_t;
  using HalfWords [[gnu::vector_size(16)]] = int16_t;
  using Ints [[gnu::vector_size(16)]] = uint32_t;
  using SignedInts [[gnu::vector_size(16)]] = int32_t;

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

const WinogradTable& winograd_table_portable() {
  using Transform = WinogradTransform<PortableWinograd>;
  static const WinogradTable table{&Transform::input, &Transform::output, &word_table_portable(),
                                   &epilogue_portable};
  return table;
}

}  // namespace pt2q::kernels
