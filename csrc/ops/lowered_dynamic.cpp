// Operators that compile() makes of dynamic quantization. Codes are uint8 always (int8 ones plus
// 128, zero points too), one scale and zero point for the tensor or for each row of the last
// dimension.
#include "ops/support/lowered_dynamic.h"

#include <cmath>
#include <limits>

#include "base/strings.h"
#include "ops/support/epilogue_args.h"
#include "ops/support/lowered.h"
#include "pt2q/error.h"

namespace pt2q {
namespace ops {

DynamicRule read_dynamic_rule(const std::string& text) {
  if (text == "tensor") return DynamicRule::Tensor;
  if (text == "tensor_symmetric") return DynamicRule::TensorSymmetric;
  if (text == "token_symmetric") return DynamicRule::TokenSymmetric;
  if (text == "token_asymmetric") return DynamicRule::TokenAsymmetric;
  throw ValueError(cat("unknown rule '", text, "' for dynamic quantization"),
                   "tensor, tensor_symmetric, token_symmetric or token_asymmetric");
}

StoredRow stored_row(double scale, double zero_point, int32_t shift) {
  if (!(std::fabs(zero_point) <= 255)) return {std::numeric_limits<float>::quiet_NaN(), shift};
  return {static_cast<float>(scale), static_cast<int32_t>(zero_point) + shift};
}

kernels::QConvSpec qlinear_dynamic_spec(const std::vector<Value>& args, const Shape& x,
                                        const Shape& weight, const Tensor& w_scale,
                                        const Tensor& bias) {
  std::vector<Value> fixed = args;
  fixed.at(4) = Value(1.0);
  fixed.at(5) = Value(int64_t{0});
  auto spec = qlinear_spec(fixed, x, DType::UInt8, weight, w_scale, bias);
  spec.scaled_rows = true;
  return spec;
}

}  // namespace ops

namespace {

using namespace ops;

Value infer_quantize(const Args& args) {
  const TensorMeta& x = args.meta(0);
  const DType dtype = args.dtype(4, DType::UInt8);
  if (x.dtype != DType::Float32 || (dtype != DType::UInt8 && dtype != DType::Int8)) {
    throw TypeError(cat("quantize_dynamic makes uint8 or int8 of float32, not ", dtype_name(dtype),
                        " of ", dtype_name(x.dtype)));
  }
  SymShape sizes{1};
  if (per_token(read_dynamic_rule(args.string(5)))) {
    if (x.sizes.empty()) throw ValueError("per-token quantization needs at least one dimension");
    sizes = x.sizes;
    sizes.back() = 1;
  }
  return Value::List{TensorMeta{x.sizes, DType::UInt8, x.device},
                     TensorMeta{sizes, DType::Float32, x.device},
                     TensorMeta{sizes, DType::Int32, x.device}};
}

Value run(const std::string& name, std::vector<Value> args) {
  const OpDef& op = op_table().get(cat("quantized_decomposed.", name));
  return op.reference(Args(op, args));
}

Value quantize(const Args& args) {
  const DynamicRule rule = read_dynamic_rule(args.string(5));
  const DType dtype = args.dtype(4, DType::UInt8);
  const Value &x = args.value(0), &lo = args.value(1), &hi = args.value(2);
  Value params, q;
  if (per_token(rule)) {
    params =
        run(rule == DynamicRule::TokenSymmetric ? "choose_qparams_per_token.default"
                                                : "choose_qparams_per_token_asymmetric.default",
            {x, dtype});
    q = run("quantize_per_token.default", {x, params.list()[0], params.list()[1], lo, hi, dtype});
  } else {
    params = run(
        rule == DynamicRule::Tensor ? "choose_qparams.tensor" : "choose_qparams_symmetric.tensor",
        {x, lo, hi, args.value(3), dtype});
    q = run("quantize_per_tensor.tensor", {x, params.list()[0], params.list()[1], lo, hi, dtype});
  }
  Tensor codes = q.as<Tensor>().contiguous().clone();
  const Tensor scales = params.list()[0].as<Tensor>().to(DType::Float64).contiguous();
  const Tensor zero_points = params.list()[1].as<Tensor>().to(DType::Float64).contiguous();
  Tensor scale = Tensor::empty(scales.sizes(), DType::Float32);
  Tensor zero = Tensor::empty(scales.sizes(), DType::Int32);
  for (int64_t i = 0; i < scales.numel(); ++i) {
    const StoredRow row = stored_row(scales.data<double>()[i], zero_points.data<double>()[i],
                                     dtype == DType::Int8 ? 128 : 0);
    scale.mutable_data<float>()[i] = row.scale;
    zero.mutable_data<int32_t>()[i] = row.zero_point;
  }
  if (dtype == DType::Int8) {
    Tensor shifted = Tensor::empty(codes.sizes(), DType::UInt8);
    for (int64_t i = 0; i < codes.numel(); ++i) {
      shifted.mutable_data<uint8_t>()[i] =
          static_cast<uint8_t>(int32_t{codes.data<int8_t>()[i]} + 128);
    }
    codes = shifted;
  }
  return Value::List{codes, scale, zero};
}

void check_parameters(const TensorMeta& x, const TensorMeta& scale, const TensorMeta& zero) {
  const int64_t n = numel_of(hints(scale.sizes)),
                length = x.sizes.empty() ? 1 : x.sizes.back().hint();
  const int64_t rows = length == 0 ? 0 : numel_of(hints(x.sizes)) / length;
  if (x.dtype == DType::UInt8 && scale.dtype == DType::Float32 && zero.dtype == DType::Int32 &&
      numel_of(hints(zero.sizes)) == n && (n == 1 || n == rows)) {
    return;
  }
  throw ValueError(
      cat("expected uint8 codes with one float32 scale and int32 zero point, or one "
          "per row; got ",
          describe(x), ", ", describe(scale), " and ", describe(zero)));
}

Value infer_dequantize(const Args& args) {
  check_parameters(args.meta(0), args.meta(1), args.meta(2));
  return TensorMeta{args.meta(0).sizes, DType::Float32, args.meta(0).device};
}

Value dequantize(const Args& args) {
  const Tensor q = args.tensor(0).contiguous();
  const Tensor scale = args.tensor(1).contiguous(), zero = args.tensor(2).contiguous();
  const int64_t length = q.dim() == 0 || scale.numel() == 1 ? q.numel() : q.sizes().back();
  Tensor out = Tensor::empty(q.sizes(), DType::Float32);
  for (int64_t i = 0; i < q.numel(); ++i) {
    const int64_t row = i / length;
    out.mutable_data<float>()[i] =
        static_cast<float>(int32_t{q.data<uint8_t>()[i]} - zero.data<int32_t>()[row]) *
        scale.data<float>()[row];
  }
  return out;
}

std::vector<Value> all_args(const Args& args) {
  std::vector<Value> out;
  for (size_t i = 0; i < args.size(); ++i) out.push_back(args.value(i));
  return out;
}

Value infer_qlinear(const Args& args) {
  check_parameters(args.meta(0), args.meta(4), args.meta(5));
  TensorMeta out = args.meta(0);
  if (out.sizes.empty() || args.meta(1).sizes.size() != 2)
    throw ValueError(cat("input ", describe(out), " does not fit ", describe(args.meta(1))));
  out.sizes.back() = args.meta(1).sizes[0];
  out.dtype = epilogue_dtype(all_args(args), kQLinearTail);
  return out;
}

Value qlinear(const Args& args) {
  const Tensor x = args.tensor(0).contiguous(), weight = args.tensor(1).contiguous();
  const auto spec = qlinear_dynamic_spec(all_args(args), x.sizes(), weight.sizes(), args.tensor(2),
                                         args.optional_tensor(3));
  Shape sizes = x.sizes();
  sizes.back() = weight.size(0);
  Tensor out = Tensor::empty(sizes, epilogue_dtype(all_args(args), kQLinearTail));
  Tensor other = args.optional_tensor(kQLinearTail);
  if (other.defined()) {
    other = other.dtype() == DType::BFloat16 ? other.to(DType::Float32) : other;
    other = other.contiguous();
  }
  const Tensor scale = args.tensor(4).contiguous(), zero = args.tensor(5).contiguous();
  const kernels::RowScales rows{scale.data<float>(), zero.data<int32_t>(),
                                scale.numel() == 1 ? 0 : 1};
  kernels::qconv_reference(spec, weight.data<int8_t>(), x.raw_data(), out.raw_mutable_data(),
                           other.defined() ? other.raw_data() : nullptr, rows);
  return out;
}

// Layer norm, then quantize_dynamic of its result.
std::vector<Value> norm_arguments(const Args& args) {
  std::vector<Value> values;
  for (size_t i = 0; i < kDynamicNormTail; ++i) values.push_back(args.value(i));
  return values;
}

std::vector<Value> quantize_arguments(const Args& args, const Value& real) {
  std::vector<Value> values = {real};
  for (size_t i = kDynamicNormTail; i < args.size(); ++i) values.push_back(args.value(i));
  values[4] = args.dtype(kDynamicNormTail + 3, DType::UInt8);
  return values;
}

Value normalized(const Args& args, bool infer) {
  const OpDef& norm = op_table().get("aten.layer_norm.default");
  const OpDef& choose = op_table().get("pt2q.quantize_dynamic.default");
  const std::vector<Value> first = norm_arguments(args);
  const Value real = (infer ? norm.infer : norm.reference)(Args(norm, first));
  const std::vector<Value> second = quantize_arguments(args, real);
  const Value codes = (infer ? choose.infer : choose.reference)(Args(choose, second));
  Value::List out = {real};
  for (const Value& v : codes.list()) out.push_back(v);
  return out;
}

}  // namespace

void register_lowered_dynamic(OpTable& t) {
  define_lowered(t, "pt2q.quantize_dynamic.default",
                 "(Tensor x, int quant_min, int quant_max, float eps, ScalarType dtype, str "
                 "rule=\"tensor\") -> (Tensor, Tensor, Tensor)",
                 infer_quantize, quantize);
  define_lowered(
      t, "pt2q.layer_norm_dynamic.default",
      "(Tensor input, SymInt[] normalized_shape, Tensor? weight, Tensor? bias, float eps, int "
      "quant_min, int quant_max, float choose_eps, ScalarType dtype, str rule=\"tensor\") -> "
      "(Tensor, Tensor, Tensor, Tensor)",
      [](const Args& args) { return normalized(args, true); },
      [](const Args& args) { return normalized(args, false); });
  define_lowered(t, "pt2q.dequantize_dynamic.default",
                 "(Tensor x, Tensor scale, Tensor zero_point) -> Tensor", infer_dequantize,
                 dequantize);
  define_lowered(
      t, "pt2q.qlinear_dynamic.default",
      cat("(Tensor x, Tensor weight, Tensor w_scale, Tensor? bias, Tensor x_scale, Tensor "
          "x_zero_point, ",
          kEpilogueSchema, ") -> Tensor"),
      infer_qlinear, qlinear);
}

}  // namespace pt2q
