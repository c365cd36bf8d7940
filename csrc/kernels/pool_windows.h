// Which input elements each output pixel of a pooling sees; shared by pool.cpp and its reference.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/pool.h"

namespace pt2q {

// Input indices begin, begin + step, ... < end of one axis. `padded` counts the window's elements
// with those in the padding, as count_include_pad wants.
struct PoolWindow {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t padded = 0;
};

// Windows of both axes; pixel (i, j) sees rows[i] x columns[j].
struct PoolWindows {
  std::vector<PoolWindow> rows;
  std::vector<PoolWindow> columns;
  int64_t step_h = 1;
  int64_t step_w = 1;
};

PoolWindows pool_windows(const NhwcShape& shape, const Pool2d& pool);
PoolWindows adaptive_windows(const NhwcShape& shape, int64_t out_h, int64_t out_w);

inline int64_t window_divisor(const PoolWindow& row, const PoolWindow& column, const Pool2d& pool) {
  if (pool.divisor_override != 0) return pool.divisor_override;
  if (pool.count_include_pad) return row.padded * column.padded;
  return (row.end - row.begin) * (column.end - column.begin);
}

// What is done with the sum of a window, for one output pixel.
struct AverageScale {
  float factor = 1.0f;         // integers: float(scale / divisor)
  float divisor = 1.0f;        // float32
  int32_t zero_point_sum = 0;  // zero_point * number of summed elements
};

// Where a maximum starts: -inf for float.
template <typename T>
constexpr T lowest_value() {
  return std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity()
                                              : std::numeric_limits<T>::lowest();
}

// One channel of one output pixel. `image` points to the channel in the image's first pixel.
template <typename T>
T window_max(const T* image, int64_t width, int64_t channels, const PoolWindow& row, int64_t step_h,
             const PoolWindow& column, int64_t step_w) {
  T best = lowest_value<T>();
  for (int64_t h = row.begin; h < row.end; h += step_h) {
    for (int64_t w = column.begin; w < column.end; w += step_w) {
      const T v = image[(h * width + w) * channels];
      if (v > best || v != v) best = v;
    }
  }
  return best;
}

// Sum in the order documented in pool.h; Sum is int32_t for integers, float for float32.
template <typename Sum, typename T>
Sum window_sum(const T* image, int64_t width, int64_t channels, const PoolWindow& row,
               const PoolWindow& column) {
  Sum total = 0;
  for (int64_t h = row.begin; h < row.end; ++h) {
    Sum line = 0;
    for (int64_t w = column.begin; w < column.end; ++w) {
      line += static_cast<Sum>(image[(h * width + w) * channels]);
    }
    total += line;
  }
  return total;
}

// The average as float32.
inline float average(int32_t sum, const AverageScale& s) {
  return static_cast<float>(sum - s.zero_point_sum) * s.factor;
}
inline float average(float sum, const AverageScale& s) { return sum / s.divisor; }

AverageScale average_scale(const PoolWindow& row, const PoolWindow& column, const Pool2d& pool,
                           const QuantParams& from);

}  // namespace pt2q
