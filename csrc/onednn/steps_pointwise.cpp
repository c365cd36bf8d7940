// Elementwise float32 operators, batch norm, softmax, and quantize / dequantize.
#include <cmath>

#include "base/strings.h"
#include "kernels/layout.h"
#include "kernels/quantize.h"
#include "onednn/dnnl_step.h"
#include "onednn/float_ops.h"
#include "onednn/kernel_step.h"
#include "onednn/step_makers.h"

namespace pt2q {
namespace {

using onednn::Eltwise;

bool is_float32(const PlanBuilder& b, int id) {
  return id >= 0 && b.value(id).dtype == DType::Float32;
}

bool add_eltwise(PlanBuilder& builder, const Node& node, Eltwise kind, float alpha, float beta) {
  int x = builder.tensor_arg(node, 0);
  if (!is_float32(builder, x)) return false;
  x = builder.as_dense(x);
  const PlanValue v = builder.value(x);
  // Elementwise: the order of elements does not matter.
  const auto desc = onednn::desc_of({numel_of(v.sizes)}, {1}, DType::Float32);
  const auto primitive = onednn::make_eltwise(kind, desc, alpha, beta);
  if (!primitive) return false;
  const int out = builder.new_value(v.sizes, v.strides, DType::Float32);
  auto step = std::make_unique<DnnlStep>(primitive);
  step->bind(DNNL_ARG_SRC, desc, x);
  step->bind(DNNL_ARG_DST, desc, out);
  step->in_place_input = x;
  step->info = builder.describe(node, cat("onednn ", primitive.impl), out);
  add_dnnl_step(builder, std::move(step), {x}, {out});
  builder.bind(node, out);
  return true;
}

template <Eltwise kKind>
bool make_eltwise(PlanBuilder& builder, const Node& node, std::string*) {
  return add_eltwise(builder, node, kKind, 0.0F, 0.0F);
}

bool make_relu6(PlanBuilder& builder, const Node& node, std::string*) {
  return add_eltwise(builder, node, Eltwise::Clip, 0.0F, 6.0F);
}

bool make_hardtanh(PlanBuilder& builder, const Node& node, std::string*) {
  return add_eltwise(builder, node, Eltwise::Clip,
                     static_cast<float>(builder.plain_arg(node, 1).to_double()),
                     static_cast<float>(builder.plain_arg(node, 2).to_double()));
}

bool make_leaky_relu(PlanBuilder& builder, const Node& node, std::string*) {
  return add_eltwise(builder, node, Eltwise::LeakyRelu,
                     static_cast<float>(builder.plain_arg(node, 1).to_double()), 0.0F);
}

bool make_gelu(PlanBuilder& builder, const Node& node, std::string*) {
  const bool tanh = builder.plain_arg(node, 1).as<std::string>() == "tanh";
  return add_eltwise(builder, node, tanh ? Eltwise::GeluTanh : Eltwise::GeluErf, 0.0F, 0.0F);
}

// add and mul of two float32 tensors; the second may be broadcast.
bool add_binary(PlanBuilder& builder, const Node& node, bool multiply) {
  int a = builder.tensor_arg(node, 0);
  int b = builder.tensor_arg(node, 1);
  if (!is_float32(builder, a) || !is_float32(builder, b)) return false;
  if (!multiply && builder.plain_arg(node, 2).to_double() != 1.0) return false;
  const Shape sizes = builder.result_sizes(node);
  if (builder.value(a).sizes != sizes) std::swap(a, b);
  const Shape b_sizes = builder.value(b).sizes;
  if (builder.value(a).sizes != sizes || b_sizes.size() > sizes.size() || sizes.empty())
    return false;
  a = builder.as_dense(a);
  const PlanValue av = builder.value(a);
  dnnl::memory::desc a_desc, b_desc;
  if (b_sizes == sizes) {
    b = builder.as_layout(b, av.strides);
    a_desc = b_desc = onednn::desc_of({numel_of(sizes)}, {1}, DType::Float32);
  } else {
    b = builder.as_contiguous(b);
    Shape padded(sizes.size() - b_sizes.size(), 1);
    padded.insert(padded.end(), b_sizes.begin(), b_sizes.end());
    a_desc = onednn::desc_of(sizes, av.strides, DType::Float32);
    b_desc = onednn::desc_of(padded, contiguous_strides(padded), DType::Float32);
  }
  const auto primitive = onednn::make_binary_add(a_desc, b_desc, a_desc, multiply);
  if (!primitive) return false;
  const int out = builder.new_value(sizes, av.strides, DType::Float32);
  auto step = std::make_unique<DnnlStep>(primitive);
  step->bind(DNNL_ARG_SRC_0, a_desc, a);
  step->bind(DNNL_ARG_SRC_1, b_desc, b);
  step->bind(DNNL_ARG_DST, a_desc, out);
  step->in_place_input = a;
  step->info = builder.describe(node, cat("onednn ", primitive.impl), out);
  add_dnnl_step(builder, std::move(step), {a, b}, {out});
  builder.bind(node, out);
  return true;
}

bool make_add(PlanBuilder& builder, const Node& node, std::string*) {
  return add_binary(builder, node, false);
}
bool make_mul(PlanBuilder& builder, const Node& node, std::string*) {
  return add_binary(builder, node, true);
}

bool make_softmax(PlanBuilder& builder, const Node& node, std::string*) {
  int x = builder.tensor_arg(node, 0);
  if (!is_float32(builder, x) || !is_float32(builder, x)) return false;
  const Shape sizes = builder.value(x).sizes;
  if (sizes.empty() || builder.result_meta(node).dtype != DType::Float32) return false;
  const int64_t axis =
      wrap_dim(builder.plain_arg(node, 1).to_int(), static_cast<int64_t>(sizes.size()));
  x = builder.as_contiguous(x);
  // [outer, axis, inner]
  Shape flat{1, sizes[static_cast<size_t>(axis)], 1};
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (static_cast<int64_t>(d) < axis) flat[0] *= sizes[d];
    if (static_cast<int64_t>(d) > axis) flat[2] *= sizes[d];
  }
  if (flat[2] == 1) flat.pop_back();
  const auto desc = onednn::desc_of(flat, contiguous_strides(flat), DType::Float32);
  const auto primitive = onednn::make_softmax(desc, 1);
  if (!primitive) return false;
  const int out = builder.new_value(sizes, contiguous_strides(sizes), DType::Float32);
  auto step = std::make_unique<DnnlStep>(primitive);
  step->bind(DNNL_ARG_SRC, desc, x);
  step->bind(DNNL_ARG_DST, desc, out);
  step->in_place_input = x;
  step->info = builder.describe(node, cat("onednn ", primitive.impl), out);
  add_dnnl_step(builder, std::move(step), {x}, {out});
  builder.bind(node, out);
  return true;
}

// batch_norm(input, weight?, bias?, mean, var, training, momentum, eps, cudnn): evaluation mode.
bool make_batch_norm(PlanBuilder& builder, const Node& node, std::string* why) {
  int x = builder.tensor_arg(node, 0);
  if (!is_float32(builder, x) || builder.plain_arg(node, 5).to_bool()) return false;
  const Shape sizes = builder.value(x).sizes;
  if (sizes.size() < 2) return false;
  const Tensor mean = builder.constant(builder.tensor_arg(node, 3));
  const Tensor variance = builder.constant(builder.tensor_arg(node, 4));
  if (!mean.defined() || !variance.defined()) {
    *why = "statistics are not constant";
    return false;
  }
  const auto parameter = [&](size_t i, double missing) {
    const Tensor t = builder.constant(builder.tensor_arg(node, i));
    return t.defined() ? t : Tensor::full({sizes[1]}, missing);
  };
  const Tensor scale = parameter(1, 1.0), shift = parameter(2, 0.0);
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
  const auto keep = [&](int arg, const Tensor& t) {
    const Tensor plain = t.to(DType::Float32).contiguous();
    step->bind_constant(arg, onednn::pack(vector, plain.raw_data(), vector));
  };
  keep(DNNL_ARG_MEAN, mean);
  keep(DNNL_ARG_VARIANCE, variance);
  keep(DNNL_ARG_SCALE, scale);
  keep(DNNL_ARG_SHIFT, shift);
  step->in_place_input = x;
  step->info = builder.describe(node, cat("onednn ", primitive.impl), out);
  add_dnnl_step(builder, std::move(step), {x}, {out});
  builder.bind(node, out);
  return true;
}

// --- quantize and dequantize, per tensor ---------------------------------------------------------

QuantParams params_of(const PlanBuilder& b, const Node& n) {
  QuantParams p;
  p.scale = b.plain_arg(n, 1).to_double();
  p.zero_point = static_cast<int32_t>(b.plain_arg(n, 2).to_int());
  p.quant_min = static_cast<int32_t>(b.plain_arg(n, 3).to_int());
  p.quant_max = static_cast<int32_t>(b.plain_arg(n, 4).to_int());
  return p;
}

ImageShape image_of(const Shape& sizes) {
  ImageShape s{sizes[0], sizes[1], 1};
  for (size_t d = 2; d < sizes.size(); ++d) s.pixels *= sizes[d];
  return s;
}

template <typename Q>
void run_quantize(RunContext& ctx, int x, int out, const QuantParams& params, bool to_nhwc) {
  const PlanValue& v = ctx.value(x);
  if (to_nhwc) {
    quantize_nchw_to_nhwc(ctx.data<const float>(x), image_of(v.sizes), params, ctx.data<Q>(out));
  } else {
    quantize(ctx.data<const float>(x), numel_of(v.sizes), params, ctx.data<Q>(out));
  }
}

bool make_quantize(PlanBuilder& builder, const Node& node, std::string*) {
  int x = builder.tensor_arg(node, 0);
  const DType dtype = builder.result_meta(node).dtype;
  if (!is_float32(builder, x) || (dtype != DType::UInt8 && dtype != DType::Int8)) return false;
  const QuantParams params = params_of(builder, node);
  x = builder.as_dense(x);
  const PlanValue v = builder.value(x);
  // 4-D tensors become channels last on the way.
  const bool to_nhwc = v.sizes.size() == 4 &&
                       same_layout(v.sizes, v.strides, contiguous_strides(v.sizes)) &&
                       !same_layout(v.sizes, v.strides, channels_last_strides(v.sizes));
  const int out =
      builder.new_value(v.sizes, to_nhwc ? channels_last_strides(v.sizes) : v.strides, dtype);
  const bool u8 = dtype == DType::UInt8;
  auto step = std::make_unique<KernelStep>([=](RunContext& ctx) {
    u8 ? run_quantize<uint8_t>(ctx, x, out, params, to_nhwc)
       : run_quantize<int8_t>(ctx, x, out, params, to_nhwc);
  });
  step->info = builder.describe(node, to_nhwc ? "pt2q quantize nchw->nhwc" : "pt2q quantize", out);
  builder.add(std::move(step), {x}, {out});
  builder.bind(node, out);
  return true;
}

bool make_dequantize(PlanBuilder& builder, const Node& node, std::string*) {
  int x = builder.tensor_arg(node, 0);
  if (x < 0 || builder.result_meta(node).dtype != DType::Float32) return false;
  const DType dtype = builder.value(x).dtype;
  if (dtype != DType::UInt8 && dtype != DType::Int8) return false;
  if (builder.plain_arg(node, 5).is<DType>() && builder.plain_arg(node, 5).as<DType>() != dtype)
    return false;
  const QuantParams params = params_of(builder, node);
  x = builder.as_dense(x);
  const PlanValue v = builder.value(x);
  const int out = builder.new_value(v.sizes, v.strides, DType::Float32);
  const int64_t n = numel_of(v.sizes);
  const bool u8 = dtype == DType::UInt8;
  auto step = std::make_unique<KernelStep>([=](RunContext& ctx) {
    u8 ? dequantize(ctx.data<const uint8_t>(x), n, params, ctx.data<float>(out))
       : dequantize(ctx.data<const int8_t>(x), n, params, ctx.data<float>(out));
  });
  step->info = builder.describe(node, "pt2q dequantize", out);
  builder.add(std::move(step), {x}, {out});
  builder.bind(node, out);
  return true;
}

}  // namespace

void add_pointwise_steps(StepMakerMap& makers) {
  makers["aten.relu.default"] = make_eltwise<Eltwise::Relu>;
  makers["aten.relu6.default"] = make_relu6;
  makers["aten.hardtanh.default"] = make_hardtanh;
  makers["aten.leaky_relu.default"] = make_leaky_relu;
  makers["aten.hardswish.default"] = make_eltwise<Eltwise::HardSwish>;
  makers["aten.silu.default"] = make_eltwise<Eltwise::Silu>;
  makers["aten.sigmoid.default"] = make_eltwise<Eltwise::Sigmoid>;
  makers["aten.tanh.default"] = make_eltwise<Eltwise::Tanh>;
  makers["aten.gelu.default"] = make_gelu;
  makers["aten.add.Tensor"] = make_add;
  makers["aten.mul.Tensor"] = make_mul;
  makers["aten.softmax.int"] = make_softmax;
  makers["aten._softmax.default"] = make_softmax;
  makers["aten.batch_norm.default"] = make_batch_norm;
  makers["quantized_decomposed.quantize_per_tensor.default"] = make_quantize;
  makers["quantized_decomposed.dequantize_per_tensor.default"] = make_dequantize;
}

}  // namespace pt2q
