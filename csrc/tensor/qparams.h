// The only place that turns minima and maxima into scales and zero points (SPEC section 2.1), bit
// for bit as PyTorch: UniformQuantizationObserverBase._calculate_qparams and determine_qparams for
// observers and choose_qparams, FBGEMM's ChooseQuantizationParams for the fused fake-quantize and
// for IPEX-style calibration.
#pragma once

#include <cstdint>
#include <optional>

#include "pt2q/qscheme.h"
#include "pt2q/tensor.h"
#include "tensor/affine.h"

namespace pt2q {

// What decides scale and zero point besides the data.
struct QParamsRule {
  DType dtype = DType::QUInt8;
  QScheme qscheme = QScheme::PerTensorAffine;
  QuantRange range;
  double eps = 1.1920928955078125e-07;  // 2^-23; used as float32
  bool customized_range = false;        // the user gave quant_min and quant_max
};

// quant_min <= 0 <= quant_max and quant_min < quant_max; throws AssertionError with PyTorch's
// texts.
void validate_quant_range(int64_t quant_min, int64_t quant_max);
// The range an observer works with: the user's (both given; checked, halved by reduce_range) or the
// dtype's own. Throws AssertionError for ranges wider than the dtype.
QuantRange resolve_quant_range(DType dtype, std::optional<int64_t> quant_min,
                               std::optional<int64_t> quant_max, bool reduce_range);

struct ScaleZeroPoint {
  double scale = 1.0;
  double zero_point = 0.0;  // integral but for float-qparams
};
// One scale and zero point from one range; `statistics` is the dtype min and max were computed in
// (float32 for observers), each step is rounded to it. NaN gives a NaN scale.
ScaleZeroPoint determine_qparams(double min, double max, const QParamsRule& rule,
                                 DType statistics = DType::Float32);

struct QParamTensors {
  Tensor scale;       // float32
  Tensor zero_point;  // int32 for affine, int64 for symmetric, float32 for float-qparams schemes
};
// min and max of equal shape, float32: [] or [channels]. Returns [1] or [channels]. Empty tensors
// or (+inf, -inf) warn and give scale 1, zero point 0. Throws AssertionError when a min > max.
QParamTensors calculate_qparams(const Tensor& min, const Tensor& max, const QParamsRule& rule);

// FBGEMM's ChooseQuantizationParams as fused_moving_avg_obs_fake_quant calls it: zero_point is
// integral. `preserve_sparsity`: symmetric around zero where the range holds negative and positive
// values. `force_power_of_two` and reduced precision are not used by any caller and do not exist.
ScaleZeroPoint fbgemm_qparams(float min, float max, int32_t qmin, int32_t qmax,
                              bool preserve_sparsity);

// Parameters of one row (token) of int8 by its range; NaN ends give NaN. The symmetric one has zero
// point 0; the other is XNNPACK's: of the two zero points that fit min or max exactly, the one with
// less error.
double symmetric_token_scale(double min, double max, DType statistics = DType::Float32);
ScaleZeroPoint token_qparams(double min, double max, DType statistics = DType::Float32);

}  // namespace pt2q
