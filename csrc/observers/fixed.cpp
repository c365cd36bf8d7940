#include "observers/fixed.h"

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {

FixedQParamsObserver::FixedQParamsObserver(double scale, int64_t zero_point, DType dtype,
                                           QScheme qscheme, int64_t quant_min, int64_t quant_max,
                                           bool is_dynamic)
    : ObserverBase(dtype, is_dynamic) {
  if (is_dynamic) {
    throw NotImplementedError("FixedQParamsObserver doesn't support dynamic quantization");
  }
  set_qscheme(qscheme);
  set_quant_min(quant_min);
  set_quant_max(quant_max);
  register_buffer("scale", Tensor::full({1}, scale, DType::Float32));
  Tensor zp = Tensor::empty({1}, DType::Int32);
  zp.copy_(Tensor::scalar_int(zero_point));
  register_buffer("zero_point", zp);
}

std::shared_ptr<FixedQParamsObserver> FixedQParamsObserver::make(KwReader args) {
  for (const char* required : {"scale", "zero_point"}) {
    if (!args.has(required)) {
      throw TypeError(
          cat("FixedQParamsObserver.__init__() missing required argument: '", required, "'"));
    }
  }
  const double scale = args.number("scale", 1.0);
  const int64_t zero_point = args.integer("zero_point", 0);
  const DType dtype = args.dtype("dtype", DType::QUInt8);
  const QScheme scheme = args.qscheme("qscheme", QScheme::PerTensorAffine);
  const int64_t quant_min = args.integer("quant_min", 0);
  const int64_t quant_max = args.integer("quant_max", 255);
  const bool is_dynamic = args.boolean("is_dynamic", false);
  args.finish();
  return std::make_shared<FixedQParamsObserver>(scale, zero_point, dtype, scheme, quant_min,
                                                quant_max, is_dynamic);
}

void FixedQParamsObserver::merge(const Observer& other) {
  check_mergeable(other);
  const auto& o = dynamic_cast<const FixedQParamsObserver&>(other);
  if (o.buffer("scale").item() != buffer("scale").item() ||
      o.buffer("zero_point").item() != buffer("zero_point").item()) {
    throw ValueError("cannot merge FixedQParamsObservers of different scale or zero point");
  }
}

}  // namespace pt2q
