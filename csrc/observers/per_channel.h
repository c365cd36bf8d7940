// PerChannelMinMaxObserver and MovingAveragePerChannelMinMaxObserver: one range per index of one
// dimension (SPEC 2.2).
#pragma once

#include "observers/minmax.h"
#include "observers/observer_base.h"

namespace pt2q {

// Buffers eps [1], min_val [C], max_val [C] (shape [0] before the first batch), float32.
class PerChannelMinMaxObserver : public UniformObserverBase {
 public:
  // Throws NotImplementedError for per-tensor schemes and for is_dynamic.
  PerChannelMinMaxObserver(int64_t ch_axis, const UniformArgs& args);
  static std::shared_ptr<PerChannelMinMaxObserver> make(KwReader args);

  std::string type_name() const override { return "PerChannelMinMaxObserver"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  // Throws IndexError when x has no dimension ch_axis, RuntimeError when the number of channels is
  // not that of earlier batches.
  Tensor forward(const Tensor& x) override;
  QParams calculate_qparams() override;
  void merge(const Observer& other) override;
  void reset_min_max_vals() override;
  std::string extra_repr() const override;
  void own_buffers() override;

 protected:
  PerChannelMinMaxObserver(int64_t ch_axis, const UniformArgs& args, const char* class_name);
  // Sees the ranges of every batch.
  virtual void note(const float*, const float*, int64_t) {}
  // Takes the ranges of one batch into the running ones (lows, highs).
  virtual void advance(const float* mins, const float* maxs, int64_t channels, float* lows,
                       float* highs) const;
  bool resizes_on_load(const std::string& key) const override { return key != "eps"; }
  std::string present_key(const std::string& key) const override;

 private:
  void update(const float* mins, const float* maxs, int64_t channels);

  Tensor batch_;  // [2, C]: the ranges of the present batch, kept to avoid allocations
};

class MovingAveragePerChannelMinMaxObserver : public PerChannelMinMaxObserver,
                                              public MovingAverage {
 public:
  MovingAveragePerChannelMinMaxObserver(double averaging_constant, int64_t ch_axis,
                                        const UniformArgs& args);
  static std::shared_ptr<MovingAveragePerChannelMinMaxObserver> make(KwReader args);

  std::string type_name() const override { return "MovingAveragePerChannelMinMaxObserver"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  void merge(const Observer& other) override;
  void reset_min_max_vals() override;
  void load_state_dict(const std::map<std::string, Tensor>& state) override;

 protected:
  void note(const float* mins, const float* maxs, int64_t channels) override {
    note_batch(mins, maxs, channels);
  }
  void advance(const float* mins, const float* maxs, int64_t channels, float* lows,
               float* highs) const override;
};

// Ranges of the channels of x along `axis`, written to the two rows of `out` [2, C], which is
// reallocated when it has another size.
void channel_ranges(const Tensor& x, int64_t axis, Tensor* out);

}  // namespace pt2q
