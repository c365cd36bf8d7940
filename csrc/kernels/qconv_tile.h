// The tile micro-kernel over an instruction layer Arch with AMX's shape: eight tiles of 16 rows by
// 64 bytes. Included by the AMX file and the emulation; Arch is a distinct type in each.
//
// Arch: load<T>(ptr, stride), store<T>(ptr, stride), dot<C, A, B>() (u8 rows of A times s8 B).
// Tiles 0-3 accumulate, 4-5 hold pixels, 6-7 weights. Store is called between tile instructions to
// work off the previous block: Store(args), slot() for a share of it, drain() for the rest.
#pragma once

#include "kernels/qconv_kernel.h"

namespace pt2q::kernels {

struct NoTileStore {
  explicit NoTileStore(const TileArgs&) {}
  void slot() {}
  void drain() {}
};

template <class Arch, int kTiles, int kPanels>
void start_tiles(const int32_t* init) {
  if (init == nullptr) {
    Arch::template zero<0>();
    if constexpr (kPanels == 2) Arch::template zero<1>();
    if constexpr (kTiles == 2) Arch::template zero<2>();
    if constexpr (kTiles == 2 && kPanels == 2) Arch::template zero<3>();
    return;
  }
  // A stride of zero repeats the start values in every row.
  Arch::template load<0>(init, 0);
  if constexpr (kPanels == 2) Arch::template load<1>(init + 16, 0);
  if constexpr (kTiles == 2) Arch::template load<2>(init, 0);
  if constexpr (kTiles == 2 && kPanels == 2) Arch::template load<3>(init + 16, 0);
}

template <class Arch, class Store, int kTiles, int kPanels>
void tile_block(const TileArgs& args) {
  constexpr ptrdiff_t acc_stride = 64 * kPanels;
  constexpr ptrdiff_t tile_ints = 16 * 16 * kPanels;
  Store store(args);
  start_tiles<Arch, kTiles, kPanels>(args.init);
  const int8_t* w = args.weights;
  const ptrdiff_t step = args.step;
  const ptrdiff_t panel_stride = args.panel_stride;
  const uint8_t* const src0 = args.src[0];
  const ptrdiff_t second = args.src[1] - args.src[0];
  const KPiece* piece = args.pieces;
  for (int p = args.piece_count; p > 0; --p, ++piece) {
    const uint8_t* src = src0 + piece->offset;
    Arch::template load<6>(w, 64);
    Arch::template load<4>(src, step);
    Arch::template dot<0, 4, 6>();
    store.slot();
    if constexpr (kTiles == 2) {
      Arch::template load<5>(src + second, step);
      Arch::template dot<2, 5, 6>();
      store.slot();
    }
    if constexpr (kPanels == 2) {
      Arch::template load<7>(w + panel_stride, 64);
      Arch::template dot<1, 4, 7>();
      store.slot();
      if constexpr (kTiles == 2) {
        Arch::template dot<3, 5, 7>();
        store.slot();
      }
    }
    w += 1024;
  }
  Arch::template store<0>(args.acc, acc_stride);
  store.slot();
  if constexpr (kPanels == 2) {
    Arch::template store<1>(args.acc + 16, acc_stride);
    store.slot();
  }
  if constexpr (kTiles == 2) {
    Arch::template store<2>(args.acc + tile_ints, acc_stride);
    store.slot();
    if constexpr (kPanels == 2) Arch::template store<3>(args.acc + tile_ints + 16, acc_stride);
  }
  store.drain();
}

template <class Arch, template <int> class Store>
void fill_tile_functions(TileFn (&fn)[2][2]) {
  fn[0][0] = &tile_block<Arch, Store<1>, 1, 1>;
  fn[0][1] = &tile_block<Arch, Store<2>, 1, 2>;
  fn[1][0] = &tile_block<Arch, Store<1>, 2, 1>;
  fn[1][1] = &tile_block<Arch, Store<2>, 2, 2>;
}

template <int>
using NoTileStoreFor = NoTileStore;

template <class Arch>
TileTable make_tile_table() {
  TileTable table;
  fill_tile_functions<Arch, NoTileStoreFor>(table.plain);
  table.configure = &Arch::configure;
  table.release = &Arch::release;
  return table;
}

}  // namespace pt2q::kernels
