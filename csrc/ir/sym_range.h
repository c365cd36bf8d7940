// What is known of a symbolic size: the interval it lies in, from the declared ranges of its
// symbols.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>

#include "pt2q/symint.h"

namespace pt2q {

// Both ends belong to the range; the largest and smallest int64 stand for infinity.
struct SymRange {
  static constexpr int64_t kInfinity = std::numeric_limits<int64_t>::max();
  int64_t low = 0;
  int64_t high = kInfinity;
};
using SymRanges = std::map<std::string, SymRange>;

std::set<std::string> symbols_of(const SymInt& size);

// Interval of `size`, never too narrow. The size is expanded to a sum of products first, so that
// s0*2 - s0 is known to be s0. A symbol without an entry is at least 0.
SymRange range_of(const SymInt& size, const SymRanges& ranges);

// The ranges of the capture that is active on this thread; empty without one.
SymRanges& active_ranges();

}  // namespace pt2q
