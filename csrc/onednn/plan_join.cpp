#include "onednn/plan_join.h"

#include <algorithm>

#include "base/strings.h"
#include "onednn/compat.h"

namespace pt2q {
namespace {

PlanValue& value_at(Plan& plan, int id) { return plan.values[static_cast<size_t>(id)]; }

// A step and the value it writes.
using Writers = std::vector<std::pair<Step*, int>>;

// All that happened to the memory of `root` so far; false when it was read, or has other names.
bool only_written(Plan& plan, int root, Writers* writers) {
  for (const auto& step : plan.steps) {
    for (const int id : step->inputs) {
      if (value_at(plan, id).root == root) return false;
    }
    for (const int id : step->outputs) {
      if (value_at(plan, id).root != root) continue;
      if (id != step->outputs[0]) return false;
      writers->emplace_back(step.get(), id);
    }
  }
  const auto names = std::count_if(plan.values.begin(), plan.values.end(),
                                   [&](const PlanValue& v) { return v.root == root; });
  // The result of an earlier join is a name that no step writes as a whole.
  const bool whole = std::any_of(writers->begin(), writers->end(),
                                 [&](const auto& w) { return w.second == root; });
  return !writers->empty() && static_cast<size_t>(names) == writers->size() + (whole ? 0U : 1U);
}

class Joiner {
 public:
  Joiner(PlanBuilder& builder, const JoinShape& shape, DType dtype)
      : builder_(builder), plan_(builder.plan()), shape_(shape), dtype_(dtype) {}

  // Whether the steps that wrote `part` can write into the result instead.
  bool fits(const JoinPart& part, Writers* writers) const {
    if (part.node == nullptr || part.node->users().size() != 1) return false;
    const PlanValue& v = builder_.value(part.value);
    if (v.storage != Storage::Arena || v.root != part.value || !v.layout_known ||
        v.dtype != dtype_ || !same_layout(v.sizes, v.strides, shape_.strides_of(v.sizes))) {
      return false;
    }
    if (!only_written(plan_, part.value, writers)) return false;
    if (shape_.rows() == 1) return true;
    const int64_t row_bytes = width(v.sizes) * bytes_each();
    return shape_.inner() == 1 && std::all_of(writers->begin(), writers->end(), [&](const auto& w) {
             return w.first->can_spread() && builder_.value(w.second).view_offset < row_bytes;
           });
  }

  // Makes a part's memory the slice of `out` that starts at `offset` of each row.
  void place(int part, int out, int64_t offset, const Writers& writers, const std::string& name) {
    const int64_t stride = shape_.rows() == 1 ? 0 : width(shape_.sizes);
    const int64_t old_stride = width(value_at(plan_, part).sizes);
    for (PlanValue& v : plan_.values) {
      if (v.root != part) continue;
      v.root = out;
      v.view_offset += offset * bytes_each();
      for (size_t d = 0; stride != 0 && d < v.strides.size(); ++d) {
        if (d != shape_.dim) v.strides[d] = v.strides[d] / old_stride * stride;
      }
    }
    for (const auto& [step, id] : writers) {
      if (stride != 0) step->spread({width(value_at(plan_, id).sizes), stride});
      step->info.note += cat(step->info.note.empty() ? "" : ", ", "written into ", name);
    }
  }

  int slice(int part, int out, int64_t offset) {
    const Shape sizes = builder_.value(part).sizes;
    const int id = builder_.new_value(sizes, shape_.strides, dtype_);
    value_at(plan_, id).root = out;
    value_at(plan_, id).view_offset = offset * bytes_each();
    return id;
  }

  // Elements of a row of an array with these sizes and the result's order of dimensions.
  int64_t width(const Shape& sizes) const { return sizes[shape_.dim] * shape_.inner(); }

 private:
  int64_t bytes_each() const { return static_cast<int64_t>(itemsize(dtype_)); }

  PlanBuilder& builder_;
  Plan& plan_;
  const JoinShape& shape_;
  DType dtype_;
};

}  // namespace

int64_t JoinShape::inner() const { return strides[dim]; }

int64_t JoinShape::rows() const {
  const int64_t width = sizes[dim] * inner();
  return width == 0 ? 0 : numel_of(sizes) / width;
}

Shape JoinShape::strides_of(const Shape& part) const {
  const int64_t whole = sizes[dim] * inner(), own = part[dim] * inner();
  Shape out = strides;
  for (size_t d = 0; d < out.size(); ++d) {
    if (d != dim && out[d] >= whole) out[d] = out[d] / whole * own;
  }
  return out;
}

Joined join_parts(PlanBuilder& builder, const std::vector<JoinPart>& parts, const JoinShape& shape,
                  DType dtype, const std::string& name) {
  Joined joined;
  if (onednn::on_gpu() || shape.rows() == 0) return joined;  // values of a GPU have no addresses
  Joiner joiner(builder, shape, dtype);
  std::vector<Writers> writers(parts.size());
  std::vector<bool> fits;
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto same = std::count_if(parts.begin(), parts.end(), [&](const JoinPart& other) {
      return other.value == parts[i].value;
    });
    fits.push_back(same == 1 && joiner.fits(parts[i], &writers[i]));
  }
  if (std::find(fits.begin(), fits.end(), true) == fits.end()) return joined;
  joined.out = builder.new_value(shape.sizes, shape.strides, dtype);
  int64_t offset = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const int64_t width = joiner.width(builder.value(parts[i].value).sizes);
    joined.slices.push_back(fits[i] ? -1 : joiner.slice(parts[i].value, joined.out, offset));
    if (fits[i]) joiner.place(parts[i].value, joined.out, offset, writers[i], name);
    offset += width;
  }
  return joined;
}

}  // namespace pt2q
