// Taking the activations of named modules out of quantization while their weights stay in it.
#include <algorithm>
#include <functional>
#include <set>

#include "base/log.h"
#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/quantizers.h"

namespace pt2q {
namespace {

void for_each_spec(const std::vector<Node*>& nodes,
                   const std::function<void(const EdgeOrNode&, SpecPtr*)>& fn) {
  for (Node* n : nodes) {
    const auto& annotation = n->meta.quantization_annotation;
    if (!annotation) continue;
    for (auto& [input, spec] : annotation->input_qspec_map) fn({input, n}, &spec);
    fn(n, &annotation->output_qspec);
  }
}

// What shares a spec that is gone has none either: the operators between stay in float.
void clear_dangling(const std::vector<Node*>& nodes, const std::set<EdgeOrNode>& cleared) {
  bool changed = true;
  std::set<EdgeOrNode> gone = cleared;
  while (changed) {
    changed = false;
    for_each_spec(nodes, [&](const EdgeOrNode& at, SpecPtr* spec) {
      const auto* shared = dynamic_cast<const SharedQuantizationSpec*>(spec->get());
      if (shared == nullptr || gone.count(shared->edge_or_node) == 0) return;
      *spec = nullptr;
      gone.insert(at);
      changed = true;
    });
  }
}

}  // namespace

void leave_activations_float(GraphModule& model, const std::string& module_name) {
  const auto inside = get_module_name_filter(module_name);
  const std::vector<Node*> nodes = model.graph().nodes();
  const auto is_site = [&](const Node* n) {
    return n->opcode() == OpCode::CallFunction && inside(n);
  };
  if (std::none_of(nodes.begin(), nodes.end(), is_site)) {
    warn(cat("No operator lies inside a module named '", module_name,
             "': no activation is left in float."));
    return;
  }
  std::set<EdgeOrNode> cleared;
  for_each_spec(nodes, [&](const EdgeOrNode& at, SpecPtr* spec) {
    if (*spec == nullptr || !is_site(at.producer)) return;
    *spec = nullptr;
    cleared.insert(at);
  });
  clear_dangling(nodes, cleared);
}

}  // namespace pt2q
