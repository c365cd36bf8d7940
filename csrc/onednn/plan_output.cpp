// What a plan returns: values in memory that is made anew for each run.
#include "onednn/plan_builder.h"
#include "onednn/steps_basic.h"

namespace pt2q {

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

}  // namespace pt2q
