#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/observe.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include <algorithm>
#include <cmath>
#include <mutex>
#include <vector>

#include "base/parallel.h"
#include "base/strings.h"
#include "hwy/highway.h"
#include "kernels/observe.h"
#include "pt2q/error.h"

#ifndef PT2Q_KERNELS_OBSERVE_TYPES_
#define PT2Q_KERNELS_OBSERVE_TYPES_
namespace pt2q {
// Where the bins of a histogram lie; min < max.
struct BinGrid {
  float min = 0.0f;
  float max = 0.0f;
  int64_t bins = 1;
};
// Neighbouring elements count in different copies of the histogram, so that equal values in a row
// do not wait for each other's store. Counters have 16 bits, so that the usual 2048 bins stay in
// the L1 cache; they are emptied before they can overflow.
constexpr int64_t kHistogramCopies = 4;
constexpr int64_t kMostPerCount = kHistogramCopies * 65024;
// Counters of one copy: one more bin takes what is skipped, padding keeps copies apart.
inline int64_t histogram_stride(int64_t bins) { return bins + 33; }
}  // namespace pt2q
#endif

HWY_BEFORE_NAMESPACE();
namespace pt2q {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;
constexpr float kInf = std::numeric_limits<float>::infinity();

struct RangeLanes {
  Vec low, high;
  hn::Mask<Tag> numbers;  // lanes without NaN so far

  // Not by default member initialisers: the implicit constructor would lack the target attribute.
  RangeLanes()
      : low(hn::Set(Tag(), kInf)),
        high(hn::Set(Tag(), -kInf)),
        numbers(hn::Eq(hn::Zero(Tag()), hn::Zero(Tag()))) {}

  HWY_INLINE void add(Vec v) {
    // Half the time of IsNaN, which classifies with AVX-512.
    numbers = hn::And(numbers, hn::Eq(v, v));
    // On x86 the second operand is kept where the first is NaN.
    low = hn::Min(v, low);
    high = hn::Max(v, high);
  }
  HWY_INLINE void add(const RangeLanes& other) {
    low = hn::Min(low, other.low);
    high = hn::Max(high, other.high);
    numbers = hn::And(numbers, other.numbers);
  }
};

// Adds x[0, n) to `total`; an element may be seen twice, which does no harm.
HWY_INLINE void add_run(const float* x, int64_t n, RangeLanes* total) {
  const Tag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  if (n < lanes) {
    if (n == 0) return;
    alignas(64) float padded[hn::MaxLanes(Tag())];
    for (int64_t i = 0; i < lanes; ++i) padded[i] = x[std::min(i, n - 1)];
    total->add(hn::Load(d, padded));
    return;
  }
  int64_t i = 0;
  if (n >= 8 * lanes) {
    RangeLanes a, b, c, e;  // not an array: its masks would live in memory
    // NumPy's arrays start anywhere, and loads that cross cache lines cost more: go on from the
    // next multiple of the vector length.
    a.add(hn::LoadU(d, x));
    i = lanes - static_cast<int64_t>(reinterpret_cast<uintptr_t>(x) / sizeof(float)) % lanes;
    for (; i + 4 * lanes <= n; i += 4 * lanes) {
      a.add(hn::LoadU(d, x + i));
      b.add(hn::LoadU(d, x + i + lanes));
      c.add(hn::LoadU(d, x + i + 2 * lanes));
      e.add(hn::LoadU(d, x + i + 3 * lanes));
    }
    a.add(b);
    c.add(e);
    a.add(c);
    total->add(a);
  }
  for (; i + lanes <= n; i += lanes) total->add(hn::LoadU(d, x + i));
  if (i < n) total->add(hn::LoadU(d, x + n - lanes));
}

// Range of x without NaN (reported in has_nan) and, if asked, without infinities.
void range_run(const float* x, int64_t n, bool skip_inf, MinMax* result) {
  const Tag d;
  RangeLanes range;
  if (!skip_inf) add_run(x, n, &range);
  float low = hn::GetLane(hn::MinOfLanes(d, range.low));
  float high = hn::GetLane(hn::MaxOfLanes(d, range.high));
  bool nan = !hn::AllTrue(d, range.numbers);
  for (int64_t i = 0; skip_inf && i < n; ++i) {
    nan = nan || std::isnan(x[i]);
    if (std::isinf(x[i])) continue;
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  result->min = low;
  result->max = high;
  result->has_nan = nan;
}

// Ranges of channels [begin, end) of x[outer, channels, inner], NaN where a channel has one.
void channel_range_run(const float* x, int64_t outer, int64_t channels, int64_t inner,
                       int64_t begin, int64_t end, float* mins, float* maxs) {
  const Tag d;
  for (int64_t c = begin; c < end; ++c) {
    RangeLanes range;
    for (int64_t o = 0; o < outer; ++o) add_run(x + (o * channels + c) * inner, inner, &range);
    const bool number = hn::AllTrue(d, range.numbers);
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    mins[c] = number ? hn::GetLane(hn::MinOfLanes(d, range.low)) + 0.0f : kNan;
    maxs[c] = number ? hn::GetLane(hn::MaxOfLanes(d, range.high)) + 0.0f : kNan;
  }
}

HWY_INLINE void store_columns(const RangeLanes& range, float* mins, float* maxs) {
  const Tag d;
  const Vec nan = hn::Set(d, std::numeric_limits<float>::quiet_NaN());
  const Vec zero = hn::Zero(d);  // -0 + 0 = +0
  hn::StoreU(hn::IfThenElse(range.numbers, hn::Add(range.low, zero), nan), d, mins);
  hn::StoreU(hn::IfThenElse(range.numbers, hn::Add(range.high, zero), nan), d, maxs);
}

// Ranges of columns [begin, end) of x[rows, columns], NaN where a column has one.
void column_range_run(const float* x, int64_t rows, int64_t columns, int64_t begin, int64_t end,
                      float* mins, float* maxs) {
  constexpr int64_t kVectors = 4;  // neighbouring lines of a row are read together
  const Tag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = begin;
  for (; c + kVectors * lanes <= end; c += kVectors * lanes) {
    RangeLanes range[kVectors];
    for (int64_t r = 0; r < rows; ++r) {
      const float* row = x + r * columns + c;
      for (int64_t k = 0; k < kVectors; ++k) range[k].add(hn::LoadU(d, row + k * lanes));
    }
    for (int64_t k = 0; k < kVectors; ++k) {
      store_columns(range[k], mins + c + k * lanes, maxs + c + k * lanes);
    }
  }
  for (; c + lanes <= end; c += lanes) {
    RangeLanes range;
    for (int64_t r = 0; r < rows; ++r) range.add(hn::LoadU(d, x + r * columns + c));
    store_columns(range, mins + c, maxs + c);
  }
  for (; c < end; ++c) {
    float low = kInf, high = -kInf;
    bool nan = false;
    for (int64_t r = 0; r < rows; ++r) {
      const float v = x[r * columns + c];
      nan = nan || std::isnan(v);
      low = v < low ? v : low;
      high = v > high ? v : high;
    }
    mins[c] = nan ? std::numeric_limits<float>::quiet_NaN() : low + 0.0f;
    maxs[c] = nan ? std::numeric_limits<float>::quiet_NaN() : high + 0.0f;
  }
}

// Bin numbers of x[0, n), `bins` for what is skipped.
HWY_INLINE void bin_numbers(const float* x, size_t n, const BinGrid& grid, int32_t* numbers) {
  const Tag d;
  const hn::RebindToSigned<Tag> di;
  const Vec low = hn::Set(d, grid.min), high = hn::Set(d, grid.max);
  const Vec width = hn::Set(d, grid.max - grid.min);
  const Vec bins = hn::Set(d, static_cast<float>(grid.bins));
  const Vec last = hn::Set(d, static_cast<float>(grid.bins - 1));
  for (size_t i = 0; i < n; i += hn::Lanes(d)) {
    const Vec v = hn::LoadU(d, x + i);
    const Vec position = hn::Div(hn::Mul(hn::Sub(v, low), bins), width);
    const auto inside = hn::And(hn::Ge(v, low), hn::Le(v, high));
    const Vec number = hn::IfThenElse(inside, hn::Min(position, last), bins);
    hn::StoreU(hn::ConvertTo(di, number), di, numbers + i);
  }
}

// Counts n <= kMostPerCount values into kHistogramCopies histograms of histogram_stride(bins).
void count_run(const float* x, int64_t n, const BinGrid& grid, uint16_t* counts) {
  constexpr size_t kBlock = 1024;  // a multiple of every vector length
  alignas(64) int32_t numbers[kBlock];
  alignas(64) float padded[kBlock];
  const int64_t stride = histogram_stride(grid.bins);
  uint16_t* const copy0 = counts;
  uint16_t* const copy1 = counts + stride;
  uint16_t* const copy2 = counts + 2 * stride;
  uint16_t* const copy3 = counts + 3 * stride;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const size_t count = static_cast<size_t>(std::min<int64_t>(kBlock, n - begin));
    const float* block = x + begin;
    if (count < kBlock) {
      std::fill(std::copy(block, block + count, padded), padded + kBlock,
                std::numeric_limits<float>::quiet_NaN());
      block = padded;
    }
    bin_numbers(block, kBlock, grid, numbers);
    for (size_t i = 0; i < kBlock; i += 4) {
      ++copy0[numbers[i]];
      ++copy1[numbers[i + 1]];
      ++copy2[numbers[i + 2]];
      ++copy3[numbers[i + 3]];
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pt2q
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pt2q {
namespace {

HWY_EXPORT(range_run);
HWY_EXPORT(channel_range_run);
HWY_EXPORT(column_range_run);
HWY_EXPORT(count_run);

constexpr int64_t kGrain = 65536;  // elements
// A range takes 10 us per MB, about what waking a thread does.
constexpr int64_t kRangeGrain = 262144;
constexpr float kFloatInf = std::numeric_limits<float>::infinity();
constexpr float kFloatNan = std::numeric_limits<float>::quiet_NaN();

// NaN for both ends if there was one; -0 becomes +0.
MinMax finish(MinMax range) {
  range.min = range.has_nan ? kFloatNan : range.min + 0.0f;
  range.max = range.has_nan ? kFloatNan : range.max + 0.0f;
  return range;
}

// Range over all threads, NaN left out.
MinMax raw_range(const float* x, int64_t n, bool skip_inf) {
  MinMax total;
  std::mutex mutex;
  parallel_for(n, kRangeGrain, [&](int64_t begin, int64_t end) {
    MinMax part;
    HWY_DYNAMIC_DISPATCH(range_run)(x + begin, end - begin, skip_inf, &part);
    const std::lock_guard<std::mutex> lock(mutex);
    total.min = std::min(total.min, part.min);
    total.max = std::max(total.max, part.max);
    total.has_nan = total.has_nan || part.has_nan;
  });
  total.has_inf = n > 0 && (total.min == -kFloatInf || total.max == kFloatInf);
  return total;
}

// The grid torch.histc would use.
BinGrid bin_grid(const float* x, int64_t n, int64_t bins, float min, float max) {
  if (bins < 1 || bins > (int64_t{1} << 24)) {
    throw ValueError(cat("histc: expected 1 to 16777216 bins, got ", bins));
  }
  if (min > max)
    throw ValueError(cat("histc: max must be larger than min, got ", min, " and ", max));
  if (min == max && n > 0) {
    const MinMax range = min_max(x, n);
    min = range.min;
    max = range.max;
  }
  if (min == max) {
    min -= 1.0f;
    max += 1.0f;
  }
  if (!std::isfinite(min) || !std::isfinite(max) || !std::isfinite(max - min)) {
    throw RuntimeError(cat("histc: range of [", min, ", ", max, "] is not finite"));
  }
  return {min, max, bins};
}

// Bins of one value, or -1.
int64_t bin_of(float v, const BinGrid& grid) {
  if (!(v >= grid.min && v <= grid.max)) return -1;
  const float position = ((v - grid.min) * static_cast<float>(grid.bins)) / (grid.max - grid.min);
  return static_cast<int64_t>(std::min(position, static_cast<float>(grid.bins - 1)));
}

// Exact counts of all threads in `totals`, which is emptied first.
void count_all(const float* x, int64_t n, const BinGrid& grid, std::vector<uint64_t>& totals) {
  totals.assign(static_cast<size_t>(grid.bins), 0);
  const int64_t stride = histogram_stride(grid.bins);
  std::mutex mutex;
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    static thread_local std::vector<uint16_t> counts;  // kept: observers call this for every batch
    static thread_local std::vector<uint64_t> sums;
    sums.assign(static_cast<size_t>(grid.bins), 0);
    counts.assign(static_cast<size_t>(kHistogramCopies * stride), 0);
    for (int64_t first = begin; first < end; first += kMostPerCount) {
      HWY_DYNAMIC_DISPATCH(count_run)
      (x + first, std::min(kMostPerCount, end - first), grid, counts.data());
      for (int64_t copy = 0; copy < kHistogramCopies; ++copy) {
        const uint16_t* part = counts.data() + copy * stride;
        for (size_t b = 0; b < sums.size(); ++b) sums[b] += part[b];
      }
      std::fill(counts.begin(), counts.end(), uint16_t{0});
    }
    const std::lock_guard<std::mutex> lock(mutex);
    for (size_t b = 0; b < totals.size(); ++b) totals[b] += sums[b];
  });
}

}  // namespace

MinMax min_max(const float* x, int64_t n) { return finish(raw_range(x, n, false)); }

MinMax min_max_finite(const float* x, int64_t n) {
  MinMax range = raw_range(x, n, false);
  if (range.has_inf) {
    range = raw_range(x, n, true);
    range.has_inf = true;
  }
  return finish(range);
}

void min_max_per_channel(const float* x, int64_t outer, int64_t channels, int64_t inner,
                         float* mins, float* maxs) {
  if (inner == 1) {
    constexpr int64_t kColumns = 64;
    const int64_t blocks = (channels + kColumns - 1) / kColumns;
    parallel_for(blocks, kRangeGrain / (kColumns * std::max<int64_t>(outer, 1)) + 1,
                 [&](int64_t begin, int64_t end) {
                   HWY_DYNAMIC_DISPATCH(column_range_run)
                   (x, outer, channels, begin * kColumns, std::min(end * kColumns, channels), mins,
                    maxs);
                 });
    return;
  }
  const int64_t grain = kRangeGrain / std::max<int64_t>(outer * inner, 1) + 1;
  parallel_for(channels, grain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(channel_range_run)
    (x, outer, channels, inner, begin, end, mins, maxs);
  });
}

template <typename Count>
void add_histogram(const float* x, int64_t n, int64_t bins, float min, float max, Count* hist) {
  const BinGrid grid = bin_grid(x, n, bins, min, max);
  static thread_local std::vector<uint64_t> totals;
  count_all(x, n, grid, totals);
  for (int64_t b = 0; b < bins; ++b) hist[b] += static_cast<Count>(totals[static_cast<size_t>(b)]);
}

MinMax min_max_reference(const float* x, int64_t n) {
  MinMax range;
  for (int64_t i = 0; i < n; ++i) {
    range.has_nan = range.has_nan || std::isnan(x[i]);
    range.has_inf = range.has_inf || std::isinf(x[i]);
    if (x[i] < range.min) range.min = x[i];
    if (x[i] > range.max) range.max = x[i];
  }
  return finish(range);
}

MinMax min_max_finite_reference(const float* x, int64_t n) {
  std::vector<float> kept;
  std::copy_if(x, x + n, std::back_inserter(kept), [](float v) { return !std::isinf(v); });
  MinMax range = min_max_reference(kept.data(), static_cast<int64_t>(kept.size()));
  range.has_inf = static_cast<int64_t>(kept.size()) != n;
  return range;
}

void min_max_per_channel_reference(const float* x, int64_t outer, int64_t channels, int64_t inner,
                                   float* mins, float* maxs) {
  for (int64_t c = 0; c < channels; ++c) {
    std::vector<float> values;
    for (int64_t o = 0; o < outer; ++o) {
      const float* run = x + (o * channels + c) * inner;
      values.insert(values.end(), run, run + inner);
    }
    const MinMax range = min_max_reference(values.data(), static_cast<int64_t>(values.size()));
    mins[c] = range.min;
    maxs[c] = range.max;
  }
}

template <typename Count>
void add_histogram_reference(const float* x, int64_t n, int64_t bins, float min, float max,
                             Count* hist) {
  const BinGrid grid = bin_grid(x, n, bins, min, max);
  std::vector<uint64_t> counts(static_cast<size_t>(bins), 0);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t bin = bin_of(x[i], grid);
    if (bin >= 0) ++counts[static_cast<size_t>(bin)];
  }
  for (int64_t b = 0; b < bins; ++b) hist[b] += static_cast<Count>(counts[static_cast<size_t>(b)]);
}

#define PT2Q_FOR_COUNT(Count)                                                        \
  template void add_histogram(const float*, int64_t, int64_t, float, float, Count*); \
  template void add_histogram_reference(const float*, int64_t, int64_t, float, float, Count*)
PT2Q_FOR_COUNT(uint32_t);
PT2Q_FOR_COUNT(uint64_t);
PT2Q_FOR_COUNT(float);
#undef PT2Q_FOR_COUNT

}  // namespace pt2q
#endif  // HWY_ONCE
