// Floating-point convolutions through oneDNN, channels last.
#include "base/strings.h"
#include "onednn/dnnl_step.h"
#include "onednn/float_ops.h"
#include "onednn/step_makers.h"

namespace pt2q {
namespace {

// [OC, IC/g, ...] as [g, OC/g, IC/g, ...] when there are groups.
Shape grouped_sizes(const Shape& weight, int64_t groups) {
  if (groups == 1) return weight;
  Shape sizes{groups, weight[0] / groups};
  sizes.insert(sizes.end(), weight.begin() + 1, weight.end());
  return sizes;
}
Tensor grouped_view(const Tensor& weight, int64_t groups) {
  return groups == 1 ? weight : weight.contiguous().reshape(grouped_sizes(weight.sizes(), groups));
}

void bind_bias(PlanBuilder& builder, DnnlStep& step, int bias, const onednn::Primitive& primitive,
               std::vector<int>* inputs) {
  if (bias < 0) return;
  const Tensor constant = builder.constant(bias);
  if (!constant.defined()) {
    const int dense = builder.as_contiguous(bias);
    step.bind(DNNL_ARG_BIAS, primitive.bias, dense);
    inputs->push_back(dense);
    return;
  }
  step.bind_constant(DNNL_ARG_BIAS,
                     packed_weights(builder, constant, "", constant, primitive.bias));
}

}  // namespace

double conv_flops(const Shape& out, const Shape& weight) {
  double flops = 2.0;
  for (const int64_t s : out) flops *= static_cast<double>(s);
  for (size_t d = 1; d < weight.size(); ++d) flops *= static_cast<double>(weight[d]);
  return flops;
}

bool add_float_conv(PlanBuilder& builder, const Node& node, const FloatConv& conv,
                    std::string* why) {
  if (conv.x < 0 || conv.weight < 0 || !computes_in(builder.value(conv.x).dtype) ||
      builder.value(conv.weight).dtype != builder.value(conv.x).dtype) {
    *why = "operands of different dtypes, or of one that oneDNN does not compute in here";
    return false;
  }
  if (add_winograd_conv(builder, node, conv)) return true;
  const DType dtype = builder.value(conv.x).dtype;
  const Tensor weight = builder.constant(conv.weight);  // undefined: computed by the graph
  const Shape weight_sizes = builder.value(conv.weight).sizes;
  const Shape x_sizes = builder.value(conv.x).sizes;
  const Shape out_sizes = builder.result_sizes(node);
  if (x_sizes.size() < 3) {
    *why = "an input without batch dimension";
    return false;
  }
  const Shape x_strides = channels_last_of(x_sizes);
  const Shape out_strides = channels_last_of(out_sizes);
  const Shape grouped = grouped_sizes(weight_sizes, conv.groups);

  onednn::ConvSpec spec;
  spec.src = onednn::desc_of(x_sizes, x_strides, dtype);
  spec.dst = onednn::desc_of(out_sizes, out_strides, dtype);
  spec.weights = onednn::desc_any(grouped, dtype);
  spec.has_bias = conv.bias >= 0;
  if (spec.has_bias)
    spec.bias = onednn::desc_of({out_sizes[1]}, {1}, builder.value(conv.bias).dtype);
  spec.stride = conv.stride;
  spec.padding_low = conv.padding_low;
  spec.padding_high = conv.padding_high;
  spec.dilation = conv.dilation;
  onednn::PostOps post_ops;
  for (const FloatPostOp& op : conv.post_ops) {
    if (op.is_add) {
      post_ops.add(spec.dst);
    } else {
      post_ops.eltwise(op.kind, op.alpha, op.beta);
    }
  }
  const onednn::Primitive primitive = onednn::make_convolution(spec, post_ops);
  if (!primitive) {
    *why = "oneDNN has no optimised implementation";
    return false;
  }
  const int x = builder.as_layout(conv.x, x_strides);
  auto step = std::make_unique<DnnlStep>(primitive);
  std::vector<int> inputs{x};
  step->bind(DNNL_ARG_SRC, spec.src, x);
  if (weight.defined()) {
    step->bind_constant(DNNL_ARG_WEIGHTS,
                        packed_weights(builder, weight, cat("g", conv.groups),
                                       grouped_view(weight, conv.groups), primitive.weights));
  } else {
    const int dense = builder.as_contiguous(conv.weight);
    step->bind_repacked(DNNL_ARG_WEIGHTS,
                        onednn::desc_of(grouped, contiguous_strides(grouped), dtype), dense,
                        primitive.weights);
    inputs.push_back(dense);
  }
  bind_bias(builder, *step, conv.bias, primitive, &inputs);
  for (size_t i = 0; i < conv.post_ops.size(); ++i) {
    if (!conv.post_ops[i].is_add) continue;
    const int other = builder.as_layout(conv.other, out_strides);
    step->bind(DNNL_ARG_ATTR_MULTIPLE_POST_OP(static_cast<int>(i)) | DNNL_ARG_SRC_1, spec.dst,
               other);
    inputs.push_back(other);
  }
  const int out = builder.new_value(out_sizes, out_strides, dtype);
  step->bind(DNNL_ARG_DST, spec.dst, out);
  step->info = builder.describe(node, step->kernel(), out);
  step->info.flops = conv_flops(out_sizes, weight_sizes);
  add_dnnl_step(builder, std::move(step), inputs, {out});
  builder.bind(node, out);
  return true;
}

namespace {

// What all forms have in common: (x, weight, bias?, stride, ?, dilation, ...). False: no tensors of
// known shape.
bool read_operands(const PlanBuilder& builder, const Node& node, FloatConv* conv) {
  conv->x = builder.tensor_arg(node, 0);
  conv->weight = builder.tensor_arg(node, 1);
  conv->bias = builder.tensor_arg(node, 2);
  if (conv->x < 0 || conv->weight < 0) return false;
  const size_t spatial = builder.value(conv->weight).sizes.size() - 2;
  conv->stride = per_dimension(builder, node, 3, spatial);
  conv->dilation = per_dimension(builder, node, 5, spatial);
  return true;
}

// aten.conv{1,2,3}d.{default,padding} and aten.convolution.default.
bool make_aten_conv(PlanBuilder& builder, const Node& node, std::string* why) {
  FloatConv conv;
  if (!read_operands(builder, node, &conv)) return false;
  const size_t spatial = conv.stride.size();
  const bool general = node.op().base_name() == "convolution";
  if (general && builder.plain_arg(node, 6).to_bool()) {
    *why = "transposed convolution";
    return false;
  }
  conv.groups = builder.plain_arg(node, general ? 8 : 6).to_int();
  const Value padding = builder.plain_arg(node, 4);
  if (padding.is<std::string>()) {
    conv.padding_low = conv.padding_high = Shape(spatial, 0);
    for (size_t d = 0; d < spatial && padding.as<std::string>() == "same"; ++d) {
      const int64_t total = conv.dilation[d] * (builder.value(conv.weight).sizes[d + 2] - 1);
      conv.padding_low[d] = total / 2;
      conv.padding_high[d] = total - total / 2;
    }
  } else {
    conv.padding_low = conv.padding_high = per_dimension(builder, node, 4, spatial);
  }
  return add_float_conv(builder, node, conv, why);
}

// onednn.conv(x, weight, bias?, stride, padding, dilation, groups, other?, post_ops).
bool make_fused_conv(PlanBuilder& builder, const Node& node, std::string* why) {
  FloatConv conv;
  if (!read_operands(builder, node, &conv)) return false;
  conv.padding_low = conv.padding_high = per_dimension(builder, node, 4, conv.stride.size());
  conv.groups = builder.plain_arg(node, 6).to_int();
  conv.other = builder.tensor_arg(node, 7);
  conv.post_ops = float_post_ops(builder.plain_arg(node, 8).as<std::string>());
  return add_float_conv(builder, node, conv, why);
}

}  // namespace

void add_conv_steps(StepMakerMap& makers) {
  for (const char* name :
       {"aten.conv1d.default", "aten.conv2d.default", "aten.conv3d.default", "aten.conv1d.padding",
        "aten.conv2d.padding", "aten.conv3d.padding", "aten.convolution.default"}) {
    makers[name] = make_aten_conv;
  }
  makers["onednn.conv.default"] = make_fused_conv;
}

}  // namespace pt2q
