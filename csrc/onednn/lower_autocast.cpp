// int8-mixed-bf16: operands of convolutions and matrix products become bfloat16, and everything
// behind them takes what comes, until a quantize. Where both operands are dequantized integers the
// int8 fusion swallows the casts again, and bfloat16 is left as the result's dtype.
#include <unordered_map>

#include "ir/autocast.h"
#include "onednn/lower.h"

namespace pt2q {
namespace {

class Caster {
 public:
  explicit Caster(Graph& graph) : graph_(graph) {}

  bool run() {
    for (Node* n : graph_.nodes()) {
      if (n->opcode() != OpCode::CallFunction) continue;
      const auto dtype = autocast_dtype(n->op());
      if (dtype) cast_inputs(n, *dtype);
      n->meta.val = infer_node(*n);
    }
    return changed_;
  }

 private:
  void cast_inputs(Node* n, DType dtype) {
    const DType from = dtype == DType::BFloat16 ? DType::Float32 : DType::BFloat16;
    for (Node* input : n->input_nodes()) {
      if (dtype_of(input) == from) n->replace_input_with(input, cast_of(input, dtype));
    }
  }

  // One cast per tensor, right behind it.
  Node* cast_of(Node* input, DType dtype) {
    Node*& cast = casts_[input];
    if (cast != nullptr) return cast;
    Node* after = input;  // inputs stay in front of everything else
    if (input->opcode() == OpCode::Placeholder) {
      while (after->next() != nullptr && after->next()->opcode() == OpCode::Placeholder)
        after = after->next();
    }
    const auto point = graph_.inserting_after(after);
    cast = graph_.call_function("aten.to.dtype", {input, dtype});
    cast->meta.nn_module_stack = input->meta.nn_module_stack;
    cast->meta.val = infer_node(*cast);
    changed_ = true;
    return cast;
  }

  Graph& graph_;
  std::unordered_map<Node*, Node*> casts_;
  bool changed_ = false;
};

}  // namespace

bool cast_to_bfloat16(GraphModule& module) { return Caster(module.graph()).run(); }

Node* behind_cast(Node* node) {
  if (node == nullptr || !node->is_call("aten.to.dtype") || dtype_of(node) != DType::BFloat16)
    return node;
  Node* source = node->arg_node(0);
  return dtype_of(source) == DType::Float32 ? source : node;
}

}  // namespace pt2q
