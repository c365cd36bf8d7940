#include "ops/support/lowered.h"

#include <algorithm>

#include "base/strings.h"
#include "ops/support/epilogue_args.h"
#include "pt2q/error.h"

namespace pt2q::ops {
namespace {

void set_source(kernels::QConvSpec& spec, DType dtype, const Value& zero_point) {
  check_source(dtype);
  spec.src_is_s8 = dtype == DType::Int8;
  spec.src_zero_point = static_cast<int32_t>(zero_point.to_int());
}

// One number, or one for each dimension of the image.
std::vector<int64_t> per_dim(const Value& v, bool image) {
  if (!v.is<Value::List>()) return {v.to_int()};
  std::vector<int64_t> out = v.to_ints();
  if (out.size() != 1 && out.size() != (image ? 2U : 1U)) {
    throw ValueError(cat("expected one number or ", image ? 2 : 1, " for ", image ? 2 : 1,
                         "-D images, got ", v.to_string()));
  }
  return out;
}

}  // namespace

void check_source(DType x) {
  if (x != DType::UInt8 && x != DType::Int8)
    throw TypeError(cat("argument 'x': expected uint8 or int8, got ", dtype_name(x)));
}

kernels::ConvShape qconv_shape(const Value& stride, const Value& padding, const Value& dilation,
                               const Value& groups, const Shape& x, const Shape& weight) {
  if (x.size() != weight.size() || x.size() < 3 || x.size() > 4) {
    throw ValueError(cat("expected a batched 1-D or 2-D convolution, got input ", list_to_string(x),
                         " and weight ", list_to_string(weight)));
  }
  kernels::ConvShape s;
  const bool image = x.size() == 4;
  const auto last = [&](const Value& v) { return per_dim(v, image).back(); };
  const auto first = [&](const Value& v, int64_t none) {
    return image ? per_dim(v, image).front() : none;
  };
  s.batch = x[0];
  s.in_c = x[1];
  s.in_h = image ? x[2] : 1;
  s.in_w = x.back();
  s.out_c = weight[0];
  s.kernel_h = image ? weight[2] : 1;
  s.kernel_w = weight.back();
  s.stride_h = first(stride, 1);
  s.stride_w = last(stride);
  s.pad_top = s.pad_bottom = first(padding, 0);
  s.pad_left = s.pad_right = last(padding);
  s.dilation_h = first(dilation, 1);
  s.dilation_w = last(dilation);
  s.groups = groups.to_int();
  if (std::min({s.stride_h, s.stride_w, s.dilation_h, s.dilation_w}) < 1 ||
      std::min(s.pad_top, s.pad_left) < 0) {
    throw ValueError(cat("stride ", stride.to_string(), " and dilation ", dilation.to_string(),
                         " must be positive, padding ", padding.to_string(), " not negative"));
  }
  if (s.in_h + s.pad_top + s.pad_bottom <= s.dilation_h * (s.kernel_h - 1) ||
      s.in_w + s.pad_left + s.pad_right <= s.dilation_w * (s.kernel_w - 1)) {
    throw ValueError(cat("a kernel of ", s.kernel_h, "x", s.kernel_w, " with dilation ",
                         dilation.to_string(), " is larger than the padded input ",
                         list_to_string(x)));
  }
  if (s.groups < 1 || s.in_c % s.groups != 0 || s.out_c % s.groups != 0 ||
      weight[1] != s.in_c / s.groups) {
    throw ValueError(cat("input ", list_to_string(x), " and weight ", list_to_string(weight),
                         " do not fit ", s.groups, " groups"));
  }
  return s;
}

kernels::QConvSpec qconv_spec(const std::vector<Value>& args, const Shape& x, DType x_dtype,
                              const Shape& weight, const Tensor& w_scale, const Tensor& bias) {
  kernels::QConvSpec spec;
  spec.shape = qconv_shape(args.at(6), args.at(7), args.at(8), args.at(9), x, weight);
  set_source(spec, x_dtype, args.at(5));
  spec.epilogue = read_epilogue(args, kQConvTail);
  set_scale_and_bias(spec.epilogue, args.at(4).to_double(), w_scale, bias);
  return spec;
}

kernels::ConvShape qlinear_shape(const Shape& x, const Shape& weight) {
  if (x.empty() || weight.size() != 2 || x.back() != weight[1]) {
    throw ValueError(
        cat("input ", list_to_string(x), " does not fit weight ", list_to_string(weight)));
  }
  const int64_t k = weight[1];
  return kernels::linear_shape(k == 0 ? 0 : numel_of(x) / k, k, weight[0]);
}

kernels::QConvSpec qlinear_spec(const std::vector<Value>& args, const Shape& x, DType x_dtype,
                                const Shape& weight, const Tensor& w_scale, const Tensor& bias) {
  kernels::QConvSpec spec;
  spec.shape = qlinear_shape(x, weight);
  set_source(spec, x_dtype, args.at(5));
  spec.epilogue = read_epilogue(args, kQLinearTail);
  set_scale_and_bias(spec.epilogue, args.at(4).to_double(), w_scale, bias);
  return spec;
}

void define_lowered(OpTable& table, const std::string& name, const std::string& schema,
                    InferFn infer, KernelFn reference) {
  OpDef& op = table.define(name, schema);
  op.infer = std::move(infer);
  op.reference = std::move(reference);
}

}  // namespace pt2q::ops
