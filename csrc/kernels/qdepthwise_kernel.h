// Between qdepthwise.cpp, which walks over images, rows, channel blocks and column tiles, and the
// per-instruction-set files, which compute one tile.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/epilogue.h"

namespace pt2q::kernels {

// Channels of a block: 16 per part of a 512-bit vector. Narrower vectors take a block in pieces.
constexpr int kDepthwiseBlock = 64;
constexpr int kMaxDepthwiseRows = 64;  // rows interleaved together, at most

// Some output columns of `shared_rows` output rows, one block of channels.
struct DepthwiseTile {
  // Input. Row r starts at rows[r] (column 0, first channel of the block); columns are
  // column_stride bytes apart. A row in the padding is a line full of zero points.
  const uint8_t* rows[kMaxDepthwiseRows] = {};
  ptrdiff_t column_stride = 0;
  int64_t first_column = 0;  // of the tile; negative in the left padding
  int64_t columns = 0;
  int64_t width = 0;           // of the image
  uint8_t flip = 0;            // xor-ed onto every byte: 0x80 turns s8 into u8
  uint8_t pad = 0;             // zero point, as u8
  int channels = 0;            // valid channels, at most kDepthwiseBlock
  uint8_t* scratch = nullptr;  // columns * groups * 4 * kDepthwiseBlock bytes

  // Weights, in vectors of one part: [shared row][kw][group][part].
  const uint8_t* weights = nullptr;
  const int32_t* init = nullptr;  // first accumulators, in the order of packed vectors
  int64_t groups = 0;
  int64_t kernel_w = 0;
  int64_t stride_w = 1;
  int64_t dilation_w = 1;

  // Output: rows that exist (shared_rows or fewer), `outputs` pixels each.
  int out_rows = 0;
  int64_t outputs = 0;
  uint8_t* dst = nullptr;        // first pixel of the first row, first channel of the block
  ptrdiff_t dst_stride = 0;      // elements between pixels
  ptrdiff_t dst_row_stride = 0;  // elements between rows
  const uint8_t* residual = nullptr;
  ptrdiff_t residual_stride = 0;
  ptrdiff_t residual_row_stride = 0;
  int element_bytes = 1;           // of dst
  int residual_element_bytes = 1;  // of residual

  const Epilogue* epilogue = nullptr;
  const float* scale = nullptr;  // this block's channels, padded to kDepthwiseBlock
  const float* bias = nullptr;
  const float* packed_scale = nullptr;  // the same in the order of packed vectors
  const float* packed_bias = nullptr;
};

using DepthwiseFn = void (*)(const DepthwiseTile&);

void depthwise_portable(const DepthwiseTile& tile);
void depthwise_avx2(const DepthwiseTile& tile);
void depthwise_avx512(const DepthwiseTile& tile);
void depthwise_vnni(const DepthwiseTile& tile);

}  // namespace pt2q::kernels
