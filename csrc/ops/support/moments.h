// What the normalisation families share: checks of per-channel parameters and the statistics.
#pragma once

#include <initializer_list>

#include "ops/support/operands.h"

namespace pt2q::ops {

// Throws unless x has a channel dimension 1 and the given parameters have one element per channel.
void check_channels(const Args& args, const TensorMeta& x, std::initializer_list<size_t> params);
// Throws when argument 3 or 4 (running_mean, running_var) is None.
void check_statistics(const Args& args);

// Mean and biased variance in double.
template <typename T>
struct Moments {
  double mean = 0;
  double variance = 0;  // biased

  // Two passes over `count` runs of `length` elements, `step` apart.
  static Moments of(const T* x, int64_t count, int64_t length, int64_t step) {
    Moments m;
    double sum = 0;
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t i = 0; i < length; ++i) sum += static_cast<double>(x[r * step + i]);
    }
    const auto n = static_cast<double>(count * length);
    m.mean = sum / n;
    double squares = 0;
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t i = 0; i < length; ++i) {
        const double d = static_cast<double>(x[r * step + i]) - m.mean;
        squares += d * d;
      }
    }
    m.variance = squares / n;
    return m;
  }
};

// Argument i flattened, or n times `fill` for None.
template <typename T>
Tensor dense_or_fill(const Args& args, size_t i, int64_t n, double fill) {
  if (args.is_none(i)) return Tensor::full({n}, fill, DTypeOf<T>::value);
  return dense<T>(args.tensor(i)).reshape({-1});
}

}  // namespace pt2q::ops
