// Signed activations become unsigned. The kernels multiply uint8 activations by int8 weights, which
// is what the instructions do; int8 ones would have to be shifted in each of them.
#include "onednn/lower.h"
#include "passes/qdq.h"

namespace pt2q {
namespace {

constexpr int64_t kShift = 128;

// `node`, a quantize or dequantize of int8 values, replaced by that of the values plus 128.
Node* shift(Graph& graph, Node* node, Node* input, const TensorQuant& q) {
  const auto point = graph.inserting_before(node);
  const char* target = is_quantize(node) ? "quantized_decomposed.quantize_per_tensor.default"
                                         : "quantized_decomposed.dequantize_per_tensor.default";
  Node* shifted =
      graph.call_function(target, {input, q.scale, q.zero_point + kShift, q.quant_min + kShift,
                                   q.quant_max + kShift, DType::UInt8});
  shifted->meta = node->meta;
  shifted->meta.val = infer_node(*shifted);
  node->replace_all_uses_with(shifted);
  graph.erase_node(node);
  return shifted;
}

// Whether nothing but equal dequantizes reads the integers.
bool only_dequantized(const GraphModule& module, const Node* quantize, const TensorQuant& q) {
  for (const Node* user : quantize->users()) {
    const auto dq = read_dequantize(module, user);
    if (!dq || !same_parameters(*dq, q)) return false;
  }
  return true;
}

}  // namespace

bool int8_to_uint8(GraphModule& module) {
  Graph& graph = module.graph();
  bool changed = false;
  for (Node* n : graph.nodes()) {
    const auto q = n->erased() ? std::nullopt : read_quantize(module, n);
    if (!q || q->dtype != DType::Int8 || !only_dequantized(module, n, *q)) continue;
    Node* integers = shift(graph, n, q->input, *q);
    const std::vector<Node*> users(integers->users().begin(), integers->users().end());
    for (Node* dequantize : users) shift(graph, dequantize, integers, *q);
    changed = true;
  }
  return changed;
}

}  // namespace pt2q
