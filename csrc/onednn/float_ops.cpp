#include "onednn/float_ops.h"

#include "ops/support/epilogue_args.h"
#include "pt2q/runtime.h"

namespace pt2q {

Shape channels_last_of(const Shape& sizes) {
  Shape strides(sizes.size());
  int64_t step = sizes[1];
  strides[1] = 1;
  for (size_t d = sizes.size(); d-- > 2;) {
    strides[d] = step;
    step *= sizes[d];
  }
  strides[0] = step;
  return strides;
}

bool computes_in(DType dtype) {
  return dtype == DType::Float32 || (dtype == DType::BFloat16 && native_bfloat16());
}

FloatPostOp float_post_op(const kernels::PostOp& op) {
  using kernels::PostOpKind;
  using onednn::Eltwise;
  FloatPostOp p;
  p.source = op;
  p.source.residual_type = kernels::ElemType::f32;
  p.alpha = op.alpha;
  p.beta = op.beta;
  switch (op.kind) {
    case PostOpKind::add:
      p.is_add = true;
      break;
    case PostOpKind::relu:
      p.kind = Eltwise::Relu;
      break;
    case PostOpKind::clip:
      p.kind = Eltwise::Clip;
      break;
    case PostOpKind::leaky_relu:
      p.kind = Eltwise::LeakyRelu;
      break;
    case PostOpKind::hardswish:
      p.kind = Eltwise::HardSwish;
      break;
    case PostOpKind::sigmoid:
      p.kind = Eltwise::Sigmoid;
      break;
    case PostOpKind::silu:
      p.kind = Eltwise::Silu;
      break;
    case PostOpKind::tanh:
      p.kind = Eltwise::Tanh;
      break;
    case PostOpKind::gelu_erf:
      p.kind = Eltwise::GeluErf;
      break;
    case PostOpKind::gelu_tanh:
      p.kind = Eltwise::GeluTanh;
      break;
  }
  return p;
}

std::vector<FloatPostOp> float_post_ops(const std::string& text) {
  std::vector<FloatPostOp> out;
  for (const kernels::PostOp& op : ops::parse_post_ops(text)) out.push_back(float_post_op(op));
  return out;
}

Shape per_dimension(const PlanBuilder& builder, const Node& node, size_t i, size_t spatial) {
  Shape v = builder.plain_arg(node, i).to_ints();
  if (v.size() == 1) v.assign(spatial, v[0]);
  return v;
}

}  // namespace pt2q
