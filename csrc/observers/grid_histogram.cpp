#include "observers/grid_histogram.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/log.h"
#include "base/strings.h"
#include "kernels/histogram_search.h"
#include "kernels/observe.h"
#include "pt2q/error.h"
#include "tensor/format.h"

namespace pt2q {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr int kSmallestExponent = -149;  // of the smallest float32
constexpr int kMantissaBits = 23;

const UniformArgs& checked(const UniformArgs& args) {
  if (is_per_channel(args.qscheme)) {
    throw NotImplementedError(
        "GridHistogramObserver's qscheme only support torch.per_tensor_symmetric and "
        "torch.per_tensor_affine.",
        cat("it was asked for torch.", qscheme_name(args.qscheme)));
  }
  if (args.is_dynamic) {
    throw NotImplementedError("GridHistogramObserver doesn't support dynamic quantization");
  }
  return args;
}

// floor(x / 2^e); exact.
int64_t bin_number(float x, int e) {
  return static_cast<int64_t>(std::floor(std::ldexp(static_cast<double>(x), -e)));
}

}  // namespace

GridHistogramObserver::GridHistogramObserver(int64_t bins, const UniformArgs& args)
    : UniformObserverBase(checked(args)), bins_(bins) {
  if (is_floating_point(args.dtype)) {
    throw TypeError(
        cat("GridHistogramObserver needs an integer dtype, got ", torch_name(args.dtype)));
  }
  if (bins < 4 || bins > (int64_t{1} << 24)) {
    throw ValueError(cat("GridHistogramObserver: bins must be from 4 to 2^24, got ", bins));
  }
  dst_nbins_ = int64_t{1} << (8 * itemsize(args.dtype));
  register_buffer("histogram", Tensor::zeros({bins}, DType::Int64));
  register_buffer("min_val", Tensor::scalar(kInf));
  register_buffer("max_val", Tensor::scalar(-kInf));
}

std::shared_ptr<GridHistogramObserver> GridHistogramObserver::make(KwReader args) {
  const int64_t bins = args.integer("bins", 4096);
  const UniformArgs uniform = args.uniform();
  args.finish();
  return std::make_shared<GridHistogramObserver>(bins, uniform);
}

bool GridHistogramObserver::initialized() const { return *float_data(buffer("min_val")) != kInf; }

void GridHistogramObserver::find_grid() {
  const float lo = *float_data(buffer("min_val"));
  const float hi = *float_data(buffer("max_val"));
  const float largest = std::max(std::abs(lo), std::abs(hi));
  int e = largest == 0.0F ? kSmallestExponent
                          : std::max(std::ilogb(largest) - kMantissaBits, kSmallestExponent);
  while (bin_number(hi, e) - bin_number(lo, e) >= bins_) ++e;
  exponent_ = e;
  origin_ = bin_number(lo, e);
}

void GridHistogramObserver::cover(float min, float max) {
  float* lo = float_data(buffer("min_val"));
  float* hi = float_data(buffer("max_val"));
  const bool first = !initialized();
  if (!first && *lo <= min && max <= *hi) return;
  const int old_exponent = exponent_;
  const int64_t old_origin = origin_;
  *lo = first ? min : std::min(*lo, min);
  *hi = first ? max : std::max(*hi, max);
  find_grid();
  if (first || (exponent_ == old_exponent && origin_ == old_origin)) return;
  int64_t* hist = buffer("histogram").mutable_data<int64_t>();
  moved_.assign(static_cast<size_t>(bins_), 0);
  const int shift = exponent_ - old_exponent;
  for (int64_t i = 0; i < bins_; ++i) {
    if (hist[i] == 0) continue;
    // A shift of 62 or more leaves the sign: every bin goes to 0 or -1.
    const int64_t k = (old_origin + i) >> std::min(shift, 62);
    moved_[static_cast<size_t>(k - origin_)] += hist[i];
  }
  std::copy(moved_.begin(), moved_.end(), hist);
}

Tensor GridHistogramObserver::forward(const Tensor& x) {
  if (x.numel() == 0) return x;
  const Tensor values = observed_values(x);
  const float* p = values.data<float>();
  const int64_t n = values.numel();
  const MinMax range = min_max_finite(p, n);
  if (range.has_nan) {
    throw RuntimeError("GridHistogramObserver: the data hold NaN",
                       "the calibration data or an operator before this observer gives NaN");
  }
  if (range.has_inf) warn("torch.inf detected in input tensor, ignoring input");
  if (range.min > range.max) return x;  // nothing finite
  cover(range.min, range.max);
  int64_t* hist = buffer("histogram").mutable_data<int64_t>();
  const double inverse = std::ldexp(1.0, -exponent_);
  for (int64_t i = 0; i < n; ++i) {
    if (range.has_inf && std::isinf(p[i])) continue;
    // Rounds down; bin numbers of the range are below 2^25, because the grid is no finer than the
    // largest magnitude's last bit.
    const double steps = static_cast<double>(p[i]) * inverse;
    auto k = static_cast<int32_t>(steps);
    k -= static_cast<double>(k) > steps ? 1 : 0;
    ++hist[k - origin_];
  }
  return x;
}

QParams GridHistogramObserver::calculate_qparams() {
  if (!initialized()) return calculate_from(buffer("min_val"), buffer("max_val"));
  const int64_t* hist = buffer("histogram").data<int64_t>();
  counts_.resize(static_cast<size_t>(bins_));
  for (int64_t i = 0; i < bins_; ++i) counts_[static_cast<size_t>(i)] = static_cast<float>(hist[i]);
  const float lo = *float_data(buffer("min_val"));
  const float hi = *float_data(buffer("max_val"));
  const auto edge = [&](int64_t k) {
    return static_cast<float>(std::ldexp(static_cast<double>(origin_ + k), exponent_));
  };
  if (!(edge(0) < edge(bins_)) || !std::isfinite(edge(bins_))) {
    return calculate_from(buffer("min_val"), buffer("max_val"));
  }
  const HistogramRange found =
      search_histogram_range(counts_.data(), bins_, edge(0), edge(bins_), dst_nbins_);
  // The grid reaches beyond the data on both sides.
  return calculate_from(Tensor::scalar(static_cast<double>(std::clamp(found.min, lo, hi))),
                        Tensor::scalar(static_cast<double>(std::clamp(found.max, lo, hi))));
}

void GridHistogramObserver::merge(const Observer& other) {
  check_mergeable(other);
  const auto& o = dynamic_cast<const GridHistogramObserver&>(other);
  if (o.bins_ != bins_) {
    throw ValueError(cat("cannot merge a histogram of ", o.bins_, " bins into one of ", bins_));
  }
  if (!o.initialized()) return;
  const int64_t* theirs = o.buffer("histogram").data<int64_t>();
  cover(*float_data(o.buffer("min_val")), *float_data(o.buffer("max_val")));
  int64_t* hist = buffer("histogram").mutable_data<int64_t>();
  const int shift = std::min(exponent_ - o.exponent_, 62);
  for (int64_t i = 0; i < bins_; ++i) {
    if (theirs[i] != 0) hist[((o.origin_ + i) >> shift) - origin_] += theirs[i];
  }
}

void GridHistogramObserver::reset_min_max_vals() {
  buffer("histogram").copy_(Tensor::scalar_int(0));
  *float_data(buffer("min_val")) = kInf;
  *float_data(buffer("max_val")) = -kInf;
}

void GridHistogramObserver::load_state_dict(const std::map<std::string, Tensor>& state) {
  UniformObserverBase::load_state_dict(state);
  const float lo = *float_data(buffer("min_val"));
  const float hi = *float_data(buffer("max_val"));
  if (!initialized()) return;
  if (!std::isfinite(lo) || !std::isfinite(hi) || lo > hi) {
    reset_min_max_vals();
    throw ValueError(cat("GridHistogramObserver: the loaded range [", lo, ", ", hi,
                         "] is not one of finite data"));
  }
  find_grid();
}

std::string GridHistogramObserver::extra_repr() const {
  return cat("min_val=", format_value(buffer("min_val")),
             ", max_val=", format_value(buffer("max_val")));
}

}  // namespace pt2q
