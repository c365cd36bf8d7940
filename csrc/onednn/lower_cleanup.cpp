// Freezing, identities, and quantize/dequantize pairs that cancel.
#include <algorithm>
#include <map>

#include "base/strings.h"
#include "onednn/lower.h"
#include "passes/constants.h"
#include "passes/qdq.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

// A dequantize, or something computed from one: stays in the graph, so that integers stay integers.
bool depends_on_dequantize(Node* n, std::map<Node*, bool>* known) {
  const auto it = known->find(n);
  if (it != known->end()) return it->second;
  bool depends = is_dequantize(n);
  for (Node* input : n->input_nodes()) depends = depends || depends_on_dequantize(input, known);
  return (*known)[n] = depends;
}

bool is_identity(const Node* n) {
  if (n->op_or_null() == nullptr || n->arg_node(0) == nullptr || n->is_impure()) return false;
  const std::string base = n->op().base_name();
  const bool by_name = n->op().traits.identity || base == "contiguous" || base == "clone";
  if (!by_name && !n->op().traits.view) return false;
  const auto in = shape_of(n->arg_node(0)), out = shape_of(n);
  if (!in || !out || *in != *out || dtype_of(n) != dtype_of(n->arg_node(0))) return false;
  // A view that keeps the shape keeps the order, unless it permutes or steps backwards.
  return by_name || base == "view" || base == "reshape" || base == "_unsafe_view" ||
         base == "flatten" || base == "expand" || base == "squeeze";
}

// A dimension of an input.
struct InputSize {
  SymInt size;
  Node* input;
  int64_t dim;
  Node* query = nullptr;  // its sym_size, once there is one
};

std::vector<InputSize> sizes_of(const Graph& graph) {
  std::vector<InputSize> found;
  for (Node* n = graph.first(); n != nullptr; n = n->next()) {
    const auto shape = n->opcode() == OpCode::Placeholder ? shape_of(n) : std::nullopt;
    for (size_t d = 0; shape && d < shape->size(); ++d) {
      const SymInt& size = (*shape)[d];
      const auto same = [&](const InputSize& s) { return s.size == size; };
      if (!size.is_constant() && std::none_of(found.begin(), found.end(), same))
        found.push_back({size, n, static_cast<int64_t>(d)});
    }
  }
  return found;
}

}  // namespace

bool read_sizes_of_inputs(GraphModule& module) {
  Graph& graph = module.graph();
  std::vector<InputSize> known = sizes_of(graph);
  Node* first = graph.first();
  while (first != nullptr && first->opcode() == OpCode::Placeholder) first = first->next();
  bool changed = false;
  for (Node* n : graph.nodes()) {
    if (!n->is_call("aten.sym_size.int") || !n->arg(1).is<int64_t>()) continue;
    const auto shape = shape_of(n->arg_node(0));
    if (!shape) continue;
    const int64_t dim = wrap_dim(n->arg(1).to_int(), static_cast<int64_t>(shape->size()));
    const SymInt& size = (*shape)[static_cast<size_t>(dim)];
    const auto it = std::find_if(known.begin(), known.end(),
                                 [&](const InputSize& s) { return s.size == size; });
    if (it == known.end()) continue;
    if (it->query == nullptr) {
      const auto point = graph.inserting_before(first);
      it->query = graph.call_function("aten.sym_size.int", {it->input, it->dim});
      it->query->meta.val = n->meta.val;
    }
    n->replace_all_uses_with(it->query);
    graph.erase_node(n);
    changed = true;
  }
  return changed;
}

bool freeze(GraphModule& module) {
  Graph& graph = module.graph();
  ConstantValues constants(module);
  std::map<Node*, bool> dequantized;
  bool changed = false;
  for (Node* n : graph.nodes()) {
    if (n->opcode() != OpCode::CallFunction || !constants.is_constant(n) ||
        depends_on_dequantize(n, &dequantized)) {
      continue;
    }
    const Value& v = constants.value(n);
    if (!v.is<Tensor>()) continue;
    const std::string name = module.unique_attr("_folded");
    const Tensor t = v.as<Tensor>().contiguous();
    module.set_attr(name, t, AttrKind::Constant);
    const auto point = graph.inserting_before(n);
    Node* attr = graph.get_attr(name);
    attr->meta = n->meta;
    attr->meta.val = TensorMeta{to_sym(t.sizes()), t.dtype(), t.device()};
    n->replace_all_uses_with(attr);
    changed = true;
  }
  constants.release();
  return graph.eliminate_dead_code() || changed;
}

bool remove_identities(GraphModule& module) {
  Graph& graph = module.graph();
  bool changed = false;
  for (Node* n : graph.nodes()) {
    if (!is_identity(n)) continue;
    n->replace_all_uses_with(n->arg_node(0));
    graph.erase_node(n);
    changed = true;
  }
  // Equal quantize nodes of one tensor are one, and so are dequantize nodes with parameters from
  // run time (patterns look for them).
  for (Node* n : graph.nodes()) {
    if (n->erased()) continue;
    std::vector<Node*> quantizes;
    for (Node* user : n->users()) {
      const bool dynamic = is_dequantize(user) && user->arg_node(1) != nullptr &&
                           user->arg_node(1)->is_call("_operator.getitem");
      if ((is_quantize(user) || dynamic) && user->arg_node(0) == n) quantizes.push_back(user);
    }
    for (size_t i = 0; i < quantizes.size(); ++i) {
      for (size_t j = i + 1; j < quantizes.size(); ++j) {
        Node* a = quantizes[i];
        Node* b = quantizes[j];
        if (a->erased() || b->erased() || a->target() != b->target() || a->args() != b->args())
          continue;
        if (b->before(a)) std::swap(a, b);
        b->replace_all_uses_with(a);
        graph.erase_node(b);
        changed = true;
      }
    }
  }
  return changed;
}

bool cancel_qdq(GraphModule& module) {
  Graph& graph = module.graph();
  bool changed = false;
  for (Node* n : graph.nodes()) {
    const auto q = read_quantize(module, n);
    if (!q) continue;
    const auto dq = read_dequantize(module, q->input);
    if (!dq || !same_parameters(*q, *dq)) continue;
    n->replace_all_uses_with(dq->input);
    changed = true;
  }
  return graph.eliminate_dead_code() || changed;
}

bool remove_dead(GraphModule& module) {
  const bool changed = module.graph().eliminate_dead_code();
  module.delete_unused();
  return changed;
}

}  // namespace pt2q
