#include "observers/minmax.h"

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
    : MinMaxObserver(args, "MovingAverageMinMaxObserver"), averaging_constant_(averaging_constant) {
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
  float* lo = float_data(buffer("min_val"));
  float* hi = float_data(buffer("max_val"));
  if (*lo == kInf && *hi == -kInf) {
    *lo = min;
    *hi = max;
    return;
  }
  *lo = moving_average(*lo, min, averaging_constant_);
  *hi = moving_average(*hi, max, averaging_constant_);
}

}  // namespace pt2q
