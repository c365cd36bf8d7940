#include "kernels/epilogue.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "kernels/activation_curve.h"
#include "kernels/affine.h"
#include "kernels/elementwise.h"
#include "pt2q/error.h"

namespace pt2q::kernels {
namespace {

int32_t type_min(ElemType type) { return type == ElemType::s8 ? -128 : 0; }
int32_t type_max(ElemType type) { return type == ElemType::s8 ? 127 : 255; }

[[noreturn]] void fail_length(const char* what, size_t got, int64_t channels) {
  throw ValueError(std::string("epilogue: ") + what + " has " + std::to_string(got) +
                       " values for " + std::to_string(channels) + " output channels",
                   "pass one value per output channel");
}

void check_spec(const EpilogueSpec& spec, int64_t channels) {
  const auto n = static_cast<size_t>(channels);
  if (spec.scale.size() != n && spec.scale.size() != 1)
    fail_length("scale", spec.scale.size(), channels);
  if (!spec.bias.empty() && spec.bias.size() != n) fail_length("bias", spec.bias.size(), channels);
  if (spec.ops.size() > static_cast<size_t>(Epilogue::kMaxOps))
    throw ValueError("epilogue: more than " + std::to_string(Epilogue::kMaxOps) + " post-ops");
  const auto adds = std::count_if(spec.ops.begin(), spec.ops.end(),
                                  [](const PostOp& op) { return op.kind == PostOpKind::add; });
  if (adds > 1) throw ValueError("epilogue: more than one residual add");
  if (is_real(spec.out)) return;
  if (!(spec.out_scale > 0)) throw ValueError("epilogue: out_scale must be positive");
  if (spec.qmin > spec.qmax || spec.qmin < type_min(spec.out) || spec.qmax > type_max(spec.out))
    throw ValueError("epilogue: [qmin, qmax] = [" + std::to_string(spec.qmin) + ", " +
                     std::to_string(spec.qmax) + "] does not fit the output type");
  if (spec.out_zero_point < -255 || spec.out_zero_point > 255)
    throw ValueError("epilogue: zero point " + std::to_string(spec.out_zero_point) +
                     " is outside [-255, 255]");
}

// Copies [groups][per_group] into rows padded to 16, so that vector loads stay inside.
SharedArray<float> padded(const std::vector<float>& values, int64_t channels, int64_t groups) {
  const int64_t per_group = channels / groups;
  const int64_t row = (per_group + 15) / 16 * 16;
  std::vector<float> out(static_cast<size_t>(groups * row), 0.0F);
  for (int64_t g = 0; g < groups && !values.empty(); ++g) {
    float* to = out.data() + g * row;
    if (values.size() == 1) {
      std::fill_n(to, per_group, values[0]);
    } else {
      std::copy_n(values.data() + g * per_group, per_group, to);
    }
  }
  return SharedArray<float>(out);
}

// relu and clip are monotone, and so are scaling, rounding and shifting: clamping the real value is
// clamping the integer by the images of the bounds.
void fold_clamp(const EpilogueSpec& spec, const PostOp& op, Epilogue& out) {
  const float lo = op.kind == PostOpKind::relu ? 0.0F : op.alpha;
  const int32_t qlo = epilogue_quantize(spec, lo);
  out.qmin = std::max(out.qmin, qlo);
  out.qmax = std::max(out.qmax, qlo);
  if (op.kind == PostOpKind::clip) {
    const int32_t qhi = epilogue_quantize(spec, op.beta);
    out.qmax = std::min(out.qmax, qhi);
    out.qmin = std::min(out.qmin, qhi);
  }
}

bool is_clamp(const PostOp& op) {
  return op.kind == PostOpKind::relu ||
         (op.kind == PostOpKind::clip && op.alpha <= op.beta);  // false for NaN bounds
}

// The largest |y * inv_scale| that can occur, or infinity.
double output_bound(const EpilogueSpec& spec, double max_abs_acc) {
  double scale = 0, bias = 0;
  for (const float s : spec.scale)
    scale = std::isfinite(s) ? std::max(scale, std::fabs(double{s})) : INFINITY;
  for (const float b : spec.bias)
    bias = std::isfinite(b) ? std::max(bias, std::fabs(double{b})) : INFINITY;
  double bound = max_abs_acc * scale + bias;
  for (const PostOp& op : spec.ops) {
    if (op.kind != PostOpKind::add) continue;
    bound += std::fabs(double{op.residual_scale}) *
             (256.0 + std::fabs(static_cast<double>(op.residual_zero_point)));
  }
  return bound / double{spec.out_scale};
}

bool try_fast(const EpilogueSpec& spec, double max_abs_acc, Epilogue& out) {
  if (is_real(spec.out)) return false;
  const double bound = output_bound(spec, max_abs_acc);
  if (!(bound < 2147483000.0) || !std::isfinite(out.inv_scale)) return false;
  size_t i = 0;
  if (i < spec.ops.size() && spec.ops[i].kind == PostOpKind::add) {
    if (spec.ops[i].residual_type == ElemType::f32) return false;
    ++i;
  }
  Epilogue folded = out;
  for (; i < spec.ops.size(); ++i) {
    if (!is_clamp(spec.ops[i])) return false;
    fold_clamp(spec, spec.ops[i], folded);
  }
  out.qmin = folded.qmin;
  out.qmax = folded.qmax;
  return true;
}

bool is_real_add(const EpilogueSpec& spec) {
  if (spec.out == ElemType::bf16) return spec.ops.empty();
  if (spec.out != ElemType::f32 || spec.ops.size() > 1) return false;
  return spec.ops.empty() ||
         (spec.ops[0].kind == PostOpKind::add && spec.ops[0].residual_type == ElemType::f32);
}

// The elementwise operator an op stands for; not for `add`.
UnaryStep unary_step(const PostOp& op) {
  switch (op.kind) {
    case PostOpKind::relu:
      return {Unary::relu, 0.0F, 0.0F};
    case PostOpKind::clip:
      return {Unary::clip, op.alpha, op.beta};
    case PostOpKind::leaky_relu:
      return {Unary::leaky_relu, op.alpha, 0.0F};
    case PostOpKind::hardswish:
      return {Unary::hardswish, 0.0F, 0.0F};
    case PostOpKind::sigmoid:
      return {Unary::sigmoid, 0.0F, 0.0F};
    case PostOpKind::silu:
      return {Unary::silu, 0.0F, 0.0F};
    case PostOpKind::tanh:
      return {Unary::tanh, 0.0F, 0.0F};
    case PostOpKind::gelu_erf:
      return {Unary::gelu_erf, 0.0F, 0.0F};
    case PostOpKind::gelu_tanh:
      return {Unary::gelu_tanh, 0.0F, 0.0F};
    case PostOpKind::add:
      break;
  }
  throw InternalError("epilogue: add is not an elementwise operator");
}

std::shared_ptr<const ActivationCurve> curve_of(const EpilogueSpec& spec, double max_abs_acc,
                                                float inv_scale) {
  if (is_real(spec.out) || spec.ops.size() != 1 || spec.ops[0].kind == PostOpKind::add)
    return nullptr;
  // Saturating integer packing is exact, and no value is NaN.
  if (!(output_bound(spec, max_abs_acc) < 2147483000.0)) return nullptr;
  const int32_t largest = std::max(std::abs(spec.qmin - spec.out_zero_point),
                                   std::abs(spec.qmax - spec.out_zero_point));
  return make_activation_curve(unary_step(spec.ops[0]).op, inv_scale,
                               static_cast<float>(largest + 1));
}

}  // namespace

Epilogue make_epilogue(const EpilogueSpec& spec, int64_t channels, int64_t groups,
                       double max_abs_acc) {
  check_spec(spec, channels);
  Epilogue out;
  out.scale = padded(spec.scale, channels, groups);
  out.bias = padded(spec.bias, channels, groups);
  out.op_count = static_cast<int>(spec.ops.size());
  std::copy(spec.ops.begin(), spec.ops.end(), out.ops);
  for (const PostOp& op : spec.ops) {
    if (op.kind != PostOpKind::add) continue;
    out.has_add = true;
    out.add = op;
  }
  out.out = spec.out;
  out.inv_scale = inverse_scale(spec.out_scale);
  out.zero_point = spec.out_zero_point;
  out.qmin = spec.qmin;
  out.qmax = spec.qmax;
  out.fast = try_fast(spec, max_abs_acc, out);
  out.real = is_real_add(spec);
  out.curve = curve_of(spec, max_abs_acc, out.inv_scale);
  return out;
}

float post_op_scalar(const PostOp& op, float y) {
  return op.kind == PostOpKind::add ? y : unary_value(unary_step(op), y);
}

void post_op_block(const PostOp& op, float* values, int64_t n) {
  unary(unary_step(op), values, n, values);
}

float epilogue_value(const EpilogueSpec& spec, int32_t acc, int64_t oc, const void* residual,
                     float row_scale) {
  const auto channel = static_cast<size_t>(oc);
  const float scale = (spec.scale.size() == 1 ? spec.scale[0] : spec.scale[channel]) * row_scale;
  const float bias = spec.bias.empty() ? 0.0F : spec.bias[channel];
  float y = std::fma(static_cast<float>(acc), scale, bias);
  for (const PostOp& op : spec.ops) {
    if (op.kind != PostOpKind::add) {
      y = post_op_scalar(op, y);
    } else if (op.residual_type == ElemType::f32) {
      y = y + *static_cast<const float*>(residual);
    } else {
      const int32_t r = op.residual_type == ElemType::u8
                            ? int32_t{*static_cast<const uint8_t*>(residual)}
                            : int32_t{*static_cast<const int8_t*>(residual)};
      y = std::fma(static_cast<float>(r - op.residual_zero_point), op.residual_scale, y);
    }
  }
  return y;
}

int32_t epilogue_quantize(const EpilogueSpec& spec, float y) {
  return store_quantized<int16_t>(
      quantize_real(y, inverse_scale(spec.out_scale), static_cast<float>(spec.out_zero_point),
                    static_cast<float>(spec.qmin), static_cast<float>(spec.qmax)));
}

}  // namespace pt2q::kernels
