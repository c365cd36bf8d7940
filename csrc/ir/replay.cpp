#include "ir/replay.h"

#include <unordered_map>

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using Environment = std::unordered_map<const Node*, Value>;

Value materialize(const Value& value, const Environment& env) {
  if (value.is<Node*>()) return env.at(value.as<Node*>());
  if (!value.is<Value::List>()) return value;
  Value::List items;
  for (const Value& item : value.list()) items.push_back(materialize(item, env));
  return Value(std::move(items));
}

// The recorded node keeps what the first capture knew of it.
class InheritMeta {
 public:
  explicit InheritMeta(const NodeMeta& meta) : tracer_(Tracer::current()) {
    if (tracer_ != nullptr) tracer_->inherited_meta = &meta;
  }
  ~InheritMeta() {
    if (tracer_ != nullptr) tracer_->inherited_meta = nullptr;
  }
  InheritMeta(const InheritMeta&) = delete;
  InheritMeta& operator=(const InheritMeta&) = delete;

 private:
  Tracer* tracer_;
};

Value call_observer(GraphModule& model, const Node& n, const Value& input,
                    const std::string& prefix) {
  Tracer* tracer = Tracer::current();
  const auto module = model.module(n.target());
  const InheritMeta inherit(n.meta);
  if (tracer == nullptr) return module->forward(input.as<Tensor>());
  return tracer->record_module(prefix + n.target(), module, input.as<Tensor>());
}

Value call_node(const Node& n, const Environment& env) {
  std::vector<Value> args;
  for (const Value& arg : n.args()) args.push_back(materialize(arg, env));
  // Several results are already a list: the tracer makes their getitem nodes itself.
  if (n.is_call("_operator.getitem") && args[0].is<Value::List>()) {
    return args[0].list().at(static_cast<size_t>(args[1].to_int()));
  }
  const InheritMeta inherit(n.meta);
  return call(n.op(), std::move(args));
}

}  // namespace

Value replay(GraphModule& model, const std::vector<Value>& inputs, const std::string& prefix) {
  const auto placeholders = model.graph().placeholders();
  if (placeholders.size() != inputs.size()) {
    throw TypeError(cat("the model takes ", placeholders.size(), " inputs, got ", inputs.size()));
  }
  if (Tracer* tracer = Tracer::current()) {
    for (const std::string& name : model.attr_names()) {
      tracer->add_attribute(prefix + name, model.attr(name).tensor, model.attr(name).kind);
    }
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
        env[n] = call_observer(model, *n, materialize(n->arg(0), env), prefix);
        break;
      case OpCode::CallFunction:
        env[n] = call_node(*n, env);
        break;
      case OpCode::Output:
        return materialize(n->arg(0), env);
    }
  }
  throw ValueError("the graph has no output node");
}

}  // namespace pt2q
