#include "onednn/steps_gpu.h"

#include "base/strings.h"
#include "onednn/dnnl_step.h"
#include "onednn/float_ops.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using kernels::ElemType;
using kernels::EpilogueSpec;

DType dtype_of_elem(ElemType type) {
  switch (type) {
    case ElemType::f32:
      return DType::Float32;
    case ElemType::u8:
      return DType::UInt8;
    case ElemType::s8:
      return DType::Int8;
    case ElemType::bf16:
      return DType::BFloat16;
  }
  throw InternalError("steps_gpu: unknown element type");
}

dnnl::memory::desc nhwc(int64_t n, int64_t c, int64_t h, int64_t w, DType dtype) {
  return onednn::desc_of({n, c, h, w}, channels_last_of({n, c, h, w}), dtype);
}

// One float per output channel, in memory of the GPU.
dnnl::memory per_channel(const std::vector<float>& values, int64_t channels,
                         const dnnl::memory::desc& desc) {
  std::vector<float> all(static_cast<size_t>(channels), values.empty() ? 0.0F : values[0]);
  if (values.size() > 1) all = values;
  return onednn::pack(desc, all.data(), desc);
}

// The epilogue as post-operations: everything after the integer sum. Constants are binary
// operations on one value per channel, because an eltwise algorithm may be used only once.
class Tail {
 public:
  explicit Tail(int64_t channels)
      : channels_(channels),
        channel_(onednn::desc_of({1, channels, 1, 1}, {channels, 1, 1, 1}, DType::Float32)) {}

  void constant(dnnl::algorithm algorithm, const std::vector<float>& values) {
    constants.emplace_back(ops.ops.len(), per_channel(values, channels_, channel_));
    ops.binary(algorithm, channel_);
  }
  void constant(dnnl::algorithm algorithm, float value) {
    constant(algorithm, std::vector<float>{value});
  }

  onednn::PostOps ops;
  std::vector<std::pair<int, dnnl::memory>> constants;  // position and operand
  int residual = -1;                                    // position that reads `other`

 private:
  int64_t channels_;
  dnnl::memory::desc channel_;
};

// y + (r - z) * s is s * (y / s - z + r): the integers are added as they are.
void add_residual(Tail& tail, const kernels::PostOp& op, const dnnl::memory::desc& other) {
  const bool integer = !kernels::is_real(op.residual_type);
  if (integer) {
    tail.constant(dnnl::algorithm::binary_mul, 1.0F / op.residual_scale);
    tail.constant(dnnl::algorithm::binary_add, -static_cast<float>(op.residual_zero_point));
  }
  tail.residual = tail.ops.ops.len();
  tail.ops.add(other);
  if (integer) tail.constant(dnnl::algorithm::binary_mul, op.residual_scale);
}

void add_quantize(Tail& tail, const EpilogueSpec& e) {
  tail.constant(dnnl::algorithm::binary_mul, 1.0F / e.out_scale);
  tail.constant(dnnl::algorithm::binary_add, static_cast<float>(e.out_zero_point));
  const int32_t low = e.out == ElemType::s8 ? -128 : 0;  // where oneDNN's conversion stops anyway
  if (e.qmin > low) tail.constant(dnnl::algorithm::binary_max, static_cast<float>(e.qmin));
  if (e.qmax < low + 255) tail.constant(dnnl::algorithm::binary_min, static_cast<float>(e.qmax));
}

Tail make_tail(const EpilogueSpec& e, int64_t channels, const dnnl::memory::desc& other) {
  Tail tail(channels);
  tail.constant(dnnl::algorithm::binary_mul, e.scale);
  if (!e.bias.empty()) tail.constant(dnnl::algorithm::binary_add, e.bias);
  for (const kernels::PostOp& op : e.ops) {
    if (op.kind == kernels::PostOpKind::add) {
      add_residual(tail, op, other);
    } else {
      const FloatPostOp f = float_post_op(op);
      tail.ops.eltwise(f.kind, f.alpha, f.beta);
    }
  }
  if (!kernels::is_real(e.out)) add_quantize(tail, e);
  return tail;
}

}  // namespace

bool add_gpu_qconv(PlanBuilder& builder, const Node& node, const kernels::QConvSpec& spec,
                   const Tensor& weight, int x, int other, const Shape& out_strides) {
  const kernels::ConvShape& s = spec.shape;
  const DType out_dtype = dtype_of_elem(spec.epilogue.out);
  onednn::ConvSpec conv;
  conv.src = nhwc(s.batch, s.in_c, s.in_h, s.in_w, builder.value(x).dtype);
  conv.dst = nhwc(s.batch, s.out_c, s.out_h(), s.out_w(), out_dtype);
  const Shape w_sizes =
      s.groups > 1 ? Shape{s.groups, s.out_c / s.groups, s.in_c / s.groups, s.kernel_h, s.kernel_w}
                   : Shape{s.out_c, s.in_c, s.kernel_h, s.kernel_w};
  conv.weights = onednn::desc_any(w_sizes, DType::Int8);
  conv.stride = {s.stride_h, s.stride_w};
  conv.dilation = {s.dilation_h, s.dilation_w};
  conv.padding_low = {s.pad_top, s.pad_left};
  conv.padding_high = {s.pad_bottom, s.pad_right};
  conv.src_zero_point = spec.src_zero_point != 0;
  dnnl::memory::desc residual;
  if (other >= 0)
    residual = nhwc(s.batch, s.out_c, s.out_h(), s.out_w(), builder.value(other).dtype);
  const Tail tail = make_tail(spec.epilogue, s.out_c, residual);
  const onednn::Primitive primitive = onednn::make_convolution(conv, tail.ops);
  if (!primitive) return false;

  auto step = std::make_unique<DnnlStep>(primitive);
  std::vector<int> inputs{x};
  step->bind(DNNL_ARG_SRC, conv.src, x);
  const Tensor shaped = weight.contiguous().reshape(w_sizes);
  step->bind_constant(DNNL_ARG_WEIGHTS,
                      packed_weights(builder, weight, "int8", shaped, primitive.weights));
  if (conv.src_zero_point) {
    const auto one = onednn::desc_of({1}, {1}, DType::Int32);
    step->bind_constant(DNNL_ARG_ATTR_ZERO_POINTS | DNNL_ARG_SRC,
                        onednn::pack(one, &spec.src_zero_point, one));
  }
  for (const auto& [position, memory] : tail.constants)
    step->bind_constant(DNNL_ARG_ATTR_MULTIPLE_POST_OP(position) | DNNL_ARG_SRC_1, memory);
  if (tail.residual >= 0) {
    step->bind(DNNL_ARG_ATTR_MULTIPLE_POST_OP(tail.residual) | DNNL_ARG_SRC_1, residual, other);
    inputs.push_back(other);
  }
  const int out = builder.new_value(builder.result_sizes(node), out_strides, out_dtype);
  step->bind(DNNL_ARG_DST, conv.dst, out);
  step->info = builder.describe(node, step->kernel(), out);
  step->info.dtype = cat(dtype_name(builder.value(x).dtype), " -> ", dtype_name(out_dtype));
  add_dnnl_step(builder, std::move(step), inputs, {out});
  builder.bind(node, out);
  return true;
}

}  // namespace pt2q
