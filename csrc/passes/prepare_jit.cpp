// prepare_jit: the common prepare with a JitQuantizer, then PyTorch's observer names. PyTorch puts
// an observer on the module whose forward holds the observed value and numbers inner modules first.
#include <algorithm>

#include "base/strings.h"
#include "passes/pt2e_passes.h"
#include "passes/qdq.h"
#include "pt2q/qconfig.h"
#include "tensor/affine.h"

namespace pt2q {
namespace {

using Path = std::vector<std::string>;

Path split_path(const std::string& path) { return path.empty() ? Path{} : split(path, '.'); }

Path path_of(const Node* n) {
  return n->meta.nn_module_stack.empty() ? Path{} : split_path(n->meta.nn_module_stack.back().path);
}

Path common(const Path& a, const Path& b) {
  const auto ends = std::mismatch(a.begin(), a.end(), b.begin(),
                                  b.begin() + static_cast<int64_t>(std::min(a.size(), b.size())));
  return {a.begin(), a.begin() + (ends.second - b.begin())};
}

// The modules in the order in which their forward ends: inner ones first.
class ModuleOrder {
 public:
  explicit ModuleOrder(const Graph& graph) {
    for (const Node* n = graph.first(); n != nullptr; n = n->next()) {
      for (const auto& level : n->meta.nn_module_stack) add(level.path);
    }
    add("");
  }
  // Inner modules before outer ones, then in the order of the first call.
  bool before(const std::string& a, const std::string& b) const {
    if (a == b) return false;
    if (b.empty() || starts_with(a, b + ".")) return true;
    if (a.empty() || starts_with(b, a + ".")) return false;
    return first_call_.at(a) < first_call_.at(b);
  }

 private:
  void add(const std::string& path) { first_call_.emplace(path, first_call_.size()); }
  std::map<std::string, size_t> first_call_;
};

struct Placed {
  Node* observer;
  std::string scope;
};

std::string scope_of(const Node* observer) {
  const Node* value = observer->arg_node(0);
  if (value->opcode() == OpCode::GetAttr && !observer->users().empty()) {
    return join(path_of(observer->users()[0]), ".");  // a weight: where it is used
  }
  Path scope = path_of(value);
  // Additions and the like are observed where they are called, others where their value is used.
  const Node* source = value->op_or_null() != nullptr && value->op().base_name() == "relu"
                           ? value->arg_node(0)
                           : value;
  if (source->op_or_null() != nullptr && source->op().quant.activations.size() > 1) {
    return join(common(scope, path_of(source)), ".");
  }
  for (const Node* user : observer->users()) scope = common(scope, path_of(user));
  return join(scope, ".");
}

// Passed on from another value, or fixed by the operator: PyTorch observes nothing there.
bool has_known_parameters(const GraphModule& model, const Node* observer) {
  const std::string type = model.module(observer->target())->type_name();
  const Node* value = observer->arg_node(0);
  return type == "DerivedObserverOrFakeQuantize" ||
         (type == "FixedQParamsObserver" && value->op_or_null() != nullptr &&
          value->op().quant.output == QuantFacts::Output::Fixed);
}

void rename_observers(GraphModule& model) {
  std::vector<Placed> placed;
  for (Node* n : model.graph().nodes()) {
    if (n->opcode() == OpCode::CallModule) placed.push_back({n, scope_of(n)});
  }
  const ModuleOrder order(model.graph());
  std::stable_sort(placed.begin(), placed.end(), [&](const Placed& a, const Placed& b) {
    return order.before(a.scope, b.scope);
  });
  std::map<std::string, std::string> names;
  size_t own = 0;
  size_t derived = 0;
  for (const Placed& p : placed) {
    if (names.count(p.observer->target()) > 0) continue;
    const bool is_own = !has_known_parameters(model, p.observer);
    const std::string leaf = is_own ? cat("_observer_", own++) : cat("_passed_on_", derived++);
    names[p.observer->target()] = p.scope.empty() ? leaf : p.scope + "." + leaf;
  }
  for (const Placed& p : placed) p.observer->set_target(names.at(p.observer->target()));
  for (const auto& [old_name, name] : names) {
    const auto module = model.module(old_name);
    model.delete_module(old_name);
    model.set_module(name, module);
  }
}

// quant_min and quant_max of every quantize and dequantize become those of the dtype.
void widen_ranges(GraphModule& model) {
  for (Node* n : model.graph().nodes()) {
    if (!is_quantize(n) && !is_dequantize(n)) continue;
    const int dtype_at = n->op().schema.index_of("dtype");
    const QuantRange range = quant_bounds(n->arg(static_cast<size_t>(dtype_at)).as<DType>());
    n->set_arg(static_cast<size_t>(n->op().schema.index_of("quant_min")), Value(range.min));
    n->set_arg(static_cast<size_t>(n->op().schema.index_of("quant_max")), Value(range.max));
  }
}

// The convolution or linear operator behind quantize → dequantize, where nothing else uses the
// chain.
Node* sole_compute_behind(Node* dq) {
  if (dq == nullptr || !is_dequantize(dq) || dq->users().size() != 1) return nullptr;
  Node* q = dq->arg_node(0);
  if (q == nullptr || !is_quantize(q) || q->users().size() != 1) return nullptr;
  Node* root = q->arg_node(0);
  if (root->op_or_null() == nullptr || root->users().size() != 1) return nullptr;
  const std::string base = root->op().base_name();
  return base == "conv1d" || base == "conv2d" || base == "conv3d" || base == "linear" ? root
                                                                                      : nullptr;
}

}  // namespace

bool fuse_sums(GraphModule& model) {
  bool changed = false;
  for (Node* add : model.graph().nodes()) {
    if (!add->is_call("aten.add.Tensor")) continue;
    for (const size_t i : {size_t{0}, size_t{1}}) {
      const Node* other = add->arg_node(1 - i);
      Node* root = sole_compute_behind(add->arg_node(i));
      if (root == nullptr || other == nullptr || !is_dequantize(other)) continue;
      add->set_arg(i, root);
      changed = true;
      break;
    }
  }
  return model.graph().eliminate_dead_code() || changed;
}

void convert_jit(GraphModule& model) {
  convert_pt2e(model, false, false);
  widen_ranges(model);
  fuse_sums(model);
  fold_quantize(model);
  model.delete_unused();
}

void prepare_jit(GraphModule& model, QConfigByPath configs, bool is_dynamic) {
  JitQuantizer quantizer(std::move(configs), is_dynamic);
  prepare_pt2e(model, quantizer);
  rename_observers(model);
}

}  // namespace pt2q
