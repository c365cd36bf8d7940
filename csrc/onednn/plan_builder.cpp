#include "onednn/plan_builder.h"

#include <algorithm>
#include <functional>

#include "base/parallel.h"
#include "base/strings.h"
#include "onednn/steps_basic.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

bool any_empty(const Value& v) {
  if (v.is<TensorMeta>()) return numel_of(hints(v.as<TensorMeta>().sizes)) == 0;
  return v.is<Value::List>() && std::any_of(v.list().begin(), v.list().end(), any_empty);
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

}  // namespace

std::unordered_set<std::string> written_attrs(const Graph& graph) {
  std::unordered_set<std::string> names;
  for (const Node* n = graph.first(); n != nullptr; n = n->next()) {
    if (n->op_or_null() == nullptr) continue;
    const int training = n->op().schema.index_of("training");
    const int mean = n->op().schema.index_of("running_mean");
    if (training < 0 || mean < 0 || !n->arg(static_cast<size_t>(training)).to_bool()) continue;
    for (const size_t i : {static_cast<size_t>(mean), static_cast<size_t>(mean) + 1}) {
      const Node* statistic = n->arg_node(i);
      if (statistic != nullptr) names.insert(statistic->target());
    }
  }
  return names;
}

PlanBuilder::PlanBuilder(GraphModule& model, const std::vector<Value>& inputs, ModelCache& cache)
    : model_(model), inputs_(inputs), cache_(cache), plan_(std::make_shared<Plan>()) {
  const auto seconds = model.extras.find(kTuningSeconds);
  if (seconds != model.extras.end())
    tuner_.emplace(std::any_cast<double>(seconds->second), DiskCache::open());
}

std::shared_ptr<const Plan> PlanBuilder::build() {
  plan_->threads = num_threads();
  if (const auto like = cache_.latest()) {
    plan_->values.reserve(like->plan()->values.size());
    plan_->steps.reserve(like->plan()->steps.size());
    bound_.reserve(like->plan()->values.size());
    metas_.reserve(like->plan()->values.size());
  }
  written_attrs_ = written_attrs(model_.graph());
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
      const int id = new_constant(model_.attr_of(node));
      bound_.emplace(&node, Bound::of_tensor(id));
      if (written_attrs_.count(node.target()) > 0) written_.insert(id);
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
  std::string why;  // no fast step
  if (known) {
    if (try_empty(node) || try_alias(node)) return;
    const Value& meta = metas_.at(&node);
    const std::vector<Value>& args = plain_args(node);
    const bool empty_argument = any_empty(meta) || std::any_of(args.begin(), args.end(), any_empty);
    if (!empty_argument && (make_step(node, &why) || try_widened(node, &why))) return;
  }
  add_reference_step(node, why);
}

bool PlanBuilder::make_step(const Node& node, std::string* why) {
  const auto maker = step_makers().find(node.target());
  if (maker == step_makers().end()) return false;
  const size_t steps = plan_->steps.size();
  if (maker->second(*this, node, why)) return true;
  if (plan_->steps.size() < steps) throw InternalError("a step maker removed steps");
  return false;
}

// Where there is no bfloat16 kernel, a float32 one does: operands are widened, which is exact, and
// the result is rounded once.
bool PlanBuilder::try_widened(const Node& node, std::string* why) {
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
  const bool made = make_step(node, why);
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
  const std::function<void(const Value&, const Value&)> check = [&](const Value& v,
                                                                    const Value& m) {
    if (v.is<Node*>() && m.is_none()) known = false;
    if (v.is<Value::List>() && m.is<Value::List>()) {
      for (size_t k = 0; k < v.list().size(); ++k) check(v.list()[k], m.list()[k]);
    }
  };
  args.reserve(node.args().size());
  for (size_t i = 0; i < node.args().size(); ++i) {
    args.push_back(plain_of(node.arg(i)));
    if (holds_node(node.arg(i))) check(node.arg(i), args.back());
  }
  Value& meta = metas_[&node];
  if (!known || !node.op().infer) return false;
  meta = concrete(node.op().infer(Args(node.op(), args)));
  return !meta.is_none();
}

void PlanBuilder::add_reference_step(const Node& node, const std::string& why) {
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
  step->info.note = why;
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

}  // namespace pt2q
