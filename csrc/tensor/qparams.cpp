#include "tensor/qparams.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/log.h"
#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

constexpr std::array<const char*, 5> kSchemeNames = {"per_tensor_affine", "per_tensor_symmetric",
                                                     "per_channel_affine", "per_channel_symmetric",
                                                     "per_channel_affine_float_qparams"};

bool is_bits8(DType d) {
  return d == DType::QInt8 || d == DType::Int8 || d == DType::QUInt8 || d == DType::UInt8;
}
bool is_int32(DType d) { return d == DType::QInt32 || d == DType::Int32; }
bool is_signed8(DType d) { return d == DType::QInt8 || d == DType::Int8; }
bool is_unsigned8(DType d) { return d == DType::QUInt8 || d == DType::UInt8; }

// Python's //: rounds down.
int64_t halve(int64_t v) { return v >= 0 ? v / 2 : (v - 1) / 2; }

// NaN wins, as in torch.min and torch.max.
double nan_min(double a, double b) { return std::isnan(a) || a < b ? a : b; }
double nan_max(double a, double b) { return std::isnan(a) || a > b ? a : b; }

// float → int32 as x86 converts: NaN and values out of range give INT32_MIN.
int32_t to_int32(double v) {
  return v >= -2147483648.0 && v < 2147483648.0 ? static_cast<int32_t>(v)
                                                : std::numeric_limits<int32_t>::min();
}

double symmetric_zero_point(const QParamsRule& rule) {
  if (is_unsigned8(rule.dtype)) {
    return rule.customized_range ? static_cast<double>(halve(rule.range.min + rule.range.max))
                                 : 128.0;
  }
  return rule.dtype == DType::UInt16 ? 32768.0 : 0.0;
}

double affine_zero_point(double steps, QuantRange range) {
  // int32 arithmetic that wraps, as the tensors PyTorch computes it in.
  const auto wrapped = static_cast<int32_t>(static_cast<uint32_t>(range.min) -
                                            static_cast<uint32_t>(to_int32(std::nearbyint(steps))));
  return static_cast<double>(std::min(std::max<int64_t>(wrapped, range.min), range.max));
}

// What a scale and a zero point are stored as.
DType zero_point_dtype(QScheme scheme) {
  if (scheme == QScheme::PerChannelAffineFloatQParams) return DType::Float32;
  return is_symmetric(scheme) ? DType::Int64 : DType::Int32;
}

bool statistics_are_valid(const Tensor& min, const Tensor& max) {
  const float* lo = min.data<float>();
  const float* hi = max.data<float>();
  const bool never_seen =
      min.numel() == 0 || max.numel() == 0 ||
      (min.dim() == 0 && *lo == std::numeric_limits<float>::infinity() && *hi == -*lo);
  if (never_seen) {
    warn("must run observer before calling calculate_qparams. Returning default values.");
    return false;
  }
  for (int64_t i = 0; i < min.numel(); ++i) {
    if (lo[i] > hi[i]) {
      throw AssertionError(cat("min ", double_to_string(lo[i]), " should be less than max ",
                               double_to_string(hi[i])));
    }
  }
  return true;
}

}  // namespace

const char* qscheme_name(QScheme scheme) { return kSchemeNames.at(static_cast<size_t>(scheme)); }

QScheme parse_qscheme(const std::string& name) {
  const size_t dot = name.rfind('.');
  const std::string bare = dot == std::string::npos ? name : name.substr(dot + 1);
  for (size_t i = 0; i < kSchemeNames.size(); ++i) {
    if (bare == kSchemeNames[i]) return static_cast<QScheme>(i);
  }
  throw ValueError(cat("unknown qscheme '", name, "'"),
                   "the schemes are per_tensor_affine, per_tensor_symmetric, per_channel_affine, "
                   "per_channel_symmetric and per_channel_affine_float_qparams");
}

bool is_per_channel(QScheme scheme) {
  return scheme != QScheme::PerTensorAffine && scheme != QScheme::PerTensorSymmetric;
}
bool is_symmetric(QScheme scheme) {
  return scheme == QScheme::PerTensorSymmetric || scheme == QScheme::PerChannelSymmetric;
}

void validate_quant_range(int64_t quant_min, int64_t quant_max) {
  if (!(quant_min <= 0 && 0 <= quant_max)) {
    throw AssertionError("Used-specified quantization range must include 0.");
  }
  if (quant_min >= quant_max) {
    throw AssertionError(
        "qmin must be strictly less than qmax for user-specified quantization range.");
  }
}

QuantRange resolve_quant_range(DType dtype, std::optional<int64_t> quant_min,
                               std::optional<int64_t> quant_max, bool reduce_range) {
  if (quant_min && quant_max) {
    validate_quant_range(*quant_min, *quant_max);
    const int64_t length = *quant_max - *quant_min + 1;
    const int64_t limit = is_signed8(dtype) ? 256 : is_int32(dtype) ? int64_t{1} << 32 : 0;
    if (limit > 0 && !(length > 0 && length <= limit)) {
      throw AssertionError(cat(
          "quantization range should be positive and not exceed the maximum bit range (=", limit,
          ")."));
    }
    if (reduce_range) return {halve(*quant_min), halve(*quant_max)};
    return {*quant_min, *quant_max};
  }
  if (is_bits8(dtype)) {
    const QuantRange full = is_signed8(dtype) ? QuantRange{-128, 127} : QuantRange{0, 255};
    return reduce_range ? QuantRange{halve(full.min), halve(full.max)} : full;
  }
  if (is_int32(dtype)) return quant_bounds(DType::Int32);
  if (dtype == DType::UInt16 || dtype == DType::Int16) return quant_bounds(dtype);
  return {0, 15};
}

ScaleZeroPoint determine_qparams(double min, double max, const QParamsRule& rule,
                                 DType statistics) {
  const auto rounded = [&](double v) { return round_to(statistics, v); };
  const auto as_float = [](double v) { return round_to(DType::Float32, v); };
  // Scalars take part in float32 whatever the dtype of the statistics.
  const double length = as_float(static_cast<double>(rule.range.max - rule.range.min));
  const double eps = as_float(rule.eps);
  const double lo = nan_min(min, 0.0);
  const double hi = nan_max(max, 0.0);
  if (is_symmetric(rule.qscheme)) {
    const double half = as_float(static_cast<double>(rule.range.max - rule.range.min) / 2);
    const double scale = rounded(nan_max(-lo, hi) / half);
    return {nan_max(scale, eps), symmetric_zero_point(rule)};
  }
  if (rule.qscheme == QScheme::PerChannelAffineFloatQParams) {
    const double wide = rounded(rounded(max - min) / length);
    const double scale = wide > eps ? wide : 1.0;
    return {scale, as_float(-min / scale)};
  }
  const double scale = nan_max(rounded(rounded(hi - lo) / length), eps);
  return {scale, affine_zero_point(as_float(lo / scale), rule.range)};
}

QParamTensors calculate_qparams(const Tensor& min, const Tensor& max, const QParamsRule& rule) {
  if (min.sizes() != max.sizes()) {
    throw ValueError(cat("minima have shape ", list_to_string(min.sizes()),
                         ", but maxima have shape ", list_to_string(max.sizes())));
  }
  const Tensor lo = min.contiguous();
  const Tensor hi = max.contiguous();
  if (!statistics_are_valid(lo, hi)) {
    return {Tensor::full({1}, 1.0, DType::Float32), Tensor::zeros({1}, DType::Int64)};
  }
  const int64_t n = lo.numel();
  QParamTensors out{Tensor::empty({n}, DType::Float32),
                    Tensor::empty({n}, zero_point_dtype(rule.qscheme))};
  Tensor zero_points = Tensor::empty({n}, DType::Float64);
  for (int64_t i = 0; i < n; ++i) {
    const ScaleZeroPoint q = determine_qparams(static_cast<double>(lo.data<float>()[i]),
                                               static_cast<double>(hi.data<float>()[i]), rule);
    out.scale.mutable_data<float>()[i] = static_cast<float>(q.scale);
    zero_points.mutable_data<double>()[i] = q.zero_point;
  }
  out.zero_point.copy_(zero_points);
  return out;
}

ScaleZeroPoint fbgemm_qparams(float min, float max, int32_t qmin, int32_t qmax,
                              bool preserve_sparsity) {
  constexpr float kSmallScale = 6.1e-5F;
  const int32_t steps = qmax - qmin;
  if (min < 0 && max > 0 && preserve_sparsity) {
    const int32_t lowest = -(steps / 2 + 1);
    const int32_t highest = steps / 2;
    const double widest =
        std::max(static_cast<double>(std::fabs(min / static_cast<float>(lowest))),
                 static_cast<double>(std::fabs(max / static_cast<float>(highest))));
    min = static_cast<float>(widest * lowest);
    max = static_cast<float>(widest * highest);
  }
  min = std::min(min, 0.0F);
  max = std::max(max, 0.0F);
  double scale = (static_cast<double>(max) - static_cast<double>(min)) / steps;
  const auto single = static_cast<float>(scale);
  if (single == 0.0F || std::isinf(1.0F / single)) scale = 0.1;
  if (scale < static_cast<double>(kSmallScale)) {
    const auto original = static_cast<float>(scale);
    scale = static_cast<double>(kSmallScale);
    if (min == 0.0F) {
      max = kSmallScale * static_cast<float>(steps);
    } else if (max == 0.0F) {
      min = -kSmallScale * static_cast<float>(steps);
    } else {
      const float amplifier = kSmallScale / original;
      min *= amplifier;
      max *= amplifier;
    }
  }
  // The zero point belongs to the scale as it is stored, in single precision.
  const auto stored = static_cast<double>(static_cast<float>(scale));
  const double below = static_cast<double>(min) / stored;
  const double above = static_cast<double>(max) / stored;
  const bool from_min = std::abs(qmin) - std::fabs(below) < std::abs(qmax) - std::fabs(above);
  double zero_point = from_min ? qmin - below : qmax - above;
  if (min < 0 && max > 0 && preserve_sparsity) zero_point = (qmin + qmax) / 2.0;
  if (zero_point < qmin) return {scale, static_cast<double>(qmin)};
  if (zero_point > qmax) return {scale, static_cast<double>(qmax)};
  return {scale, static_cast<double>(to_int32(std::nearbyint(zero_point)))};
}

double symmetric_token_scale(double min, double max, DType statistics) {
  const double widest = std::isnan(min) ? min : std::max(std::fabs(min), std::fabs(max));
  const double floor = round_to(statistics, 1e-5);
  return round_to(statistics, (widest < floor ? floor : widest) / 127.0);
}

ScaleZeroPoint token_qparams(double min, double max, DType statistics) {
  constexpr double kEps = 1.1920928955078125e-07;  // float32's 2^-23
  const auto rounded = [&](double v) { return round_to(statistics, v); };
  const double lo = std::isnan(min) ? min : std::min(min, 0.0);
  const double hi = std::isnan(max) ? max : std::max(max, 0.0);
  double scale = rounded(rounded(hi - lo) / 255.0);
  if (scale < kEps) scale = kEps;
  const double below = rounded(lo / scale);
  const double above = rounded(hi / scale);
  const double errors = rounded(rounded(-128 + below) + rounded(127 + above));
  const double zero_point = errors > 0 ? rounded(-128 - below) : rounded(127 - above);
  return {scale, std::nearbyint(std::min(std::max(zero_point, -128.0), 127.0))};
}

}  // namespace pt2q
