// Observers that do not observe: PlaceholderObserver, NoopObserver, ReuseInputObserver (SPEC 2.2).
// calculate_qparams throws RuntimeError "calculate_qparams should not be called for <class>".
#pragma once

#include "observers/observer_base.h"

namespace pt2q {

class PlaceholderObserver : public ObserverBase {
 public:
  // Arguments dtype=float32, custom_op_name="", compute_dtype (deprecated: warns), quant_min,
  // quant_max, qscheme=per_tensor_affine, eps=2^-23, is_dynamic=False.
  static std::shared_ptr<PlaceholderObserver> make(KwReader args);
  explicit PlaceholderObserver(DType dtype, bool is_dynamic = false, std::string custom_op = "");

  std::string type_name() const override { return "PlaceholderObserver"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  Tensor forward(const Tensor& x) override { return x; }
  std::string extra_repr() const override;
  const std::string& custom_op() const { return custom_op_; }
  static void warn_compute_dtype();  // the deprecated argument was given

 private:
  std::string custom_op_;
};

class NoopObserver : public ObserverBase {
 public:
  explicit NoopObserver(DType dtype = DType::Float16, std::string custom_op = "")
      : ObserverBase(dtype), custom_op_(std::move(custom_op)) {}
  static std::shared_ptr<NoopObserver> make(KwReader args);

  std::string type_name() const override { return "NoopObserver"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  Tensor forward(const Tensor& x) override { return x; }
  const std::string& custom_op() const { return custom_op_; }

 private:
  std::string custom_op_;
};

class ReuseInputObserver : public ObserverBase {
 public:
  ReuseInputObserver() : ObserverBase(DType::QUInt8) {}
  static std::shared_ptr<ReuseInputObserver> make(KwReader args);

  std::string type_name() const override { return "ReuseInputObserver"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  Tensor forward(const Tensor& x) override { return x; }
};

}  // namespace pt2q
