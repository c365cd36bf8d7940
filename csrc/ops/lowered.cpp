// Operators that only compile() makes: int8 and fused float32 forms of convolution and linear.
// Their reference kernels define the results: integers exactly, float32 post-ops in real units.
//
//   acc = sum (x - x_zero_point) * weight          exact int32
//   y   = fma(float(acc), x_scale * w_scale[c], bias[c]), then post_ops in order
//   out = clamp(rint(y / out_scale) + out_zero_point, out_min, out_max), or y when out_dtype is
//         None, or y rounded to bfloat16
#include "ops/support/lowered.h"

#include "base/strings.h"
#include "ops/support/epilogue_args.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

std::vector<Value> all_args(const Args& args) {
  std::vector<Value> out;
  for (size_t i = 0; i < args.size(); ++i) out.push_back(args.value(i));
  return out;
}

// Dense with channels innermost, as the kernels want it.
Tensor channels_last(const Tensor& t) {
  if (t.dim() == 4) return t.contiguous(MemoryFormat::ChannelsLast);
  return t.permute({0, 2, 1}).contiguous().permute({0, 2, 1});
}

Tensor empty_channels_last(const Shape& sizes, DType dtype) {
  if (sizes.size() == 4) return Tensor::empty(sizes, dtype, MemoryFormat::ChannelsLast);
  return Tensor::empty({sizes[0], sizes[2], sizes[1]}, dtype).permute({0, 2, 1});
}

// --- int8 ----------------------------------------------------------------------------------------

Value infer_qconv(const Args& args) {
  TensorMeta out = args.meta(0);
  check_source(out.dtype);
  const kernels::ConvShape shape =
      qconv_shape(args.value(6), args.value(7), args.value(8), args.value(9), hints(out.sizes),
                  hints(args.meta(1).sizes));
  out.dtype = args.dtype(kQConvTail + 8, DType::Float32);
  out.sizes[1] = shape.out_c;
  if (out.sizes.size() == 4) out.sizes[2] = shape.out_h();
  out.sizes.back() = shape.out_w();
  return out;
}

// The kernels take real residuals as float32.
Tensor real_residual(const Tensor& t) {
  return t.defined() && t.dtype() == DType::BFloat16 ? t.to(DType::Float32) : t;
}

Value qconv(const Args& args) {
  const Tensor x = channels_last(args.tensor(0));
  const Tensor weight = args.tensor(1).contiguous();
  const auto spec = qconv_spec(all_args(args), x.sizes(), x.dtype(), weight.sizes(), args.tensor(2),
                               args.optional_tensor(3));
  Shape sizes{spec.shape.batch, spec.shape.out_c};
  if (x.dim() == 4) sizes.push_back(spec.shape.out_h());
  sizes.push_back(spec.shape.out_w());
  Tensor out = empty_channels_last(sizes, epilogue_dtype(all_args(args), kQConvTail));
  Tensor other = real_residual(args.optional_tensor(kQConvTail));
  if (other.defined()) other = channels_last(other);
  kernels::qconv_reference(spec, weight.data<int8_t>(), x.raw_data(), out.raw_mutable_data(),
                           other.defined() ? other.raw_data() : nullptr);
  return out;
}

Value infer_qlinear(const Args& args) {
  TensorMeta out = args.meta(0);
  if (out.sizes.empty() || args.meta(1).sizes.size() != 2)
    throw ValueError(cat("input ", describe(out), " does not fit ", describe(args.meta(1))));
  out.sizes.back() = args.meta(1).sizes[0];
  out.dtype = args.dtype(kQLinearTail + 8, DType::Float32);
  return out;
}

Value qlinear(const Args& args) {
  const Tensor x = args.tensor(0).contiguous();
  const Tensor weight = args.tensor(1).contiguous();
  const auto spec = qlinear_spec(all_args(args), x.sizes(), x.dtype(), weight.sizes(),
                                 args.tensor(2), args.optional_tensor(3));
  Shape sizes = x.sizes();
  sizes.back() = weight.size(0);
  Tensor out = Tensor::empty(sizes, epilogue_dtype(all_args(args), kQLinearTail));
  Tensor other = real_residual(args.optional_tensor(kQLinearTail));
  if (other.defined()) other = other.contiguous();
  kernels::qconv_reference(spec, weight.data<int8_t>(), x.raw_data(), out.raw_mutable_data(),
                           other.defined() ? other.raw_data() : nullptr);
  return out;
}

// --- float32 with post-ops -----------------------------------------------------------------------

// Applies post_ops (position `at + 1`) with `other` (position `at`) to y.
Tensor apply_post_ops(const Args& args, Tensor y, size_t at) {
  const auto ops = parse_post_ops(args.string(at + 1));
  if (ops.empty()) return y;
  const DType dtype = y.dtype();  // bfloat16: computed in float32, rounded once
  Tensor out = y.to(DType::Float32).contiguous().clone();
  float* p = out.mutable_data<float>();
  for (const kernels::PostOp& op : ops) {
    if (op.kind == kernels::PostOpKind::add) {
      const Tensor other = args.tensor(at).to(DType::Float32).expand(out.sizes()).contiguous();
      const float* q = other.data<float>();
      for (int64_t i = 0; i < out.numel(); ++i) p[i] += q[i];
    } else {
      for (int64_t i = 0; i < out.numel(); ++i) p[i] = kernels::post_op_scalar(op, p[i]);
    }
  }
  return out.to(dtype);
}

std::vector<Value> leading(const Args& args, size_t n) {
  std::vector<Value> out;
  for (size_t i = 0; i < n; ++i) out.push_back(args.value(i));
  return out;
}

const OpDef& plain_conv(size_t spatial) {
  return op_table().get(cat("aten.conv", spatial, "d.default"));
}

Value infer_conv(const Args& args) {
  const OpDef& op = plain_conv(args.meta(1).sizes.size() - 2);
  return op.infer(Args(op, leading(args, 7)));
}

Value conv(const Args& args) {
  const OpDef& op = plain_conv(static_cast<size_t>(args.tensor(1).dim()) - 2);
  const std::vector<Value> plain = leading(args, 7);
  return apply_post_ops(args, op.reference(Args(op, plain)).as<Tensor>(), 7);
}

Value infer_linear(const Args& args) {
  const OpDef& op = op_table().get("aten.linear.default");
  return op.infer(Args(op, leading(args, 3)));
}

Value linear(const Args& args) {
  const OpDef& op = op_table().get("aten.linear.default");
  const std::vector<Value> plain = leading(args, 3);
  return apply_post_ops(args, op.reference(Args(op, plain)).as<Tensor>(), 3);
}

}  // namespace

void register_lowered(OpTable& t) {
  define_lowered(t, "pt2q.qconv.default",
                 cat("(Tensor x, Tensor weight, Tensor w_scale, Tensor? bias, float x_scale, int "
                     "x_zero_point, int[] stride, int[] padding, int[] dilation, int groups, ",
                     kEpilogueSchema, ") -> Tensor"),
                 infer_qconv, qconv);
  define_lowered(t, "pt2q.qlinear.default",
                 cat("(Tensor x, Tensor weight, Tensor w_scale, Tensor? bias, float x_scale, int "
                     "x_zero_point, ",
                     kEpilogueSchema, ") -> Tensor"),
                 infer_qlinear, qlinear);
  define_lowered(
      t, "onednn.conv.default",
      "(Tensor x, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[] padding, SymInt[] "
      "dilation, SymInt groups, Tensor? other=None, str post_ops=\"\") -> Tensor",
      infer_conv, conv);
  define_lowered(
      t, "onednn.linear.default",
      "(Tensor x, Tensor weight, Tensor? bias=None, Tensor? other=None, str post_ops=\"\") -> "
      "Tensor",
      infer_linear, linear);
}

}  // namespace pt2q
