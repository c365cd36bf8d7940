#include "passes/constants.h"

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {

bool ConstantValues::is_constant(const Node* node) {
  if (node->opcode() == OpCode::GetAttr) return true;
  if (node->op_or_null() == nullptr || node->is_impure()) return false;
  const auto known = constant_.find(node);
  if (known != constant_.end()) return known->second;
  // Nodes without tensor inputs (arange, zeros ...) stay: they are cheaper to make than to store.
  const std::vector<Node*> inputs = node->input_nodes();
  bool constant = !inputs.empty();
  for (const Node* input : inputs) constant = constant && is_constant(input);
  return constant_[node] = constant;
}

Value ConstantValues::materialize(const Value& v) {
  if (v.is<Node*>()) return value(v.as<Node*>());
  if (!v.is<Value::List>()) return v;
  Value::List items;
  for (const Value& item : v.list()) items.push_back(materialize(item));
  return Value(std::move(items));
}

const Value& ConstantValues::value(const Node* node) {
  const auto known = values_.find(node);
  if (known != values_.end()) return known->second;
  if (node->opcode() == OpCode::GetAttr) return values_[node] = module_.attr_of(*node);
  std::vector<Value> args;
  for (const Value& arg : node->args()) args.push_back(materialize(arg));
  try {
    return values_[node] = node->op().reference(Args(node->op(), args));
  } catch (Error& e) {
    e.at_op(node->target()).at_node(node->name());
    throw;
  }
}

}  // namespace pt2q
