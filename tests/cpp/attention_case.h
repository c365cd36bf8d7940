// What the tests of all attention kernels vary.
#pragma once

#include <cmath>
#include <memory>
#include <vector>

#include "kernels/attention.h"
#include "kernels_test_util.h"

namespace pt2q {

struct AttentionCase {
  int64_t batch, heads, heads_per_key, length, source, depth, value_depth;
  bool causal;
  enum { none, added, allowed } mask;
};

// The case's sizes; strides are left to the test.
inline AttentionShape sizes_of(const AttentionCase& c) {
  AttentionShape s;
  s.batch = c.batch;
  s.heads = c.heads;
  s.heads_per_key = c.heads_per_key;
  s.length = c.length;
  s.source = c.source;
  s.depth = c.depth;
  s.value_depth = c.value_depth;
  s.causal = c.causal;
  s.scale = 0.25F;
  return s;
}

// As projections give them: heads side by side.
inline AttentionShape interleaved_shape(const AttentionCase& c) {
  AttentionShape s = sizes_of(c);
  const auto strides = [](int64_t(&to)[3], int64_t heads, int64_t rows, int64_t depth) {
    to[0] = heads * rows * depth;
    to[1] = depth;
    to[2] = heads * depth;
  };
  strides(s.q, c.heads, c.length, c.depth);
  strides(s.k, c.heads / c.heads_per_key, c.source, c.depth);
  strides(s.v, c.heads / c.heads_per_key, c.source, c.value_depth);
  strides(s.out, c.heads, c.length, c.value_depth);
  s.mask[2] = c.source;
  s.mask[3] = 1;
  return s;
}

// An additive mask of one row per query; row 1 sees nothing.
struct AttentionMasks {
  std::vector<float> added;
  std::unique_ptr<bool[]> allowed;
  AttentionMask mask;

  explicit AttentionMasks(const AttentionCase& c) : added(random_floats(c.length * c.source, 4)) {
    allowed = std::make_unique<bool[]>(added.size());
    for (size_t i = 0; i < added.size(); ++i) {
      allowed[i] = added[i] > -0.5F && static_cast<int64_t>(i) / c.source != 1;
      if (!allowed[i]) added[i] = -INFINITY;
    }
    if (c.mask == AttentionCase::added) mask.added = added.data();
    if (c.mask == AttentionCase::allowed) mask.allowed = allowed.get();
  }
};

}  // namespace pt2q
