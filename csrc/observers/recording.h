// RecordingObserver: keeps a copy of every tensor it sees, for debugging (SPEC 2.2).
#pragma once

#include "observers/observer_base.h"

namespace pt2q {

class RecordingObserver : public ObserverBase {
 public:
  explicit RecordingObserver(DType dtype = DType::QUInt8) : ObserverBase(dtype) {}
  static std::shared_ptr<RecordingObserver> make(KwReader args);

  std::string type_name() const override { return "RecordingObserver"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  Tensor forward(const Tensor& x) override;
  void merge(const Observer& other) override;  // appends the other's tensors

  const std::vector<Tensor>& get_tensor_value() const { return tensor_val_; }

 private:
  std::vector<Tensor> tensor_val_;
};

}  // namespace pt2q
