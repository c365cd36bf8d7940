// The dot-product micro-kernel over an instruction layer Arch. Included by the per-ISA files inside
// their target region, after all other includes; Arch is a distinct type per ISA.
//
// Arch: Acc (16 int32), Src (four input bytes broadcast), W (one quad of a panel);
// load(const int32*), store(int32*, Acc), bcast(const uint8*), weights(const int8*), and
// mac(Acc&, Src, W); kStores, and if so finish(acc, DotStore, first pixel). For DotKind::mixed
// instead of Src, W and mac: Weights (of a step), weights_of<DotStep>(const int8*) and
// mac<DotStep>(Acc (&)[panels], const uint8*, Weights (&)[panels]).
#pragma once

#include "kernels/qconv_kernel.h"

namespace pt2q::kernels {

// Pixels [kFrom, kTo) of the block times `quads` quads.
template <class Arch, int kFrom, int kTo, int kPixels, int kPanels>
[[gnu::always_inline]] inline void dot_quads(typename Arch::Acc (&acc)[kPixels][kPanels],
                                             const uint8_t* a, const int8_t* w, int quads,
                                             ptrdiff_t step, ptrdiff_t panel_stride,
                                             ptrdiff_t ahead) {
  const uint8_t* lines = a;  // of this block and those behind it: faster than quads use them up
  for (; quads > 0; --quads) {
    __builtin_prefetch(w + ahead, 0, 2);
    __builtin_prefetch(lines, 0, 3);
    lines += 64;
    typename Arch::W b[kPanels];
#pragma GCC unroll 4
    for (int j = 0; j < kPanels; ++j) b[j] = Arch::weights(w + j * panel_stride);
#pragma GCC unroll 14
    for (int i = kFrom; i < kTo; ++i) {
      const typename Arch::Src s = Arch::bcast(a + i * step);
#pragma GCC unroll 4
      for (int j = 0; j < kPanels; ++j) Arch::mac(acc[i][j], s, b[j]);
    }
    w += 64;
    a += 4;
  }
}

// Where a panel's steps are read from.
struct MixedReader {
  const uint8_t* base;  // K's first byte, of the block's first pixel
  const int8_t* weights;
  const uint16_t* quad;
};

template <class Arch, DotStep kStep, int kFrom, int kTo, int kPixels, int kPanels>
[[gnu::always_inline]] inline void mixed_run(typename Arch::Acc (&acc)[kPixels][kPanels],
                                             MixedReader& r, int count, ptrdiff_t step) {
  for (; count > 0; --count) {
    constexpr int bytes = kStep == DotStep::single ? 64 : 128;
    constexpr int quads = kStep == DotStep::pair ? 2 : 1;
    typename Arch::Weights b[kPanels];
#pragma GCC unroll 2
    for (int j = 0; j < kPanels; ++j)
      b[j] = Arch::template weights_of<kStep>(r.weights + j * bytes);
    const uint8_t* first = r.base + ptrdiff_t{4} * r.quad[0];
    const uint8_t* second = r.base + ptrdiff_t{4} * r.quad[quads - 1];
#pragma GCC unroll 14
    for (int i = kFrom; i < kTo; ++i)
      Arch::template mac<kStep>(acc[i], first + i * step, second + i * step, b);
    r.weights += kPanels * bytes;
    r.quad += quads;
  }
}

template <class Arch, int kFrom, int kTo, int kPixels, int kPanels>
[[gnu::always_inline]] inline void mixed_runs(typename Arch::Acc (&acc)[kPixels][kPanels],
                                              MixedReader r, const DotRun* run, const DotRun* end,
                                              ptrdiff_t step) {
  for (; run != end; ++run) {
    if (run->step == DotStep::pair) {
      mixed_run<Arch, DotStep::pair, kFrom, kTo>(acc, r, run->count, step);
    } else if (run->step == DotStep::single) {
      mixed_run<Arch, DotStep::single, kFrom, kTo>(acc, r, run->count, step);
    } else {
      mixed_run<Arch, DotStep::wide, kFrom, kTo>(acc, r, run->count, step);
    }
  }
}

// Pixels [kFrom, kTo) of the block times a piece, whose first input is at `src`.
template <class Arch, int kFrom, int kTo, int kPixels, int kPanels>
[[gnu::always_inline]] inline void dot_piece(typename Arch::Acc (&acc)[kPixels][kPanels],
                                             const DotArgs& args, const KPiece& piece,
                                             const uint8_t* src, ptrdiff_t ahead) {
  if constexpr (Arch::kMixed) {
    const DotTap& tap = args.taps[piece.tap];
    // A quad's weights take 64 bytes where a panel is not mixed, its inputs 4.
    const MixedReader reader{src - piece.weights / 16, args.weights + tap.weights,
                             args.quads + tap.quad};
    mixed_runs<Arch, kFrom, kTo>(acc, reader, args.runs + tap.run,
                                 args.runs + args.taps[piece.tap_end].run, args.step);
  } else {
    dot_quads<Arch, kFrom, kTo>(acc, src, args.weights + piece.weights, piece.quads, args.step,
                                args.panel_stride, ahead);
  }
}

// Asks for the cache lines that a block will be written to, so that they are there by then.
template <int kPixels, int kPanels>
[[gnu::always_inline]] inline void claim(const DotStore& store, ptrdiff_t pixel) {
  const uint8_t* to = store.dst + pixel * store.dst_stride;
  for (int i = 0; i < kPixels; ++i, to += store.dst_stride) {
    __builtin_prefetch(to, 1, 3);
    for (int j = 1; j < kPanels && store.real; ++j) __builtin_prefetch(to + j * 64, 1, 3);
  }
}

// Block `index` of a run.
template <class Arch, int kPixels, int kPanels>
[[gnu::always_inline]] inline void dot_one(const DotArgs& args, ptrdiff_t index) {
  typename Arch::Acc acc[kPixels][kPanels];
#pragma GCC unroll 4
  for (int j = 0; j < kPanels; ++j) {
    const typename Arch::Acc start = Arch::load(args.init + 16 * j);
#pragma GCC unroll 14
    for (int i = 1; i < kPixels; ++i) acc[i][j] = start;
    acc[0][j] = Arch::load(args.first_init + 16 * j);
    if (kPixels > 1) acc[kPixels - 1][j] = Arch::load(args.last_init + 16 * j);
  }
  // Kept on the stack: GCC would keep it in a vector register, and reading that waits for all the
  // products before it.
  const DotStore* volatile store = args.store;
  const ptrdiff_t step = args.step;
  const ptrdiff_t pixel = index * kPixels;
  const ptrdiff_t ahead =
      args.ahead == 0 ? 0 : args.ahead + (args.fetched + index) % kPanels * args.panel_stride;
  if constexpr (Arch::kStores) {
    if (args.store != nullptr) claim<kPixels, kPanels>(*args.store, pixel);
  }
  for (int p = 0; p < args.piece_count; ++p) {
    const KPiece& piece = args.pieces[p];
    const uint8_t* src = args.src + pixel * step + piece.offset;
    if (piece.skip == Skip::none) {
      dot_piece<Arch, 0, kPixels>(acc, args, piece, src, ahead);
    } else if (piece.skip == Skip::first) {
      dot_piece<Arch, 1, kPixels>(acc, args, piece, src, ahead);
    } else {
      dot_piece<Arch, 0, kPixels - 1>(acc, args, piece, src, ahead);
    }
  }
  if constexpr (Arch::kStores) {
    const DotStore* const out = store;
    if (out != nullptr) return Arch::finish(acc, *out, pixel);
  }
  int32_t* const to = args.acc + pixel * kPanels * 16;
#pragma GCC unroll 14
  for (int i = 0; i < kPixels; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kPanels; ++j) Arch::store(to + (i * kPanels + j) * 16, acc[i][j]);
  }
}

template <class Arch, int kPixels, int kPanels>
void dot_block(const DotArgs& args) {
  for (int i = 0; i < args.blocks; ++i) dot_one<Arch, kPixels, kPanels>(args, i);
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
  table.stores = Arch::kStores;
  fill_dot_row<Arch, 1, Arch::kPixels1>(table);
  table.max_pixels[0] = Arch::kPixels1;
  if constexpr (Arch::kMaxPanels == 2) {
    fill_dot_row<Arch, 2, Arch::kPixels2>(table);
    table.max_pixels[1] = Arch::kPixels2;
  }
  if constexpr (Arch::kMaxPanels == 4) {
    fill_dot_row<Arch, 2, 14>(table);
    fill_dot_row<Arch, 3, 8>(table);
    fill_dot_row<Arch, 4, 6>(table);
    table.max_pixels[1] = 14;
    table.max_pixels[2] = 8;
    table.max_pixels[3] = 6;
  }
  return table;
}

}  // namespace pt2q::kernels
