// Values of a plan while it is built: what arguments stand for, other layouts and dtypes of them.
#include <algorithm>

#include "base/strings.h"
#include "onednn/plan_builder.h"
#include "onednn/steps_basic.h"
#include "onednn/steps_cast.h"
#include "pt2q/error.h"

namespace pt2q {

bool holds_tensor(const Value& v) {
  if (v.is<TensorMeta>()) return true;
  return v.is<Value::List>() && std::any_of(v.list().begin(), v.list().end(), holds_tensor);
}

bool holds_node(const Value& v) {
  if (v.is<Node*>()) return true;
  return v.is<Value::List>() && std::any_of(v.list().begin(), v.list().end(), holds_node);
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

Value PlanBuilder::plain_of(const Value& arg) const {
  return holds_node(arg) ? meta_of(bound_of(arg)) : arg;
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

int PlanBuilder::tensor_arg(const Node& node, size_t i) const { return value_of(node.arg(i)); }

int PlanBuilder::value_of(const Value& item) const {
  const Bound b = bound_of(item);
  return b.kind == Bound::Kind::Tensor && value(b.value).known ? b.value : -1;
}

const std::vector<Value>& PlanBuilder::plain_args(const Node& node) {
  if (plain_args_of_ != &node) {
    plain_args_.clear();
    for (const Value& arg : node.args()) plain_args_.push_back(plain_of(arg));
    plain_args_of_ = &node;
  }
  return plain_args_;
}

Value PlanBuilder::plain_arg(const Node& node, size_t i) const {
  if (plain_args_of_ == &node) return plain_args_.at(i);
  return plain_of(node.arg(i));
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
    std::any& slot = cache_.packed[{source.constant.id(), "layout" + list_to_string(strides)}];
    if (!slot.has_value()) {
      auto buffer = aligned_buffer(source.constant.nbytes());
      void* p = buffer.get();
      copy_layout(source.constant.raw_data(), source.constant.strides(), p, strides, source.sizes,
                  source.dtype);
      slot = Tensor::from_blob(p, source.sizes, strides, source.dtype, std::move(buffer));
      cache_.kept_alive.push_back(source.constant);
    }
    out = new_constant(std::any_cast<Tensor>(slot));
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
  if (const Tensor source = constant(id); source.defined()) {
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

void PlanBuilder::bind_list(const Node& node, const std::vector<int>& ids) {
  std::vector<Bound> items;
  for (const int id : ids) items.push_back(Bound::of_tensor(id));
  bound_[&node] = Bound::of_list(std::move(items));
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
