// MinMaxObserver and MovingAverageMinMaxObserver: one range for a whole tensor (SPEC 2.2).
#pragma once

#include "observers/observer_base.h"

namespace pt2q {

// Buffers eps [1], min_val [] (+inf at first), max_val [] (-inf at first), float32.
class MinMaxObserver : public UniformObserverBase {
 public:
  // Throws NotImplementedError for per-channel schemes.
  explicit MinMaxObserver(const UniformArgs& args);
  static std::shared_ptr<MinMaxObserver> make(KwReader args);

  std::string type_name() const override { return "MinMaxObserver"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  Tensor forward(const Tensor& x) override;
  QParams calculate_qparams() override;
  void merge(const Observer& other) override;
  void reset_min_max_vals() override;
  std::string extra_repr() const override;

 protected:
  MinMaxObserver(const UniformArgs& args, const char* class_name);
  // Takes the range of one batch into account.
  virtual void update(float min, float max);
};

class MovingAverageMinMaxObserver : public MinMaxObserver {
 public:
  // Throws NotImplementedError when is_dynamic and averaging_constant is not 1.
  MovingAverageMinMaxObserver(double averaging_constant, const UniformArgs& args);
  static std::shared_ptr<MovingAverageMinMaxObserver> make(KwReader args);

  std::string type_name() const override { return "MovingAverageMinMaxObserver"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  void merge(const Observer& other) override { Observer::merge(other); }

  double averaging_constant() const { return averaging_constant_; }
  void set_averaging_constant(double v) { averaging_constant_ = v; }

 protected:
  void update(float min, float max) override;

 private:
  double averaging_constant_;
};

// value + c * (current - value) in float32, each step rounded.
float moving_average(float value, float current, double averaging_constant);

}  // namespace pt2q
