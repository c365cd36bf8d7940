// Quantize operators of constants are evaluated: weights become integers (SPEC 5.6). Constants that
// have nothing to do with quantization stay as they are.
#include "passes/constants.h"
#include "passes/pt2e_passes.h"
#include "passes/qdq.h"

namespace pt2q {

bool fold_quantize(GraphModule& module) {
  Graph& graph = module.graph();
  ConstantValues constants(module);
  bool changed = false;
  int number = 0;
  for (Node* q : graph.nodes()) {
    if (!is_quantize(q) || !constants.is_constant(q)) continue;
    const Tensor value = constants.value(q).as<Tensor>();
    constants.release();  // at most one weight is held twice
    std::string name;
    do {
      name = cat("_frozen_param", number++);
    } while (module.has_attr(name));
    module.set_attr(name, value, AttrKind::Buffer);
    const auto point = graph.inserting_before(q);
    Node* frozen = graph.get_attr(name);
    frozen->meta = q->meta;
    q->replace_all_uses_with(frozen);
    const std::string old_name = q->name();
    graph.erase_node(q);
    graph.rename(frozen, old_name);
    changed = true;
  }
  graph.eliminate_dead_code();
  return changed;
}

}  // namespace pt2q
