// Concatenation without copies: the steps that make the parts write into the result.
#pragma once

#include <vector>

#include "onednn/plan_builder.h"

namespace pt2q {

struct JoinPart {
  const Node* node = nullptr;  // null: has to be copied
  int value = -1;
};

struct Joined {
  int out = -1;  // the result; -1: no part can be written in place, nothing has changed
  // Per part the slice of `out` that the caller has to fill, or -1.
  std::vector<int> slices;
};

// How the memory of a dense array is cut along one dimension.
struct JoinShape {
  Shape sizes, strides;  // of the result
  size_t dim = 0;
  int64_t rows() const;   // blocks of memory that hold all of `dim` and what lies inside it
  int64_t inner() const;  // elements per index of `dim` within a row
  // Strides of a dense part with these sizes and the result's order of dimensions.
  Shape strides_of(const Shape& part) const;
};

// Parts whose layout is not that of the result, that others read as well, or whose step cannot
// leave gaps between rows are left to the caller. `name` is for the steps' notes.
Joined join_parts(PlanBuilder& builder, const std::vector<JoinPart>& parts, const JoinShape& shape,
                  DType dtype, const std::string& name);

}  // namespace pt2q
