#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/quantized.h"
#include "pt2q/trace.h"
#include "tensor/affine.h"

namespace pt2q {
namespace {

DType storage_of(DType dtype) {
  const DType storage = storage_dtype(dtype);
  if (storage == dtype || dtype == DType::QUInt4x2) {
    throw TypeError(cat("a quantized tensor is quint8, qint8 or qint32, not ", dtype_name(dtype)));
  }
  return storage;
}

DType quantized_of(DType storage) {
  switch (storage) {
    case DType::UInt8:
      return DType::QUInt8;
    case DType::Int8:
      return DType::QInt8;
    case DType::Int32:
      return DType::QInt32;
    default:
      throw TypeError(cat("the values of a quantized tensor are uint8, int8 or int32, not ",
                          dtype_name(storage)));
  }
}

void check_scale(double scale) {
  if (!(scale > 0)) throw ValueError(cat("the scale must be positive, got ", scale));
}

}  // namespace

QuantizedTensor::QuantizedTensor(Tensor values, double scale, int64_t zero_point)
    : values_(std::move(values)), scale_(scale), zero_point_(zero_point) {
  quantized_of(values_.dtype());
  check_scale(scale);
}

QuantizedTensor::QuantizedTensor(Tensor values, Tensor scales, Tensor zero_points, int64_t axis)
    : values_(std::move(values)), scales_(std::move(scales)), zero_points_(std::move(zero_points)) {
  quantized_of(values_.dtype());
  axis_ = wrap_dim(axis, values_.dim());
  const int64_t channels = values_.size(*axis_);
  if (scales_.numel() != channels || zero_points_.numel() != channels) {
    throw ValueError(cat("quantized per channel: ", channels,
                         " scales and zero points expected, got ", scales_.numel(), " and ",
                         zero_points_.numel()));
  }
}

QuantizedTensor QuantizedTensor::quantize(const Tensor& x, const OutputQParams& to) {
  check_scale(to.scale);
  const DType dtype = storage_of(to.dtype);
  const QuantRange range = quant_bounds(dtype);
  const Value q = call("quantized_decomposed.quantize_per_tensor.default",
                       {x, to.scale, to.zero_point, range.min, range.max, dtype});
  return {q.as<Tensor>(), to.scale, to.zero_point};
}

QuantizedTensor QuantizedTensor::quantize_per_channel(const Tensor& x, const Tensor& scales,
                                                      const Tensor& zero_points, int64_t axis,
                                                      DType dtype) {
  const DType storage = storage_of(dtype);
  const QuantRange range = quant_bounds(storage);
  const Value q = call("quantized_decomposed.quantize_per_channel.default",
                       {x, scales, zero_points, axis, range.min, range.max, storage});
  return {q.as<Tensor>(), scales, zero_points, axis};
}

Tensor QuantizedTensor::dequantize() const {
  const QuantRange range = quant_bounds(values_.dtype());
  if (per_channel()) {
    return call("quantized_decomposed.dequantize_per_channel.default",
                {values_, scales_, zero_points_, *axis_, range.min, range.max, values_.dtype()})
        .as<Tensor>();
  }
  return call("quantized_decomposed.dequantize_per_tensor.default",
              {values_, scale_, zero_point_, range.min, range.max, values_.dtype()})
      .as<Tensor>();
}

QuantizedTensor QuantizedTensor::with_values(Tensor values) const {
  QuantizedTensor out = *this;
  out.values_ = std::move(values);
  return out;
}

DType QuantizedTensor::dtype() const { return quantized_of(values_.dtype()); }

double QuantizedTensor::scale() const {
  if (per_channel())
    throw RuntimeError("Expected quantizer->qscheme() == kPerTensorAffine",
                       "use q_per_channel_scales()");
  return scale_;
}

int64_t QuantizedTensor::zero_point() const {
  if (per_channel())
    throw RuntimeError("Expected quantizer->qscheme() == kPerTensorAffine",
                       "use q_per_channel_zero_points()");
  return zero_point_;
}

namespace {

void require_channels(bool per_channel) {
  if (!per_channel)
    throw RuntimeError("the tensor is quantized per tensor, not per channel",
                       "use q_scale() and q_zero_point()");
}

}  // namespace

const Tensor& QuantizedTensor::scales() const {
  require_channels(per_channel());
  return scales_;
}
const Tensor& QuantizedTensor::zero_points() const {
  require_channels(per_channel());
  return zero_points_;
}
int64_t QuantizedTensor::axis() const {
  require_channels(per_channel());
  return *axis_;
}

}  // namespace pt2q
