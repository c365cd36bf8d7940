// Attention of float32, of bfloat16 where the CPU multiplies it, or of quantized operands, in one
// pass; the result is quantized on the way where that is asked for.
#include <cmath>
#include <type_traits>

#include "base/strings.h"
#include "kernels/attention.h"
#include "kernels/attention_bf16.h"
#include "kernels/attention_int8.h"
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

// An operand of `dtype` as four dimensions; rows keep their stride when they are contiguous inside.
bool read_operand(PlanBuilder& builder, const Node& node, size_t i, DType dtype, Operand* out) {
  int id = builder.tensor_arg(node, i);
  if (id < 0 || builder.value(id).dtype != dtype) return false;
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
  if (builder.value(*id).dtype == DType::BFloat16) *id = builder.as_dtype(*id, DType::Float32);
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

// Query, key, value and mask, if there is one; what they say of the shape.
bool read_operands(PlanBuilder& builder, const Node& node, DType dtype, AttentionShape* shape,
                   std::vector<int>* inputs, std::string* why) {
  Operand q, k, v;
  if (!read_operand(builder, node, kQuery, dtype, &q) ||
      !read_operand(builder, node, kKey, dtype, &k) ||
      !read_operand(builder, node, kValue, dtype, &v) || !describe_operands(q, k, v, shape)) {
    *why = "operands of another rank, dtype or batch shape";
    return false;
  }
  int mask = -1;
  if (!read_mask(builder, node, {shape->batch, shape->heads, shape->length, shape->source}, shape,
                 &mask)) {
    *why = "a mask of another shape or dtype";
    return false;
  }
  *inputs = {q.id, k.id, v.id};
  if (mask >= 0) inputs->push_back(mask);
  return true;
}

// Heads side by side in a row: what follows, transpose and reshape to [B, L, H * E], is a view.
int new_result(PlanBuilder& builder, const Node& node, AttentionShape* shape) {
  const Shape sizes = builder.result_sizes(node);
  const int64_t row = shape->heads * shape->value_depth;
  const Shape strides = {shape->length * row, shape->value_depth, row, 1};
  set_strides(shape->out, strides);
  return builder.new_value(sizes, sizes.size() == 3 ? contiguous_strides(sizes) : strides,
                           builder.result_meta(node).dtype);
}

void add_step(PlanBuilder& builder, const Node& node, const AttentionShape& shape,
              const std::string& kernel, const std::vector<int>& inputs, int out,
              std::function<void(RunContext&)> run) {
  auto step = std::make_unique<KernelStep>(std::move(run));
  step->info = builder.describe(node, kernel, out);
  step->info.flops = 2.0 * static_cast<double>(shape.batch * shape.heads * shape.length) *
                     static_cast<double>(shape.source * (shape.depth + shape.value_depth));
  builder.add(std::move(step), inputs, {out});
  builder.bind(node, out);
}

struct AttentionPlan {
  AttentionShape shape;
  std::vector<int> inputs;  // query, key, value, and the mask if there is one
  bool boolean = false;     // the mask
  bool half = false;        // bfloat16 operands
  QuantParams to;
  int out = -1;
  DType dtype = DType::Float32;  // of the result

  AttentionMask mask(RunContext& ctx) const {
    AttentionMask m;
    if (inputs.size() > 3 && boolean) m.allowed = ctx.data<const bool>(inputs[3]);
    if (inputs.size() > 3 && !boolean) m.added = ctx.data<const float>(inputs[3]);
    return m;
  }
};

template <typename Out>
void run_plan(const AttentionPlan& p, RunContext& ctx) {
  if constexpr (!std::is_same_v<Out, float>) {
    if (p.half) {
      return kernels::attention_bf16(
          p.shape, ctx.data<const uint16_t>(p.inputs[0]), ctx.data<const uint16_t>(p.inputs[1]),
          ctx.data<const uint16_t>(p.inputs[2]), p.mask(ctx), ctx.data<Out>(p.out), p.to);
    }
  }
  if constexpr (!std::is_same_v<Out, uint16_t>) {
    attention(p.shape, ctx.data<const float>(p.inputs[0]), ctx.data<const float>(p.inputs[1]),
              ctx.data<const float>(p.inputs[2]), p.mask(ctx), ctx.data<Out>(p.out), p.to);
  }
}

void run_attention(const AttentionPlan& p, RunContext& ctx) {
  switch (p.dtype) {
    case DType::UInt8:
      return run_plan<uint8_t>(p, ctx);
    case DType::Int8:
      return run_plan<int8_t>(p, ctx);
    case DType::BFloat16:
      return run_plan<uint16_t>(p, ctx);
    default:
      return run_plan<float>(p, ctx);
  }
}

bool make_attention(PlanBuilder& builder, const Node& node, std::string* why) {
  AttentionPlan plan;
  AttentionShape& shape = plan.shape;
  const int query = builder.tensor_arg(node, kQuery);
  plan.half = query >= 0 && builder.value(query).dtype == DType::BFloat16;
  if (plan.half && !kernels::has_attention_bf16()) return false;  // runs widened
  if (builder.plain_arg(node, kDropout).to_double() != 0.0) {
    *why = "dropout";
    return false;
  }
  const DType operands = plan.half ? DType::BFloat16 : DType::Float32;
  if (!read_operands(builder, node, operands, &shape, &plan.inputs, why)) return false;
  if (plan.half && !kernels::attention_bf16_fits(shape)) {
    *why = "a depth that the bfloat16 kernel does not take";
    return false;
  }
  shape.causal = builder.plain_arg(node, kCausal).to_bool();
  const Value scale = builder.plain_arg(node, kScale);
  shape.scale = static_cast<float>(
      scale.is_none() ? 1.0 / std::sqrt(static_cast<double>(shape.depth)) : scale.to_double());
  plan.dtype = builder.result_meta(node).dtype;
  plan.out = new_result(builder, node, &shape);
  plan.boolean = plan.inputs.size() > 3 && builder.value(plan.inputs[3]).dtype == DType::Bool;
  if (plan.dtype == DType::UInt8 || plan.dtype == DType::Int8)
    plan.to = read_result_params(builder, node, ops::kQAttentionTail);
  add_step(builder, node, shape, plan.half ? "pt2q attention bf16" : "pt2q attention", plan.inputs,
           plan.out, [plan](RunContext& ctx) { run_attention(plan, ctx); });
  return true;
}

struct Int8AttentionPlan : AttentionPlan {
  kernels::AttentionQuant quant;

  template <typename Out>
  void run(RunContext& ctx) const {
    kernels::attention_int8(shape, quant, ctx.data<const uint8_t>(inputs[0]),
                            ctx.data<const uint8_t>(inputs[1]), ctx.data<const uint8_t>(inputs[2]),
                            mask(ctx), ctx.data<Out>(out), to);
  }
};

bool make_int8_attention(PlanBuilder& builder, const Node& node, std::string* why) {
  Int8AttentionPlan plan;
  if (!read_operands(builder, node, DType::UInt8, &plan.shape, &plan.inputs, why)) return false;
  const std::vector<Value>& args = builder.plain_args(node);
  plan.shape.scale = static_cast<float>(args[ops::kInt8AttentionScale].to_double());
  plan.quant = ops::int8_attention_quant(args);
  plan.to = ops::int8_attention_result(args);
  if (!kernels::attention_int8_fits(plan.shape)) {
    *why = "a depth or a number of keys that the kernel does not take";
    return false;
  }
  plan.dtype = builder.result_meta(node).dtype;
  plan.out = new_result(builder, node, &plan.shape);
  add_step(builder, node, plan.shape, "pt2q attention int8", plan.inputs, plan.out,
           [plan](RunContext& ctx) {
             if (plan.dtype == DType::UInt8) return plan.run<uint8_t>(ctx);
             if (plan.dtype == DType::Int8) return plan.run<int8_t>(ctx);
             plan.run<float>(ctx);
           });
  return true;
}

}  // namespace

void add_attention_steps(StepMakerMap& makers) {
  makers["aten.scaled_dot_product_attention.default"] = make_attention;
  makers["pt2q.qattention.default"] = make_attention;
  makers["pt2q.attention_int8.default"] = make_int8_attention;
}

}  // namespace pt2q
