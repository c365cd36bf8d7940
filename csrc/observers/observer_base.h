// What all built-in observers and fake-quantize modules share: named buffers with PyTorch's state
// keys, printing as an nn.Module, the checked constructor arguments of
// UniformQuantizationObserverBase (SPEC section 2.1).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pt2q/observer.h"
#include "tensor/qparams.h"

namespace pt2q {

constexpr double kFloatEps = 1.1920928955078125e-07;  // torch.finfo(torch.float32).eps

// An observer with named buffers.
class StatefulObserver : public Observer {
 public:
  using Buffers = std::vector<std::pair<std::string, Tensor>>;

  std::string repr() const override;
  std::map<std::string, Tensor> state_dict() const override;
  // Copies values into the buffers. Throws RuntimeError listing missing and unexpected keys and
  // sizes that differ; buffers that grow with the data take the size of what is loaded.
  void load_state_dict(const std::map<std::string, Tensor>& state) override;

  // Own buffers in order of registration, and those of children under "child.".
  virtual Buffers named_buffers() const { return buffers_; }
  void register_buffer(const std::string& name, Tensor tensor);
  // After a member-wise copy: gives this object buffers (and children) that it does not share.
  virtual void own_buffers();
  bool has_buffer(const std::string& name) const;
  Tensor& buffer(const std::string& name);  // throws KeyError
  const Tensor& buffer(const std::string& name) const;

  // Sub-modules: the observer of a fake-quantize module.
  virtual std::vector<std::pair<std::string, const Observer*>> children() const { return {}; }
  // The part between the brackets of repr: "min_val=0.0, max_val=1.0".
  virtual std::string extra_repr() const { return ""; }

 protected:
  void remove_buffer(const std::string& name);
  // Whether a loaded tensor of another shape replaces the buffer's.
  virtual bool resizes_on_load(const std::string&) const { return false; }
  // Reads a key an older PyTorch wrote under another name; returns the present name.
  virtual std::string present_key(const std::string& key) const { return key; }
  // Own keys that may be absent from a state (PyTorch's version 1 had none of them).
  virtual bool optional_key(const std::string&) const { return false; }

 private:
  Buffers buffers_;
};

// Body of clone() for a copyable class.
template <class C>
std::shared_ptr<Observer> clone_of(const C& observer) {
  auto copy = std::make_shared<C>(observer);
  copy->own_buffers();
  return copy;
}

// Base of observers proper; Python classes may derive from it.
class ObserverBase : public StatefulObserver {
 public:
  explicit ObserverBase(DType dtype, bool is_dynamic = false)
      : dtype_(dtype), is_dynamic_(is_dynamic) {}

  bool passes_through() const override { return true; }
  DType dtype() const override { return dtype_; }
  QScheme qscheme() const override { return qscheme_.value_or(QScheme::PerTensorAffine); }
  std::optional<int64_t> quant_min() const override { return quant_min_; }
  std::optional<int64_t> quant_max() const override { return quant_max_; }
  std::optional<int64_t> ch_axis() const override { return ch_axis_; }
  bool is_dynamic() const override { return is_dynamic_; }
  double eps() const override { return eps_; }
  QParams calculate_qparams() override;  // RuntimeError "calculate_qparams should not be called"
  void merge(const Observer& other) override;  // for observers without statistics: checks only

  void set_dtype(DType dtype) { dtype_ = dtype; }
  void set_qscheme(std::optional<QScheme> scheme) { qscheme_ = scheme; }
  void set_quant_min(std::optional<int64_t> v) { quant_min_ = v; }
  void set_quant_max(std::optional<int64_t> v) { quant_max_ = v; }
  void set_ch_axis(std::optional<int64_t> v) { ch_axis_ = v; }
  void set_is_dynamic(bool v) { is_dynamic_ = v; }
  virtual void set_eps(double v) { eps_ = v; }
  const std::optional<QScheme>& optional_qscheme() const { return qscheme_; }

 protected:
  // Throws ValueError unless `other` has this class and these settings.
  void check_mergeable(const Observer& other) const;

 private:
  DType dtype_;
  bool is_dynamic_;
  std::optional<QScheme> qscheme_;
  std::optional<int64_t> quant_min_;
  std::optional<int64_t> quant_max_;
  std::optional<int64_t> ch_axis_;
  double eps_ = kFloatEps;
};

struct UniformArgs {
  DType dtype = DType::QUInt8;
  QScheme qscheme = QScheme::PerTensorAffine;
  bool reduce_range = false;
  std::optional<int64_t> quant_min;
  std::optional<int64_t> quant_max;
  double eps = kFloatEps;
  bool is_dynamic = false;
};

// PyTorch's UniformQuantizationObserverBase.
class UniformObserverBase : public ObserverBase {
 public:
  explicit UniformObserverBase(const UniformArgs& args);

  double eps() const override;  // buffer "eps", float32 [1]
  void set_eps(double v) override;
  void reset_min_max_vals() override;

  bool reduce_range() const { return reduce_range_; }
  bool has_customized_qrange() const { return has_customized_qrange_; }

  // Scale and zero point of ranges under this observer's settings. Throws ValueError when a range
  // is NaN (the data held NaN) and warns when it is infinite.
  QParams calculate_from(const Tensor& min, const Tensor& max) const;

 protected:
  bool optional_key(const std::string& key) const override { return key == "eps"; }

 private:
  bool reduce_range_;
  bool has_customized_qrange_;
};

// Reads the named arguments of one constructor call and refuses what is left over.
class KwReader {
 public:
  KwReader(std::string class_name, KwArgs kwargs)
      : class_name_(std::move(class_name)), kwargs_(std::move(kwargs)) {}

  bool has(const std::string& name) const;  // given and not None
  DType dtype(const std::string& name, DType fallback);
  QScheme qscheme(const std::string& name, QScheme fallback);
  double number(const std::string& name, double fallback);
  int64_t integer(const std::string& name, int64_t fallback);
  std::optional<int64_t> optional_integer(const std::string& name);
  bool boolean(const std::string& name, bool fallback);
  std::string string(const std::string& name, const std::string& fallback);
  Value value(const std::string& name) { return take(name); }  // None when absent
  // The arguments every uniform observer takes; qscheme defaults to `scheme`.
  UniformArgs uniform(QScheme scheme = QScheme::PerTensorAffine);
  // Arguments not read yet, which then count as read.
  KwArgs take_rest();
  void finish() const;  // throws TypeError naming an argument that was not read

 private:
  Value take(const std::string& name);
  template <typename Fn>
  auto read(const std::string& name, Fn&& fn);

  std::string class_name_;
  KwArgs kwargs_;
};

// float32 scalar tensors hold running minima and maxima.
inline float* float_data(Tensor& t) { return t.mutable_data<float>(); }
inline const float* float_data(const Tensor& t) { return t.data<float>(); }
// The observed values as dense float32; `x` itself when it is that already.
Tensor observed_values(const Tensor& x);

}  // namespace pt2q
