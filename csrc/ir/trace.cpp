#include "pt2q/trace.h"

#include <algorithm>

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

thread_local Tracer* active_tracer = nullptr;

bool contains_traced(const Value& v, const Tracer* tracer) {
  if (v.is<Tensor>()) return v.as<Tensor>().node() != nullptr;
  if (v.is<Node*>()) return true;
  if (v.is<Value::List>()) {
    return std::any_of(v.list().begin(), v.list().end(),
                       [&](const Value& item) { return contains_traced(item, tracer); });
  }
  return false;
}

}  // namespace

Tracer* Tracer::current() { return active_tracer; }
Tracer::Scope::Scope(Tracer* tracer) : saved_(active_tracer) { active_tracer = tracer; }
Tracer::Scope::~Scope() { active_tracer = saved_; }

Tensor Tracer::add_input(const std::string& name, const TensorMeta& meta) {
  Node* node = module_.graph().placeholder(name);
  node->meta.val = meta;
  module_.input_names.push_back(node->name());
  return wrap(node).as<Tensor>();
}

void Tracer::add_attribute(const std::string& path, const Tensor& tensor, AttrKind kind) {
  module_.set_attr(path, tensor, kind);
  attribute_paths_.emplace(tensor.id(), path);
  kept_alive_.push_back(tensor);
}

Node* Tracer::node_for(const Tensor& tensor) {
  const auto rebound = rebound_.find(tensor.id());
  if (rebound != rebound_.end()) return rebound->second;
  if (Node* node = tensor.node()) {
    if (&node->graph() != &module_.graph()) {
      throw RuntimeError("a tensor of another capture is used here",
                         "do not keep tensors from inside a forward() that was being captured");
    }
    return node;
  }
  const auto known = attribute_nodes_.find(tensor.id());
  if (known != attribute_nodes_.end()) return known->second;
  auto path = attribute_paths_.find(tensor.id());
  if (path == attribute_paths_.end()) {
    add_attribute(module_.unique_attr("_tensor_constant"), tensor, AttrKind::Constant);
    path = attribute_paths_.find(tensor.id());
  }
  Graph& graph = module_.graph();
  // As in PyTorch's export, attributes stand in front of all calls.
  Node* before = graph.first();
  while (before != nullptr && before->opcode() != OpCode::CallFunction) before = before->next();
  const auto point = graph.inserting_before(before);
  Node* node = graph.get_attr(path->second);
  node->meta.val = TensorMeta{to_sym(tensor.sizes()), tensor.dtype(), tensor.device()};
  attribute_nodes_[tensor.id()] = node;
  return node;
}

Value Tracer::lower_value(const Value& value) {
  if (value.is<Tensor>()) return Value(node_for(value.as<Tensor>()));
  if (value.is<Value::List>()) {
    Value::List items;
    for (const Value& item : value.list()) items.push_back(lower_value(item));
    return Value(std::move(items));
  }
  return value;
}

Value Tracer::wrap(Node* node) {
  const Value& val = node->meta.val;
  if (val.is<TensorMeta>()) {
    const auto& meta = val.as<TensorMeta>();
    Tensor t = Tensor::traced(hints(meta.sizes), meta.dtype, node);
    t.set_device(meta.device);
    return t;
  }
  if (val.is<Value::List>()) {
    Value::List items;
    for (size_t i = 0; i < val.list().size(); ++i) {
      Node* item = module_.graph().call_function("_operator.getitem",
                                                 {node, static_cast<int64_t>(i)}, {}, "getitem");
      item->meta.val = val.list()[i];
      item->meta.nn_module_stack = node->meta.nn_module_stack;
      item->meta.stack_trace = node->meta.stack_trace;
      items.push_back(wrap(item));
    }
    return Value(std::move(items));
  }
  if (val.is<SymInt>()) return Value(node);  // a dynamic size
  return val;                                // a constant size: no need to stay in the graph
}

Value Tracer::record(const OpDef& op, std::vector<Value> args) {
  const OpDef& recorded = op.functional.empty() ? op : op_table().get(op.functional);
  const Value written = args.empty() ? Value() : args[0];
  for (Value& arg : args) arg = lower_value(arg);
  Node* node = module_.graph().call_function(recorded.name, std::move(args), {}, op.base_name());
  node->meta.nn_module_stack = module_stack;
  node->meta.source_fn = op.base_name();
  if (source_location) node->meta.stack_trace = source_location();
  try {
    node->meta.val = infer_node(*node);
  } catch (Error& e) {
    if (!node->meta.stack_trace.empty() && e.message().find("captured at") == std::string::npos) {
      throw ValueError(cat(e.message(), " (captured at ", node->meta.stack_trace, ")"), e.hint())
          .at_op(op.name)
          .at_node(node->name());
    }
    throw;
  }
  const Value result = wrap(node);
  if (!op.functional.empty() && written.is<Tensor>()) {
    rebound_[written.as<Tensor>().id()] = node;
    kept_alive_.push_back(written.as<Tensor>());
    return written;
  }
  return result;
}

void Tracer::finish(const Value& result) {
  module_.graph().output(lower_value(result));
  module_.graph().eliminate_dead_code();
  module_.graph().lint();
}

Value call(const OpDef& op, std::vector<Value> args, const std::map<std::string, Value>& kwargs) {
  std::vector<Value> full = normalize_args(op, std::move(args), kwargs);
  Tracer* tracer = Tracer::current();
  if (tracer != nullptr && std::any_of(full.begin(), full.end(), [&](const Value& v) {
        return contains_traced(v, tracer);
      })) {
    return tracer->record(op, std::move(full));
  }
  try {
    return op.reference(Args(op, full));
  } catch (Error& e) {
    e.at_op(op.name);
    throw;
  }
}

Value call(const std::string& op, std::vector<Value> args,
           const std::map<std::string, Value>& kwargs) {
  return call(op_table().get(op), std::move(args), kwargs);
}

}  // namespace pt2q
