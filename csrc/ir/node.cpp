// Nodes: arguments, uses and order; the graph that owns them is graph.cpp.
#include <algorithm>

#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/graph.h"

namespace pt2q {

const char* opcode_name(OpCode opcode) {
  switch (opcode) {
    case OpCode::Placeholder:
      return "placeholder";
    case OpCode::GetAttr:
      return "get_attr";
    case OpCode::CallFunction:
      return "call_function";
    case OpCode::CallModule:
      return "call_module";
    default:
      return "output";
  }
}

bool Node::is_call(const std::string& op_name) const {
  return op_ != nullptr && op_->name == op_name;
}

const OpDef& Node::op() const {
  if (op_ == nullptr)
    throw TypeError(cat("node '", name_, "' is a ", opcode_name(opcode_), ", not a call_function"));
  return *op_;
}

void Node::set_target(const std::string& target) {
  if (opcode_ == OpCode::CallFunction) {
    throw TypeError(cat("node '", name_, "': the operator of a call_function cannot be changed"),
                    "create a new node and replace the uses of this one");
  }
  target_ = target;
  graph_->touch();
}

bool Node::is_impure() const {
  if (op_ == nullptr) return false;
  if (op_->traits.impure) return true;
  const int training = op_->traits.training_arg;
  if (training < 0) return false;
  const Value& flag = args_.at(static_cast<size_t>(training));
  return flag.is_none() || !flag.is<bool>() || flag.to_bool();  // native_dropout(train=None) drops
}

Node* Node::arg_node(size_t i) const {
  return i < args_.size() && args_[i].is<Node*>() ? args_[i].as<Node*>() : nullptr;
}

void Node::set_arg(size_t i, Value value) {
  graph_->remove_uses(this);
  args_.at(i) = std::move(value);
  graph_->add_uses(this);
  graph_->touch();
}

void Node::set_args(std::vector<Value> args) {
  graph_->remove_uses(this);
  args_ = std::move(args);
  graph_->add_uses(this);
  graph_->touch();
}

std::vector<Node*> Node::input_nodes() const {
  std::vector<Node*> out;
  for (const Value& arg : args_) {
    for_each_node(arg, [&](Node* n) {
      if (std::find(out.begin(), out.end(), n) == out.end()) out.push_back(n);
    });
  }
  return out;
}

void Node::replace_input_with(Node* old_input, Node* new_input) {
  graph_->remove_uses(this);
  for (Value& arg : args_) {
    for_each_node(arg, [&](Node*& n) {
      if (n == old_input) n = new_input;
    });
  }
  graph_->add_uses(this);
}

void Node::replace_all_uses_with(Node* other, const std::unordered_set<Node*>& keep) {
  const std::vector<Node*> users = users_;
  for (Node* user : users) {
    if (user != other && keep.count(user) == 0) user->replace_input_with(this, other);
  }
}

bool Node::before(const Node* other) const {
  for (const Node* n = next_; n != nullptr; n = n->next_) {
    if (n == other) return true;
  }
  return false;
}

void stands_for(Node* node, const Node& original) {
  if (node == &original) return;
  node->meta.origin = original.meta.origin;
  const auto handle = original.meta.custom.find(kNumericDebugHandle);
  if (handle == original.meta.custom.end()) {
    node->meta.custom.erase(kNumericDebugHandle);
  } else {
    node->meta.custom[kNumericDebugHandle] = handle->second;
  }
}

}  // namespace pt2q
