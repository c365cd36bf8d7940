// MinMaxObserver and MovingAverageMinMaxObserver: one range for a whole tensor (SPEC 2.2).
#pragma once

#include <vector>

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

// What moving-average observers have in common. The average over batches 1..a, then a+1..a+b is
//   B + (1 - c)^b * (A - first)
// with A the average over the first a, B that of an observer that started with batch a+1, and first
// that batch's range. So an observer that remembers its number of batches and its first range can
// be appended to another exactly, but for float32 rounding: within 4 ulp of the largest magnitude
// per batch. A loaded state dict does not tell the two, so such an observer cannot be appended.
class MovingAverage {
 public:
  explicit MovingAverage(double constant) : averaging_constant_(constant) {}

  double averaging_constant() const { return averaging_constant_; }
  void set_averaging_constant(double v) { averaging_constant_ = v; }
  // Remembers one batch; min and max are its ranges.
  void note_batch(const float* min, const float* max, int64_t channels);
  void forget_history(bool fresh);  // fresh: no batch was seen; else it is not known how many

 protected:
  // Appends `other`, whose averages are other_min and other_max, to the averages min and max.
  // Throws ValueError for another constant, RuntimeError for an unknown history.
  void append(const MovingAverage& other, const float* other_min, const float* other_max,
              float* min, float* max, int64_t channels);

 private:
  double averaging_constant_;
  int64_t batches_ = 0;       // -1: unknown
  std::vector<float> first_;  // minima of the first batch, then its maxima
};

class MovingAverageMinMaxObserver : public MinMaxObserver, public MovingAverage {
 public:
  // Throws NotImplementedError when is_dynamic and averaging_constant is not 1.
  MovingAverageMinMaxObserver(double averaging_constant, const UniformArgs& args);
  static std::shared_ptr<MovingAverageMinMaxObserver> make(KwReader args);

  std::string type_name() const override { return "MovingAverageMinMaxObserver"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  void merge(const Observer& other) override;
  void reset_min_max_vals() override;
  void load_state_dict(const std::map<std::string, Tensor>& state) override;

 protected:
  void update(float min, float max) override;
};

// value + c * (current - value) in float32, each step rounded.
float moving_average(float value, float current, double averaging_constant);

}  // namespace pt2q
