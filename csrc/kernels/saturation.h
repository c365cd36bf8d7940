// Why the int32 sums of an int8 layer are exact. Below VNNI, vpmaddubsw adds two u8 x s8 products
// in 16 bits with saturation; a layer may use it only where no pair can reach that far.
#pragma once

#include <cstdint>
#include <string>

namespace pt2q::kernels {

struct Saturation {
  enum class Kind {
    impossible,   // the instructions add products in 32 bits (VNNI, AMX, plain C++)
    bounded,      // 16-bit sums, proven to fit: max_pair_sum <= kLimit
    exact_route,  // where 16-bit sums might not fit, factors are widened and products added in 32
  };
  static constexpr int64_t kLimit = 32767;

  Kind kind = Kind::impossible;
  // The largest magnitude any sum of two products of the layer can have, from its weights and the
  // largest input; -1: not needed for the verdict.
  int64_t max_pair_sum = -1;
  int32_t src_max = 255;  // that input, as uint8

  // "instruction cannot saturate", "bound proven: 25400 <= 32767 for inputs <= 127", ...
  std::string text() const;
};

}  // namespace pt2q::kernels
