// Nodes that need no step: their results are known when the plan is built.
#include <algorithm>
#include <functional>

#include "onednn/plan_builder.h"

namespace pt2q {
namespace {

bool all_empty(const Value& v) {
  if (v.is<TensorMeta>()) return numel_of(hints(v.as<TensorMeta>().sizes)) == 0;
  return v.is<Value::List>() && !v.list().empty() &&
         std::all_of(v.list().begin(), v.list().end(), all_empty);
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
  if (const Node* first = node.args().empty() ? nullptr : node.arg_node(0)) {  // the usual case
    const Bound& b = bound_.at(first);
    if (b.kind == Bound::Kind::Tensor && value(b.value).storage != Storage::Constant) return false;
  }
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

}  // namespace pt2q
