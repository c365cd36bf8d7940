// Internal interface between WinogradConv (winograd.cpp) and the per-ISA kernels. Sources are u8,
// points s16 and sums int32; or all of them float32.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/epilogue.h"
#include "kernels/qconv_kernel.h"

namespace pt2q::kernels {

constexpr int kWinogradOut = 4;      // output rows and columns of a tile
constexpr int kWinogradIn = 6;       // input rows and columns it sees
constexpr int kWinogradPoints = 36;  // products per tile, input and output channel

// The 6x6 patch of one tile to its 36 points.
struct WinogradInput {
  const uint8_t* pixels[kWinogradPoints];  // row by row, the first channel
  int64_t channels = 0;                    // a multiple of 16
  uint8_t flip = 0;                        // xor of every byte: 128 for s8 sources
  uint8_t* points = nullptr;               // the first point's channels
  ptrdiff_t point_stride = 0;              // bytes between points
};

// The sums at the 36 points of one tile to its 16 accumulators.
struct WinogradOutput {
  const int32_t* sums = nullptr;  // the first point's channels
  ptrdiff_t point_stride = 0;     // elements between points
  int64_t channels = 0;           // a multiple of 16
  const int32_t* init = nullptr;  // added, per channel; not to float32
  int32_t* acc = nullptr;         // [16 pixels][channels]; float32: the bits
};

struct WinogradTable {
  void (*input)(const WinogradInput&) = nullptr;
  void (*output)(const WinogradOutput&) = nullptr;
  const DotTable* dot = nullptr;  // of word_table_* or real_table_*
  EpilogueFn epilogue = nullptr;
};

// `real`: float32.
const WinogradTable& winograd_table_portable(bool real);
const WinogradTable& winograd_table_avx2(bool real);
const WinogradTable& winograd_table_avx512(bool real, bool vnni);

}  // namespace pt2q::kernels
