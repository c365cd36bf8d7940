// Copies between strided arrays, in the order of the target's memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pt2q/tensor.h"

namespace pt2q {

// Loops of a copy, outermost first: no dimension of size 1, the target's smallest stride last, and
// neighbours that lie side by side in both arrays merged. Strides count elements.
struct CopyLoops {
  Shape sizes, to, from;

  CopyLoops(const Shape& shape, const Shape& to_strides, const Shape& from_strides);
  // Product of all sizes but those of the `inner` last loops.
  int64_t outer(size_t inner) const;
};

// Offsets of both arrays while the loops outside the `inner` last ones advance, from step `first`.
class CopyWalk {
 public:
  CopyWalk(const CopyLoops& loops, size_t inner, int64_t first);
  int64_t to() const { return to_; }
  int64_t from() const { return from_; }
  void next();

 private:
  const CopyLoops& loops_;
  Shape index_;
  int64_t to_ = 0, from_ = 0;
};

// to[i] = from[i] for all index tuples i of `sizes`; elements of `itemsize` bytes (1, 2, 4 or 8).
// The arrays must not overlap. Parallel.
void copy_strided(void* to, const Shape& to_strides, const void* from, const Shape& from_strides,
                  const Shape& sizes, size_t itemsize);

}  // namespace pt2q
