// How far two tensors are apart.
#pragma once

#include "pt2q/tensor.h"

namespace pt2q {

// Sums over all elements, in double of the values rounded to float32; additive over batches.
struct Difference {
  double signal = 0.0;   // sum of actual²
  double noise = 0.0;    // sum of (actual - reference)²
  double max_abs = 0.0;  // largest |actual - reference|; NaN when there is one
  int64_t count = 0;

  double mse() const;  // NaN without elements
  double sqnr() const;  // 20·log10(‖actual‖ / ‖actual - reference‖) in dB; inf when equal, NaN for
                        // zeros alone
  void add(const Difference& other);
};

// Throws ValueError for different shapes.
Difference difference(const Tensor& actual, const Tensor& reference);

}  // namespace pt2q
