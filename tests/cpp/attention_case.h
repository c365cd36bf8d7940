// What the tests of all attention kernels vary.
#pragma once

#include "kernels/attention.h"

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

}  // namespace pt2q
