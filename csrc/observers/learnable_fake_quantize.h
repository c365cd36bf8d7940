// The fake-quantize classes torchao adds: per block (affine), and with parameters that training
// learns (SPEC 2.4).
#pragma once

#include "observers/affine_observer.h"
#include "observers/fake_quantize.h"

namespace pt2q {

// Fake-quantizes with the blocks of an affine observer. Buffers scale float32, zero_point int32
// (float32 in the floating domain), [1] until the first batch, then one per block.
class AffineFakeQuantize : public FakeQuantizeBase {
 public:
  // Throws AssertionError when `observer` makes no affine observer.
  AffineFakeQuantize(const ObserverCtr& observer, bool is_dynamic, const KwArgs& observer_kwargs);
  static std::shared_ptr<AffineFakeQuantize> make(const ObserverCtr& recipe);

  std::string type_name() const override { return "AffineFakeQuantize"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  Tensor forward(const Tensor& x) override;
  QParams calculate_qparams() override { return observer_->calculate_qparams(); }
  bool convert(GraphModule& model, Node* node) override { return observer_->convert(model, node); }
  void merge(const Observer& other) override;
  void reset_min_max_vals() override { observer_->reset_min_max_vals(); }
  Buffers named_buffers() const override;
  void load_state_dict(const std::map<std::string, Tensor>& state) override;
  void own_buffers() override;
  std::string extra_repr() const override;

  DType dtype() const override { return observer_->dtype(); }
  QScheme qscheme() const override { return observer_->qscheme(); }
  std::optional<int64_t> quant_min() const override { return observer_->quant_min(); }
  std::optional<int64_t> quant_max() const override { return observer_->quant_max(); }
  bool is_dynamic() const override { return is_dynamic_; }
  double eps() const override { return observer_->eps(); }
  const std::shared_ptr<AffineQuantizedObserverBase>& activation_post_process() const {
    return observer_;
  }

  std::vector<std::pair<std::string, const Observer*>> children() const override {
    return {{"activation_post_process", observer_.get()}};
  }

 protected:
  bool resizes_on_load(const std::string& key) const override {
    return key == "scale" || key == "zero_point";
  }

 private:
  void set_qparams(const QParams& qparams);

  std::shared_ptr<AffineQuantizedObserverBase> observer_;
  bool is_dynamic_;
};

// Scale and zero point start from the observer and are then free to be learned: state keys scale
// and zero_point (float32) appear with the first batch. Gradients belong to the training framework.
class LearnableFakeQuantize : public FakeQuantizeBase {
 public:
  // Throws AssertionError when quant_min is not below quant_max or the dtype does not hold them.
  LearnableFakeQuantize(const ObserverCtr& observer, int64_t quant_min, int64_t quant_max,
                        bool use_grad_scaling, KwArgs observer_kwargs);
  static std::shared_ptr<LearnableFakeQuantize> make(const ObserverCtr& recipe);

  std::string type_name() const override { return "LearnableFakeQuantize"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  Tensor forward(const Tensor& x) override;
  // Raises scales below eps first. Throws RuntimeError before the first batch.
  QParams calculate_qparams() override;
  // Merges the observers; unless ranges are being learned, scale and zero point follow.
  void merge(const Observer& other) override;
  void reset_min_max_vals() override { observer_->reset_min_max_vals(); }
  Buffers named_buffers() const override;
  void load_state_dict(const std::map<std::string, Tensor>& state) override;
  void own_buffers() override;
  std::string extra_repr() const override;

  void enable_range_learning();
  void disable_range_learning();
  void enable_observer(bool enabled = true) override;
  bool learning_enabled() const { return buffer("learning_enabled").item() == 1; }
  bool initialized() const { return has_buffer("scale"); }
  bool use_grad_scaling() const { return use_grad_scaling_; }

  DType dtype() const override { return observer_->dtype(); }
  QScheme qscheme() const override { return observer_->qscheme(); }
  std::optional<int64_t> quant_min() const override { return quant_min_; }
  std::optional<int64_t> quant_max() const override { return quant_max_; }
  std::optional<int64_t> ch_axis() const override { return observer_->ch_axis(); }
  bool is_dynamic() const override { return observer_->is_dynamic(); }
  double eps() const override { return buffer("eps").item(); }
  const std::shared_ptr<Observer>& activation_post_process() const { return observer_; }

  std::vector<std::pair<std::string, const Observer*>> children() const override {
    return {{"activation_post_process", observer_.get()}};
  }

 protected:
  bool resizes_on_load(const std::string& key) const override {
    return key == "scale" || key == "zero_point";
  }

 private:
  void set_qparams(const QParams& qparams);
  Tensor fake_quantized(const Tensor& x);

  std::shared_ptr<Observer> observer_;
  int64_t quant_min_;
  int64_t quant_max_;
  bool use_grad_scaling_;
};

}  // namespace pt2q
