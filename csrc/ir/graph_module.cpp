#include "pt2q/graph_module.h"

#include <algorithm>
#include <unordered_set>

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {

void Module::load_state_dict(const std::map<std::string, Tensor>& state) {
  if (!state.empty()) {
    throw KeyError(cat(type_name(), ": unexpected key '", state.begin()->first, "' in state_dict"));
  }
}

std::unique_ptr<GraphModule> GraphModule::deep_copy() const {
  auto copy = std::make_unique<GraphModule>();
  std::unordered_map<const Node*, Node*> mapping;
  for (const Node* n : graph_->nodes()) mapping[n] = copy->graph().copy_node(*n, mapping);
  for (const std::string& name : attr_order_) {
    const Attr& a = attrs_.at(name);
    copy->set_attr(name, a.tensor.defined() ? a.tensor.clone() : a.tensor, a.kind);
  }
  copy->modules_ = modules_;
  copy->exported = exported;
  copy->training = training;
  copy->prepared = prepared;
  copy->input_names = input_names;
  copy->extras = extras;
  return copy;
}

const Attr& GraphModule::attr(const std::string& name) const {
  const auto it = attrs_.find(name);
  if (it == attrs_.end()) throw KeyError(cat("the module has no attribute '", name, "'"));
  return it->second;
}

void GraphModule::set_attr(const std::string& name, Tensor tensor, AttrKind kind) {
  if (attrs_.count(name) == 0) attr_order_.push_back(name);
  attrs_[name] = Attr{std::move(tensor), kind};
  graph_->touch();
}

void GraphModule::delete_attr(const std::string& name) {
  attrs_.erase(name);
  attr_order_.erase(std::remove(attr_order_.begin(), attr_order_.end(), name), attr_order_.end());
  graph_->touch();
}

std::string GraphModule::unique_attr(const std::string& prefix) {
  int i = 0;
  while (attrs_.count(prefix + std::to_string(i)) > 0 ||
         modules_.count(prefix + std::to_string(i)) > 0)
    ++i;
  return prefix + std::to_string(i);
}

Tensor GraphModule::attr_of(const Node& node) const {
  try {
    return attr(node.target()).tensor;
  } catch (Error& e) {
    e.at_node(node.name());
    throw;
  }
}

std::shared_ptr<Module> GraphModule::module(const std::string& name) const {
  const auto it = modules_.find(name);
  if (it == modules_.end()) throw KeyError(cat("the module has no sub-module '", name, "'"));
  return it->second;
}

void GraphModule::set_module(const std::string& name, std::shared_ptr<Module> module) {
  modules_[name] = std::move(module);
  graph_->touch();
}

void GraphModule::delete_module(const std::string& name) {
  modules_.erase(name);
  graph_->touch();
}

void GraphModule::delete_unused() {
  std::unordered_set<std::string> used;
  for (const Node* n : graph_->nodes()) {
    if (n->opcode() == OpCode::GetAttr || n->opcode() == OpCode::CallModule)
      used.insert(n->target());
  }
  const std::vector<std::string> names = attr_order_;
  for (const std::string& name : names) {
    if (used.count(name) == 0) delete_attr(name);
  }
  for (auto it = modules_.begin(); it != modules_.end();) {
    it = used.count(it->first) == 0 ? modules_.erase(it) : std::next(it);
  }
}

std::map<std::string, Tensor> GraphModule::state_dict() const {
  std::map<std::string, Tensor> state;
  for (const auto& [name, a] : attrs_) {
    if (a.kind == AttrKind::Parameter || a.kind == AttrKind::Buffer) state[name] = a.tensor;
  }
  for (const auto& [name, module] : modules_) {
    for (const auto& [key, tensor] : module->state_dict()) state[name + "." + key] = tensor;
  }
  return state;
}

void GraphModule::load_state_dict(const std::map<std::string, Tensor>& state, bool strict) {
  std::map<std::string, std::map<std::string, Tensor>> of_module;
  std::vector<std::string> unexpected;
  std::vector<std::string> missing;
  for (const auto& [key, tensor] : state) {
    const auto it = attrs_.find(key);
    if (it != attrs_.end()) {
      if (it->second.tensor.sizes() != tensor.sizes()) {
        throw ValueError(cat("load_state_dict: size mismatch for ", key, ": the checkpoint has ",
                             list_to_string(tensor.sizes()), ", the model ",
                             list_to_string(it->second.tensor.sizes())));
      }
      continue;
    }
    const size_t dot = key.rfind('.');
    const auto owner = std::find_if(modules_.begin(), modules_.end(),
                                    [&](const auto& m) { return starts_with(key, m.first + "."); });
    if (dot == std::string::npos || owner == modules_.end()) {
      unexpected.push_back(key);
    } else {
      of_module[owner->first][key.substr(owner->first.size() + 1)] = tensor;
    }
  }
  for (const auto& [name, tensor] : state_dict()) {
    if (state.count(name) == 0) missing.push_back(name);
  }
  if (strict && (!unexpected.empty() || !missing.empty())) {
    throw KeyError(cat("load_state_dict: missing keys ", list_to_string(missing),
                       ", unexpected keys ", list_to_string(unexpected)));
  }
  for (const auto& [key, tensor] : state) {
    const auto it = attrs_.find(key);
    if (it != attrs_.end())
      set_attr(key, tensor.to(it->second.tensor.dtype()).clone(), it->second.kind);
  }
  for (const auto& [name, values] : of_module) modules_.at(name)->load_state_dict(values);
}

Value infer_node(const Node& node) {
  std::vector<Value> metas = node.args();
  bool known = true;
  const std::function<void(Value&)> replace = [&](Value& v) {
    if (v.is<Node*>()) {
      v = v.as<Node*>()->meta.val;
      if (v.is_none()) known = false;
    } else if (v.is<Value::List>()) {
      for (Value& item : v.as<Value::List>()) replace(item);
    }
  };
  for (Value& v : metas) replace(v);
  if (!known) return Value();
  try {
    return node.op().infer(Args(node.op(), metas));
  } catch (Error& e) {
    e.at_op(node.target()).at_node(node.name());
    throw;
  }
}

void GraphModule::propagate_shapes() {
  for (Node* n = graph_->first(); n != nullptr; n = n->next()) {
    switch (n->opcode()) {
      case OpCode::GetAttr: {
        const Tensor t = attr_of(*n);
        n->meta.val = TensorMeta{to_sym(t.sizes()), t.dtype(), t.device()};
        break;
      }
      case OpCode::CallFunction:
        n->meta.val = infer_node(*n);
        break;
      case OpCode::CallModule:
        if (Node* input = n->arg_node(0)) n->meta.val = input->meta.val;
        break;
      default:
        break;
    }
  }
}

}  // namespace pt2q
