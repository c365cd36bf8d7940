// Node-by-node execution with the reference kernels.
#include <map>
#include <unordered_map>

#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/runtime.h"

namespace pt2q {
namespace {

using Environment = std::unordered_map<const Node*, Value>;

Value materialize(const Value& value, const Environment& env) {
  if (value.is<Node*>()) return env.at(value.as<Node*>());
  if (value.is<Value::List>()) {
    Value::List items;
    for (const Value& item : value.list()) items.push_back(materialize(item, env));
    return Value(std::move(items));
  }
  return value;
}

}  // namespace

Value run(GraphModule& model, const std::vector<Value>& inputs) {
  const auto placeholders = model.graph().placeholders();
  if (placeholders.size() != inputs.size()) {
    throw TypeError(cat("the model takes ", placeholders.size(), " inputs, got ", inputs.size()));
  }
  Environment env;
  size_t next_input = 0;
  for (const Node* n : model.graph().nodes()) {
    switch (n->opcode()) {
      case OpCode::Placeholder:
        env[n] = inputs[next_input++];
        break;
      case OpCode::GetAttr:
        env[n] = model.attr_of(*n);
        break;
      case OpCode::CallModule:
        env[n] = model.module(n->target())->forward(materialize(n->arg(0), env).as<Tensor>());
        break;
      case OpCode::CallFunction: {
        std::vector<Value> args;
        for (const Value& arg : n->args()) args.push_back(materialize(arg, env));
        try {
          env[n] = n->op().reference(Args(n->op(), args));
        } catch (Error& e) {
          e.at_op(n->target()).at_node(n->name());
          throw;
        }
        break;
      }
      case OpCode::Output:
        return materialize(n->arg(0), env);
    }
  }
  throw ValueError("the graph has no output node");
}

}  // namespace pt2q
