// TorchScript-style quantization of captured graphs: a configuration per module path, observers at
// the places where PyTorch's prepare_jit puts them.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pt2q/graph_module.h"
#include "pt2q/quantizer.h"

namespace pt2q {

// Observer recipes for activations and weights.
struct QConfig {
  ObserverCtr activation;
  ObserverCtr weight;
};

// Module path → configuration; "" is the whole model, a longer path wins, null leaves in float.
using QConfigByPath = std::vector<std::pair<std::string, std::optional<QConfig>>>;

// Annotates a graph as prepare_jit observes one: inputs of convolution, linear and normalisation
// operators, their weights, and their results (after a relu that follows). Operators that move,
// select or average values pass quantization on.
class JitQuantizer : public Quantizer {
 public:
  // is_dynamic: weights, and the inputs of linear operators when the model runs.
  explicit JitQuantizer(QConfigByPath configs, bool is_dynamic = false);
  void annotate(GraphModule& model) override;
  std::string class_name() const override { return "JitQuantizer"; }

 private:
  class Walk;
  QConfigByPath configs_;
  bool is_dynamic_;
};

// Folds batch norms and inserts observers, named "<module>._observer_<number>" as PyTorch does.
void prepare_jit(GraphModule& model, QConfigByPath configs, bool is_dynamic = false);
// convert_pt2e for such a model. As in PyTorch's TorchScript and eager modes, integers use the
// whole range of their dtype: reduce_range only makes scales larger.
void convert_jit(GraphModule& model);

}  // namespace pt2q
