// One-pass statistics of float32 arrays, for observers: range, per-channel range, histogram.
//
// Results do not depend on instruction set or thread count and equal the `*_reference` twins.
#pragma once

#include <cstdint>
#include <limits>

namespace pt2q {

// The range of an array as torch.aminmax gives it: if any value is NaN, both ends are NaN. A zero
// end is +0. An empty array leaves min = +inf, max = -inf.
struct MinMax {
  float min = std::numeric_limits<float>::infinity();
  float max = -std::numeric_limits<float>::infinity();
  bool has_nan = false;
  bool has_inf = false;  // +inf or -inf occurred, also where min_max_finite left it out
};

MinMax min_max(const float* x, int64_t n);
// The same without the elements that are +-inf.
MinMax min_max_finite(const float* x, int64_t n);
MinMax min_max_reference(const float* x, int64_t n);
MinMax min_max_finite_reference(const float* x, int64_t n);

// Ranges of the channels of x[outer, channels, inner]; writes `channels` values each. NaN as above.
// Per-row ranges of a matrix are outer = 1, channels = rows, inner = columns.
void min_max_per_channel(const float* x, int64_t outer, int64_t channels, int64_t inner,
                         float* mins, float* maxs);
void min_max_per_channel_reference(const float* x, int64_t outer, int64_t channels, int64_t inner,
                                   float* mins, float* maxs);

// Adds the histogram of x over [min, max] to hist[bins], as torch.histc does: if min == max the
// range of the data is taken, and if that is a point too, [min - 1, max + 1]. Bin of v in [min,
// max]: int(((v - min) * bins) / (max - min)) in float32 in this order, the upper end in the last
// bin; other values and NaN are skipped. Counts are exact; for Count = float they are added rounded
// once. bins in [1, 2^24]. Throws ValueError for other bins or min > max, RuntimeError if an end of
// the range (or max - min) is not finite. Count is uint32_t, uint64_t or float.
template <typename Count>
void add_histogram(const float* x, int64_t n, int64_t bins, float min, float max, Count* hist);
template <typename Count>
void add_histogram_reference(const float* x, int64_t n, int64_t bins, float min, float max,
                             Count* hist);

}  // namespace pt2q
