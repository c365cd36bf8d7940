// float32 softmax, layer norm and batch norm.
#include "onednn/steps_norm.h"

#include <algorithm>

#include "base/strings.h"
#include "kernels/elementwise.h"
#include "onednn/dnnl_step.h"
#include "onednn/float_ops.h"
#include "onednn/kernel_step.h"
#include "onednn/step_makers.h"
#include "ops/support/lowered_rows.h"

namespace pt2q {
namespace {

// Over the last dimension; other dimensions run the reference kernel.
bool make_softmax(PlanBuilder& builder, const Node& node, std::string*) {
  int x = builder.tensor_arg(node, 0);
  if (!is_float32(builder, x) || builder.result_meta(node).dtype != DType::Float32) return false;
  const Shape sizes = builder.value(x).sizes;
  const auto rank = static_cast<int64_t>(sizes.size());
  if (rank == 0 || wrap_dim(builder.plain_arg(node, 1).to_int(), rank) != rank - 1) return false;
  x = builder.as_contiguous(x);
  const int out = builder.new_value(sizes, contiguous_strides(sizes), DType::Float32);
  const int64_t n = sizes.back(), rows = numel_of(sizes) / n;
  auto step = std::make_unique<KernelStep>([=](RunContext& ctx) {
    softmax_rows(ctx.data<const float>(x), rows, n, ctx.data<float>(out));
  });
  step->in_place_input = x;
  step->info = builder.describe(node, "pt2q softmax", out);
  builder.add(std::move(step), {x}, {out});
  builder.bind(node, out);
  return true;
}

bool make_layer_norm(PlanBuilder& builder, const Node& node, std::string*) {
  LayerNorm norm;
  if (!read_layer_norm(builder, node, &norm)) return false;
  const int out = builder.new_value(norm.sizes, contiguous_strides(norm.sizes), DType::Float32);
  auto step = std::make_unique<KernelStep>([norm, out](RunContext& ctx) {
    layer_norm_rows(ctx.data<const float>(norm.x), norm.rows, norm.n,
                    norm.parameter(ctx, norm.weight), norm.parameter(ctx, norm.bias), norm.eps,
                    ctx.data<float>(out));
  });
  step->in_place_input = norm.x;
  step->info = builder.describe(node, "pt2q layer_norm", out);
  builder.add(std::move(step), norm.inputs, {out});
  builder.bind(node, out);
  return true;
}

bool uses_item(const Node& node, int64_t item) {
  const auto& users = node.users();
  return std::any_of(users.begin(), users.end(), [&](const Node* user) {
    return !user->is_call("_operator.getitem") || user->arg(1) == Value(item);
  });
}

// The codes, and the float result where somebody reads it.
bool make_qlayer_norm(PlanBuilder& builder, const Node& node, std::string*) {
  LayerNorm norm;
  if (!read_layer_norm(builder, node, &norm)) return false;
  const QuantParams to = read_result_params(builder, node, ops::kQNormTail);
  const DType dtype = builder.plain_arg(node, ops::kQNormTail + 4).as<DType>();
  const Shape strides = contiguous_strides(norm.sizes);
  const bool keep = uses_item(node, 0);
  const int real = builder.new_value(norm.sizes, strides, DType::Float32);
  const int codes = builder.new_value(norm.sizes, strides, dtype);
  auto step = std::make_unique<KernelStep>([=](RunContext& ctx) {
    float* const y = keep ? ctx.data<float>(real) : nullptr;
    const auto run = [&](auto* q) {
      layer_norm_rows_quantize(ctx.data<const float>(norm.x), norm.rows, norm.n,
                               norm.parameter(ctx, norm.weight), norm.parameter(ctx, norm.bias),
                               norm.eps, to, y, q);
    };
    dtype == DType::UInt8 ? run(ctx.data<uint8_t>(codes)) : run(ctx.data<int8_t>(codes));
  });
  if (keep) step->in_place_input = norm.x;
  step->info = builder.describe(node, "pt2q layer_norm", codes);
  step->info.dtype = cat("float32 -> ", keep ? "float32, " : "", dtype_name(dtype));
  builder.add(std::move(step), norm.inputs, {real, codes});
  builder.bind_list(node, {real, codes});
  return true;
}

// batch_norm(input, weight?, bias?, mean, var, training, momentum, eps, cudnn): evaluation mode.
bool make_batch_norm(PlanBuilder& builder, const Node& node, std::string* why) {
  int x = builder.tensor_arg(node, 0);
  if (!is_float32(builder, x) || builder.plain_arg(node, 5).to_bool()) return false;
  const Shape sizes = builder.value(x).sizes;
  if (sizes.size() < 2) return false;
  for (const size_t i : {1, 2, 3, 4}) {
    const int id = builder.tensor_arg(node, i);
    const bool statistic = i > 2;
    if ((id < 0 && (statistic || !node.arg(i).is_none())) ||
        (id >= 0 && !builder.constant(id).defined() && !is_float32(builder, id))) {
      *why = "statistics or parameters of unknown shape, or not float32";
      return false;
    }
  }
  const Shape strides = sizes.size() > 2 ? channels_last_of(sizes) : contiguous_strides(sizes);
  const auto desc = onednn::desc_of(sizes, strides, DType::Float32);
  const auto primitive =
      onednn::make_batch_norm(desc, static_cast<float>(builder.plain_arg(node, 7).to_double()));
  if (!primitive) return false;
  x = builder.as_layout(x, strides);
  const int out = builder.new_value(sizes, strides, DType::Float32);
  auto step = std::make_unique<DnnlStep>(primitive);
  step->bind(DNNL_ARG_SRC, desc, x);
  step->bind(DNNL_ARG_DST, desc, out);
  const auto vector = onednn::desc_of({sizes[1]}, {1}, DType::Float32);
  std::vector<int> inputs{x};
  // Constants are kept by the step; what the graph computes is read at each run.
  const auto bind = [&](int arg, size_t i, double missing) {
    const int id = builder.tensor_arg(node, i);
    const Tensor t = id < 0 ? Tensor::full({sizes[1]}, missing) : builder.constant(id);
    if (t.defined()) {
      const Tensor plain = t.to(DType::Float32).contiguous();
      step->bind_constant(arg, onednn::pack(vector, plain.raw_data(), vector));
      return;
    }
    inputs.push_back(builder.as_contiguous(id));
    step->bind(arg, vector, inputs.back());
  };
  bind(DNNL_ARG_SCALE, 1, 1.0);
  bind(DNNL_ARG_SHIFT, 2, 0.0);
  bind(DNNL_ARG_MEAN, 3, 0.0);
  bind(DNNL_ARG_VARIANCE, 4, 1.0);
  step->in_place_input = x;
  step->info = builder.describe(node, step->kernel(), out);
  add_dnnl_step(builder, std::move(step), inputs, {out});
  builder.bind(node, out);
  return true;
}

}  // namespace

bool read_layer_norm(PlanBuilder& builder, const Node& node, LayerNorm* out) {
  const int x = builder.tensor_arg(node, 0);
  if (!is_float32(builder, x)) return false;
  out->sizes = builder.value(x).sizes;
  out->n = numel_of(builder.plain_arg(node, 1).to_ints());
  out->rows = numel_of(out->sizes) / out->n;
  out->x = builder.as_contiguous(x);
  out->inputs = {out->x};
  for (size_t i = 2; i < 4; ++i) {
    if (builder.plain_arg(node, i).is_none()) continue;
    const int p = builder.tensor_arg(node, i);
    if (!is_float32(builder, p)) return false;
    out->inputs.push_back(builder.as_contiguous(p));
    (i == 2 ? out->weight : out->bias) = out->inputs.back();
  }
  out->eps = static_cast<float>(builder.plain_arg(node, 4).to_double());
  return true;
}

QuantParams read_result_params(const PlanBuilder& builder, const Node& node, size_t tail) {
  QuantParams p;
  p.scale = builder.plain_arg(node, tail).to_double();
  p.zero_point = static_cast<int32_t>(builder.plain_arg(node, tail + 1).to_int());
  p.quant_min = static_cast<int32_t>(builder.plain_arg(node, tail + 2).to_int());
  p.quant_max = static_cast<int32_t>(builder.plain_arg(node, tail + 3).to_int());
  return p;
}

void add_norm_steps(StepMakerMap& makers) {
  makers["aten.softmax.int"] = make_softmax;
  makers["aten._softmax.default"] = make_softmax;
  makers["aten.layer_norm.default"] = make_layer_norm;
  makers["pt2q.qlayer_norm.default"] = make_qlayer_norm;
  makers["aten.batch_norm.default"] = make_batch_norm;
}

}  // namespace pt2q
