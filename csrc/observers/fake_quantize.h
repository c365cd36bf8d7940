// Fake quantization for quantization-aware training: observe, then quantize and dequantize in one
// step (SPEC 2.4). Forward only: gradients belong to the training framework.
#pragma once

#include "observers/minmax.h"
#include "observers/observer_base.h"

namespace pt2q {

// Switches every fake-quantize module has; Python classes may derive from it. Buffers
// fake_quant_enabled and observer_enabled, uint8 [1] (int64 for the fused class).
class FakeQuantizeBase : public StatefulObserver {
 public:
  explicit FakeQuantizeBase(DType flag_dtype = DType::UInt8);

  void enable_fake_quant(bool enabled = true) { set_flag("fake_quant_enabled", enabled); }
  void disable_fake_quant() { enable_fake_quant(false); }
  virtual void enable_observer(bool enabled = true) { set_flag("observer_enabled", enabled); }
  void disable_observer() { enable_observer(false); }
  bool fake_quant_enabled() const { return buffer("fake_quant_enabled").item() == 1; }
  bool observer_enabled() const { return buffer("observer_enabled").item() == 1; }

 private:
  void set_flag(const std::string& name, bool on);
};

// Throws AssertionError "quant_min out of bound" or "quant_max out of bound" for ends the dtype
// does not hold.
void check_fake_quant_bounds(DType dtype, int64_t quant_min, int64_t quant_max);

// The entries of a fake-quantize module's state dict: its own, and those of its observer, which are
// under "activation_post_process.".
struct SplitState {
  std::map<std::string, Tensor> own;
  std::map<std::string, Tensor> child;
};
SplitState split_child_state(const std::map<std::string, Tensor>& state);
void add_child_buffers(const Observer& child, StatefulObserver::Buffers* out);
// "fake_quant_enabled=..., observer_enabled=..."
std::string fake_quant_flags_text(const StatefulObserver& fake_quantize);

struct FakeQuantizeArgs {
  ObserverCtr observer;
  std::optional<int64_t> quant_min;
  std::optional<int64_t> quant_max;
  bool is_dynamic = false;
  KwArgs observer_kwargs;
};

// Buffers scale float32 [1] or [C], zero_point int32 (float32 for float-qparams) of the same shape.
class FakeQuantize : public FakeQuantizeBase {
 public:
  // Throws AssertionError when the range is empty or outside the dtype.
  explicit FakeQuantize(const FakeQuantizeArgs& args, DType flag_dtype = DType::UInt8);
  static std::shared_ptr<FakeQuantize> make(const ObserverCtr& recipe);

  std::string type_name() const override { return "FakeQuantize"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  Tensor forward(const Tensor& x) override;
  QParams calculate_qparams() override { return activation_post_process_->calculate_qparams(); }
  // Merges the observers and recomputes scale and zero point.
  void merge(const Observer& other) override;
  void reset_min_max_vals() override { activation_post_process_->reset_min_max_vals(); }
  Buffers named_buffers() const override;
  void own_buffers() override;  // the observer is copied too
  std::string extra_repr() const override;

  DType dtype() const override { return activation_post_process_->dtype(); }
  QScheme qscheme() const override { return activation_post_process_->qscheme(); }
  std::optional<int64_t> quant_min() const override {
    return activation_post_process_->quant_min();
  }
  std::optional<int64_t> quant_max() const override {
    return activation_post_process_->quant_max();
  }
  std::optional<int64_t> ch_axis() const override { return activation_post_process_->ch_axis(); }
  bool is_dynamic() const override { return activation_post_process_->is_dynamic(); }
  double eps() const override { return activation_post_process_->eps(); }

  const std::shared_ptr<Observer>& activation_post_process() const {
    return activation_post_process_;
  }

  std::vector<std::pair<std::string, const Observer*>> children() const override {
    return {{"activation_post_process", activation_post_process_.get()}};
  }

 protected:
  void load_state_dict(const std::map<std::string, Tensor>& state) override;
  bool resizes_on_load(const std::string& key) const override {
    return key == "scale" || key == "zero_point";
  }
  // Copies values into scale and zero_point, resizing them.
  void set_qparams(const QParams& qparams);
  Tensor fake_quantized(const Tensor& x) const;

 private:
  std::shared_ptr<Observer> activation_post_process_;
};

// Scale and zero point come from a FixedQParamsObserver.
class FixedQParamsFakeQuantize : public FakeQuantize {
 public:
  // Throws AssertionError when `observer` does not make a FixedQParamsObserver of a per-tensor
  // scheme.
  explicit FixedQParamsFakeQuantize(const ObserverCtr& observer);
  // Argument `observer`, or those of FixedQParamsObserver.
  static std::shared_ptr<FixedQParamsFakeQuantize> make(const ObserverCtr& recipe);

  std::string type_name() const override { return "FixedQParamsFakeQuantize"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  QParams calculate_qparams() override { return {buffer("scale"), buffer("zero_point")}; }
  std::string extra_repr() const override;
  void own_buffers() override;

 private:
  void share_qparams();  // scale and zero_point are the observer's
};

// Observes by moving average and fake-quantizes with FBGEMM's choice of scale and zero point, which
// differs slightly from what calculate_qparams, and so convert, uses.
class FusedMovingAvgObsFakeQuantize : public FakeQuantize {
 public:
  // Throws AssertionError when `observer` is no MovingAverage(PerChannel)MinMaxObserver.
  explicit FusedMovingAvgObsFakeQuantize(const FakeQuantizeArgs& args);
  static std::shared_ptr<FusedMovingAvgObsFakeQuantize> make(const ObserverCtr& recipe);

  std::string type_name() const override { return "FusedMovingAvgObsFakeQuantize"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;
  void own_buffers() override;

 private:
  void observe(const Tensor& x);
  void choose_qparams();

  UniformObserverBase* ranges_;  // activation_post_process
  MovingAverage* average_;       // the same object
  Tensor batch_;                 // [2, C] ranges of the present batch, per channel
};

}  // namespace pt2q
