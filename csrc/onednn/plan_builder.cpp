#include "onednn/plan_builder.h"

#include <algorithm>
#include <cstdlib>
#include <functional>

#include "base/parallel.h"
#include "base/strings.h"
#include "onednn/steps_basic.h"
#include "onednn/steps_cast.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

int64_t span_elements(const Shape& sizes, const Shape& strides) {
  int64_t last = 0;
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (sizes[d] == 0) return 0;
    last += (sizes[d] - 1) * strides[d];
  }
  return last + 1;
}

bool holds_tensor(const Value& v) {
  if (v.is<TensorMeta>()) return true;
  return v.is<Value::List>() && std::any_of(v.list().begin(), v.list().end(), holds_tensor);
}

bool any_empty(const Value& v) {
  if (v.is<TensorMeta>()) return numel_of(hints(v.as<TensorMeta>().sizes)) == 0;
  return v.is<Value::List>() && std::any_of(v.list().begin(), v.list().end(), any_empty);
}

bool all_empty(const Value& v) {
  if (v.is<TensorMeta>()) return numel_of(hints(v.as<TensorMeta>().sizes)) == 0;
  return v.is<Value::List>() && !v.list().empty() &&
         std::all_of(v.list().begin(), v.list().end(), all_empty);
}

void collect(const Bound& b, std::vector<int>* ids) {
  if (b.kind == Bound::Kind::Tensor) ids->push_back(b.value);
  for (const Bound& item : b.items) collect(item, ids);
}

// Symbolic sizes whose expressions are constants become plain ones; real symbols cannot occur.
Value concrete(const Value& v) {
  if (v.is<TensorMeta>()) {
    TensorMeta m = v.as<TensorMeta>();
    m.sizes = to_sym(hints(m.sizes));
    return m;
  }
  if (v.is<SymInt>()) return Value(v.as<SymInt>().hint());
  if (v.is<Value::List>()) {
    Value::List items;
    for (const Value& item : v.list()) items.push_back(concrete(item));
    return Value(std::move(items));
  }
  return v;
}

// Equal values; tensors are the same memory in the same form.
bool same_argument(const Value& a, const Value& b) {
  if (a.is<Value::List>() && b.is<Value::List>()) {
    return std::equal(a.list().begin(), a.list().end(), b.list().begin(), b.list().end(),
                      same_argument);
  }
  if (!a.is<Tensor>() || !b.is<Tensor>()) return a == b;
  const Tensor &x = a.as<Tensor>(), &y = b.as<Tensor>();
  return x.raw_data() == y.raw_data() && x.dtype() == y.dtype() && x.sizes() == y.sizes() &&
         x.strides() == y.strides();
}

bool same_arguments(const std::vector<Value>& a, const std::vector<Value>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), same_argument);
}

}  // namespace

PlanBuilder::PlanBuilder(GraphModule& model, const std::vector<Value>& inputs, ModelCache& cache)
    : model_(model), inputs_(inputs), cache_(cache), plan_(std::make_shared<Plan>()) {}

std::shared_ptr<const Plan> PlanBuilder::build() {
  plan_->threads = num_threads();
  find_written_attrs();
  size_t next_input = 0;
  for (const Node* n : model_.graph().nodes()) {
    try {
      visit(*n, inputs_, &next_input);
    } catch (Error& e) {
      if (n->opcode() == OpCode::CallFunction) e.at_op(n->target());
      e.at_node(n->name());
      throw;
    }
  }
  finish();
  return plan_;
}

// Batch norm in training form updates its running statistics.
void PlanBuilder::find_written_attrs() {
  for (const Node* n = model_.graph().first(); n != nullptr; n = n->next()) {
    if (n->op_or_null() == nullptr) continue;
    const int training = n->op().schema.index_of("training");
    const int mean = n->op().schema.index_of("running_mean");
    if (training < 0 || mean < 0 || !n->arg(static_cast<size_t>(training)).to_bool()) continue;
    for (const size_t i : {static_cast<size_t>(mean), static_cast<size_t>(mean) + 1}) {
      const Node* statistic = n->arg_node(i);
      if (statistic != nullptr) written_attrs_.insert(statistic->target());
    }
  }
}

void PlanBuilder::visit(const Node& node, const std::vector<Value>& inputs, size_t* next_input) {
  switch (node.opcode()) {
    case OpCode::Placeholder: {
      const size_t index = (*next_input)++;
      const Value& given = inputs.at(index);
      if (!given.is<Tensor>()) {
        bound_[&node] = Bound::of_plain(given);
        metas_[&node] = given;
        return;
      }
      const Tensor& t = given.as<Tensor>();
      const int id = new_value(t.sizes(), t.strides(), t.dtype());
      plan_->values.back().storage = Storage::Input;
      plan_->values.back().input_index = static_cast<int>(index);
      plan_->inputs.push_back(id);
      bind(node, id);
      return;
    }
    case OpCode::GetAttr: {
      const Tensor t = model_.attr_of(node);
      bind(node, new_constant(t));
      if (written_attrs_.count(node.target()) > 0) written_.insert(bound_[&node].value);
      return;
    }
    case OpCode::CallFunction:
      visit_call(node);
      return;
    case OpCode::CallModule:
      visit_module(node);
      return;
    case OpCode::Output:
      visit_output(node);
      return;
  }
}

void PlanBuilder::visit_call(const Node& node) {
  if (node.users().empty() && !node.is_impure()) return;
  if (node.is_call("_operator.getitem")) {
    const Bound source = bound_of(node.arg(0));
    const Bound index = bound_of(node.arg(1));
    if (source.kind == Bound::Kind::List && index.kind == Bound::Kind::Plain) {
      int64_t i = index.plain.to_int();
      if (i < 0) i += static_cast<int64_t>(source.items.size());
      const Bound& item = source.items.at(static_cast<size_t>(i));
      bound_[&node] = item;
      metas_[&node] = meta_of(item);
      return;
    }
  }
  const bool known = infer_result(node);
  if (known && try_plain(node)) return;
  if (try_fold(node)) return;
  if (known) {
    if (try_empty(node) || try_alias(node)) return;
    const Value& meta = metas_.at(&node);
    const std::vector<Value>& args = plain_args(node);
    const bool empty_argument = any_empty(meta) || std::any_of(args.begin(), args.end(), any_empty);
    if (!empty_argument && (make_step(node) || try_widened(node))) return;
  }
  add_reference_step(node);
}

bool PlanBuilder::make_step(const Node& node) {
  const auto maker = step_makers().find(node.target());
  if (maker == step_makers().end()) return false;
  const size_t steps = plan_->steps.size();
  std::string why;
  if (maker->second(*this, node, &why)) return true;
  if (plan_->steps.size() < steps) throw InternalError("a step maker removed steps");
  return false;
}

// Where there is no bfloat16 kernel, a float32 one does: operands are widened, which is exact, and
// the result is rounded once.
bool PlanBuilder::try_widened(const Node& node) {
  std::vector<std::pair<const Node*, Bound>> saved;
  const size_t steps = plan_->steps.size();
  const auto relaid = relaid_;
  for (const Node* input : node.input_nodes()) {
    Bound& bound = bound_.at(input);
    if (bound.kind != Bound::Kind::Tensor || !value(bound.value).known ||
        value(bound.value).dtype != DType::BFloat16) {
      continue;
    }
    saved.emplace_back(input, bound);
    const int wide = as_dtype(bound.value, DType::Float32);
    bound_.at(input) = Bound::of_tensor(wide);
  }
  if (saved.empty()) return false;
  Value& meta = metas_.at(&node);
  const Value wanted = meta;
  const bool narrow = meta.is<TensorMeta>() && meta.as<TensorMeta>().dtype == DType::BFloat16 &&
                      node.op().namespace_name() != "pt2q";  // these say what they give
  if (narrow) meta.as<TensorMeta>().dtype = DType::Float32;
  plain_args_of_ = nullptr;  // the bounds differ now
  const bool made = make_step(node);
  for (auto& [input, bound] : saved) bound_.at(input) = bound;
  plain_args_of_ = nullptr;
  if (!made) {
    metas_.at(&node) = wanted;
    plan_->steps.resize(steps);
    relaid_ = relaid;
    return false;
  }
  if (narrow) {
    if (plan_->steps.size() > steps)
      plan_->steps.back()->info.note = "bfloat16 operands, float32 arithmetic";
    bind(node, as_dtype(bound_.at(&node).value, DType::BFloat16));
  }
  return true;
}

void PlanBuilder::visit_module(const Node& node) {
  const auto module = model_.module(node.target());
  const Bound input = bound_of(node.arg(0));
  std::vector<int> ids;
  collect(input, &ids);
  auto step = std::make_unique<ModuleStep>(module, input);
  step->info = {node.name(), module->type_name(), "module", "", "", "", 0.0, false};
  if (module->passes_through()) {
    add(std::move(step), ids, {});
    bound_[&node] = input;
    metas_[&node] = meta_of(input);
    return;
  }
  const Bound result = make_held(meta_of(input));
  add(std::move(step), ids, {result.value});
  bound_[&node] = result;
  metas_[&node] = meta_of(input);
}

bool PlanBuilder::infer_result(const Node& node) {
  std::vector<Value>& args = plain_args_;
  args.clear();
  plain_args_of_ = &node;
  bool known = true;
  for (size_t i = 0; i < node.args().size(); ++i) {
    args.push_back(meta_of(bound_of(node.arg(i))));
    const std::function<void(const Value&, const Value&)> check = [&](const Value& v,
                                                                      const Value& m) {
      if (v.is<Node*>() && m.is_none()) known = false;
      if (v.is<Value::List>() && m.is<Value::List>()) {
        for (size_t k = 0; k < v.list().size(); ++k) check(v.list()[k], m.list()[k]);
      }
    };
    check(node.arg(i), args.back());
  }
  Value& meta = metas_[&node];
  if (!known || !node.op().infer) return false;
  meta = concrete(node.op().infer(Args(node.op(), args)));
  return !meta.is_none();
}

// Integers, booleans and lists of them: values already known.
bool PlanBuilder::try_plain(const Node& node) {
  const Value& meta = metas_.at(&node);
  if (holds_tensor(meta) || meta.is_none()) return false;
  if (meta.is<Value::List>() && meta.list().empty()) return false;
  bound_[&node] = Bound::of_plain(meta);
  return true;
}

// Nodes whose arguments are all known: constant subgraphs, and factories such as arange.
bool PlanBuilder::try_fold(const Node& node) {
  if (node.is_impure()) return false;
  std::vector<Value> args;
  bool constant = true;
  const std::function<Value(const Bound&)> value_of = [&](const Bound& b) -> Value {
    if (b.kind == Bound::Kind::Plain) return b.plain;
    if (b.kind == Bound::Kind::List) {
      Value::List items;
      for (const Bound& item : b.items) items.push_back(value_of(item));
      return Value(std::move(items));
    }
    const PlanValue& v = value(b.value);
    if (v.storage != Storage::Constant || written_.count(b.value) > 0) {
      constant = false;
      return Value();
    }
    return Value(v.constant);
  };
  for (const Value& arg : node.args()) {
    args.push_back(value_of(bound_of(arg)));
    if (!constant) return false;
  }
  FoldedNode& known = cache_.folded[&node];
  if (known.result.is_none() || !same_arguments(known.args, args))
    known = {args, node.op().reference(Args(node.op(), args))};
  const Value& result = known.result;
  const std::function<Bound(const Value&)> bound_value = [&](const Value& v) -> Bound {
    if (v.is<Tensor>()) return Bound::of_tensor(new_constant(v.as<Tensor>()));
    if (v.is<Value::List>()) {
      std::vector<Bound> items;
      for (const Value& item : v.list()) items.push_back(bound_value(item));
      return Bound::of_list(std::move(items));
    }
    return Bound::of_plain(v);
  };
  bound_[&node] = bound_value(result);
  metas_[&node] = meta_of(bound_[&node]);
  return true;
}

// Nothing to compute: every result has zero elements.
bool PlanBuilder::try_empty(const Node& node) {
  const Value& meta = metas_.at(&node);
  if (node.is_impure() || !all_empty(meta)) return false;
  const std::function<Bound(const Value&)> make = [&](const Value& v) -> Bound {
    if (v.is<TensorMeta>()) {
      const auto& m = v.as<TensorMeta>();
      return Bound::of_tensor(new_constant(Tensor::zeros(hints(m.sizes), m.dtype)));
    }
    std::vector<Bound> items;
    for (const Value& item : v.list()) items.push_back(make(item));
    return Bound::of_list(std::move(items));
  };
  bound_[&node] = make(meta);
  return true;
}

// Identities and views become names of the same memory. What a view looks like is found by running
// its reference kernel on memory of the same layout that nobody reads.
bool PlanBuilder::try_alias(const Node& node) {
  const OpTraits& traits = node.op().traits;
  const bool identity = traits.identity;
  if ((!identity && !traits.view) || node.is_impure()) return false;
  const int source = tensor_arg(node, 0);
  if (source < 0 || !value(source).layout_known || value(source).storage == Storage::Held)
    return false;
  if (identity) {
    const Value& meta = metas_.at(&node);
    if (!meta.is<TensorMeta>() || meta.as<TensorMeta>().dtype != value(source).dtype ||
        hints(meta.as<TensorMeta>().sizes) != value(source).sizes) {
      return false;
    }
    bound_[&node] = Bound::of_tensor(source);
    return true;
  }
  const std::vector<Value> args = plain_args(node);
  for (size_t i = 1; i < args.size(); ++i) {
    if (holds_tensor(args[i])) return false;
  }
  if (try_view(node, args, source)) return true;
  const int plain = as_contiguous(source);
  return plain >= 0 && plain != source && try_view(node, args, plain);
}

bool PlanBuilder::try_view(const Node& node, const std::vector<Value>& plain_args, int base) {
  const PlanValue v = value(base);
  const int64_t bytes = span_elements(v.sizes, v.strides) * static_cast<int64_t>(itemsize(v.dtype));
  const std::shared_ptr<void> memory(
      std::calloc(static_cast<size_t>(std::max<int64_t>(bytes, 64)), 1), std::free);
  const Tensor fake = Tensor::from_blob(memory.get(), v.sizes, v.strides, v.dtype, memory);
  std::vector<Value> args = plain_args;
  args[0] = Value(fake);
  const Value result = node.op().reference(Args(node.op(), args));
  std::vector<Tensor> views;
  if (result.is<Tensor>()) {
    views.push_back(result.as<Tensor>());
  } else {
    for (const Value& item : result.list()) views.push_back(item.as<Tensor>());
  }
  for (const Tensor& t : views) {
    if (!t.shares_storage(fake) || t.dtype() != v.dtype) return false;
  }
  std::vector<Bound> items;
  for (const Tensor& t : views) items.push_back(Bound::of_tensor(make_view(base, t, memory.get())));
  bound_[&node] = result.is<Tensor>() ? items[0] : Bound::of_list(std::move(items));
  return true;
}

int PlanBuilder::make_view(int base, const Tensor& view, const void* origin) {
  const int64_t offset = view.numel() == 0 ? 0
                                           : static_cast<const char*>(view.raw_data()) -
                                                 static_cast<const char*>(origin);
  const PlanValue source = value(base);
  if (source.storage == Storage::Constant) {
    const int id = new_constant(source.constant.as_strided(
        view.sizes(), view.strides(),
        source.constant.storage_offset() + offset / static_cast<int64_t>(itemsize(source.dtype))));
    if (written_.count(base) > 0) written_.insert(id);
    return id;
  }
  const int id = new_value(view.sizes(), view.strides(), view.dtype());
  PlanValue& v = plan_->values.back();
  v.storage = source.storage;
  v.root = source.root;
  v.view_offset = source.view_offset + offset;
  return id;
}

void PlanBuilder::add_reference_step(const Node& node) {
  std::vector<Bound> args;
  std::vector<int> inputs;
  for (const Value& arg : node.args()) {
    args.push_back(bound_of(arg));
    collect(args.back(), &inputs);
  }
  const Bound result = make_held(metas_[&node]);
  bound_[&node] = result;
  std::vector<int> outputs;
  collect(result, &outputs);
  auto step = std::make_unique<ReferenceStep>(node.op(), node.name(), std::move(args));
  step->info = describe(node, "reference", outputs.empty() ? -1 : outputs[0]);
  step->info.reference = true;
  add(std::move(step), inputs, outputs);
}

Bound PlanBuilder::make_held(const Value& meta) {
  if (meta.is<Value::List>() && holds_tensor(meta)) {
    std::vector<Bound> items;
    for (const Value& item : meta.list()) items.push_back(make_held(item));
    return Bound::of_list(std::move(items));
  }
  PlanValue v;
  v.storage = Storage::Held;
  if (meta.is<TensorMeta>()) {
    v.known = true;
    v.sizes = hints(meta.as<TensorMeta>().sizes);
    v.strides = contiguous_strides(v.sizes);
    v.dtype = meta.as<TensorMeta>().dtype;
  }
  v.root = static_cast<int>(plan_->values.size());
  plan_->values.push_back(std::move(v));
  return Bound::of_tensor(plan_->values.back().root);
}

Bound PlanBuilder::bound_of(const Value& arg) const {
  if (arg.is<Node*>()) {
    const auto it = bound_.find(arg.as<Node*>());
    if (it == bound_.end())
      throw InternalError(cat("node ", arg.as<Node*>()->name(), " has no value yet"));
    return it->second;
  }
  if (!arg.is<Value::List>()) return Bound::of_plain(arg);
  std::vector<Bound> items;
  bool plain = true;
  for (const Value& item : arg.list()) {
    items.push_back(bound_of(item));
    plain = plain && items.back().kind == Bound::Kind::Plain;
  }
  if (!plain) return Bound::of_list(std::move(items));
  Value::List values;
  for (const Bound& b : items) values.push_back(b.plain);
  return Bound::of_plain(Value(std::move(values)));
}

Value PlanBuilder::meta_of(const Bound& bound) const {
  switch (bound.kind) {
    case Bound::Kind::Plain:
      return bound.plain;
    case Bound::Kind::List: {
      Value::List items;
      for (const Bound& item : bound.items) items.push_back(meta_of(item));
      return Value(std::move(items));
    }
    case Bound::Kind::Tensor:
      break;
  }
  const PlanValue& v = value(bound.value);
  if (!v.known) return Value();
  return TensorMeta{to_sym(v.sizes), v.dtype, Device{}};
}

void PlanBuilder::visit_output(const Node& node) {
  plan_->result = output_of(bound_of(node.arg(0)));
}

Bound PlanBuilder::output_of(const Bound& bound) {
  if (bound.kind == Bound::Kind::Plain) return bound;
  if (bound.kind == Bound::Kind::List) {
    std::vector<Bound> items;
    for (const Bound& item : bound.items) items.push_back(output_of(item));
    return Bound::of_list(std::move(items));
  }
  return Bound::of_tensor(make_output(bound.value));
}

int PlanBuilder::make_output(int id) {
  PlanValue& v = plan_->values[static_cast<size_t>(id)];
  const Shape plain = contiguous_strides(v.sizes);
  if (v.storage == Storage::Held) {
    PlanValue returned = v;
    returned.root = static_cast<int>(plan_->values.size());
    returned.layout_known = false;
    plan_->values.push_back(returned);
    auto step = std::make_unique<ReturnStep>();
    step->info.kernel = "return";
    add(std::move(step), {id}, {returned.root});
    return returned.root;
  }
  if (v.storage == Storage::Arena && v.root == id && same_layout(v.sizes, v.strides, plain)) {
    v.storage = Storage::Output;
    v.strides = plain;
    for (PlanValue& other : plan_->values) {
      if (other.root == id) other.storage = Storage::Output;
    }
    plan_->outputs.push_back(id);
    return id;
  }
  const int out = new_value(v.sizes, plain, v.dtype);
  plan_->values.back().storage = Storage::Output;
  plan_->outputs.push_back(out);
  auto step = std::make_unique<LayoutStep>();
  step->info.kernel = "pt2q copy";
  add(std::move(step), {id}, {out});
  return out;
}

void PlanBuilder::finish() {
  for (size_t i = 0; i < plan_->values.size(); ++i) {
    PlanValue& v = plan_->values[i];
    const PlanValue& root = plan_->values[static_cast<size_t>(v.root)];
    v.storage = root.storage;
    if (v.root != static_cast<int>(i) &&
        (root.storage == Storage::Input || root.storage == Storage::Output)) {
      plan_->moving_views.push_back(static_cast<int>(i));
    }
  }
  plan_memory(*plan_);
}

// --- for step makers -----------------------------------------------------------------------------

int PlanBuilder::tensor_arg(const Node& node, size_t i) const { return value_of(node.arg(i)); }

int PlanBuilder::value_of(const Value& item) const {
  const Bound b = bound_of(item);
  return b.kind == Bound::Kind::Tensor && value(b.value).known ? b.value : -1;
}

const std::vector<Value>& PlanBuilder::plain_args(const Node& node) {
  if (plain_args_of_ != &node) {
    plain_args_.clear();
    for (const Value& arg : node.args()) plain_args_.push_back(meta_of(bound_of(arg)));
    plain_args_of_ = &node;
  }
  return plain_args_;
}

Value PlanBuilder::plain_arg(const Node& node, size_t i) const {
  if (plain_args_of_ == &node) return plain_args_.at(i);
  return meta_of(bound_of(node.arg(i)));
}

const TensorMeta& PlanBuilder::result_meta(const Node& node) const {
  return metas_.at(&node).as<TensorMeta>();
}

Shape PlanBuilder::result_sizes(const Node& node) const { return hints(result_meta(node).sizes); }

Tensor PlanBuilder::constant(int id) const {
  if (id < 0 || value(id).storage != Storage::Constant || written_.count(id) > 0) return Tensor();
  return value(id).constant;
}

int PlanBuilder::as_layout(int id, const Shape& strides) {
  if (!value(id).known) return -1;
  if (value(id).layout_known && same_layout(value(id).sizes, value(id).strides, strides)) return id;
  const PlanValue source = value(id);
  const std::string key = cat(id, ":", list_to_string(strides));
  const auto known = relaid_.find(key);
  if (known != relaid_.end()) return known->second;
  int out = -1;
  if (source.storage == Storage::Constant && written_.count(id) == 0) {
    auto buffer = aligned_buffer(source.constant.nbytes());
    void* p = buffer.get();
    copy_layout(source.constant.raw_data(), source.constant.strides(), p, strides, source.sizes,
                source.dtype);
    out =
        new_constant(Tensor::from_blob(p, source.sizes, strides, source.dtype, std::move(buffer)));
  } else {
    out = new_value(source.sizes, strides, source.dtype);
    std::unique_ptr<Step> step;
    if (source.storage == Storage::Held) {
      plan_->values.back().storage = Storage::Held;
      step = std::make_unique<SettleStep>();
    } else {
      step = std::make_unique<LayoutStep>();
    }
    step->info.kernel = "pt2q layout";
    step->info.dtype = dtype_name(source.dtype);
    step->info.layout = layout_name(source.sizes, strides);
    add(std::move(step), {id}, {out});
  }
  relaid_[key] = out;
  return out;
}

int PlanBuilder::as_contiguous(int id) {
  return as_layout(id, contiguous_strides(value(id).sizes));
}

int PlanBuilder::as_dense(int id) {
  const PlanValue& v = value(id);
  if (v.layout_known && is_dense(v.sizes, v.strides)) return id;
  return as_contiguous(id);
}

int PlanBuilder::as_dtype(int id, DType dtype) {
  if (value(id).dtype == dtype) return id;
  const std::string key = cat(id, ":", dtype_name(dtype));
  const auto known = relaid_.find(key);
  if (known != relaid_.end()) return known->second;
  int out = -1;
  if (value(id).storage == Storage::Constant) {
    const Tensor source = value(id).constant;
    std::any& slot = cache_.packed[{source.id(), dtype_name(dtype)}];
    if (!slot.has_value()) {
      slot = source.to(dtype);
      cache_.kept_alive.push_back(source);
    }
    out = new_constant(std::any_cast<Tensor>(slot));
  } else {
    const int dense = as_dense(id);
    const PlanValue v = value(dense);
    out = new_value(v.sizes, v.strides, dtype);
    auto step = make_conversion(dense, v.dtype, out, dtype, numel_of(v.sizes));
    step->info.layout = layout_name(v.sizes, v.strides);
    add(std::move(step), {dense}, {out});
  }
  relaid_[key] = out;
  return out;
}

int PlanBuilder::new_value(const Shape& sizes, const Shape& strides, DType dtype) {
  PlanValue v;
  v.known = true;
  v.layout_known = true;
  v.sizes = sizes;
  v.strides = strides;
  v.dtype = dtype;
  v.root = static_cast<int>(plan_->values.size());
  v.bytes = numel_of(sizes) * static_cast<int64_t>(itemsize(dtype));
  plan_->values.push_back(std::move(v));
  return plan_->values.back().root;
}

int PlanBuilder::new_constant(const Tensor& tensor) {
  const int id = new_value(tensor.sizes(), tensor.strides(), tensor.dtype());
  plan_->values.back().storage = Storage::Constant;
  plan_->values.back().constant = tensor;
  return id;
}

Step& PlanBuilder::add(std::unique_ptr<Step> step, std::vector<int> inputs,
                       std::vector<int> outputs) {
  step->index = static_cast<int>(plan_->steps.size());
  step->inputs = std::move(inputs);
  step->outputs = std::move(outputs);
  plan_->steps.push_back(std::move(step));
  return *plan_->steps.back();
}

void PlanBuilder::bind(const Node& node, int id) {
  bound_[&node] = Bound::of_tensor(id);
  metas_[&node] = meta_of(bound_[&node]);
}

StepInfo PlanBuilder::describe(const Node& node, const std::string& kernel, int output) const {
  StepInfo info;
  info.node = node.name();
  info.op = node.target();
  info.kernel = kernel;
  if (output >= 0 && value(output).known) {
    info.dtype = dtype_name(value(output).dtype);
    if (value(output).layout_known)
      info.layout = layout_name(value(output).sizes, value(output).strides);
  }
  return info;
}

}  // namespace pt2q
