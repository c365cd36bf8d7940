#include "onednn/compat.h"

#include <algorithm>

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q::onednn {
namespace {

#if DNNL_VERSION_MAJOR >= 3
constexpr bool kVersion3 = true;
#else
constexpr bool kVersion3 = false;
#endif

dnnl::algorithm algorithm_of(Eltwise kind) {
  switch (kind) {
    case Eltwise::Relu:
    case Eltwise::LeakyRelu:
      return dnnl::algorithm::eltwise_relu;
    case Eltwise::Clip:
      return dnnl::algorithm::eltwise_clip;
    case Eltwise::HardSwish:
      return dnnl::algorithm::eltwise_hardswish;
    case Eltwise::Silu:
      return dnnl::algorithm::eltwise_swish;
    case Eltwise::Tanh:
      return dnnl::algorithm::eltwise_tanh;
    case Eltwise::GeluErf:
      return dnnl::algorithm::eltwise_gelu_erf;
    case Eltwise::GeluTanh:
      return dnnl::algorithm::eltwise_gelu_tanh;
    case Eltwise::Sigmoid:
      return dnnl::algorithm::eltwise_logistic;
  }
  throw InternalError("eltwise: unknown kind");
}

// oneDNN 3 parametrises hardswish as x * clip(alpha * x + beta, 0, 1).
void eltwise_parameters(Eltwise kind, float* alpha, float* beta) {
  if (kind == Eltwise::Silu) *alpha = 1.0F;
  if (kind == Eltwise::HardSwish && kVersion3) {
    *alpha = 1.0F / 6.0F;
    *beta = 0.5F;
  }
}

dnnl::primitive_attr attributes(const PostOps* post_ops, bool src_zero_point = false) {
  dnnl::primitive_attr attr;
#if DNNL_VERSION_MAJOR >= 3
  if (src_zero_point) attr.set_zero_points_mask(DNNL_ARG_SRC, 0);
#else
  if (src_zero_point) attr.set_zero_points(DNNL_ARG_SRC, 0, {DNNL_RUNTIME_S32_VAL});
#endif
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (post_ops != nullptr && post_ops->ops.len() > 0) attr.set_post_ops(post_ops->ops);
  return attr;
}

// Fills the common part; false for unusable implementations.
template <typename Desc>
bool describe_primitive(const Desc& pd, Primitive* out) {
  out->impl = pd.impl_info_str();
  if (is_reference_implementation(out->impl)) return false;
  out->scratchpad = pd.scratchpad_desc();
  out->dst = pd.dst_desc();
  return true;
}

dnnl::memory::dims zero_based(const Shape& dilation) {
  dnnl::memory::dims out(dilation);
  for (auto& d : out) --d;
  return out;
}

}  // namespace

bool is_reference_implementation(const std::string& impl) {
  return starts_with(impl, "ref") || starts_with(impl, "simple:any") ||
         impl.find(":ref") != std::string::npos;  // "ocl:ref:any"
}

dnnl::memory::data_type to_dnnl(DType dtype) {
  switch (dtype) {
    case DType::Float32:
      return dnnl::memory::data_type::f32;
    case DType::Int32:
      return dnnl::memory::data_type::s32;
    case DType::Int8:
      return dnnl::memory::data_type::s8;
    case DType::UInt8:
      return dnnl::memory::data_type::u8;
    case DType::BFloat16:
      return dnnl::memory::data_type::bf16;
    default:
      throw InternalError(cat("oneDNN has no data type for ", dtype_name(dtype)));
  }
}

dnnl::memory::desc desc_of(const Shape& sizes, const Shape& strides, DType dtype) {
  return {dnnl::memory::dims(sizes), to_dnnl(dtype), dnnl::memory::dims(strides)};
}

dnnl::memory::desc desc_any(const Shape& sizes, DType dtype) {
  return {dnnl::memory::dims(sizes), to_dnnl(dtype), dnnl::memory::format_tag::any};
}

void PostOps::eltwise(Eltwise kind, float alpha, float beta) {
  eltwise_parameters(kind, &alpha, &beta);
  const dnnl::algorithm algorithm = algorithm_of(kind);
  repeats_algorithm =
      repeats_algorithm || std::count(eltwise_used_.begin(), eltwise_used_.end(), algorithm) > 0;
  eltwise_used_.push_back(algorithm);
#if DNNL_VERSION_MAJOR >= 3
  ops.append_eltwise(algorithm, alpha, beta);
#else
  ops.append_eltwise(1.0F, algorithm, alpha, beta);
#endif
}

void PostOps::add(const dnnl::memory::desc& other) {
  ops.append_binary(dnnl::algorithm::binary_add, other);
}

void PostOps::binary(dnnl::algorithm algorithm, const dnnl::memory::desc& other) {
  ops.append_binary(algorithm, other);
}

void PostOps::sum() { ops.append_sum(1.0F); }

Primitive make_convolution(const ConvSpec& spec, const PostOps& post_ops) {
  using dnnl::convolution_forward;
  if (post_ops.repeats_algorithm) return {};
  Primitive out;
  const dnnl::memory::dims stride(spec.stride), low(spec.padding_low), high(spec.padding_high);
  const auto dilation = zero_based(spec.dilation);
  const auto kind = dnnl::prop_kind::forward_inference;
  const auto algorithm = dnnl::algorithm::convolution_direct;
  const auto attr = attributes(&post_ops, spec.src_zero_point);
  try {
#if DNNL_VERSION_MAJOR >= 3
    const auto pd = spec.has_bias ? convolution_forward::primitive_desc(
                                        current_engine(), kind, algorithm, spec.src, spec.weights,
                                        spec.bias, spec.dst, stride, dilation, low, high, attr)
                                  : convolution_forward::primitive_desc(
                                        current_engine(), kind, algorithm, spec.src, spec.weights,
                                        spec.dst, stride, dilation, low, high, attr);
#else
    const auto desc =
        spec.has_bias ? convolution_forward::desc(kind, algorithm, spec.src, spec.weights,
                                                  spec.bias, spec.dst, stride, dilation, low, high)
                      : convolution_forward::desc(kind, algorithm, spec.src, spec.weights, spec.dst,
                                                  stride, dilation, low, high);
    const convolution_forward::primitive_desc pd(desc, attr, current_engine());
#endif
    if (!describe_primitive(pd, &out)) return {};
    out.src = pd.src_desc();
    out.weights = pd.weights_desc();
    if (spec.has_bias) out.bias = pd.bias_desc();
    out.primitive = convolution_forward(pd);
  } catch (const dnnl::error&) {
    return {};
  }
  return out;
}

Primitive make_inner_product(const dnnl::memory::desc& src, const dnnl::memory::desc& weights,
                             const dnnl::memory::desc* bias, const dnnl::memory::desc& dst,
                             const PostOps& post_ops) {
  using dnnl::inner_product_forward;
  if (post_ops.repeats_algorithm) return {};
  Primitive out;
  const auto kind = dnnl::prop_kind::forward_inference;
  const auto attr = attributes(&post_ops);
  try {
#if DNNL_VERSION_MAJOR >= 3
    const auto pd = bias != nullptr ? inner_product_forward::primitive_desc(
                                          current_engine(), kind, src, weights, *bias, dst, attr)
                                    : inner_product_forward::primitive_desc(
                                          current_engine(), kind, src, weights, dst, attr);
#else
    const auto desc = bias != nullptr ? inner_product_forward::desc(kind, src, weights, *bias, dst)
                                      : inner_product_forward::desc(kind, src, weights, dst);
    const inner_product_forward::primitive_desc pd(desc, attr, current_engine());
#endif
    if (!describe_primitive(pd, &out)) return {};
    out.src = pd.src_desc();
    out.weights = pd.weights_desc();
    if (bias != nullptr) out.bias = pd.bias_desc();
    out.primitive = inner_product_forward(pd);
  } catch (const dnnl::error&) {
    return {};
  }
  return out;
}

Primitive make_matmul(const dnnl::memory::desc& a, const dnnl::memory::desc& b,
                      const dnnl::memory::desc* bias, const dnnl::memory::desc& dst,
                      const PostOps& post_ops) {
  if (post_ops.repeats_algorithm) return {};
  Primitive out;
  const auto attr = attributes(&post_ops);
  try {
#if DNNL_VERSION_MAJOR >= 3
    const auto pd = bias != nullptr
                        ? dnnl::matmul::primitive_desc(current_engine(), a, b, *bias, dst, attr)
                        : dnnl::matmul::primitive_desc(current_engine(), a, b, dst, attr);
#else
    const auto desc =
        bias != nullptr ? dnnl::matmul::desc(a, b, *bias, dst) : dnnl::matmul::desc(a, b, dst);
    const dnnl::matmul::primitive_desc pd(desc, attr, current_engine());
#endif
    if (!describe_primitive(pd, &out)) return {};
    out.src = pd.src_desc();
    out.weights = pd.weights_desc();
    out.primitive = dnnl::matmul(pd);
  } catch (const dnnl::error&) {
    return {};
  }
  return out;
}

Primitive make_pooling(const PoolSpec& spec) {
  using dnnl::pooling_forward;
  Primitive out;
  const auto kind = dnnl::prop_kind::forward_inference;
  const auto attr = attributes(nullptr);
  const auto algorithm = spec.kind == PoolKind::Max ? dnnl::algorithm::pooling_max
                         : spec.kind == PoolKind::AvgIncludePadding
                             ? dnnl::algorithm::pooling_avg_include_padding
                             : dnnl::algorithm::pooling_avg_exclude_padding;
  const dnnl::memory::dims stride(spec.stride), kernel(spec.kernel), low(spec.padding_low),
      high(spec.padding_high);
  try {
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::memory::dims dilation(kernel.size(), 0);
    const pooling_forward::primitive_desc pd(current_engine(), kind, algorithm, spec.src, spec.dst,
                                             stride, kernel, dilation, low, high, attr);
#else
    const pooling_forward::desc desc(kind, algorithm, spec.src, spec.dst, stride, kernel, low,
                                     high);
    const pooling_forward::primitive_desc pd(desc, attr, current_engine());
#endif
    if (!describe_primitive(pd, &out)) return {};
    out.src = pd.src_desc();
    out.primitive = pooling_forward(pd);
  } catch (const dnnl::error&) {
    return {};
  }
  return out;
}

Primitive make_eltwise(Eltwise kind, const dnnl::memory::desc& data, float alpha, float beta) {
  using dnnl::eltwise_forward;
  eltwise_parameters(kind, &alpha, &beta);
  Primitive out;
  const auto prop = dnnl::prop_kind::forward_inference;
  const auto attr = attributes(nullptr);
  try {
#if DNNL_VERSION_MAJOR >= 3
    const eltwise_forward::primitive_desc pd(current_engine(), prop, algorithm_of(kind), data, data,
                                             alpha, beta, attr);
#else
    const eltwise_forward::desc desc(prop, algorithm_of(kind), data, alpha, beta);
    const eltwise_forward::primitive_desc pd(desc, attr, current_engine());
#endif
    if (!describe_primitive(pd, &out)) return {};
    out.src = pd.src_desc();
    out.primitive = eltwise_forward(pd);
  } catch (const dnnl::error&) {
    return {};
  }
  return out;
}

Primitive make_binary_add(const dnnl::memory::desc& a, const dnnl::memory::desc& b,
                          const dnnl::memory::desc& dst, bool multiply) {
  Primitive out;
  const auto attr = attributes(nullptr);
  const auto algorithm = multiply ? dnnl::algorithm::binary_mul : dnnl::algorithm::binary_add;
  try {
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::binary::primitive_desc pd(current_engine(), algorithm, a, b, dst, attr);
#else
    const dnnl::binary::desc desc(algorithm, a, b, dst);
    const dnnl::binary::primitive_desc pd(desc, attr, current_engine());
#endif
    if (!describe_primitive(pd, &out)) return {};
    out.src = pd.src_desc(0);
    out.primitive = dnnl::binary(pd);
  } catch (const dnnl::error&) {
    return {};
  }
  return out;
}

Primitive make_batch_norm(const dnnl::memory::desc& data, float eps) {
  using dnnl::batch_normalization_forward;
  Primitive out;
  const auto prop = dnnl::prop_kind::forward_inference;
  const auto attr = attributes(nullptr);
  const auto flags = dnnl::normalization_flags::use_global_stats |
                     dnnl::normalization_flags::use_scale | dnnl::normalization_flags::use_shift;
  try {
#if DNNL_VERSION_MAJOR >= 3
    const batch_normalization_forward::primitive_desc pd(current_engine(), prop, data, data, eps,
                                                         flags, attr);
#else
    const batch_normalization_forward::desc desc(prop, data, eps, flags);
    const batch_normalization_forward::primitive_desc pd(desc, attr, current_engine());
#endif
    if (!describe_primitive(pd, &out)) return {};
    out.src = data;
    out.primitive = batch_normalization_forward(pd);
  } catch (const dnnl::error&) {
    return {};
  }
  return out;
}

Primitive make_softmax(const dnnl::memory::desc& data, int axis) {
  Primitive out;
  const auto prop = dnnl::prop_kind::forward_inference;
  const auto attr = attributes(nullptr);
  try {
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::softmax_forward::primitive_desc pd(
        current_engine(), prop, dnnl::algorithm::softmax_accurate, data, data, axis, attr);
#else
    const dnnl::softmax_forward::desc desc(prop, data, axis);
    const dnnl::softmax_forward::primitive_desc pd(desc, attr, current_engine());
#endif
    if (!describe_primitive(pd, &out)) return {};
    out.src = data;
    out.primitive = dnnl::softmax_forward(pd);
  } catch (const dnnl::error&) {
    return {};
  }
  return out;
}

}  // namespace pt2q::onednn
