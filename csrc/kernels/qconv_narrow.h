// Linears of a few outputs: panels of 16 channels would be mostly padding there, so the products of
// one pixel and one channel are summed along the lanes of a vector instead.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/isa.h"

namespace pt2q::kernels {

struct WeightShape;

struct NarrowArgs {
  const uint8_t* src = nullptr;  // pixel i at src + i * step
  ptrdiff_t step = 0;
  int64_t pixels = 0;
  int64_t depth = 0;                // of a sum
  const int8_t* weights = nullptr;  // [channels][narrow_depth(depth)], zero behind `depth`
  int channels = 0;                 // at most kNarrowChannels
  const int32_t* init = nullptr;    // [channels]
  int32_t* acc = nullptr;           // pixel i's channels at acc + i * acc_step
  ptrdiff_t acc_step = 0;
};
using NarrowFn = void (*)(const NarrowArgs&);

constexpr int64_t kNarrowChannels = 4;
constexpr int64_t kNarrowPixels = 64;  // whose results go through the epilogue together

inline int64_t narrow_depth(int64_t depth) { return (depth + 63) / 64 * 64; }
// Whether weights of this shape are packed for it too.
bool is_narrow(const WeightShape& shape);

// Exact on every instruction set: without VNNI the products are of 16-bit numbers.
NarrowFn narrow_fn(Isa isa, bool emulated);

}  // namespace pt2q::kernels
