#include "pt2q/trace.h"

#include <algorithm>

#include "base/strings.h"
#include "ir/autocast.h"
#include "ir/call_with.h"
#include "ir/view_inverse.h"
#include "pt2q/call_listener.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

thread_local Tracer* active_tracer = nullptr;
thread_local CallListener* active_listener = nullptr;

bool contains_traced(const Value& v, const Tracer* tracer) {
  if (v.is<Tensor>()) return v.as<Tensor>().defined() && tracer->is_traced(v.as<Tensor>());
  if (v.is<Node*>()) return true;
  if (v.is<Value::List>()) {
    return std::any_of(v.list().begin(), v.list().end(),
                       [&](const Value& item) { return contains_traced(item, tracer); });
  }
  return false;
}

}  // namespace

CallListener* CallListener::current() { return active_listener; }
CallListener::Scope::Scope(CallListener* listener) : saved_(active_listener) {
  active_listener = listener;
}
CallListener::Scope::~Scope() { active_listener = saved_; }

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

bool Tracer::is_traced(const Tensor& tensor) const {
  if (tensor.node() != nullptr || attribute_paths_.count(tensor.id()) > 0) return true;
  const auto shares = [&](const Tensor& written) { return written.shares_storage(tensor); };
  return std::any_of(written_constants_.begin(), written_constants_.end(), shares);
}

Node* Tracer::node_for(const Tensor& tensor) { return present(own_node(tensor)); }

Node* Tracer::own_node(const Tensor& tensor) {
  const auto reshaped = reshaped_.find(tensor.id());
  if (reshaped != reshaped_.end()) return reshaped->second;
  if (Node* node = tensor.node()) {
    if (&node->graph() != &module_.graph()) {
      throw RuntimeError("a tensor of another capture is used here",
                         "do not keep tensors from inside a forward() that was being captured");
    }
    return node;
  }
  const auto known = attribute_nodes_.find(tensor.id());
  if (known != attribute_nodes_.end()) return known->second;
  refuse_stale_constant(tensor);
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
    Tensor t =
        Tensor::traced(hints(meta.sizes), meta.dtype, node, module_.graph().shared_from_this());
    t.set_device(meta.device);
    return t;
  }
  if (val.is<Value::List>()) {
    Value::List items;
    for (size_t i = 0; i < val.list().size(); ++i) {
      Node* item = module_.graph().call_function("_operator.getitem",
                                                 {node, static_cast<int64_t>(i)}, {}, "getitem");
      item->meta = node->meta;
      item->meta.val = val.list()[i];
      note_alias(item);
      items.push_back(wrap(item));
    }
    return Value(std::move(items));
  }
  if (val.is<SymInt>()) return Value(node);  // a dynamic size
  return val;                                // a constant size: no need to stay in the graph
}

void Tracer::describe_origin(Node* node, const std::string& source_fn) const {
  node->meta.nn_module_stack = module_stack;
  if (inherited_meta != nullptr) {
    const NodeMeta& from = *inherited_meta;
    auto& stack = node->meta.nn_module_stack;
    stack.insert(stack.end(), from.nn_module_stack.begin(), from.nn_module_stack.end());
    node->meta.source_fn = from.source_fn.empty() ? source_fn : from.source_fn;
    node->meta.stack_trace = from.stack_trace;
    node->meta.custom = from.custom;
    node->meta.origin = from.origin;
    return;
  }
  node->meta.source_fn = source_fn;
  if (source_location) node->meta.stack_trace = source_location();
}

// --- in-place writes -----------------------------------------------------------------------------

namespace {

// Rows that plans treat as their input, but whose result owns its memory.
bool owns_memory(const Node& node) {
  return node.is_call("aten.clone.default") || node.is_impure() ||
         node.target().find("_copy.") != std::string::npos;
}

// The same memory in the same shape, for certain: contiguous may copy.
bool is_identity(const Node& node) {
  const OpDef* op = node.op_or_null();
  return op != nullptr && op->traits.identity && !node.is_call("aten.contiguous.default");
}

}  // namespace

void Tracer::note_alias(Node* node) {
  const OpDef* op = node->op_or_null();
  if (op == nullptr || node->arg_node(0) == nullptr || owns_memory(*node)) return;
  const bool part = node->is_call("_operator.getitem") && viewed_.count(node->arg_node(0)) > 0;
  if (!op->traits.view && !op->traits.identity && !part) return;
  const auto owner = owner_.find(node->arg_node(0));
  Node* source = owner == owner_.end() ? node->arg_node(0) : owner->second;
  viewed_[node] = source;
  views_[source].push_back(node);
}

namespace {

[[noreturn]] void refuse_alias(const Node& node) {
  throw NotImplementedError(
      cat("'", node.name(), "' shares memory with a tensor that an in-place operator has ",
          "changed; its new value cannot be captured"),
      "use the operator that is not in-place, or clone() first")
      .at_node(node.name());
}

}  // namespace

void Tracer::refuse_stale_constant(const Tensor& tensor) const {
  for (const Tensor& written : written_constants_) {
    if (written.is(tensor) || !written.shares_storage(tensor)) continue;
    throw NotImplementedError(
        "a constant shares memory with a tensor that an in-place operator has changed; its new "
        "value cannot be captured",
        "use the operator that is not in-place, or clone() first");
  }
}

Node* Tracer::add_like(const Node& model, const std::string& op, std::vector<Value> args) {
  Node* node = module_.graph().call_function(op, std::move(args), {}, model.name());
  node->meta = model.meta;
  node->meta.val = infer_node(*node);
  return node;
}

Node* Tracer::present(Node* own) {
  if (unknown_.count(own) > 0) refuse_alias(*own);
  if (stale_.count(own) > 0) {
    std::vector<Value> args = own->args();
    args.at(0) = Value(present(viewed_.at(own)));
    set_present(own, add_like(*own, own->target(), std::move(args)));
    stale_.erase(own);
  }
  const auto found = present_.find(own);
  return found == present_.end() ? own : found->second;
}

void Tracer::set_present(Node* own, Node* value) {
  present_[own] = value;
  owner_[value] = own;
}

// `own` has been given `value`: carries it to what `own` is a view of, and has all other views
// taken again when they are used.
void Tracer::write(Node* own, Node* value) {
  std::unordered_set<const Node*> fresh = {own};
  Node* root = own;
  bool known = true;
  for (auto up = viewed_.find(root); up != viewed_.end(); up = viewed_.find(root)) {
    Node* whole = up->second;
    known = known && unknown_.count(whole) == 0;
    if (known && !is_identity(*root)) {
      const auto undo = undo_view(*root, present(whole), value);
      known = undo.has_value();
      if (known) value = add_like(*whole, undo->op, undo->args);
    }
    if (known) {
      stale_.erase(whole);
      set_present(whole, value);
      fresh.insert(whole);
    }
    root = whole;
  }
  if (root->opcode() == OpCode::GetAttr) written_attributes_.insert(root->target());
  std::vector<Node*> todo = {root};
  while (!todo.empty()) {
    Node* n = todo.back();
    todo.pop_back();
    const auto views = views_.find(n);
    if (views != views_.end()) todo.insert(todo.end(), views->second.begin(), views->second.end());
    if (fresh.count(n) > 0) continue;
    // One of the operators that copy when they must: nobody can tell what happened.
    const bool again = n != root && (is_identity(*n) || undo_view(*n, n, n).has_value());
    (known && again ? stale_ : unknown_).insert(n);
  }
}

// What an in-place operator leaves in a tensor of dtype `wanted`: eq_ leaves numbers.
Node* Tracer::keep_dtype(Node* node, DType wanted, const std::string& source_fn) {
  if (!node->meta.val.is<TensorMeta>() || node->meta.val.as<TensorMeta>().dtype == wanted)
    return node;
  check_storable(node->meta.val.as<TensorMeta>().dtype, wanted);
  Node* cast = module_.graph().call_function("aten.to.dtype", {node, wanted});
  describe_origin(cast, source_fn);
  cast->meta.val = infer_node(*cast);
  return cast;
}

Value Tracer::record(const OpDef& op, std::vector<Value> args) {
  const OpDef& recorded = op.functional.empty() ? op : op_table().get(op.functional);
  const Value written = args.empty() ? Value() : args[0];
  for (Value& arg : args) arg = lower_value(arg);
  Node* node = module_.graph().call_function(recorded.name, std::move(args), {}, op.base_name());
  describe_origin(node, op.base_name());
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
  if (!op.functional.empty() && written.is<Tensor>()) {
    Tensor self = written.as<Tensor>();
    Node* own = own_node(self);
    if (recorded.traits.view && !recorded.traits.identity) {  // squeeze_
      note_alias(node);
      if (own->opcode() == OpCode::GetAttr) written_attributes_.insert(own->target());
      reshaped_[self.id()] = node;
      self.become_view(wrap(node).as<Tensor>());
    } else {
      Node* value = keep_dtype(node, self.dtype(), op.base_name());
      set_present(own, value);
      write(own, value);
      if (self.node() == nullptr) written_constants_.push_back(self);
    }
    kept_alive_.push_back(self);
    return written;
  }
  note_alias(node);
  return wrap(node);
}

Tensor Tracer::record_module(const std::string& path, const std::shared_ptr<Module>& module,
                             const Tensor& input) {
  module_.set_module(path, module);
  Node* argument = node_for(input);
  Node* node = module_.graph().call_module(path, {argument});
  describe_origin(node, module->type_name());
  node->meta.val = argument->meta.val;
  return wrap(node).as<Tensor>();
}

// A captured model has no state that a run changes. The batch counter of batch norm in training
// mode is not used by any operator, so it may be lost.
void Tracer::refuse_buffer_writes() const {
  for (const std::string& path : written_attributes_) {
    if (ends_with(path, "num_batches_tracked")) continue;
    if (module_.has_attr(path) && module_.attr(path).kind == AttrKind::Constant) continue;
    throw NotImplementedError(
        cat("the model writes to its parameter or buffer '", path, "' in forward()"),
        "return the new value instead, and keep the state outside the model");
  }
}

void Tracer::finish(const Value& result) {
  refuse_buffer_writes();
  module_.graph().output(lower_value(result));
  module_.graph().eliminate_dead_code();
  module_.graph().record_origins();
  module_.graph().lint();
}

Value call_with(OpRunner run, const OpDef& op, std::vector<Value> args,
                const std::map<std::string, Value>& kwargs) {
  std::vector<Value> full = normalize_args(op, std::move(args), kwargs);
  autocast_args(op, &full);
  Tracer* tracer = Tracer::current();
  if (tracer != nullptr) {
    const bool traced = std::any_of(full.begin(), full.end(),
                                    [&](const Value& v) { return contains_traced(v, tracer); });
    // Random numbers are drawn anew at each run, so they are recorded too.
    if (traced || op.traits.impure) return tracer->record(op, std::move(full));
  }
  CallListener* listener = CallListener::current();
  const CallListener::Scope silent(nullptr);  // operators used inside are not reported
  try {
    Value result = run(op, full);
    if (listener != nullptr) listener->called(op, full, result);
    return result;
  } catch (Error& e) {
    e.at_op(op.name);
    throw;
  }
}

Value call(const OpDef& op, std::vector<Value> args, const std::map<std::string, Value>& kwargs) {
  const auto reference = [](const OpDef& o, const std::vector<Value>& full) {
    return o.reference(Args(o, full));
  };
  return call_with(reference, op, std::move(args), kwargs);
}

Value call(const std::string& op, std::vector<Value> args,
           const std::map<std::string, Value>& kwargs) {
  return call(op_table().get(op), std::move(args), kwargs);
}

}  // namespace pt2q
