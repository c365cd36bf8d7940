// Floating-point linear layers and matrix products through oneDNN.
#include "base/strings.h"
#include "onednn/dnnl_step.h"
#include "onednn/float_ops.h"
#include "onednn/step_makers.h"

namespace pt2q {
namespace {

bool is_float(const PlanBuilder& b, int id) { return id >= 0 && computes_in(b.value(id).dtype); }

void bind_post_ops(PlanBuilder& builder, DnnlStep& step, const FloatLinear& linear,
                   const dnnl::memory::desc& dst, std::vector<int>* inputs) {
  for (size_t i = 0; i < linear.post_ops.size(); ++i) {
    if (!linear.post_ops[i].is_add) continue;
    const int other = builder.as_contiguous(linear.other);
    step.bind(DNNL_ARG_ATTR_MULTIPLE_POST_OP(static_cast<int>(i)) | DNNL_ARG_SRC_1, dst, other);
    inputs->push_back(other);
  }
}

// Batched product of two activations.
bool make_batched(PlanBuilder& builder, const Node& node, int a, int b, std::string* why) {
  const Shape a_sizes = builder.value(a).sizes;
  const Shape b_sizes = builder.value(b).sizes;
  const Shape out_sizes = builder.result_sizes(node);
  const DType dtype = builder.value(a).dtype;
  if (builder.value(b).dtype != dtype || a_sizes.size() < 2 || a_sizes.size() != b_sizes.size() ||
      out_sizes.size() != a_sizes.size() ||
      !std::equal(a_sizes.begin(), a_sizes.end() - 2, b_sizes.begin())) {
    *why = "a broadcast or vector product";
    return false;
  }
  // A transposed right operand may stay as it is; everything else becomes row-major.
  a = builder.as_contiguous(a);
  Shape transposed = b_sizes;
  std::swap(transposed[transposed.size() - 1], transposed[transposed.size() - 2]);
  Shape t_strides = contiguous_strides(transposed);
  std::swap(t_strides[t_strides.size() - 1], t_strides[t_strides.size() - 2]);
  const PlanValue bv = builder.value(b);
  const bool is_transposed = bv.layout_known && same_layout(b_sizes, bv.strides, t_strides);
  if (!is_transposed) b = builder.as_contiguous(b);
  // oneDNN takes any batch rank as 3-D.
  const auto flat = [](const Shape& s) {
    int64_t batch = 1;
    for (size_t d = 0; d + 2 < s.size(); ++d) batch *= s[d];
    return Shape{batch, s[s.size() - 2], s[s.size() - 1]};
  };
  const Shape fa = flat(a_sizes), fb = flat(b_sizes), fo = flat(out_sizes);
  const Shape b_strides = is_transposed ? Shape{fb[1] * fb[2], 1, fb[1]} : contiguous_strides(fb);
  const auto a_desc = onednn::desc_of(fa, contiguous_strides(fa), dtype);
  const auto b_desc = onednn::desc_of(fb, b_strides, dtype);
  const auto dst = onednn::desc_of(fo, contiguous_strides(fo), dtype);
  const auto primitive = onednn::make_matmul(a_desc, b_desc, nullptr, dst, {});
  if (!primitive) {
    *why = "oneDNN has no optimised implementation";
    return false;
  }
  const int out = builder.new_value(out_sizes, contiguous_strides(out_sizes), dtype);
  auto step = std::make_unique<DnnlStep>(primitive);
  step->bind(DNNL_ARG_SRC, a_desc, a);
  step->bind(DNNL_ARG_WEIGHTS, b_desc, b);
  step->bind(DNNL_ARG_DST, dst, out);
  step->info = builder.describe(node, step->kernel(), out);
  step->info.flops = 2.0 * static_cast<double>(fa[0] * fa[1] * fa[2] * fb[2]);
  add_dnnl_step(builder, std::move(step), {a, b}, {out});
  builder.bind(node, out);
  return true;
}

bool make_linear(PlanBuilder& builder, const Node& node, std::string* why) {
  FloatLinear linear;
  linear.x = builder.tensor_arg(node, 0);
  const int weight = builder.tensor_arg(node, 1);
  if (weight < 0 || builder.value(weight).sizes.size() != 2) {
    *why = "the weight is no matrix";
    return false;
  }
  linear.weight = linear.key = builder.constant(weight);
  if (!linear.weight.defined()) linear.computed_weight = weight;
  linear.bias = builder.tensor_arg(node, 2);
  return add_float_linear(builder, node, linear, why);
}

// mm, matmul and bmm; constant right operands are packed.
bool make_product(PlanBuilder& builder, const Node& node, std::string* why) {
  const int a = builder.tensor_arg(node, 0);
  const int b = builder.tensor_arg(node, 1);
  if (!is_float(builder, a) || !is_float(builder, b)) return false;
  const Tensor weight = builder.constant(b);
  if (weight.defined() && weight.dim() == 2 && builder.value(a).sizes.size() >= 2) {
    FloatLinear linear;
    linear.x = a;
    linear.weight = weight.transpose(0, 1);
    linear.key = weight;
    linear.form = "transposed";
    return add_float_linear(builder, node, linear, why);
  }
  return make_batched(builder, node, a, b, why);
}

// addmm(bias, x, weight^T, beta=1, alpha=1).
bool make_addmm(PlanBuilder& builder, const Node& node, std::string* why) {
  FloatLinear linear;
  linear.bias = builder.tensor_arg(node, 0);
  linear.x = builder.tensor_arg(node, 1);
  const Tensor weight = builder.constant(builder.tensor_arg(node, 2));
  if (!weight.defined() || linear.bias < 0 || builder.value(linear.bias).sizes.size() != 1 ||
      builder.plain_arg(node, 3).to_double() != 1.0 ||
      builder.plain_arg(node, 4).to_double() != 1.0) {
    *why = "a general addmm";
    return false;
  }
  linear.weight = weight.transpose(0, 1);
  linear.key = weight;
  linear.form = "transposed";
  return add_float_linear(builder, node, linear, why);
}

// onednn.linear(x, weight, bias?, other?, post_ops).
bool make_fused_linear(PlanBuilder& builder, const Node& node, std::string* why) {
  FloatLinear linear;
  linear.x = builder.tensor_arg(node, 0);
  linear.weight = linear.key = builder.constant(builder.tensor_arg(node, 1));
  if (!linear.weight.defined()) {
    *why = "the weight is not constant";
    return false;
  }
  linear.bias = builder.tensor_arg(node, 2);
  linear.other = builder.tensor_arg(node, 3);
  linear.post_ops = float_post_ops(builder.plain_arg(node, 4).as<std::string>());
  return add_float_linear(builder, node, linear, why);
}

}  // namespace

bool add_float_linear(PlanBuilder& builder, const Node& node, const FloatLinear& linear,
                      std::string* why) {
  const bool computed = linear.computed_weight >= 0;
  const Shape w_sizes =
      computed ? builder.value(linear.computed_weight).sizes : linear.weight.sizes();
  const DType w_dtype =
      computed ? builder.value(linear.computed_weight).dtype : linear.weight.dtype();
  if (!is_float(builder, linear.x) || w_dtype != builder.value(linear.x).dtype) {
    *why = "operands of different dtypes, or of one that oneDNN does not compute in here";
    return false;
  }
  if (linear.bias >= 0 && builder.value(linear.bias).sizes != Shape{w_sizes[0]}) {
    *why = "a bias that is not one value per output";
    return false;
  }
  const Shape x_sizes = builder.value(linear.x).sizes;
  const Shape out_sizes = builder.result_sizes(node);
  const int64_t k = w_sizes[1], n = w_sizes[0];
  const int64_t m = numel_of(x_sizes) / k;
  const DType dtype = builder.value(linear.x).dtype;
  const auto src = onednn::desc_of({m, k}, {k, 1}, dtype);
  const auto dst = onednn::desc_of({m, n}, {n, 1}, dtype);
  const auto bias = onednn::desc_of(
      {n}, {1}, linear.bias >= 0 ? builder.value(linear.bias).dtype : DType::Float32);
  onednn::PostOps post_ops;
  for (const FloatPostOp& op : linear.post_ops) {
    if (op.is_add) {
      post_ops.add(dst);
    } else {
      post_ops.eltwise(op.kind, op.alpha, op.beta);
    }
  }
  const auto primitive = onednn::make_inner_product(
      src, onednn::desc_any({n, k}, dtype), linear.bias >= 0 ? &bias : nullptr, dst, post_ops);
  if (!primitive) {
    *why = "oneDNN has no optimised implementation";
    return false;
  }
  const int x = builder.as_contiguous(linear.x);
  auto step = std::make_unique<DnnlStep>(primitive);
  std::vector<int> inputs{x};
  step->bind(DNNL_ARG_SRC, src, x);
  if (computed) {
    const int dense = builder.as_contiguous(linear.computed_weight);
    step->bind_repacked(DNNL_ARG_WEIGHTS, onednn::desc_of(w_sizes, {k, 1}, dtype), dense,
                        primitive.weights);
    inputs.push_back(dense);
  } else {
    step->bind_constant(DNNL_ARG_WEIGHTS, packed_weights(builder, linear.key, linear.form,
                                                         linear.weight, primitive.weights));
  }
  if (linear.bias >= 0) {
    const int b = builder.as_contiguous(linear.bias);
    step->bind(DNNL_ARG_BIAS, bias, b);
    inputs.push_back(b);
  }
  bind_post_ops(builder, *step, linear, dst, &inputs);
  const int out = builder.new_value(out_sizes, contiguous_strides(out_sizes), dtype);
  step->bind(DNNL_ARG_DST, dst, out);
  step->info = builder.describe(node, step->kernel(), out);
  step->info.flops = 2.0 * static_cast<double>(m * n * k);
  add_dnnl_step(builder, std::move(step), inputs, {out});
  builder.bind(node, out);
  return true;
}

void add_matmul_steps(StepMakerMap& makers) {
  makers["aten.linear.default"] = make_linear;
  makers["aten.mm.default"] = make_product;
  makers["aten.matmul.default"] = make_product;
  makers["aten.bmm.default"] = make_product;
  makers["aten.addmm.default"] = make_addmm;
  makers["onednn.linear.default"] = make_fused_linear;
}

}  // namespace pt2q
