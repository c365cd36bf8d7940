// Sums, means and extremes of float32 over the middle dimension of [outer, n, inner].
//
// Sums are in double: 8 partial sums (item i goes to i mod 8, those after the last whole eight to
// the first), added in order and rounded once; a mean divides that float in double, a norm is the
// root of the sum of squares. Extremes keep NaN. Every function equals its `*_reference` twin bit
// for bit, for every instruction set and thread count (twins of maximum and minimum: as numbers,
// the sign of a zero is either's).
#pragma once

#include <cstdint>

namespace pt2q {

enum class Reduction { sum, mean, norm, maximum, minimum };

// y[outer, inner]; n >= 1.
void reduce(Reduction op, const float* x, int64_t outer, int64_t n, int64_t inner, float* y);
void reduce_reference(Reduction op, const float* x, int64_t outer, int64_t n, int64_t inner,
                      float* y);

}  // namespace pt2q
