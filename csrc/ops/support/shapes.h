// Shape arithmetic shared by operator rows. Everything works on symbolic sizes; checks that need a
// number use the hint (the size of the example input).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pt2q/value.h"

namespace pt2q::ops {

using Ints = std::vector<int64_t>;

// The same dtype and device with other sizes (and dtype).
TensorMeta with_sizes(const TensorMeta& meta, SymShape sizes);
TensorMeta with_dtype(TensorMeta meta, DType dtype);

int64_t rank(const TensorMeta& meta);
// Size of dimension `dim`, which may be negative; IndexError when out of range.
SymInt size_at(const TensorMeta& meta, int64_t dim);
SymInt product(const SymShape& sizes, size_t begin = 0, size_t end = SIZE_MAX);

// NumPy broadcasting; ValueError naming both shapes.
SymShape broadcast(const SymShape& a, const SymShape& b);
// Wraps every entry into [0, ndim); an empty list means all dimensions. ValueError on repeats.
Ints wrap_dims(const Ints& dims, int64_t ndim);
// Shape after reducing `dims` (wrapped).
SymShape reduced(const SymShape& sizes, const Ints& dims, bool keepdim);
// Resolves one -1 of `wanted` against the elements of `sizes`; ValueError when they do not fit.
SymShape resolve_view(const SymShape& sizes, SymShape wanted);
// `expand`: -1 keeps a size, new dimensions go in front.
SymShape expanded(const SymShape& sizes, const SymShape& wanted);
// Length of [start:end:step] over a dimension of `size`; None start/end given as null.
SymInt slice_length(const SymInt& size, const Value& start, const Value& end, int64_t step);

// Throws ValueError unless `meta` has `ndim` dimensions; `what` names the argument.
void require_rank(const TensorMeta& meta, int64_t ndim, const char* what);
// Sizes agree as far as the hints tell.
bool same_size(const SymInt& a, const SymInt& b);
std::string text(const SymShape& sizes);
// Items per thread for parallel_for when one item takes `operations`: below that, a thread costs
// more than it saves.
int64_t grain_for(int64_t operations);
size_t idx(int64_t i);  // a checked-by-construction index for vectors

// Keeps `given` unless it is empty, then `count` times `fallback` (e.g. stride=[] of a pool).
Ints repeat_to(const Ints& given, size_t count, int64_t fallback);

}  // namespace pt2q::ops
