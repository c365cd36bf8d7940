// Observers: modules that collect statistics of the tensors passing through them and turn them into
// a scale and a zero point (SPEC section 2). One instance must not be called by two threads at
// once.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pt2q/graph_module.h"
#include "pt2q/qscheme.h"

namespace pt2q {

struct QParams {
  Tensor scale;  // float32, shape [1] or [channels]
  // Same shape; int32 for affine, int64 for symmetric, float32 for float-qparams. Undefined for the
  // affine (per-block) observers' domain without zero points.
  Tensor zero_point;
};

// Named constructor arguments as with_args stores them: dtype, quant_min, quant_max, qscheme (as
// its name), eps, ch_axis, averaging_constant, bins, is_dynamic, reduce_range, ...
using KwArgs = std::map<std::string, Value>;

// The part of every observer and fake-quantize that prepare and convert rely on.
class Observer : public Module {
 public:
  virtual DType dtype() const = 0;  // target dtype; Float32 for "do not quantize"
  virtual QScheme qscheme() const = 0;
  virtual std::optional<int64_t> quant_min() const = 0;
  virtual std::optional<int64_t> quant_max() const = 0;
  virtual std::optional<int64_t> ch_axis() const { return std::nullopt; }
  virtual bool is_dynamic() const { return false; }
  virtual double eps() const = 0;
  // Throws RuntimeError for observers that have none (placeholder, no-op).
  virtual QParams calculate_qparams() = 0;
  // Adds the statistics of another observer of the same class and settings, as if this one had also
  // seen the other's data, after its own. Throws ValueError for different classes or settings, and
  // NotImplementedError for classes without statistics to add. Exact for minima and maxima and for
  // GridHistogramObserver; see HistogramObserver and MovingAverage for their bounds.
  virtual void merge(const Observer& other);
  // Replaces the node of `model` that calls this observer by what stands for it after convert_pt2e;
  // false: convert_pt2e writes quantize and dequantize operators from the members above.
  virtual bool convert(GraphModule& model, Node* observer_node);
  // A copy with statistics of its own; throws NotImplementedError for classes without one.
  virtual std::shared_ptr<Observer> clone() const;
  // Forgets what was observed; throws NotImplementedError for observers without a range.
  virtual void reset_min_max_vals();
};

// A recipe for observers, what Class.with_args(...) returns: prints, compares and saves.
struct ObserverCtr {
  std::string class_name;  // "HistogramObserver"
  KwArgs kwargs;
  // The `observer` argument of fake-quantize classes when it is a recipe of its own. A built-in
  // class without arguments may also be named in kwargs: {"observer", "MinMaxObserver"}.
  std::shared_ptr<const ObserverCtr> observer;
  // Makes a new instance; the recipe passed has its final arguments.
  std::function<std::shared_ptr<Observer>(const ObserverCtr&)> create;

  explicit operator bool() const { return static_cast<bool>(create); }
  ObserverCtr with_args(const KwArgs& more) const;  // later arguments win
  ObserverCtr with_observer(ObserverCtr nested) const;
  // New instance; `overrides` win over kwargs. Throws TypeError for arguments the class lacks.
  std::shared_ptr<Observer> operator()(const KwArgs& overrides = {}) const;
  std::string to_string() const;  // "HistogramObserver(eps=0.000244140625)"
};
bool operator==(const ObserverCtr& a, const ObserverCtr& b);  // class and arguments

// The built-in class of that name ("MinMaxObserver", "HistogramObserver", ...); throws KeyError.
// Arguments and defaults of every class are PyTorch's (SPEC section 2.2).
ObserverCtr observer_class(const std::string& class_name);
std::vector<std::string> observer_class_names();

}  // namespace pt2q
