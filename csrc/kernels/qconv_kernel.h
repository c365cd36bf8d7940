// Internal interface between the convolution driver (qconv.cpp) and the per-ISA micro-kernels.
//
// A block of output pixels reads its inputs at `src + i * step + offset`, where offset runs over
// the packed K layout; weights are panels of 16 output channels, [k / 4][16 channels][4 bytes].
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/epilogue.h"

namespace pt2q::kernels {

// Which pixels of a block a piece of K leaves out: those that see padding there.
enum class Skip : int32_t { none, first, last };

// A contiguous piece of K: `quads` groups of four input bytes starting at `offset` bytes from the
// pixel. AMX uses pieces of exactly 16 quads, one after the other; vector kernels find their
// weights at `weights` bytes from the panel.
struct KPiece {
  int32_t offset = 0;
  int32_t quads = 0;
  int32_t weights = 0;
  int32_t tap = 0, tap_end = 0;  // its taps, DotKind::mixed only
  Skip skip = Skip::none;
};

// DotKind::mixed: how a panel computes its quads, a few at a time, in the cheapest exact way that
// its weights allow. The quads of a tap come in any order, those of one step together.
//   pair    two quads: vpmaddubsw each, added in 16 bits, then vpmaddwd by one
//   single  a quad: vpmaddubsw, vpmaddwd by one
//   wide    a quad as 16-bit numbers, weights too: two vpmaddwd
enum class DotStep : uint8_t { pair, single, wide };
struct DotRun {
  DotStep step = DotStep::pair;
  uint8_t count = 0;
};
// Where the runs, quads and weights of a tap start within a panel; the next tap's are its end.
struct DotTap {
  int32_t weights = 0;
  int32_t run = 0;
  int32_t quad = 0;
};

// Where a vector kernel with DotTable::stores puts its block when the epilogue is `fast` or `real`.
struct DotStore {
  const float* scale = nullptr;
  const float* bias = nullptr;
  uint8_t* dst = nullptr;
  ptrdiff_t dst_stride = 0;           // bytes between pixels
  const uint8_t* residual = nullptr;  // null without
  ptrdiff_t residual_stride = 0;      // bytes between pixels
  int channels = 0;                   // valid ones, at most 16 * panels
  bool real = false;                  // float32, the residual too; what follows does not count
  bool half = false;                  // bfloat16 instead, of AVX-512 only
  // The epilogue's numbers, small ones repeated to 32 bits. s8 is computed as u8 shifted by 128.
  bool lean = false;
  bool lean_add = false;  // and the residual u8 without zero point
  float inv_scale = 1;
  int32_t zero_points = 0;                                     // two
  int32_t qmins = 0, qmaxs = 0, flips = 0, residual_flip = 0;  // four each
  int32_t residual_zero_point = 0;
  float residual_scale = 1;

  void set(const Epilogue& e);
};

// One run: `blocks` blocks side by side, alike.
struct DotArgs {
  int blocks = 1;
  const uint8_t* src = nullptr;  // the first block's
  ptrdiff_t step = 0;            // bytes between neighbouring pixels
  const KPiece* pieces = nullptr;
  int piece_count = 0;
  const int8_t* weights = nullptr;
  ptrdiff_t panel_stride = 0;  // bytes between 16-channel panels
  // As many panels to fetch meanwhile, one with a block, from `fetched` on; bytes from `weights`,
  // 0: none.
  ptrdiff_t ahead = 0;
  int fetched = 0;
  const DotTap* taps = nullptr;     // mixed: of the panel
  const DotRun* runs = nullptr;     // mixed: of all panels
  const uint16_t* quads = nullptr;  // mixed: of all panels, the quads of K in the order of the runs
  // Accumulator start per channel, -zx * sum(w) over the weights that count: of a block's first
  // pixel, the last one of several, all others.
  const int32_t* first_init = nullptr;
  const int32_t* last_init = nullptr;
  const int32_t* init = nullptr;
  int32_t* acc = nullptr;           // [rows][16 * panels]; or
  const DotStore* store = nullptr;  // the finished blocks
};
using DotFn = void (*)(const DotArgs&);

// Dot-product routes. Both are exact: mixed takes vpmaddubsw only where the packed weights prove
// that its 16-bit sums cannot saturate.
enum class DotKind { vnni, mixed };

constexpr int kMaxPixels = 14;  // pixels per DotFn block
constexpr int kMaxPanels = 4;

struct DotTable {
  // fn[panels - 1][pixels - 1]; pixels up to max_pixels[panels - 1] (0: not available)
  DotFn fn[kMaxPanels][kMaxPixels] = {};
  int max_pixels[kMaxPanels] = {};
  int max_panels = 0;
  bool stores = false;       // DotArgs::store is understood
  bool stores_half = false;  // DotStore::half too
};

// The rows of a tile block that are stored: which accumulator row goes to which pixel. Rounded up
// to fours by repeating the last row.
struct TileRows {
  static constexpr int kMaxRows = 32;
  int count = 0;
  int32_t acc[kMaxRows + 3];         // row of the accumulators
  ptrdiff_t dst[kMaxRows + 3];       // bytes from TileStore::dst
  ptrdiff_t residual[kMaxRows + 3];  // bytes from TileStore::residual
};

// The accumulators of a tile block on their way to the destination.
struct TileStore {
  const TileRows* rows = nullptr;  // null = nothing pending
  const int32_t* acc = nullptr;    // [32][16 * panels]
  uint8_t* dst = nullptr;
  const uint8_t* residual = nullptr;
  int panels = 1;
  int channels = 0;  // valid ones, at most 16 * panels
  const float* scale = nullptr;
  const float* bias = nullptr;
  RowScales rows_scaled;  // of the pixel at dst
  const int32_t* sums = nullptr;
};

// AMX: two tiles of pixels by two panels; a tile is 16 pixels (or fewer for tiny inputs).
struct TileArgs {
  const uint8_t* src[2] = {};
  ptrdiff_t step = 0;
  const KPiece* pieces = nullptr;
  int piece_count = 0;
  const int8_t* weights = nullptr;
  ptrdiff_t panel_stride = 0;
  const int32_t* init = nullptr;  // null: zero
  int32_t* acc = nullptr;         // [2 * 16][16 * panels]
  const Epilogue* epilogue = nullptr;
  const TileStore* previous = nullptr;  // stored meanwhile (fused only); all its channels valid
};
using TileFn = void (*)(const TileArgs&);
using TileFlushFn = void (*)(const Epilogue&, const TileStore&);

struct TileTable {
  TileFn plain[2][2] = {};  // [tiles - 1][panels - 1]
  // [store: u8 without zero point or clamp, any, u8 residual, s8 residual]; null without a twin
  TileFn fused[4][2][2] = {};
  TileFlushFn flush[2] = {};  // [panels - 1]
  void (*configure)(int tile_rows) = nullptr;
  void (*release)() = nullptr;
};

const DotTable& dot_table_portable(DotKind kind);  // also the emulation of the vector routes
const DotTable& dot_table_avx2(DotKind kind);
const DotTable& dot_table_avx512(DotKind kind);
// For winograd.h. Dot products of s16 pairs instead of u8 x s8 quads: sums modulo 2^32.
const DotTable& word_table_portable();
const DotTable& word_table_avx2();
const DotTable& word_table_avx512(bool vnni);
// Products of float32, summed one after the other with one rounding each; accumulators and their
// start are the bits.
const DotTable& real_table_portable();
const DotTable& real_table_avx2();
const DotTable& real_table_avx512();
const TileTable& tile_table_amx();
const TileTable& tile_table_portable();

void epilogue_portable(const Epilogue& epilogue, const EpilogueBlock& block);
void epilogue_avx2(const Epilogue& epilogue, const EpilogueBlock& block);
void epilogue_avx512(const Epilogue& epilogue, const EpilogueBlock& block);

}  // namespace pt2q::kernels
