#include "observers/minmax.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/strings.h"
#include "kernels/observe.h"
#include "pt2q/error.h"
#include "tensor/format.h"

namespace pt2q {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

void check_scheme(const UniformArgs& args, const std::string& class_name) {
  if (is_per_channel(args.qscheme)) {
    throw NotImplementedError(
        cat(class_name,
            "'s qscheme only support torch.per_tensor_symmetric and torch.per_tensor_affine."),
        cat("it was asked for torch.", qscheme_name(args.qscheme)));
  }
}

void check_reduced(const UniformArgs& args) {
  if (args.qscheme == QScheme::PerTensorSymmetric && args.reduce_range &&
      args.dtype == DType::QUInt8) {
    throw NotImplementedError("Cannot reduce range for symmetric quantization for quint8");
  }
}

const UniformArgs& checked(const UniformArgs& args, const char* class_name) {
  check_scheme(args, class_name);
  return args;
}

// torch.min and torch.max: NaN wins.
float nan_min(float a, float b) { return std::isnan(a) || a < b ? a : b; }
float nan_max(float a, float b) { return std::isnan(a) || a > b ? a : b; }

}  // namespace

float moving_average(float value, float current, double averaging_constant) {
  return value + static_cast<float>(averaging_constant) * (current - value);
}

MinMaxObserver::MinMaxObserver(const UniformArgs& args) : MinMaxObserver(args, "MinMaxObserver") {}

MinMaxObserver::MinMaxObserver(const UniformArgs& args, const char* class_name)
    : UniformObserverBase(checked(args, class_name)) {
  register_buffer("min_val", Tensor::scalar(kInf));
  register_buffer("max_val", Tensor::scalar(-kInf));
  check_reduced(args);
}

std::shared_ptr<MinMaxObserver> MinMaxObserver::make(KwReader args) {
  const UniformArgs uniform = args.uniform();
  args.finish();
  return std::make_shared<MinMaxObserver>(uniform);
}

Tensor MinMaxObserver::forward(const Tensor& x) {
  if (x.numel() == 0) return x;
  const Tensor values = observed_values(x);
  const MinMax range = min_max(values.data<float>(), values.numel());
  update(range.min, range.max);
  return x;
}

void MinMaxObserver::update(float min, float max) {
  float* lo = float_data(buffer("min_val"));
  float* hi = float_data(buffer("max_val"));
  *lo = nan_min(min, *lo);
  *hi = nan_max(max, *hi);
}

QParams MinMaxObserver::calculate_qparams() {
  return calculate_from(buffer("min_val"), buffer("max_val"));
}

void MinMaxObserver::merge(const Observer& other) {
  check_mergeable(other);
  const auto& o = dynamic_cast<const MinMaxObserver&>(other);
  update(*float_data(o.buffer("min_val")), *float_data(o.buffer("max_val")));
}

void MinMaxObserver::reset_min_max_vals() {
  *float_data(buffer("min_val")) = kInf;
  *float_data(buffer("max_val")) = -kInf;
}

std::string MinMaxObserver::extra_repr() const {
  return cat("min_val=", format_value(buffer("min_val")),
             ", max_val=", format_value(buffer("max_val")));
}

MovingAverageMinMaxObserver::MovingAverageMinMaxObserver(double averaging_constant,
                                                         const UniformArgs& args)
    : MinMaxObserver(args, "MovingAverageMinMaxObserver"), MovingAverage(averaging_constant) {
  if (args.is_dynamic && averaging_constant != 1.0) {
    throw NotImplementedError(
        cat("MovingAverageMinMaxObserver doesn't support dynamic quantization for averaging "
            "constant of ",
            python_float(averaging_constant)),
        "give averaging_constant=1");
  }
}

std::shared_ptr<MovingAverageMinMaxObserver> MovingAverageMinMaxObserver::make(KwReader args) {
  const double constant = args.number("averaging_constant", 0.01);
  const UniformArgs uniform = args.uniform();
  args.finish();
  return std::make_shared<MovingAverageMinMaxObserver>(constant, uniform);
}

void MovingAverageMinMaxObserver::update(float min, float max) {
  note_batch(&min, &max, 1);
  float* lo = float_data(buffer("min_val"));
  float* hi = float_data(buffer("max_val"));
  if (*lo == kInf && *hi == -kInf) {
    *lo = min;
    *hi = max;
    return;
  }
  *lo = moving_average(*lo, min, averaging_constant());
  *hi = moving_average(*hi, max, averaging_constant());
}

void MovingAverageMinMaxObserver::merge(const Observer& other) {
  check_mergeable(other);
  const auto& o = dynamic_cast<const MovingAverageMinMaxObserver&>(other);
  append(o, float_data(o.buffer("min_val")), float_data(o.buffer("max_val")),
         float_data(buffer("min_val")), float_data(buffer("max_val")), 1);
}

void MovingAverageMinMaxObserver::reset_min_max_vals() {
  MinMaxObserver::reset_min_max_vals();
  forget_history(true);
}

void MovingAverageMinMaxObserver::load_state_dict(const std::map<std::string, Tensor>& state) {
  MinMaxObserver::load_state_dict(state);
  forget_history(*float_data(buffer("min_val")) == kInf);
}

// --- MovingAverage -------------------------------------------------------------------------------

void MovingAverage::note_batch(const float* min, const float* max, int64_t channels) {
  if (batches_ < 0) return;
  if (batches_ == 0) {
    first_.assign(min, min + channels);
    first_.insert(first_.end(), max, max + channels);
  }
  ++batches_;
}

void MovingAverage::forget_history(bool fresh) {
  batches_ = fresh ? 0 : -1;
  first_.clear();
}

void MovingAverage::append(const MovingAverage& other, const float* other_min,
                           const float* other_max, float* min, float* max, int64_t channels) {
  if (other.averaging_constant_ != averaging_constant_) {
    throw ValueError(cat("cannot merge moving averages with the constants ",
                         python_float(averaging_constant_), " and ",
                         python_float(other.averaging_constant_)));
  }
  if (other.batches_ < 0) {
    throw RuntimeError(
        "cannot merge a moving average whose number of batches is not known: its statistics come "
        "from a state dict",
        "merge the observers that saw the data themselves");
  }
  if (other.batches_ == 0) return;
  const auto n = static_cast<size_t>(channels);
  if (other.first_.size() != 2 * n) {
    throw ValueError(cat("cannot merge a moving average over ", other.first_.size() / 2,
                         " channels into one over ", channels));
  }
  if (batches_ == 0) {
    std::copy(other_min, other_min + channels, min);
    std::copy(other_max, other_max + channels, max);
    first_ = other.first_;
    batches_ = other.batches_;
    return;
  }
  const double weight = std::pow(1.0 - static_cast<double>(static_cast<float>(averaging_constant_)),
                                 static_cast<double>(other.batches_));
  for (size_t c = 0; c < n; ++c) {
    const auto combined = [&](float ours, float theirs, float first) {
      return static_cast<float>(static_cast<double>(theirs) +
                                weight * (static_cast<double>(ours) - static_cast<double>(first)));
    };
    min[c] = combined(min[c], other_min[c], other.first_[c]);
    max[c] = combined(max[c], other_max[c], other.first_[n + c]);
  }
  if (batches_ > 0) batches_ += other.batches_;
}

}  // namespace pt2q
