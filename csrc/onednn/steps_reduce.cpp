// float32 sums, means and extremes over dimensions that lie side by side in memory.
#include <algorithm>

#include "base/strings.h"
#include "kernels/reduce.h"
#include "onednn/kernel_step.h"
#include "onednn/step_makers.h"

namespace pt2q {
namespace {

// A reduction of dense data as [outer, n, inner].
struct Lines {
  int64_t outer = 1, n = 1, inner = 1;
  Shape out_strides;  // of the kept dimensions, in the input's order in memory
};

// Dimensions by decreasing stride; those of size 1 keep their place.
Shape memory_order(const Shape& sizes, const Shape& strides) {
  Shape order;
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (sizes[d] != 1) order.push_back(static_cast<int64_t>(d));
  }
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return strides[static_cast<size_t>(a)] > strides[static_cast<size_t>(b)];
  });
  return order;
}

// False when kept dimensions lie between reduced ones, or these in another order than the sum's.
bool read_lines(const PlanValue& x, const std::vector<bool>& reduced, bool keep, Lines* out) {
  if (!is_dense(x.sizes, x.strides)) return false;
  const Shape order = memory_order(x.sizes, x.strides);
  int state = 0;  // before, inside, after the reduced dimensions
  int64_t last = -1;
  for (const int64_t d : order) {
    const auto i = static_cast<size_t>(d);
    if (reduced[i]) {
      if (state == 2 || d < last) return false;
      state = 1;
      last = d;
      out->n *= x.sizes[i];
    } else {
      state = state == 0 ? 0 : 2;
      (state == 0 ? out->outer : out->inner) *= x.sizes[i];
    }
  }
  Shape strides(x.sizes.size(), 1);
  int64_t step = 1;
  for (auto d = order.rbegin(); d != order.rend(); ++d) {
    const auto i = static_cast<size_t>(*d);
    strides[i] = step;
    if (!reduced[i]) step *= x.sizes[i];
  }
  for (size_t d = 0; d < x.sizes.size(); ++d) {
    if (keep || !reduced[d]) out->out_strides.push_back(strides[d]);
  }
  return true;
}

// Which dimensions go: None or an empty list means all.
std::vector<bool> reduced_dims(const Value& dims, size_t rank) {
  Shape list;
  if (dims.is<int64_t>()) list = {dims.to_int()};
  if (dims.is<Value::List>()) list = dims.to_ints();
  std::vector<bool> out(rank, list.empty());
  for (const int64_t d : list)
    out[static_cast<size_t>(wrap_dim(d, static_cast<int64_t>(rank)))] = true;
  return out;
}

bool add_reduction(PlanBuilder& builder, const Node& node, Reduction op,
                   const std::vector<bool>& dims, bool keep) {
  int x = builder.tensor_arg(node, 0);
  if (x < 0 || builder.value(x).dtype != DType::Float32 ||
      builder.result_meta(node).dtype != DType::Float32) {
    return false;
  }
  x = builder.as_dense(x);
  Lines lines;
  if (!read_lines(builder.value(x), dims, keep, &lines)) {
    x = builder.as_contiguous(x);
    lines = {};
    if (!read_lines(builder.value(x), dims, keep, &lines)) return false;
  }
  const int out = builder.new_value(builder.result_sizes(node), lines.out_strides, DType::Float32);
  auto step = std::make_unique<KernelStep>([=](RunContext& ctx) {
    reduce(op, ctx.data<const float>(x), lines.outer, lines.n, lines.inner, ctx.data<float>(out));
  });
  step->info = builder.describe(node, cat("pt2q ", node.op().base_name()), out);
  builder.add(std::move(step), {x}, {out});
  builder.bind(node, out);
  return true;
}

template <Reduction kOp>
bool make_whole(PlanBuilder& builder, const Node& node, std::string*) {
  const int x = builder.tensor_arg(node, 0);
  return x >= 0 && add_reduction(builder, node, kOp,
                                 std::vector<bool>(builder.value(x).sizes.size(), true), false);
}

template <Reduction kOp>
bool make_over(PlanBuilder& builder, const Node& node, std::string*) {
  const int x = builder.tensor_arg(node, 0);
  if (x < 0) return false;
  if (kOp == Reduction::mean && make_spatial_mean(builder, node)) return true;
  return add_reduction(builder, node, kOp,
                       reduced_dims(builder.plain_arg(node, 1), builder.value(x).sizes.size()),
                       builder.plain_arg(node, 2).to_bool());
}

// linalg_vector_norm(x, ord=2, dim, keepdim, dtype): of order 2.
bool make_norm(PlanBuilder& builder, const Node& node, std::string*) {
  const int x = builder.tensor_arg(node, 0);
  if (x < 0 || builder.plain_arg(node, 1).to_double() != 2.0) return false;
  return add_reduction(builder, node, Reduction::norm,
                       reduced_dims(builder.plain_arg(node, 2), builder.value(x).sizes.size()),
                       builder.plain_arg(node, 3).to_bool());
}

}  // namespace

void add_reduce_steps(StepMakerMap& makers) {
  makers["aten.sum.default"] = make_whole<Reduction::sum>;
  makers["aten.mean.default"] = make_whole<Reduction::mean>;
  makers["aten.max.default"] = make_whole<Reduction::maximum>;
  makers["aten.min.default"] = make_whole<Reduction::minimum>;
  makers["aten.sum.dim_IntList"] = make_over<Reduction::sum>;
  makers["aten.mean.dim"] = make_over<Reduction::mean>;
  makers["aten.linalg_vector_norm.default"] = make_norm;
  makers["aten.amax.default"] = make_over<Reduction::maximum>;
  makers["aten.amin.default"] = make_over<Reduction::minimum>;
}

}  // namespace pt2q
