#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/histogram_search.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "hwy/highway.h"
#include "kernels/histogram_search.h"

#ifndef PT2Q_KERNELS_HISTOGRAM_STEP_
#define PT2Q_KERNELS_HISTOGRAM_STEP_
namespace pt2q {
// The constants of one error evaluation: source bins [start, end] are kept.
struct HistogramStep {
  int64_t start = 0;
  float bin_width = 0.0f;
  float dst_width = 0.0f;
  float half_dst_width = 0.0f;
  float last_dst_bin = 0.0f;
};
}  // namespace pt2q
#endif

HWY_BEFORE_NAMESPACE();
namespace pt2q {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_NATIVE_FMA
constexpr bool kVectorised = true;
using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;

// floor(a / b) for a >= 0, b > 0 and quotients below 2^22: the residual has the exact sign.
HWY_INLINE Vec floor_divide(Vec a, Vec b, Vec reciprocal) {
  const Tag d;
  const Vec one = hn::Set(d, 1.0f);
  const Vec q = hn::Floor(hn::Mul(a, reciprocal));
  const Vec residual = hn::NegMulAdd(q, b, a);
  const Vec up = hn::IfThenElseZero(hn::Ge(residual, b), one);
  const Vec down = hn::IfThenElseZero(hn::Lt(residual, hn::Zero(d)), one);
  return hn::Sub(hn::Add(q, up), down);
}

HWY_INLINE Vec cube(Vec v) { return hn::Mul(hn::Mul(v, v), v); }

// Error of every source bin, see source_bin_error.
void source_bin_errors(const float* hist, int64_t bins, const HistogramStep& step, float* errors) {
  const Tag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const hn::RebindToSigned<Tag> di;
  const Vec width = hn::Set(d, step.bin_width), dst_width = hn::Set(d, step.dst_width);
  const Vec reciprocal = hn::Set(d, 1.0f / step.dst_width);
  const Vec half = hn::Set(d, step.half_dst_width), third = hn::Set(d, 3.0f);
  const Vec last = hn::Set(d, step.last_dst_bin), one = hn::Set(d, 1.0f);
  // Beyond the last destination bin the quotient only has to stay beyond it.
  const Vec far = hn::Mul(hn::Set(d, step.last_dst_bin + 2.0f), dst_width);
  const Vec half_cubed = cube(half), minus_half_cubed = hn::Neg(half_cubed);
  const Vec full = hn::Div(hn::Sub(half_cubed, minus_half_cubed), third);
  const auto dst_bin = [&](Vec position) {
    const Vec bounded = hn::Min(hn::Max(position, hn::Zero(d)), far);
    return hn::Min(floor_divide(bounded, dst_width, reciprocal), last);
  };
  for (int64_t i = 0; i < bins; i += lanes) {
    const Vec index = hn::ConvertTo(d, hn::Iota(di, static_cast<int32_t>(i - step.start)));
    const Vec begin = hn::Mul(index, width);
    const Vec end = hn::Add(begin, width);
    const Vec dst_begin = dst_bin(begin), dst_end = dst_bin(end);
    const Vec begin_center = hn::Mul(hn::Add(dst_begin, hn::Set(d, 0.5f)), dst_width);
    const Vec end_center = hn::Add(hn::Mul(dst_end, dst_width), half);
    const Vec density = hn::Div(hn::LoadU(d, hist + i), width);
    const Vec first =
        hn::Mul(density, hn::Div(hn::Sub(half_cubed, cube(hn::Sub(begin, begin_center))), third));
    const Vec middle = hn::Mul(hn::Sub(hn::Sub(dst_end, dst_begin), one), hn::Mul(density, full));
    const Vec final =
        hn::Mul(density, hn::Div(hn::Sub(cube(hn::Sub(end, end_center)), minus_half_cubed), third));
    hn::StoreU(hn::Add(hn::Add(first, middle), final), d, errors + i);
  }
}
#else
constexpr bool kVectorised = false;
void source_bin_errors(const float*, int64_t, const HistogramStep&, float*) {}
#endif

bool try_source_bin_errors(const float* hist, int64_t bins, const HistogramStep& step,
                           float* errors) {
  source_bin_errors(hist, bins, step, errors);
  return kVectorised;
}

}  // namespace HWY_NAMESPACE
}  // namespace pt2q
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pt2q {
namespace {

HWY_EXPORT(try_source_bin_errors);

// torch.div(a, b, rounding_mode="floor").
float floor_divide(float a, float b) {
  const float mod = std::fmod(a, b);
  float div = (a - mod) / b;
  if (mod != 0.0f && (b < 0.0f) != (mod < 0.0f)) div -= 1.0f;
  const float floored = std::floor(div);
  return div - floored > 0.5f ? floored + 1.0f : floored;
}

// density * (integral of x^2 from begin to end).
float norm(float begin, float end, float density) {
  return density * ((end * end * end - begin * begin * begin) / 3.0f);
}

// Squared error of the mass of source bin i, spread evenly, against the centres of the destination
// bins it covers: the part in the first one, in those between, and in the last one.
float source_bin_error(int64_t i, float count, const HistogramStep& s) {
  const float begin = static_cast<float>(i - s.start) * s.bin_width;
  const float end = begin + s.bin_width;
  const auto dst_bin = [&](float position) {
    return std::min(std::max(floor_divide(position, s.dst_width), 0.0f), s.last_dst_bin);
  };
  const float dst_begin = dst_bin(begin), dst_end = dst_bin(end);
  const float begin_center = (dst_begin + 0.5f) * s.dst_width;
  const float end_center = dst_end * s.dst_width + s.half_dst_width;
  const float density = count / s.bin_width;
  float error = norm(begin - begin_center, s.half_dst_width, density);
  error += (dst_end - dst_begin - 1.0f) * norm(-s.half_dst_width, s.half_dst_width, density);
  error += norm(-s.half_dst_width, end - end_center, density);
  return error;
}

void source_bin_errors_scalar(const float* hist, int64_t bins, const HistogramStep& step,
                              float* errors) {
  for (int64_t i = 0; i < bins; ++i) errors[i] = source_bin_error(i, hist[i], step);
}

// The sums of column k = 0..width-1 of a [rows, width] matrix, in torch's four-level order.
template <int64_t kWidth>
void cascade_columns(const float* x, int64_t rows, float* sums) {
  constexpr int64_t kLevels = 4;
  int64_t log2_rows = 0;
  while ((int64_t{1} << log2_rows) < rows) ++log2_rows;
  const int64_t level_power = std::max<int64_t>(4, log2_rows / kLevels);
  const int64_t step = int64_t{1} << level_power;
  float acc[kLevels][kWidth] = {};
  const auto add_row = [&](int64_t row) {
    for (int64_t k = 0; k < kWidth; ++k) acc[0][k] += x[row * kWidth + k];
  };
  int64_t row = 0;
  while (row + step <= rows) {
    for (const int64_t last = row + step; row < last; ++row) add_row(row);
    for (int64_t level = 1; level < kLevels; ++level) {
      for (int64_t k = 0; k < kWidth; ++k) {
        acc[level][k] += acc[level - 1][k];
        acc[level - 1][k] = 0.0f;
      }
      if ((row & ((step - 1) << (level * level_power))) != 0) break;
    }
  }
  for (; row < rows; ++row) add_row(row);
  for (int64_t level = 1; level < kLevels; ++level) {
    for (int64_t k = 0; k < kWidth; ++k) acc[0][k] += acc[level][k];
  }
  std::copy(acc[0], acc[0] + kWidth, sums);
}

// Four interleaved partial sums of n items of kWidth floats each.
template <int64_t kWidth>
void interleaved_sum(const float* x, int64_t n, float* sums) {
  constexpr int64_t kInterleave = 4;
  float partial[kInterleave * kWidth];
  const int64_t rows = n / kInterleave;
  cascade_columns<kInterleave * kWidth>(x, rows, partial);
  for (int64_t i = rows * kInterleave; i < n; ++i) {
    for (int64_t k = 0; k < kWidth; ++k) partial[k] += x[i * kWidth + k];
  }
  for (int64_t j = 1; j < kInterleave; ++j) {
    for (int64_t k = 0; k < kWidth; ++k) partial[k] += partial[j * kWidth + k];
  }
  std::copy(partial, partial + kWidth, sums);
}

// The walk over quantiles. errors_of(step, errors) fills the error of every source bin.
template <class ErrorsOf>
HistogramRange search(const float* hist, int64_t bins, float min, float max, int64_t dst_bins,
                      const ErrorsOf& errors_of) {
  const double bin_width =
      (static_cast<double>(max) - static_cast<double>(min)) / static_cast<double>(bins);
  const double total = static_cast<double>(cascade_sum(hist, bins));
  std::vector<float> cumulative(static_cast<size_t>(bins)), errors(static_cast<size_t>(bins) + 64);
  double running = 0.0;
  for (int64_t i = 0; i < bins; ++i) {
    running += static_cast<double>(hist[i]);
    cumulative[static_cast<size_t>(i)] = static_cast<float>(running);
  }
  const auto quantization_error = [&](int64_t start, int64_t end) {
    const double dst_width =
        bin_width * static_cast<double>(end - start + 1) / static_cast<double>(dst_bins);
    if (dst_width == 0.0) return 0.0f;
    errors_of(HistogramStep{start, static_cast<float>(bin_width), static_cast<float>(dst_width),
                            static_cast<float>(dst_width / 2), static_cast<float>(dst_bins - 1)},
              errors.data());
    return cascade_sum(errors.data(), bins);
  };
  constexpr double kStep = 1e-5;
  double alpha = 0.0, beta = 1.0;
  int64_t start = 0, end = bins - 1;
  float best = std::numeric_limits<float>::infinity();
  while (alpha < beta) {
    const double next_alpha = alpha + kStep, next_beta = beta - kStep;
    const float low = static_cast<float>(next_alpha * total);
    const float high = static_cast<float>(next_beta * total);
    int64_t left = start, right = end;
    while (left < end && cumulative[static_cast<size_t>(left)] < low) ++left;
    while (right > start && cumulative[static_cast<size_t>(right)] > high) --right;
    int64_t next_start = start, next_end = end;
    if (left - start > end - right) {
      next_start = left;
      alpha = next_alpha;
    } else {
      next_end = right;
      beta = next_beta;
    }
    if (next_start == start && next_end == end) continue;
    const float error = quantization_error(next_start, next_end);
    if (error > best) break;
    best = error;
    start = next_start;
    end = next_end;
  }
  const float width = (max - min) / static_cast<float>(bins);
  return {min + width * static_cast<float>(start), min + width * static_cast<float>(end + 1)};
}

}  // namespace

float cascade_sum(const float* x, int64_t n) {
  constexpr int64_t kLanes = 8;
  float lanes[kLanes];
  if (n < kLanes) {
    interleaved_sum<1>(x, n, lanes);
    return lanes[0];
  }
  interleaved_sum<kLanes>(x, n / kLanes, lanes);
  float sum = 0.0f;
  for (int64_t i = n - n % kLanes; i < n; ++i) sum += x[i];
  for (const float lane : lanes) sum += lane;
  return sum;
}

HistogramRange search_histogram_range(const float* hist, int64_t bins, float min, float max,
                                      int64_t dst_bins) {
  if (dst_bins > 65536) {  // the vector division is exact for quotients below 2^22 only
    return search_histogram_range_reference(hist, bins, min, max, dst_bins);
  }
  std::vector<float> padded(hist, hist + bins);
  padded.resize(static_cast<size_t>(bins) + 64, 0.0f);
  const auto run = HWY_DYNAMIC_DISPATCH(try_source_bin_errors);
  return search(padded.data(), bins, min, max, dst_bins,
                [&](const HistogramStep& step, float* errors) {
                  const bool in_range = step.dst_width > 1e-30f && step.dst_width < 1e30f;
                  if (!in_range || !run(padded.data(), bins, step, errors)) {
                    source_bin_errors_scalar(padded.data(), bins, step, errors);
                  }
                });
}

HistogramRange search_histogram_range_reference(const float* hist, int64_t bins, float min,
                                                float max, int64_t dst_bins) {
  return search(hist, bins, min, max, dst_bins, [&](const HistogramStep& step, float* errors) {
    source_bin_errors_scalar(hist, bins, step, errors);
  });
}

}  // namespace pt2q
#endif  // HWY_ONCE
