// The process-wide generator behind dropout and rand. Streams differ from PyTorch's; a seed gives
// the same numbers on every machine.
#pragma once

#include <cstdint>

#include "pt2q/tensor.h"

namespace pt2q::ops {

void set_seed(uint64_t seed);
void fill_uniform(Tensor* out);                 // float32, [0, 1)
void fill_normal(Tensor* out);                  // float32, mean 0, variance 1
void fill_bernoulli(Tensor* out, double keep);  // float32, 1 with probability `keep`, else 0
void fill_integers(Tensor* out, int64_t low, int64_t high);  // int64, [low, high)

}  // namespace pt2q::ops
