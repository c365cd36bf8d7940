// scaled_dot_product_attention written out as products and a softmax, which have operands and
// results to quantize.
#include <cmath>

#include "base/log.h"
#include "base/strings.h"
#include "quantizers/inductor_recipe.h"

namespace pt2q {
namespace {

constexpr const char* kMark = "of_attention";
enum Position : size_t { kQuery, kKey, kValue, kMask, kDropout, kCausal, kScale, kGroups };

// Why an attention stays whole; empty when it does not.
std::string obstacle(const Node* n) {
  for (const size_t i : {kQuery, kKey, kValue}) {
    const Node* operand = n->arg_node(i);
    if (operand == nullptr || !is_float_tensor(operand)) return "operands that are not float32";
  }
  if (!(n->arg(kDropout) == Value(0.0))) return "dropout";
  if (n->arg(kCausal) == Value(true)) return "is_causal; give the mask as a float tensor";
  if (n->arg(kGroups) == Value(true)) return "grouped queries; repeat the keys";
  const Node* mask = n->arg_node(kMask);
  if (mask != nullptr && !is_float_tensor(mask)) {
    return "a boolean mask, with which a row may see nothing; give a float one of 0 and a large "
           "negative number";
  }
  return "";
}

double scale_of(const Node* n) {
  if (!n->arg(kScale).is_none()) return n->arg(kScale).to_double();
  const SymInt depth = n->arg_node(kQuery)->meta.val.as<TensorMeta>().sizes.back();
  return 1.0 / std::sqrt(static_cast<double>(depth.hint()));
}

void write_out(Graph& graph, Node* n) {
  const auto point = graph.inserting_before(n);
  const auto call = [&](const char* op, std::vector<Value> args) {
    Node* made = graph.call_function(op, std::move(args));
    made->meta = n->meta;
    made->meta.val = infer_node(*made);
    made->meta.custom[kMark] = Value(true);
    return made;
  };
  Node* turned = call("aten.transpose.int", {n->arg(kKey), -2, -1});
  Node* scores = call("aten.matmul.default", {n->arg(kQuery), turned});
  scores = call("aten.mul.Tensor", {scores, scale_of(n)});
  if (n->arg_node(kMask) != nullptr) scores = call("aten.add.Tensor", {scores, n->arg(kMask)});
  Node* probabilities = call("aten.softmax.int", {scores, -1});
  Node* result = call("aten.matmul.default", {probabilities, n->arg(kValue)});
  n->replace_all_uses_with(result);
  graph.erase_node(n);
}

}  // namespace

bool is_of_attention(const Node* node) { return node->meta.custom.count(kMark) != 0; }

void write_out_attention(GraphModule& model) {
  Graph& graph = model.graph();
  for (Node* n : graph.nodes()) {
    if (!n->is_call(kAttentionOp)) continue;
    const std::string why = obstacle(n);
    if (why.empty()) {
      write_out(graph, n);
    } else {
      warn(cat("Attention '", n->name(), "' is not quantized: ", why, "."));
    }
  }
}

}  // namespace pt2q
