#include "ops/support/lowered.h"

#include "base/strings.h"
#include "ops/support/epilogue_args.h"
#include "pt2q/error.h"

namespace pt2q::ops {
namespace {

void set_source(kernels::QConvSpec& spec, DType dtype, const Value& zero_point) {
  if (dtype != DType::UInt8 && dtype != DType::Int8)
    throw TypeError(cat("argument 'x': expected uint8 or int8, got ", dtype_name(dtype)));
  spec.src_is_s8 = dtype == DType::Int8;
  spec.src_zero_point = static_cast<int32_t>(zero_point.to_int());
}

}  // namespace

kernels::QConvSpec qconv_spec(const std::vector<Value>& args, const Shape& x, DType x_dtype,
                              const Shape& weight, const Tensor& w_scale, const Tensor& bias) {
  if (x.size() != weight.size() || x.size() < 3 || x.size() > 4) {
    throw ValueError(cat("expected a batched 1-D or 2-D convolution, got input ", list_to_string(x),
                         " and weight ", list_to_string(weight)));
  }
  kernels::QConvSpec spec;
  kernels::ConvShape& s = spec.shape;
  const bool image = x.size() == 4;
  const auto last = [&](size_t i) { return args.at(i).to_ints().back(); };
  const auto first = [&](size_t i, int64_t none) {
    return image ? args.at(i).to_ints().front() : none;
  };
  s.batch = x[0];
  s.in_c = x[1];
  s.in_h = image ? x[2] : 1;
  s.in_w = x.back();
  s.out_c = weight[0];
  s.kernel_h = image ? weight[2] : 1;
  s.kernel_w = weight.back();
  s.stride_h = first(6, 1);
  s.stride_w = last(6);
  s.pad_top = s.pad_bottom = first(7, 0);
  s.pad_left = s.pad_right = last(7);
  s.dilation_h = first(8, 1);
  s.dilation_w = last(8);
  s.groups = args.at(9).to_int();
  if (s.groups < 1 || s.in_c % s.groups != 0 || s.out_c % s.groups != 0 ||
      weight[1] != s.in_c / s.groups) {
    throw ValueError(cat("input ", list_to_string(x), " and weight ", list_to_string(weight),
                         " do not fit ", s.groups, " groups"));
  }
  set_source(spec, x_dtype, args.at(5));
  spec.epilogue = read_epilogue(args, kQConvTail);
  set_scale_and_bias(spec.epilogue, args.at(4).to_double(), w_scale, bias);
  return spec;
}

kernels::QConvSpec qlinear_spec(const std::vector<Value>& args, const Shape& x, DType x_dtype,
                                const Shape& weight, const Tensor& w_scale, const Tensor& bias) {
  if (x.empty() || weight.size() != 2 || x.back() != weight[1]) {
    throw ValueError(
        cat("input ", list_to_string(x), " does not fit weight ", list_to_string(weight)));
  }
  kernels::QConvSpec spec;
  const int64_t k = weight[1];
  spec.shape = kernels::linear_shape(k == 0 ? 0 : numel_of(x) / k, k, weight[0]);
  set_source(spec, x_dtype, args.at(5));
  spec.epilogue = read_epilogue(args, kQLinearTail);
  set_scale_and_bias(spec.epilogue, args.at(4).to_double(), w_scale, bias);
  return spec;
}

}  // namespace pt2q::ops
