#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/reduce.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include <algorithm>
#include <cmath>

#include "base/parallel.h"
#include "hwy/highway.h"
#include "kernels/reduce.h"

#ifndef PT2Q_KERNELS_REDUCE_ONCE
#define PT2Q_KERNELS_REDUCE_ONCE
namespace pt2q {

constexpr int64_t kReducePartials = 8;

inline bool is_sum(Reduction op) { return op < Reduction::maximum; }

inline float finish_sum(const double* partial, int64_t n, Reduction op) {
  double total = 0;
  for (int64_t l = 0; l < kReducePartials; ++l) total += partial[l];
  if (op == Reduction::norm) return static_cast<float>(std::sqrt(total));
  const auto sum = static_cast<float>(total);
  return op == Reduction::mean
             ? static_cast<float>(static_cast<double>(sum) / static_cast<double>(n))
             : sum;
}

// Items `step` apart.
inline float sum_of_items(const float* x, int64_t n, int64_t step, Reduction op) {
  double partial[kReducePartials] = {};
  const int64_t whole = n / kReducePartials * kReducePartials;
  for (int64_t i = 0; i < n; ++i) {
    const auto v = static_cast<double>(x[i * step]);
    partial[i < whole ? i % kReducePartials : 0] += op == Reduction::norm ? v * v : v;
  }
  return finish_sum(partial, n, op);
}

// The first NaN, else the largest (smallest) one.
inline float extreme(float best, float v, bool largest) {
  if (std::isnan(best)) return best;
  return std::isnan(v) || (largest ? v > best : v < best) ? v : best;
}

inline float extreme_of_items(const float* x, int64_t n, int64_t step, bool largest) {
  float best = x[0];
  for (int64_t i = 1; i < n; ++i) best = extreme(best, x[i * step], largest);
  return best;
}

inline float reduce_items(Reduction op, const float* x, int64_t n, int64_t step) {
  if (is_sum(op)) return sum_of_items(x, n, step, op);
  return extreme_of_items(x, n, step, op == Reduction::maximum);
}

}  // namespace pt2q
#endif  // PT2Q_KERNELS_REDUCE_ONCE

HWY_BEFORE_NAMESPACE();
namespace pt2q {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DoubleTag = hn::CappedTag<double, 8>;
using HalfTag = hn::Rebind<float, DoubleTag>;  // as many floats
using WideTag = hn::CappedTag<float, 16>;
using DoubleVec = hn::Vec<DoubleTag>;
using WideVec = hn::Vec<WideTag>;

// What is added of the items at x.
template <bool kSquares>
HWY_INLINE DoubleVec load_double(const float* x) {
  const DoubleVec v = hn::PromoteTo(DoubleTag(), hn::LoadU(HalfTag(), x));
  return kSquares ? hn::Mul(v, v) : v;
}

template <bool kSquares>
float sum_row(const float* x, int64_t n, Reduction op) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(DoubleTag()));
  DoubleVec sums[kReducePartials];
  for (DoubleVec& sum : sums) sum = hn::Zero(DoubleTag());
  int64_t i = 0;
  for (; i + kReducePartials <= n; i += kReducePartials) {
    for (int64_t k = 0; k * lanes < kReducePartials; ++k)
      sums[k] = hn::Add(sums[k], load_double<kSquares>(x + i + k * lanes));
  }
  double partial[kReducePartials];
  for (int64_t k = 0; k * lanes < kReducePartials; ++k)
    hn::StoreU(sums[k], DoubleTag(), partial + k * lanes);
  for (; i < n; ++i) {
    const auto v = static_cast<double>(x[i]);
    partial[0] += kSquares ? v * v : v;
  }
  return finish_sum(partial, n, op);
}

// Columns [first, last) of x[n, inner].
template <bool kSquares>
void sum_columns(const float* x, int64_t n, int64_t inner, int64_t first, int64_t last,
                 Reduction op, float* y) {
  const DoubleTag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t whole = n / kReducePartials * kReducePartials;
  int64_t j = first;
  for (; j + lanes <= last; j += lanes) {
    DoubleVec sums[kReducePartials];
    for (DoubleVec& sum : sums) sum = hn::Zero(d);
    const float* at = x + j;
    for (int64_t i = 0; i < whole; i += kReducePartials) {
      for (int64_t l = 0; l < kReducePartials; ++l, at += inner)
        sums[l] = hn::Add(sums[l], load_double<kSquares>(at));
    }
    for (int64_t i = whole; i < n; ++i, at += inner)
      sums[0] = hn::Add(sums[0], load_double<kSquares>(at));
    DoubleVec total = hn::Zero(d);
    for (const DoubleVec& sum : sums) total = hn::Add(total, sum);
    auto result = hn::DemoteTo(HalfTag(), kSquares ? hn::Sqrt(total) : total);
    if (op == Reduction::mean) {
      const DoubleVec wide = hn::PromoteTo(d, result);
      result = hn::DemoteTo(HalfTag(), hn::Div(wide, hn::Set(d, static_cast<double>(n))));
    }
    hn::StoreU(result, HalfTag(), y + j);
  }
  for (; j < last; ++j) y[j] = sum_of_items(x + j, n, inner, op);
}

HWY_INLINE WideVec extreme_lanes(WideVec best, WideVec v, bool largest) {
  const auto better = largest ? hn::Gt(v, best) : hn::Lt(v, best);
  const WideVec next = hn::IfThenElse(hn::Or(better, hn::IsNaN(v)), v, best);
  return hn::IfThenElse(hn::IsNaN(best), best, next);
}

float extreme_row(const float* x, int64_t n, bool largest) {
  const WideTag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  if (n < lanes) return extreme_of_items(x, n, 1, largest);
  WideVec best = hn::LoadU(d, x);
  int64_t i = lanes;
  for (; i + lanes <= n; i += lanes) best = extreme_lanes(best, hn::LoadU(d, x + i), largest);
  if (i < n) best = extreme_lanes(best, hn::LoadU(d, x + n - lanes), largest);  // some twice
  float items[hn::MaxLanes(d)];
  hn::StoreU(best, d, items);
  return extreme_of_items(items, lanes, 1, largest);
}

void extreme_columns(const float* x, int64_t n, int64_t inner, int64_t first, int64_t last,
                     bool largest, float* y) {
  const WideTag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t j = first;
  for (; j + lanes <= last; j += lanes) {
    WideVec best = hn::LoadU(d, x + j);
    for (int64_t i = 1; i < n; ++i)
      best = extreme_lanes(best, hn::LoadU(d, x + i * inner + j), largest);
    hn::StoreU(best, d, y + j);
  }
  for (; j < last; ++j) y[j] = extreme_of_items(x + j, n, inner, largest);
}

// Columns [first, last) of one x[n, inner].
void reduce_part(Reduction op, const float* x, int64_t n, int64_t inner, int64_t first,
                 int64_t last, float* y) {
  if (is_sum(op)) {
    const bool squares = op == Reduction::norm;
    if (inner == 1) {
      y[0] = squares ? sum_row<true>(x, n, op) : sum_row<false>(x, n, op);
    } else {
      squares ? sum_columns<true>(x, n, inner, first, last, op, y)
              : sum_columns<false>(x, n, inner, first, last, op, y);
    }
    return;
  }
  const bool largest = op == Reduction::maximum;
  if (inner == 1) {
    y[0] = extreme_row(x, n, largest);
  } else {
    extreme_columns(x, n, inner, first, last, largest, y);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pt2q
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pt2q {

HWY_EXPORT(reduce_part);

void reduce(Reduction op, const float* x, int64_t outer, int64_t n, int64_t inner, float* y) {
  constexpr int64_t kColumns = 256, kGrain = 32768;  // columns of one task, elements of a thread
  const int64_t parts = (inner + kColumns - 1) / kColumns;
  const int64_t work = n * std::min(inner, kColumns);
  parallel_for(outer * parts, kGrain / std::max<int64_t>(1, work) + 1,
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t row = i / parts, first = i % parts * kColumns;
                   HWY_DYNAMIC_DISPATCH(reduce_part)
                   (op, x + row * n * inner, n, inner, first, std::min(inner, first + kColumns),
                    y + row * inner);
                 }
               });
}

void reduce_reference(Reduction op, const float* x, int64_t outer, int64_t n, int64_t inner,
                      float* y) {
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t j = 0; j < inner; ++j)
      y[o * inner + j] = reduce_items(op, x + o * n * inner + j, n, inner);
  }
}

}  // namespace pt2q
#endif  // HWY_ONCE
