// The dot-product micro-kernel over an instruction layer Arch. Included by the per-ISA files inside
// their target region, after all other includes; Arch is a distinct type per ISA.
//
// Arch: Acc (16 int32), Src (four input bytes broadcast), W (one quad of a panel);
// load(const int32*), store(int32*, Acc), bcast(const uint8*), weights(const int8*), and
// mac(Acc&, Src, W); kBytesPerQuad.
#pragma once

#include "kernels/qconv_kernel.h"

namespace pt2q::kernels {

template <class Arch, int kPixels, int kPanels>
void dot_block(const DotArgs& args) {
  typename Arch::Acc acc[kPixels][kPanels];
#pragma GCC unroll 4
  for (int j = 0; j < kPanels; ++j) {
    const typename Arch::Acc start = Arch::load(args.init + 16 * j);
#pragma GCC unroll 12
    for (int i = 0; i < kPixels; ++i) acc[i][j] = start;
  }
  const ptrdiff_t step = args.step;
  const ptrdiff_t panel_stride = args.panel_stride;
  const int8_t* w = args.weights;
  for (int p = 0; p < args.piece_count; ++p) {
    const uint8_t* a = args.src + args.pieces[p].offset;
    for (int q = args.pieces[p].quads; q > 0; --q) {
      typename Arch::W b[kPanels];
#pragma GCC unroll 4
      for (int j = 0; j < kPanels; ++j) b[j] = Arch::weights(w + j * panel_stride);
#pragma GCC unroll 12
      for (int i = 0; i < kPixels; ++i) {
        const typename Arch::Src s = Arch::bcast(a + i * step);
#pragma GCC unroll 4
        for (int j = 0; j < kPanels; ++j) Arch::mac(acc[i][j], s, b[j]);
      }
      w += Arch::kBytesPerQuad;
      a += 4;
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < kPixels; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kPanels; ++j) Arch::store(args.acc + (i * kPanels + j) * 16, acc[i][j]);
  }
}

template <class Arch, int kPanels, int kPixels>
void fill_dot_row(DotTable& table) {
  table.fn[kPanels - 1][kPixels - 1] = &dot_block<Arch, kPixels, kPanels>;
  if constexpr (kPixels > 1) fill_dot_row<Arch, kPanels, kPixels - 1>(table);
}

template <class Arch>
DotTable make_dot_table() {
  DotTable table;
  table.max_panels = Arch::kMaxPanels;
  table.bytes_per_quad = Arch::kBytesPerQuad;
  fill_dot_row<Arch, 1, Arch::kPixels1>(table);
  table.max_pixels[0] = Arch::kPixels1;
  if constexpr (Arch::kMaxPanels == 4) {
    fill_dot_row<Arch, 2, 12>(table);
    fill_dot_row<Arch, 3, 8>(table);
    fill_dot_row<Arch, 4, 6>(table);
    table.max_pixels[1] = 12;
    table.max_pixels[2] = 8;
    table.max_pixels[3] = 6;
  }
  return table;
}

}  // namespace pt2q::kernels
