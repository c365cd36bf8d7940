// Values of nodes that depend on parameters, buffers and literals only.
#pragma once

#include <optional>
#include <unordered_map>

#include "pt2q/graph_module.h"

namespace pt2q {

class ConstantValues {
 public:
  explicit ConstantValues(const GraphModule& module) : module_(module) {}

  // Depends on get_attr nodes only, through operators that may be evaluated early.
  bool is_constant(const Node* node);
  // Evaluates with the reference kernels; the node must be constant. Values are kept until release.
  const Value& value(const Node* node);
  void release() { values_.clear(); }

 private:
  Value materialize(const Value& v);

  const GraphModule& module_;
  std::unordered_map<const Node*, bool> constant_;
  std::unordered_map<const Node*, Value> values_;
};

}  // namespace pt2q
