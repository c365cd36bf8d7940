// float32 attention in one pass, its result quantized on the way where that is asked for.
#include <cmath>

#include "base/strings.h"
#include "kernels/attention.h"
#include "onednn/kernel_step.h"
#include "onednn/step_makers.h"
#include "onednn/steps_norm.h"
#include "ops/support/lowered_rows.h"

namespace pt2q {
namespace {

// Arguments of scaled_dot_product_attention.
enum Position : size_t { kQuery, kKey, kValue, kMask, kDropout, kCausal, kScale, kGroups };

struct Operand {
  int id = -1;
  Shape sizes;    // [B, H, rows, depth]
  Shape strides;  // of the same; the last is 1
};

// A float32 operand as four dimensions; rows keep their stride when they are contiguous inside.
bool read_operand(PlanBuilder& builder, const Node& node, size_t i, Operand* out) {
  int id = builder.tensor_arg(node, i);
  if (id < 0 || builder.value(id).dtype != DType::Float32) return false;
  const size_t rank = builder.value(id).sizes.size();
  if (rank < 3 || rank > 4) return false;
  if (!builder.value(id).layout_known || builder.value(id).strides.back() != 1)
    id = builder.as_contiguous(id);
  out->id = id;
  out->sizes = builder.value(id).sizes;
  out->strides = builder.value(id).strides;
  if (rank == 3) {
    out->sizes.insert(out->sizes.begin() + 1, 1);
    out->strides.insert(out->strides.begin() + 1, 0);
  }
  return true;
}

// The mask broadcast over `scores` [B, H, L, S]: strides with 0 where it is broadcast.
bool read_mask(PlanBuilder& builder, const Node& node, const Shape& scores, AttentionShape* shape,
               int* id) {
  *id = builder.tensor_arg(node, kMask);
  if (*id < 0) return true;
  const DType dtype = builder.value(*id).dtype;
  if (dtype != DType::Float32 && dtype != DType::Bool) return false;
  if (!builder.value(*id).layout_known) *id = builder.as_contiguous(*id);
  Shape sizes = builder.value(*id).sizes, strides = builder.value(*id).strides;
  // A rank-3 query has one head in the middle.
  if (builder.result_sizes(node).size() == 3 && sizes.size() == 3) {
    sizes.insert(sizes.begin() + 1, 1);
    strides.insert(strides.begin() + 1, 0);
  }
  if (sizes.size() > scores.size()) return false;
  const size_t missing = scores.size() - sizes.size();
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (sizes[d] != 1 && sizes[d] != scores[missing + d]) return false;
    shape->mask[missing + d] = sizes[d] == 1 ? 0 : strides[d];
  }
  return true;
}

void set_strides(int64_t (&to)[3], const Shape& strides) {
  for (size_t d = 0; d < 3; ++d) to[d] = strides[d];
}

bool describe_operands(const Operand& q, const Operand& k, const Operand& v, AttentionShape* s) {
  s->batch = q.sizes[0];
  s->heads = q.sizes[1];
  const int64_t key_heads = k.sizes[1];
  if (k.sizes[0] != s->batch || v.sizes[0] != s->batch || v.sizes[1] != key_heads ||
      key_heads == 0 || s->heads % key_heads != 0) {
    return false;
  }
  s->heads_per_key = s->heads / key_heads;
  s->length = q.sizes[2];
  s->source = k.sizes[2];
  s->depth = q.sizes[3];
  s->value_depth = v.sizes[3];
  set_strides(s->q, q.strides);
  set_strides(s->k, k.strides);
  set_strides(s->v, v.strides);
  return true;
}

// Runs `shape` into value `out` of `dtype`.
std::unique_ptr<Step> attention_step(const AttentionShape& shape, const std::vector<int>& ids,
                                     bool boolean, const QuantParams& to, int out, DType dtype) {
  return std::make_unique<KernelStep>([=](RunContext& ctx) {
    AttentionMask m;
    if (ids.size() > 3 && boolean) m.allowed = ctx.data<const bool>(ids[3]);
    if (ids.size() > 3 && !boolean) m.added = ctx.data<const float>(ids[3]);
    const auto run = [&](auto* result) {
      attention(shape, ctx.data<const float>(ids[0]), ctx.data<const float>(ids[1]),
                ctx.data<const float>(ids[2]), m, result, to);
    };
    if (dtype == DType::Float32) return run(ctx.data<float>(out));
    dtype == DType::UInt8 ? run(ctx.data<uint8_t>(out)) : run(ctx.data<int8_t>(out));
  });
}

bool make_attention(PlanBuilder& builder, const Node& node, std::string* why) {
  Operand q, k, v;
  AttentionShape shape;
  if (builder.plain_arg(node, kDropout).to_double() != 0.0 ||
      !read_operand(builder, node, kQuery, &q) || !read_operand(builder, node, kKey, &k) ||
      !read_operand(builder, node, kValue, &v) || !describe_operands(q, k, v, &shape)) {
    *why = "operands of another rank, dtype or batch shape";
    return false;
  }
  int mask = -1;
  if (!read_mask(builder, node, {shape.batch, shape.heads, shape.length, shape.source}, &shape,
                 &mask)) {
    *why = "a mask of another shape or dtype";
    return false;
  }
  shape.causal = builder.plain_arg(node, kCausal).to_bool();
  const Value scale = builder.plain_arg(node, kScale);
  shape.scale = static_cast<float>(
      scale.is_none() ? 1.0 / std::sqrt(static_cast<double>(shape.depth)) : scale.to_double());
  // Heads side by side in a row: what follows, transpose and reshape to [B, L, H * E], is a view.
  const Shape sizes = builder.result_sizes(node);
  const int64_t row = shape.heads * shape.value_depth;
  const Shape out_strides = {shape.length * row, shape.value_depth, row, 1};
  set_strides(shape.out, out_strides);
  const DType dtype = builder.result_meta(node).dtype;
  const int out =
      builder.new_value(sizes, sizes.size() == 3 ? contiguous_strides(sizes) : out_strides, dtype);
  const bool boolean = mask >= 0 && builder.value(mask).dtype == DType::Bool;
  std::vector<int> inputs{q.id, k.id, v.id};
  if (mask >= 0) inputs.push_back(mask);
  QuantParams to;
  if (dtype != DType::Float32) to = read_result_params(builder, node, ops::kQAttentionTail);
  auto step = attention_step(shape, inputs, boolean, to, out, dtype);
  step->info = builder.describe(node, "pt2q attention", out);
  step->info.flops = 2.0 * static_cast<double>(shape.batch * shape.heads * shape.length) *
                     static_cast<double>(shape.source * (shape.depth + shape.value_depth));
  builder.add(std::move(step), inputs, {out});
  builder.bind(node, out);
  return true;
}

}  // namespace

void add_attention_steps(StepMakerMap& makers) {
  makers["aten.scaled_dot_product_attention.default"] = make_attention;
  makers["pt2q.qattention.default"] = make_attention;
}

}  // namespace pt2q
