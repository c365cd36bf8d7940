#include "observers/histogram.h"

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
constexpr int64_t kMaxBins = int64_t{1} << 24;

const UniformArgs& checked(const UniformArgs& args) {
  if (is_per_channel(args.qscheme)) {
    throw NotImplementedError(
        "HistogramObserver's qscheme only support torch.per_tensor_symmetric and "
        "torch.per_tensor_affine.",
        cat("it was asked for torch.", qscheme_name(args.qscheme)));
  }
  if (args.is_dynamic) {
    throw NotImplementedError("HistogramObserver doesn't support dynamic quantization");
  }
  return args;
}

// Element i of torch.linspace(start, end, count) in float32: from the nearer end, with one rounding
// (PyTorch's AVX2 and AVX-512 kernels use a fused multiply-add).
float linspace_at(float start, float end, float step, int64_t count, int64_t i) {
  return i < count / 2 ? std::fma(step, static_cast<float>(i), start)
                       : std::fma(-step, static_cast<float>(count - 1 - i), end);
}

}  // namespace

HistogramObserver::HistogramObserver(int64_t bins, const UniformArgs& args)
    : UniformObserverBase(checked(args)), bins_(bins) {
  if (is_floating_point(args.dtype)) {
    throw TypeError(cat("HistogramObserver needs an integer dtype, got ", torch_name(args.dtype)));
  }
  if (bins < 1 || bins > kMaxBins) {
    throw ValueError(cat("HistogramObserver: bins must be from 1 to ", kMaxBins, ", got ", bins));
  }
  dst_nbins_ = int64_t{1} << (8 * itemsize(args.dtype));
  register_buffer("histogram", Tensor::zeros({bins}));
  register_buffer("min_val", Tensor::scalar(kInf));
  register_buffer("max_val", Tensor::scalar(-kInf));
}

std::shared_ptr<HistogramObserver> HistogramObserver::make(KwReader args) {
  const int64_t bins = args.integer("bins", 2048);
  const UniformArgs uniform = args.uniform();
  args.finish();
  return std::make_shared<HistogramObserver>(bins, uniform);
}

bool HistogramObserver::initialized() const {
  return !(*float_data(buffer("min_val")) == kInf || *float_data(buffer("max_val")) == -kInf);
}

Tensor HistogramObserver::forward(const Tensor& x) {
  if (x.numel() == 0) return x;
  const Tensor values = observed_values(x);
  const float* p = values.data<float>();
  const int64_t n = values.numel();
  const MinMax range = min_max(p, n);
  if (range.has_nan) {
    throw RuntimeError("torch.histc: range of [nan, nan] is not finite",
                       "the calibration data or an operator before this observer gives NaN");
  }
  if (!range.has_inf) {
    observe(p, n, range.min, range.max);
    return x;
  }
  warn("torch.inf detected in input tensor, ignoring input");
  std::vector<float> finite;
  std::copy_if(p, p + n, std::back_inserter(finite), [](float v) { return std::isfinite(v); });
  if (finite.empty()) return x;
  const auto count = static_cast<int64_t>(finite.size());
  const MinMax kept = min_max(finite.data(), count);
  observe(finite.data(), count, kept.min, kept.max);
  return x;
}

void HistogramObserver::observe(const float* x, int64_t n, float min, float max) {
  float* hist = float_data(buffer("histogram"));
  float* lo = float_data(buffer("min_val"));
  float* hi = float_data(buffer("max_val"));
  const bool first = !initialized();
  if (!first && *lo <= min && max <= *hi && buffer("histogram").numel() == bins_) {
    add_histogram(x, n, bins_, *lo, *hi, hist);
    return;
  }
  const float new_min = first ? min : std::min(*lo, min);
  const float new_max = first ? max : std::max(*hi, max);
  batch_.assign(static_cast<size_t>(bins_), 0.0F);
  add_histogram(x, n, bins_, new_min, new_max, batch_.data());
  if (!first) return add_counts(batch_.data(), new_min, new_max);
  Tensor fresh = Tensor::empty({bins_});
  std::copy(batch_.begin(), batch_.end(), float_data(fresh));
  buffer("histogram").copy_(fresh);
  *lo = new_min;
  *hi = new_max;
}

void HistogramObserver::add_counts(const float* counts, float min, float max) {
  float* hist = float_data(buffer("histogram"));
  float* lo = float_data(buffer("min_val"));
  float* hi = float_data(buffer("max_val"));
  moved_.assign(static_cast<size_t>(bins_), 0.0F);
  if (*lo == min && *hi == max) {
    std::copy(hist, hist + bins_, moved_.begin());
  } else {
    spread(hist, *lo, *hi, min, max, moved_.data());
  }
  for (int64_t i = 0; i < bins_; ++i) hist[i] = moved_[static_cast<size_t>(i)] + counts[i];
  *lo = min;
  *hi = max;
}

void HistogramObserver::spread(const float* hist, float from_min, float from_max, float to_min,
                               float to_max, float* out) {
  if (from_min == from_max) {  // all mass at one value
    std::vector<float> place(static_cast<size_t>(bins_), 0.0F);
    add_histogram(&from_min, 1, bins_, to_min, to_max, place.data());
    const float total = cascade_sum(hist, bins_);
    for (int64_t i = 0; i < bins_; ++i) out[i] += place[static_cast<size_t>(i)] * total;
    return;
  }
  const int64_t count = bins_ + 1;
  const float step = (to_max - to_min) / static_cast<float>(bins_);
  edges_.resize(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    edges_[static_cast<size_t>(i)] = linspace_at(to_min, to_max, step, count, i);
  }
  const int64_t parts = bins_ * kUpsampleRate;
  const float part = (from_max - from_min) / static_cast<float>(parts);
  const float half = 0.5F * part;
  int64_t target = -1;  // the edge at or below the mid point, as bucketize(right=True) - 1
  for (int64_t i = 0; i < parts; ++i) {
    const float mid = linspace_at(from_min, from_max, part, parts + 1, i) + half;
    while (target < bins_ && edges_[static_cast<size_t>(target + 1)] <= mid) ++target;
    while (target >= 0 && edges_[static_cast<size_t>(target)] > mid) --target;
    out[std::clamp<int64_t>(target, 0, bins_ - 1)] +=
        hist[i / kUpsampleRate] / static_cast<float>(kUpsampleRate);
  }
}

std::pair<float, float> HistogramObserver::search_range() const {
  const HistogramRange range =
      search_histogram_range(float_data(buffer("histogram")), bins_, *float_data(buffer("min_val")),
                             *float_data(buffer("max_val")), dst_nbins_);
  return {range.min, range.max};
}

QParams HistogramObserver::calculate_qparams() {
  const float lo = *float_data(buffer("min_val"));
  const float hi = *float_data(buffer("max_val"));
  if (lo == kInf && hi == -kInf) {
    warn(
        "must run observer before calling calculate_qparams. Returning default scale and zero "
        "point ");
    return {Tensor::full({1}, 1.0, DType::Float32), Tensor::zeros({1}, DType::Int64)};
  }
  if (buffer("histogram").numel() != bins_) {
    throw AssertionError(
        "The number of bins in histogram should be equal to the number of bins supplied while "
        "making this observer");
  }
  if (!std::isfinite(lo) || !std::isfinite(hi)) {
    return calculate_from(buffer("min_val"), buffer("max_val"));
  }
  const auto [new_min, new_max] = search_range();
  return calculate_from(Tensor::scalar(static_cast<double>(new_min)),
                        Tensor::scalar(static_cast<double>(new_max)));
}

void HistogramObserver::merge(const Observer& other) {
  check_mergeable(other);
  const auto& o = dynamic_cast<const HistogramObserver&>(other);
  if (o.bins_ != bins_) {
    throw ValueError(cat("cannot merge a histogram of ", o.bins_, " bins into one of ", bins_));
  }
  if (!o.initialized()) return;
  if (!initialized()) {
    for (const char* name : {"histogram", "min_val", "max_val"}) buffer(name).copy_(o.buffer(name));
    return;
  }
  const float other_lo = *float_data(o.buffer("min_val"));
  const float other_hi = *float_data(o.buffer("max_val"));
  const float lo = std::min(*float_data(buffer("min_val")), other_lo);
  const float hi = std::max(*float_data(buffer("max_val")), other_hi);
  const float* counts = float_data(o.buffer("histogram"));
  batch_.assign(static_cast<size_t>(bins_), 0.0F);
  if (lo == other_lo && hi == other_hi) {
    std::copy(counts, counts + bins_, batch_.begin());
  } else {
    spread(counts, other_lo, other_hi, lo, hi, batch_.data());
  }
  add_counts(batch_.data(), lo, hi);
}

void HistogramObserver::load_state_dict(const std::map<std::string, Tensor>& state) {
  // Before PyTorch's version 3 an unused observer had min_val and max_val of shape [0].
  std::map<std::string, Tensor> present = state;
  for (const auto& [key, start] : {std::pair("min_val", kInf), std::pair("max_val", -kInf)}) {
    const auto it = present.find(key);
    if (it == present.end()) continue;
    if (it->second.numel() == 0) it->second = Tensor::scalar(static_cast<double>(start));
    if (it->second.numel() == 1) it->second = it->second.reshape({});
  }
  StatefulObserver::load_state_dict(present);
}

std::string HistogramObserver::extra_repr() const {
  return cat("min_val=", format_value(buffer("min_val")),
             ", max_val=", format_value(buffer("max_val")));
}

}  // namespace pt2q
