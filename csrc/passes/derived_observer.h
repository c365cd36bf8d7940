// DerivedObserverOrFakeQuantize: scale and zero point computed from those of other observers, e.g.
// a bias from input and weight (SPEC 2.2).
#pragma once

#include <memory>
#include <vector>

#include "pt2q/quantizer.h"

namespace pt2q {

class DerivedObserver : public Observer {
 public:
  // AssertionError for a per-channel scheme without ch_axis.
  DerivedObserver(const DerivedQuantizationSpec& spec,
                  std::vector<std::shared_ptr<Observer>> sources);

  Tensor forward(const Tensor& input) override { return input; }
  std::string type_name() const override { return "DerivedObserverOrFakeQuantize"; }
  std::string repr() const override;
  // "obs_or_fqs.<i>.<key>"
  std::map<std::string, Tensor> state_dict() const override;
  void load_state_dict(const std::map<std::string, Tensor>& state) override;

  DType dtype() const override { return spec_.dtype; }
  QScheme qscheme() const override { return spec_.qscheme.value_or(QScheme::PerTensorAffine); }
  std::optional<int64_t> quant_min() const override { return spec_.quant_min; }
  std::optional<int64_t> quant_max() const override { return spec_.quant_max; }
  std::optional<int64_t> ch_axis() const override { return spec_.ch_axis; }
  bool is_dynamic() const override { return spec_.is_dynamic; }
  double eps() const override { return 1.1920928955078125e-07; }
  // Its sources are observers of the model that merge on their own.
  void merge(const Observer& other) override;
  QParams calculate_qparams() override { return spec_.derive_qparams_fn(sources_); }
  const std::vector<std::shared_ptr<Observer>>& sources() const { return sources_; }

 private:
  DerivedQuantizationSpec spec_;
  std::vector<std::shared_ptr<Observer>> sources_;
};

}  // namespace pt2q
