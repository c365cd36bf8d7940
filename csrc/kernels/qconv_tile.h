// The tile micro-kernel over an instruction layer Arch with AMX's shape: eight tiles of 16 rows by
// 64 bytes. Included by the AMX file and the emulation; Arch is a distinct type in each.
//
// Arch: load<T>(ptr, stride), store<T>(ptr, stride), dot<C, A, B>() (u8 rows of A times s8 B).
// Tiles 0-3 accumulate, 4-5 hold pixels, 6-7 weights.
#pragma once

#include "kernels/qconv_kernel.h"

namespace pt2q::kernels {

template <class Arch, int kTiles, int kPanels>
void tile_block(const TileArgs& args) {
  constexpr ptrdiff_t acc_stride = 64 * kPanels;
  constexpr ptrdiff_t tile_ints = 16 * 16 * kPanels;
  // A stride of zero repeats the start values in every row.
  Arch::template load<0>(args.init, 0);
  if constexpr (kPanels == 2) Arch::template load<1>(args.init + 16, 0);
  if constexpr (kTiles == 2) Arch::template load<2>(args.init, 0);
  if constexpr (kTiles == 2 && kPanels == 2) Arch::template load<3>(args.init + 16, 0);
  const int8_t* w = args.weights;
  const ptrdiff_t step = args.step;
  for (int p = 0; p < args.piece_count; ++p) {
    const ptrdiff_t offset = args.pieces[p].offset;
    Arch::template load<6>(w, 64);
    Arch::template load<4>(args.src[0] + offset, step);
    Arch::template dot<0, 4, 6>();
    if constexpr (kTiles == 2) {
      Arch::template load<5>(args.src[1] + offset, step);
      Arch::template dot<2, 5, 6>();
    }
    if constexpr (kPanels == 2) {
      Arch::template load<7>(w + args.panel_stride, 64);
      Arch::template dot<1, 4, 7>();
      if constexpr (kTiles == 2) Arch::template dot<3, 5, 7>();
    }
    w += 1024;
  }
  Arch::template store<0>(args.acc, acc_stride);
  if constexpr (kPanels == 2) Arch::template store<1>(args.acc + 16, acc_stride);
  if constexpr (kTiles == 2) Arch::template store<2>(args.acc + tile_ints, acc_stride);
  if constexpr (kTiles == 2 && kPanels == 2)
    Arch::template store<3>(args.acc + tile_ints + 16, acc_stride);
}

template <class Arch>
TileTable make_tile_table() {
  TileTable table;
  table.fn[0][0] = &tile_block<Arch, 1, 1>;
  table.fn[0][1] = &tile_block<Arch, 1, 2>;
  table.fn[1][0] = &tile_block<Arch, 2, 1>;
  table.fn[1][1] = &tile_block<Arch, 2, 2>;
  table.configure = &Arch::configure;
  table.release = &Arch::release;
  return table;
}

}  // namespace pt2q::kernels
