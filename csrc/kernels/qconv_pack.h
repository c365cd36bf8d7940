// Between the packing of all routes (qconv_pack.cpp) and that of DotKind::mixed
// (qconv_pack_mixed.cpp).
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/qconv.h"

namespace pt2q::kernels {

// A panel and what its weights allow on CPUs without VNNI. vpmaddubsw adds two u8 x s8 products in
// 16 bits: exact if the positive and the negative parts of each weight pair stay within 16 bits at
// the largest input.
struct WeightPanel {
  std::vector<int8_t> plain;  // [quads][16 channels][4]
  // [quads][64]: the positive and negative parts of the quad's 32 weight pairs.
  std::vector<uint16_t> parts;
  std::vector<int32_t> most_of;  // [quads]: the largest of these
  int32_t limit = 0;             // of a part, or of a sum of two
  int32_t largest = 0;           // part

  void prove(int32_t src_max);
  // No pair of the quad can saturate.
  bool fits(size_t q) const { return most_of[q] <= limit; }
  // Nor the sum of two quads' pairs.
  bool fit(size_t q, size_t other) const;
};

// Fills out.data and the lists of steps from the plain weights of all panels.
void fill_mixed(PackedWeights& out, std::vector<WeightPanel>& panels);

}  // namespace pt2q::kernels
