// torchao's affine observers: one scale and zero point per block of any granularity (SPEC 2.2).
#pragma once

#include <optional>

#include "observers/minmax.h"
#include "observers/observer_base.h"
#include "tensor/affine_blocks.h"

namespace pt2q {

// Which elements share a scale. `values` holds the axis of PerAxis, the size of PerGroup, the
// dimension of PerRow, the block of PerBlock.
struct Granularity {
  enum class Kind { PerTensor, PerAxis, PerGroup, PerRow, PerToken, PerBlock };
  Kind kind = Kind::PerTensor;
  Shape values;

  // The block of a tensor of these sizes. Throws AssertionError when it does not divide them,
  // IndexError for a dimension the tensor lacks.
  Shape block_size(const Shape& sizes) const;
  std::string to_string() const;  // "PerGroup(group_size=128)"
  // From the name and its values: {"PerGroup", {128}}; throws ValueError "Unsupported Granularity".
  static Granularity parse(const std::string& name, const Shape& values);
};

struct AffineArgs {
  MappingType mapping_type = MappingType::Asymmetric;
  DType target_dtype = DType::UInt8;
  Granularity granularity;
  std::optional<int64_t> quant_min;
  std::optional<int64_t> quant_max;
  std::optional<double> eps;
  std::optional<DType> scale_dtype;
  std::optional<DType> zero_point_dtype;
  bool preserve_zero = true;
  ZeroPointDomain zero_point_domain = ZeroPointDomain::Int;
  bool is_dynamic = false;
};
// Arguments by name as recipes hold them: mapping_type and zero_point_domain as names, granularity
// as a list of its name and values. Arguments no affine observer knows are ignored, as in torchao.
AffineArgs affine_args(KwReader* reader);

// Buffers min_val and max_val, in the dtype of the data and one value per block, appear with the
// first batch. (torchao keeps them as attributes outside its state dict; its empty state loads.)
class AffineQuantizedObserverBase : public StatefulObserver {
 public:
  explicit AffineQuantizedObserverBase(AffineArgs args) : args_(std::move(args)) {}

  bool passes_through() const override { return true; }
  DType dtype() const override { return args_.target_dtype; }
  QScheme qscheme() const override { return QScheme::PerTensorAffine; }
  std::optional<int64_t> quant_min() const override { return args_.quant_min; }
  std::optional<int64_t> quant_max() const override { return args_.quant_max; }
  bool is_dynamic() const override { return args_.is_dynamic; }
  double eps() const override { return args_.eps.value_or(kFloatEps); }
  // torchao.quantize_affine and dequantize_affine, with torchao.choose_qparams_affine in front when
  // dynamic. Throws AssertionError when no batch was seen.
  bool convert(GraphModule& model, Node* observer_node) override;
  void reset_min_max_vals() override;
  void load_state_dict(const std::map<std::string, Tensor>& state) override;

  const AffineArgs& args() const { return args_; }
  const std::optional<Shape>& block_size() const { return block_size_; }  // after a batch
  const std::optional<DType>& original_dtype() const { return original_dtype_; }

 protected:
  // Remembers block size and dtype of x.
  const BlockGrid& see(const Tensor& x);
  QParams params_from_range() const;
  void check_mergeable(const Observer& other) const;
  bool resizes_on_load(const std::string&) const override { return true; }
  bool optional_key(const std::string&) const override { return true; }

 private:
  AffineArgs args_;
  std::optional<Shape> block_size_;
  std::optional<DType> original_dtype_;
  std::optional<BlockGrid> grid_;
};

class AffineQuantizedMinMaxObserver : public AffineQuantizedObserverBase {
 public:
  using AffineQuantizedObserverBase::AffineQuantizedObserverBase;
  static std::shared_ptr<AffineQuantizedMinMaxObserver> make(KwReader args);

  std::string type_name() const override { return "AffineQuantizedMinMaxObserver"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  // Throws AssertionError when the blocks are not those of earlier batches.
  Tensor forward(const Tensor& x) override;
  QParams calculate_qparams() override { return params_from_range(); }
  void merge(const Observer& other) override;
  void own_buffers() override;

 protected:
  // Takes the ranges of one batch into account; both of the running ones' shape and dtype.
  virtual void update(const Tensor& min, const Tensor& max);

 private:
  Tensor batch_min_;
  Tensor batch_max_;
};

class AffineQuantizedMovingAverageMinMaxObserver : public AffineQuantizedMinMaxObserver {
 public:
  // Throws NotImplementedError when dynamic and averaging_constant is not 1.
  AffineQuantizedMovingAverageMinMaxObserver(double averaging_constant, AffineArgs args);
  static std::shared_ptr<AffineQuantizedMovingAverageMinMaxObserver> make(KwReader args);

  std::string type_name() const override { return "AffineQuantizedMovingAverageMinMaxObserver"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  // Not supported: blocks may be of any dtype, whose rounding an average cannot undo.
  void merge(const Observer& other) override { Observer::merge(other); }
  double averaging_constant() const { return averaging_constant_; }

 protected:
  void update(const Tensor& min, const Tensor& max) override;

 private:
  double averaging_constant_;
};

class AffineQuantizedPlaceholderObserver : public AffineQuantizedObserverBase {
 public:
  using AffineQuantizedObserverBase::AffineQuantizedObserverBase;
  static std::shared_ptr<AffineQuantizedPlaceholderObserver> make(KwReader args);

  std::string type_name() const override { return "AffineQuantizedPlaceholderObserver"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  Tensor forward(const Tensor& x) override;
  QParams calculate_qparams() override;  // RuntimeError
  void merge(const Observer& other) override { check_mergeable(other); }
};

}  // namespace pt2q
