// float32 convolutions with a quarter of the products (kernels/winograd.h).
#include <algorithm>

#include "base/strings.h"
#include "kernels/winograd.h"
#include "onednn/float_ops.h"
#include "onednn/packed_once.h"
#include "onednn/qconv_step.h"
#include "onednn/steps_gpu.h"
#include "ops/support/lowered.h"

namespace pt2q {
namespace {

bool is_plain(const PlanBuilder& builder, int id) {
  return builder.value(id).dtype == DType::Float32 && builder.value(id).sizes.size() == 4;
}

kernels::ConvShape shape_of(const PlanBuilder& builder, const FloatConv& conv) {
  const Shape& x = builder.value(conv.x).sizes;
  const Shape& w = builder.value(conv.weight).sizes;
  kernels::ConvShape s;
  s.batch = x[0];
  s.in_c = x[1];
  s.in_h = x[2];
  s.in_w = x[3];
  s.out_c = w[0];
  s.kernel_h = w[2];
  s.kernel_w = w[3];
  s.stride_h = conv.stride[0];
  s.stride_w = conv.stride[1];
  s.pad_top = conv.padding_low[0];
  s.pad_left = conv.padding_low[1];
  s.pad_bottom = conv.padding_high[0];
  s.pad_right = conv.padding_high[1];
  s.dilation_h = conv.dilation[0];
  s.dilation_w = conv.dilation[1];
  s.groups = conv.groups;
  return s;
}

}  // namespace

bool add_winograd_conv(PlanBuilder& builder, const Node& node, const FloatConv& conv) {
  if (onednn::on_gpu() || !is_plain(builder, conv.x) || !is_plain(builder, conv.weight) ||
      conv.post_ops.size() > kernels::Epilogue::kMaxOps) {
    return false;
  }
  const Tensor weight = builder.constant(conv.weight);
  const Tensor bias = conv.bias >= 0 ? builder.constant(conv.bias) : Tensor();
  if (!weight.defined() || bias.defined() != (conv.bias >= 0)) return false;
  const kernels::Isa isa = kernels::best_isa();
  kernels::QConvSpec spec;
  spec.shape = shape_of(builder, conv);
  if (!kernels::winograd_pays(spec.shape, isa, true)) return false;
  spec.epilogue.out = kernels::ElemType::f32;
  for (const FloatPostOp& op : conv.post_ops) spec.epilogue.ops.push_back(op.source);
  if (bias.defined()) {
    const Tensor values = bias.contiguous();
    spec.epilogue.bias.assign(values.data<float>(), values.data<float>() + values.numel());
  }
  const auto packed = packed_once<kernels::PackedWinograd>(
      builder, weight, cat("winograd:", kernels::isa_label(isa)), [&] {
        const Tensor dense = weight.contiguous();
        return kernels::pack_winograd(kernels::weight_shape(spec.shape), dense.data<float>(), isa);
      });
  const Shape out_sizes = builder.result_sizes(node), out_strides = channels_last_of(out_sizes);
  std::vector<int> inputs{builder.as_layout(conv.x, channels_last_of(builder.value(conv.x).sizes))};
  const bool adds = std::any_of(conv.post_ops.begin(), conv.post_ops.end(),
                                [](const FloatPostOp& op) { return op.is_add; });
  if (adds) inputs.push_back(builder.as_layout(conv.other, out_strides));
  auto step =
      std::make_unique<QConvStep<kernels::WinogradConv>>(kernels::WinogradConv(spec, packed));
  builder.plan().scratchpad_bytes = std::max(builder.plan().scratchpad_bytes, step->scratch());
  const int out = builder.new_value(out_sizes, out_strides, DType::Float32);
  step->info = builder.describe(node, step->info.kernel, out);
  step->info.flops = conv_flops(out_sizes, weight.sizes());
  if (adds) step->in_place_input = inputs[1];  // overwritten pixel by pixel
  builder.add(std::move(step), inputs, {out});
  builder.bind(node, out);
  return true;
}

}  // namespace pt2q
