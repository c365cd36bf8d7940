// Input frames: how output pixels find their input bytes at a constant step.
//
//   direct    1x1 without stride or padding: the tensor itself
//   flat      rows copied with padding columns, shared between neighbouring rows; every output row
//             has `pitch` virtual pixels, the last pitch - OW of them are waste
//   expanded  per output column the KW x C bytes it sees in one input row; rows sorted by their
//             phase modulo the stride; dense for any stride
//   im2col    the whole window per output pixel (few channels)
//   window    no frame either: every row of the tensor in place, padding left out
//   (qconv_window.cpp)
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/qconv_kernel.h"

namespace pt2q::kernels {

struct ConvShape;
struct PackedWeights;

enum class FrameMode { direct, flat, expanded, im2col, window };

struct FrameSource {
  const uint8_t* data = nullptr;  // one image
  const uint8_t* end = nullptr;   // of the whole tensor
  ptrdiff_t pixel_stride = 0;     // bytes
};

struct FrameLayout {
  FrameMode mode = FrameMode::direct;
  int64_t rows = 0;                // output rows per frame
  int64_t step = 0;                // bytes between virtual pixels
  int64_t pitch = 0;               // virtual pixels per output row
  int64_t bytes = 0;               // of a whole frame, slack for tile loads included
  int64_t row_bytes = 0;           // of a frame row
  uint8_t pad_value = 0;           // as stored in the source
  bool flip = false;               // xor 0x80: s8 to u8
  std::vector<int64_t> phase_row;  // expanded: first frame row of each input phase, or -1
  std::vector<int64_t> phase_rows;
  std::vector<KPiece> pieces;
};

// The layout for `rows` output rows.
FrameLayout make_frame_layout(const ConvShape& shape, const PackedWeights& weights, FrameMode mode,
                              int64_t rows);

// Fills `frame` for output rows [first, first + count), count <= layout.rows.
void fill_frame(const FrameLayout& layout, const ConvShape& shape, const FrameSource& source,
                int64_t first, int64_t count, uint8_t* frame);

}  // namespace pt2q::kernels
