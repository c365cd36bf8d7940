// Moving whole slices of a tensor along one dimension, whatever the dtype.
#pragma once

#include "ops/support/operands.h"

namespace pt2q::ops {

// out[..., i, ...] = x[..., table[i], ...] along `dim`; entries of -1 take `fill`.
Tensor take_slices(const Tensor& x, int64_t dim, const Ints& table, const Value& fill = 0);

// For each dimension of `mask`, the indices of its elements that are not 0 (NaN included),
// row-major.
std::vector<Ints> true_positions(const Tensor& mask);

}  // namespace pt2q::ops
