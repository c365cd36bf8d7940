// One dequantize per annotated user, so that each pattern owns its inputs (SPEC 5.4 and 5.5).
#include <algorithm>

#include "passes/pt2e_passes.h"
#include "passes/qdq.h"

namespace pt2q {
namespace {

std::vector<Node*> data_users(const Node* node) {
  std::vector<Node*> out;
  for (Node* user : node->users()) {
    if (!is_size_query(user)) out.push_back(user);
  }
  return out;
}

// choose_qparams → getitem → quantize → dequantize
bool is_dynamic(const Node* dq) {
  const Node* q = dq->arg_node(0);
  if (q == nullptr || !is_quantize(q)) return false;
  const Node* scale = q->arg_node(1);
  return scale != nullptr && scale->is_call("_operator.getitem") &&
         scale->arg_node(0)->is_call("quantized_decomposed.choose_qparams.tensor");
}

}  // namespace

bool duplicate_dq(GraphModule& module) {
  Graph& graph = module.graph();
  bool changed = false;
  for (Node* dq : graph.nodes()) {
    if (!is_dequantize(dq)) continue;
    const std::vector<Node*> users = data_users(dq);
    if (users.size() <= 1 || is_dynamic(dq)) continue;
    std::unordered_map<const Node*, Node*> same;
    for (Node* input : dq->input_nodes()) same[input] = input;
    for (Node* user : users) {
      if (!is_valid_annotation(user->meta.quantization_annotation.get())) continue;
      const auto point = graph.inserting_after(dq);
      user->replace_input_with(dq, graph.copy_node(*dq, same));
      changed = true;
    }
  }
  graph.eliminate_dead_code();
  return changed;
}

// --- metadata ------------------------------------------------------------------------------------

namespace {

void port(Node* to, const Node* from) {
  to->meta.stack_trace = from->meta.stack_trace;
  to->meta.nn_module_stack = from->meta.nn_module_stack;
  const auto tag = from->meta.custom.find("quantization_tag");
  if (tag != from->meta.custom.end()) to->meta.custom["quantization_tag"] = tag->second;
  const auto set_by_user = from->meta.extras.find("quantization_tag");  // in Python: node.meta[...]
  if (set_by_user != from->meta.extras.end()) {
    to->meta.extras["quantization_tag"] = set_by_user->second;
  }
}

// The dequantize among the inputs of `user` that stands for `producer`; null when there is none.
Node* dequantize_for(const Node* producer, const Node* user) {
  for (Node* input : user->input_nodes()) {
    if (!is_dequantize(input)) continue;
    const Node* source = input;
    while (source != nullptr && (is_dequantize(source) || is_quantize(source)))
      source = source->arg_node(0);
    if (source == producer) return input;
  }
  return nullptr;
}

bool is_layout_change(const Node* n) {
  static const std::vector<std::string> kBases = {"flatten", "permute",   "permute_copy",
                                                  "squeeze", "transpose", "t",
                                                  "view",    "view_copy", "slice_copy"};
  return n->op_or_null() != nullptr &&
         std::find(kBases.begin(), kBases.end(), n->op().base_name()) != kBases.end();
}

void port_input(const Node* producer, Node* user) {
  Node* dq = dequantize_for(producer, user);
  Node* q = dq == nullptr ? nullptr : dq->arg_node(0);
  if (q == nullptr || !is_quantize(q)) return;
  port(dq, user);
  const Node* scale = q->arg_node(1);
  if (scale != nullptr && scale->is_call("_operator.getitem") &&
      is_choose_qparams(scale->arg_node(0))) {
    port(scale->arg_node(0), user);
    port(q, user);
    return;
  }
  std::vector<Node*> chain = {q};  // a constant's quantize belongs to the constant
  Node* source = q->arg_node(0);
  while (source != nullptr && is_layout_change(source)) {
    chain.push_back(source);
    source = source->arg_node(0);
  }
  if (source == nullptr || source->opcode() != OpCode::GetAttr) return;
  for (Node* n : chain) port(n, source);
}

}  // namespace

bool port_metadata(GraphModule& module) {
  for (Node* node : module.graph().nodes()) {
    const auto annotation = node->meta.quantization_annotation;
    if (!is_valid_annotation(annotation.get())) continue;
    for (const auto& [input, spec] : annotation->input_qspec_map) {
      if (spec) port_input(input, node);
    }
    const std::vector<Node*> users = data_users(node);
    if (annotation->output_qspec && !users.empty() && is_quantize(users.back())) {
      port(users.back(), node);
    }
  }
  return true;
}

bool retire_annotations(GraphModule& module) {
  for (Node* node : module.graph().nodes()) {
    auto& annotation = node->meta.quantization_annotation;
    if (!annotation) continue;
    const bool annotated = annotation->annotated;
    annotation = std::make_shared<QuantizationAnnotation>();
    annotation->annotated = annotated;
  }
  return true;
}

}  // namespace pt2q
