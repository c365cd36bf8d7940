// Nodes that need no step: identities and views, which are other names of the same memory.
#include <algorithm>
#include <cstdlib>

#include "onednn/plan_builder.h"

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

}  // namespace

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
  std::vector<Value> args = plain_args(node);
  for (size_t i = 1; i < args.size(); ++i) {
    if (args[i].is<TensorMeta>() && node.op().base_name() == "expand_as") {
      const auto& like = args[i].as<TensorMeta>();  // only its shape counts
      const Shape sizes = hints(like.sizes);
      args[i] = Value(Tensor::zeros({1}, like.dtype).as_strided(sizes, Shape(sizes.size(), 0), 0));
    }
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

}  // namespace pt2q
