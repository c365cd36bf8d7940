// Per-tensor quantize and dequantize; 4-D tensors become channels last on the way.
#include "base/strings.h"
#include "kernels/layout.h"
#include "kernels/quantize.h"
#include "onednn/kernel_step.h"
#include "onednn/step_makers.h"
#include "onednn/steps_basic.h"
#include "onednn/steps_norm.h"

namespace pt2q {
namespace {

QuantParams params_of(const PlanBuilder& b, const Node& n) { return read_result_params(b, n, 1); }

template <typename Q>
void quantize_rows(const float* x, int64_t n, const QuantParams& params, const Rows& rows, Q* y) {
  if (rows.stride == 0) return quantize(x, n, params, y);
  quantize_apart(x, n / rows.width, rows.width, params, y, rows.stride);
}

// 4-D tensors become channels last on the way.
std::unique_ptr<Step> quantize_image(int x, int out, const ImageShape& shape,
                                     const QuantParams& params, bool u8) {
  return std::make_unique<KernelStep>([=](RunContext& ctx) {
    const auto* from = ctx.data<const float>(x);
    u8 ? quantize_nchw_to_nhwc(from, shape, params, ctx.data<uint8_t>(out))
       : quantize_nchw_to_nhwc(from, shape, params, ctx.data<int8_t>(out));
  });
}

std::unique_ptr<Step> quantize_dense(int x, int out, int64_t n, const QuantParams& params,
                                     bool u8) {
  return std::make_unique<RowKernelStep>([=](RunContext& ctx, const Rows& rows) {
    const auto* from = ctx.data<const float>(x);
    u8 ? quantize_rows(from, n, params, rows, ctx.data<uint8_t>(out))
       : quantize_rows(from, n, params, rows, ctx.data<int8_t>(out));
  });
}

bool make_quantize(PlanBuilder& builder, const Node& node, std::string*) {
  int x = builder.tensor_arg(node, 0);
  const DType dtype = builder.result_meta(node).dtype;
  if (!is_float32(builder, x) || (dtype != DType::UInt8 && dtype != DType::Int8)) return false;
  const QuantParams params = params_of(builder, node);
  x = builder.as_dense(x);
  const PlanValue v = builder.value(x);
  const bool to_nhwc = v.sizes.size() == 4 &&
                       same_layout(v.sizes, v.strides, contiguous_strides(v.sizes)) &&
                       !same_layout(v.sizes, v.strides, channels_last_strides(v.sizes));
  const int out =
      builder.new_value(v.sizes, to_nhwc ? channels_last_strides(v.sizes) : v.strides, dtype);
  const bool u8 = dtype == DType::UInt8;
  auto step = to_nhwc ? quantize_image(x, out, image_shape(v.sizes), params, u8)
                      : quantize_dense(x, out, numel_of(v.sizes), params, u8);
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

void add_qdq_steps(StepMakerMap& makers) {
  makers["quantized_decomposed.quantize_per_tensor.default"] = make_quantize;
  makers["quantized_decomposed.dequantize_per_tensor.default"] = make_dequantize;
}

}  // namespace pt2q
