// FixedQParamsObserver: a scale and zero point known beforehand (sigmoid, tanh; SPEC 2.2).
#pragma once

#include "observers/observer_base.h"

namespace pt2q {

// Buffers scale float32 [1], zero_point int32 [1].
class FixedQParamsObserver : public ObserverBase {
 public:
  // Throws NotImplementedError for is_dynamic.
  FixedQParamsObserver(double scale, int64_t zero_point, DType dtype = DType::QUInt8,
                       QScheme qscheme = QScheme::PerTensorAffine, int64_t quant_min = 0,
                       int64_t quant_max = 255, bool is_dynamic = false);
  static std::shared_ptr<FixedQParamsObserver> make(KwReader args);

  std::string type_name() const override { return "FixedQParamsObserver"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  Tensor forward(const Tensor& x) override { return x; }
  QParams calculate_qparams() override { return {buffer("scale"), buffer("zero_point")}; }
  void merge(const Observer& other) override;
};

}  // namespace pt2q
