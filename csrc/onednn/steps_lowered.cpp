// Steps of lowered operators: int8 convolution, linear and pooling with our own kernels.
#include <algorithm>

#include "base/parallel.h"
#include "base/strings.h"
#include "kernels/qconv.h"
#include "kernels/qdepthwise.h"
#include "kernels/winograd.h"
#include "onednn/float_ops.h"
#include "onednn/kernel_step.h"
#include "onednn/lower.h"
#include "onednn/packed_once.h"
#include "onednn/qconv_step.h"
#include "onednn/step_makers.h"
#include "onednn/steps_gpu.h"
#include "ops/support/epilogue_args.h"
#include "ops/support/lowered.h"
#include "ops/support/lowered_dynamic.h"
#include "ops/support/lowered_pool.h"

namespace pt2q {
namespace {

// --- int8 convolution and linear -----------------------------------------------------------------

bool is_depthwise(const kernels::ConvShape& s) {
  return s.groups > 1 && s.groups == s.in_c && s.groups == s.out_c;
}

const char* tuning_text(ChoiceSource source) {
  switch (source) {
    case ChoiceSource::Measured:
      return "measured";
    case ChoiceSource::Remembered:
      return "measured earlier";
    default:
      return "modelled";
  }
}

template <typename Conv>
std::unique_ptr<QConvStepBase> chosen_step(Conv conv, ChoiceSource source,
                                           const InputScales& rows = {}) {
  auto step = std::make_unique<QConvStep<Conv>>(std::move(conv), rows);
  step->info.tuning = tuning_text(source);
  return step;
}

std::unique_ptr<QConvStepBase> make_qconv_step(PlanBuilder& builder, const kernels::QConvSpec& spec,
                                               const Tensor& weight, int32_t x_max,
                                               const InputScales& rows, bool any_size) {
  using namespace kernels;
  const int8_t* w = weight.data<int8_t>();
  const Isa isa = best_isa();
  if (is_depthwise(spec.shape)) {
    const auto packed = packed_once<PackedDepthwise>(
        builder, weight,
        cat("depthwise:", isa_label(isa), ":", spec.shape.stride_h, ":", spec.shape.dilation_h),
        [&] { return pack_depthwise(spec.shape, w); });
    return std::make_unique<QConvStep<QDepthwise>>(QDepthwise(spec, packed));
  }
  const WeightShape shape = weight_shape(spec.shape);
  Tuner::WinogradWeights winograd;
  const std::string winograd_form = cat("winograd:", isa_label(isa));
  if (winograd_pays(spec.shape, isa)) {
    winograd = packed_once<PackedWinograd>(builder, weight, winograd_form,
                                           [&] { return pack_winograd(shape, w, isa); });
    if (winograd != nullptr && builder.tuner() == nullptr)
      return chosen_step(WinogradConv(spec, winograd), ChoiceSource::Model);
  }
  const auto packed = packed_once<PackedWeights>(
      builder, weight, cat("qconv:", isa_label(isa), ":", shape.dilation_w, ":", x_max),
      [&] { return pack_weights(shape, w, x_max); });
  QConvSpec chosen = spec;
  auto source = ChoiceSource::Model;
  if (builder.tuner() != nullptr)
    source = builder.tuner()->choose(&chosen, packed, winograd, any_size);
  if (chosen.choice.mode == QConvChoice::kWinograd)
    return chosen_step(WinogradConv(spec, winograd), source);
  if (winograd != nullptr) builder.cache().packed.erase({weight.id(), winograd_form});  // large
  return chosen_step(QConv(chosen, packed), source, rows);
}

// What plans for other input sizes reuse of a node's step.
struct QConvTemplate {
  std::shared_ptr<const QConvStepBase> step;
  DType x, other;
};

// Whether an argument other than the tensors, which are the first four and `other`, is computed.
bool depends_on_sizes(const Node& node, size_t other) {
  bool found = false;
  for (size_t i = 4; i < node.args().size(); ++i) {
    if (i != other) for_each_node(node.arg(i), [&](const Node*) { found = true; });
  }
  return found;
}

std::string type_text(DType in, DType out) { return cat(dtype_name(in), " -> ", dtype_name(out)); }

bool read_constants(const PlanBuilder& builder, const Node& node, Tensor* weight, Tensor* scale,
                    Tensor* bias, std::string* why) {
  *weight = builder.constant(builder.tensor_arg(node, 1));
  *scale = builder.constant(builder.tensor_arg(node, 2));
  *bias = builder.constant(builder.tensor_arg(node, 3));
  if (weight->defined() && weight->is_contiguous() && weight->dtype() == DType::Int8 &&
      scale->defined() && (bias->defined() || builder.tensor_arg(node, 3) < 0)) {
    return true;
  }
  *why = "weights are not constant";
  return false;
}

bool takes_any_size(const Node& node) {
  const auto sizes = shape_of(node.arg_node(0));
  return sizes && std::any_of(sizes->begin(), sizes->end(),
                              [](const SymInt& size) { return !size.is_constant(); });
}

// The step for `shape`, from that of an earlier plan when there is one: with measured choices, one
// of the same bucket of sizes.
template <typename MakeSpec>
std::unique_ptr<QConvStepBase> step_for(PlanBuilder& builder, const Node& node,
                                        const kernels::ConvShape& shape, const Tensor& weight,
                                        size_t tail, MakeSpec&& make_spec,
                                        const InputScales& rows) {
  const bool tuned = builder.tuner() != nullptr;
  const bool any_size = tuned && takes_any_size(node);
  const auto fresh = [&] {
    return make_qconv_step(builder, make_spec(), weight,
                           ops::read_x_max(builder.plain_args(node), tail), rows, any_size);
  };
  if (rows.scale >= 0) return fresh();
  const int other = builder.tensor_arg(node, tail);
  const DType x_dtype = builder.value(builder.tensor_arg(node, 0)).dtype;
  const DType other_dtype = other >= 0 ? builder.value(other).dtype : x_dtype;
  std::string key = cat("step:", kernels::isa_label(kernels::best_isa()));
  if (kernels::winograd_pays(shape, kernels::best_isa())) key += ":winograd";
  if (tuned) key += cat(":", num_threads(), ":", size_bucket(shape));
  std::any& slot = builder.cache().packed[{&node, key}];
  if (const auto* known = std::any_cast<QConvTemplate>(&slot)) {
    if (known->x == x_dtype && known->other == other_dtype) return known->step->resized(shape);
  }
  auto step = fresh();
  // For want of time: the next plan may measure.
  const bool unmeasured = tuned && step->info.tuning == tuning_text(ChoiceSource::Model);
  if (!unmeasured && !depends_on_sizes(node, tail))
    slot = QConvTemplate{step->resized(shape), x_dtype, other_dtype};
  return step;
}

// The part that convolution and linear share: `shape` describes NHWC data.
template <typename MakeSpec>
bool add_qconv(PlanBuilder& builder, const Node& node, const kernels::ConvShape& shape,
               const Tensor& weight, size_t tail, const Shape& x_strides, const Shape& out_strides,
               MakeSpec&& make_spec, const InputScales& rows = {}) {
  const int x = builder.as_layout(builder.tensor_arg(node, 0), x_strides);
  std::vector<int> inputs{x};
  int other = builder.tensor_arg(node, tail);
  if (other >= 0 && builder.value(other).dtype == DType::BFloat16)
    other = builder.as_dtype(other, DType::Float32);  // exact
  if (other >= 0) inputs.push_back(builder.as_layout(other, out_strides));
  if (onednn::on_gpu() && rows.scale < 0 &&
      add_gpu_qconv(builder, node, make_spec(), weight, x, other >= 0 ? inputs[1] : -1,
                    out_strides)) {
    return true;
  }
  auto step = step_for(builder, node, shape, weight, tail, make_spec, rows);
  builder.plan().scratchpad_bytes = std::max(builder.plan().scratchpad_bytes, step->scratch());
  const TensorMeta& meta = builder.result_meta(node);
  const int out = builder.new_value(hints(meta.sizes), out_strides, meta.dtype);
  StepInfo info = builder.describe(node, step->info.kernel, out);
  info.saturation = step->info.saturation;
  info.tuning = step->info.tuning;
  step->info = std::move(info);
  step->info.dtype = type_text(builder.value(x).dtype, meta.dtype);
  step->info.note = "exact";
  step->info.flops = 2.0 * static_cast<double>(shape.batch * shape.out_h() * shape.out_w()) *
                     static_cast<double>(shape.out_c * (shape.in_c / shape.groups)) *
                     static_cast<double>(shape.kernel_h * shape.kernel_w);
  if (other >= 0) step->in_place_input = inputs[1];  // overwritten row by row
  if (rows.scale >= 0) inputs.insert(inputs.end(), {rows.scale, rows.zero});
  builder.add(std::move(step), inputs, {out});
  builder.bind(node, out);
  return true;
}

bool make_qconv(PlanBuilder& builder, const Node& node, std::string* why) {
  Tensor weight, scale, bias;
  if (!read_constants(builder, node, &weight, &scale, &bias, why)) return false;
  const PlanValue& x = builder.value(builder.tensor_arg(node, 0));
  const Shape sizes = x.sizes;
  const DType dtype = x.dtype;
  const std::vector<Value>& args = builder.plain_args(node);
  ops::check_source(dtype);
  const kernels::ConvShape shape =
      ops::qconv_shape(args.at(6), args.at(7), args.at(8), args.at(9), sizes, weight.sizes());
  return add_qconv(builder, node, shape, weight, ops::kQConvTail, channels_last_of(sizes),
                   channels_last_of(builder.result_sizes(node)), [&] {
                     return ops::qconv_spec(builder.plain_args(node), sizes, dtype, weight.sizes(),
                                            scale, bias);
                   });
}

bool make_qlinear(PlanBuilder& builder, const Node& node, std::string* why) {
  Tensor weight, scale, bias;
  if (!read_constants(builder, node, &weight, &scale, &bias, why)) return false;
  const PlanValue& x = builder.value(builder.tensor_arg(node, 0));
  const Shape sizes = x.sizes;
  const DType dtype = x.dtype;
  const auto shape = ops::qlinear_shape(sizes, weight.sizes());
  return add_qconv(builder, node, shape, weight, ops::kQLinearTail, contiguous_strides(sizes),
                   contiguous_strides(builder.result_sizes(node)), [&] {
                     return ops::qlinear_spec(builder.plain_args(node), sizes, dtype,
                                              weight.sizes(), scale, bias);
                   });
}

bool make_qlinear_dynamic(PlanBuilder& builder, const Node& node, std::string* why) {
  Tensor weight, scale, bias;
  if (!read_constants(builder, node, &weight, &scale, &bias, why)) return false;
  InputScales rows{builder.tensor_arg(node, 4), builder.tensor_arg(node, 5)};
  if (rows.scale < 0 || rows.zero < 0) return false;
  rows.count = numel_of(builder.value(rows.scale).sizes);
  const PlanValue x = builder.value(builder.tensor_arg(node, 0));
  const auto spec =
      ops::qlinear_dynamic_spec(builder.plain_args(node), x.sizes, weight.sizes(), scale, bias);
  return add_qconv(
      builder, node, spec.shape, weight, ops::kQLinearTail, contiguous_strides(x.sizes),
      contiguous_strides(builder.result_sizes(node)), [&] { return spec; }, rows);
}

// --- int8 average pooling ------------------------------------------------------------------------

template <typename Kernel>
bool add_qpool(PlanBuilder& builder, const Node& node, size_t tail, Kernel kernel) {
  const int given = builder.tensor_arg(node, 0);
  if (given < 0 || builder.value(given).sizes.size() != 4) return false;
  const int x = builder.as_layout(given, channels_last_of(builder.value(given).sizes));
  const PlanValue v = builder.value(x);
  const TensorMeta meta = builder.result_meta(node);
  const Shape sizes = hints(meta.sizes);
  const int out = builder.new_value(sizes, channels_last_of(sizes), meta.dtype);
  const ops::PoolQuant quant = ops::read_pool_quant(builder.plain_args(node), tail);
  const NhwcShape shape{v.sizes[0], v.sizes[2], v.sizes[3], v.sizes[1]};
  auto step = std::make_unique<RowKernelStep>([=](RunContext& ctx, const Rows& rows) {
    ops::visit_pool_types(v.dtype, quant.out_dtype, [&](auto in, auto result) {
      kernel(ctx.data<const decltype(in)>(x), shape, quant, ctx.data<decltype(result)>(out),
             rows.stride);
    });
  });
  step->info = builder.describe(node, "pt2q avg_pool", out);
  step->info.dtype = type_text(v.dtype, meta.dtype);
  step->info.note = "exact";
  builder.add(std::move(step), {x}, {out});
  builder.bind(node, out);
  return true;
}

bool make_qavg_pool(PlanBuilder& builder, const Node& node, std::string*) {
  const Pool2d pool = ops::read_avg_pool(builder.plain_args(node));
  return add_qpool(builder, node, ops::kQAvgPoolTail,
                   [pool](const auto* x, const NhwcShape& shape, const ops::PoolQuant& q, auto* out,
                          int64_t stride) { avg_pool(x, shape, pool, q.from, q.to, out, stride); });
}

bool make_qadaptive(PlanBuilder& builder, const Node& node, std::string*) {
  const Shape sizes = builder.result_sizes(node);
  if (sizes.size() != 4) return false;
  const int64_t h = sizes[2], w = sizes[3];
  return add_qpool(
      builder, node, ops::kQAdaptiveAvgPoolTail,
      [h, w](const auto* x, const NhwcShape& shape, const ops::PoolQuant& q, auto* out,
             int64_t stride) { adaptive_avg_pool(x, shape, h, w, q.from, q.to, out, stride); });
}

}  // namespace

void add_lowered_steps(StepMakerMap& makers) {
  makers["pt2q.qconv.default"] = make_qconv;
  makers["pt2q.qlinear.default"] = make_qlinear;
  makers["pt2q.qlinear_dynamic.default"] = make_qlinear_dynamic;
  makers["pt2q.qavg_pool2d.default"] = make_qavg_pool;
  makers["pt2q.qadaptive_avg_pool2d.default"] = make_qadaptive;
}

}  // namespace pt2q
