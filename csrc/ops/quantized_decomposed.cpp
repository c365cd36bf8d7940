// quantized_decomposed.*: the operators convert_pt2e writes (SPEC section 3). Schemas are
// PyTorch's. The arithmetic is in tensor/affine.h; here are argument checks and shapes. Parameters
// chosen from data, per token and per group: quantized_decomposed_dynamic.cpp.
#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/op.h"
#include "tensor/affine.h"

namespace pt2q {
namespace {

TensorMeta with_dtype(const TensorMeta& like, DType dtype) {
  return TensorMeta{like.sizes, dtype, like.device};
}

void check_float_input(DType dtype) {
  if (dtype != DType::Float32 && dtype != DType::Float16 && dtype != DType::BFloat16) {
    throw AssertionError(
        cat("Expecting input to have dtype torch.float32, but got dtype: ", torch_name(dtype)));
  }
}

void check_quantized_input(DType input, DType dtype) {
  if (input != dtype) {
    throw AssertionError(
        cat("Expecting input to have dtype: ", torch_name(dtype), ", but got ", torch_name(input)));
  }
}

QuantRange range_at(const Args& args, size_t i) { return {args.integer(i), args.integer(i + 1)}; }

// Integer of a one-element tensor argument.
int64_t tensor_integer(const Tensor& t) {
  return is_floating_point(t.dtype()) ? static_cast<int64_t>(t.item()) : t.item_int();
}

void check_one_element(int64_t count, const char* what) {
  if (count != 1) {
    throw AssertionError(
        cat("Expecting ", what, " tensor to be one element, but received : ", count));
  }
}

int64_t count_of(const TensorMeta& meta) {
  int64_t count = 1;
  for (const SymInt& size : meta.sizes) count *= size.hint();
  return count;
}

// --- per tensor ----------------------------------------------------------------------------------

// Scalars of the three overloads: numbers, (1,)-tensors, and tensors for the range as well.
struct TensorParams {
  double scale;
  int64_t zero_point;
  QuantRange range;
};

TensorParams per_tensor_params(const Args& args) {
  if (!args.value(1).is<Tensor>()) return {args.number(1), args.integer(2), range_at(args, 3)};
  check_one_element(args.tensor(2).numel(), "zero_point");
  check_one_element(args.tensor(1).numel(), "scale");
  TensorParams p{args.tensor(1).item(), tensor_integer(args.tensor(2)), {}};
  if (args.value(3).is<Tensor>()) {
    p.range = {tensor_integer(args.tensor(3)), tensor_integer(args.tensor(4))};
  } else {
    p.range = range_at(args, 3);
  }
  return p;
}

void check_per_tensor_metas(const Args& args) {
  if (!args.value(1).is<TensorMeta>()) return;
  check_one_element(count_of(args.meta(2)), "zero_point");
  check_one_element(count_of(args.meta(1)), "scale");
}

Value infer_quantize_per_tensor(const Args& args) {
  const DType dtype = args.dtype(5, DType::UInt8);
  check_float_input(args.meta(0).dtype);
  check_per_tensor_metas(args);
  quant_bounds(dtype);
  return with_dtype(args.meta(0), dtype);
}

Value quantize_per_tensor_op(const Args& args) {
  const DType dtype = args.dtype(5, DType::UInt8);
  const TensorParams p = per_tensor_params(args);
  check_float_input(args.tensor(0).dtype());
  check_quant_range(p.range.min, p.range.max, dtype);
  if (p.scale == 0.0) {
    throw ValueError("the scale is 0, so its inverse does not exist",
                     "scales come from observers and are at least their eps");
  }
  return quantize_per_tensor(args.tensor(0), p.scale, p.zero_point, p.range, dtype);
}

void check_dequantize_dtype(DType input, DType dtype) {
  check_quantized_input(input, dtype);
  if (!is_quantized_storage(dtype)) {
    throw ValueError(cat("Unsupported dtype in dequantize_per_tensor: ", torch_name(dtype)));
  }
}

Value infer_dequantize_per_tensor(const Args& args) {
  check_per_tensor_metas(args);
  check_dequantize_dtype(args.meta(0).dtype, args.dtype(5, DType::UInt8));
  return with_dtype(args.meta(0), args.dtype(6, DType::Float32));
}

Value dequantize_per_tensor_op(const Args& args) {
  const TensorParams p = per_tensor_params(args);
  check_dequantize_dtype(args.tensor(0).dtype(), args.dtype(5, DType::UInt8));
  return dequantize_per_tensor(args.tensor(0), p.scale, p.zero_point,
                               args.dtype(6, DType::Float32));
}

void register_per_tensor(OpTable& table) {
  const std::string common = ", ScalarType dtype";
  const struct {
    const char* overload;
    const char* params;
  } kOverloads[] = {
      {"default", "float scale, int zero_point, int quant_min, int quant_max"},
      {"tensor", "Tensor scale, Tensor zero_point, int quant_min, int quant_max"},
      {"tensor2", "Tensor scale, Tensor zero_point, Tensor quant_min, Tensor quant_max"}};
  for (const auto& row : kOverloads) {
    const std::string params = cat("(Tensor input, ", row.params, common);
    OpDef& q = table.define(cat("quantized_decomposed.quantize_per_tensor.", row.overload),
                            params + ") -> Tensor");
    q.infer = infer_quantize_per_tensor;
    q.reference = quantize_per_tensor_op;
    OpDef& dq = table.define(cat("quantized_decomposed.dequantize_per_tensor.", row.overload),
                             params + ", *, ScalarType? out_dtype=None) -> Tensor");
    dq.infer = infer_dequantize_per_tensor;
    dq.reference = dequantize_per_tensor_op;
  }
}

// --- per channel ---------------------------------------------------------------------------------

void check_axis(int64_t axis, size_t ndim) {
  if (axis >= static_cast<int64_t>(ndim)) {
    throw AssertionError(cat("Expecting axis to be < ", ndim));
  }
  wrap_dim(axis, static_cast<int64_t>(ndim));
}

Value infer_quantize_per_channel(const Args& args) {
  const DType dtype = args.dtype(6, DType::Int8);
  check_float_input(args.meta(0).dtype);
  check_axis(args.integer(3), args.meta(0).sizes.size());
  check_quant_range(args.integer(4), args.integer(5), dtype);
  return with_dtype(args.meta(0), dtype);
}

Value quantize_per_channel_op(const Args& args) {
  const Tensor& x = args.tensor(0);
  const DType dtype = args.dtype(6, DType::Int8);
  check_float_input(x.dtype());
  check_axis(args.integer(3), x.sizes().size());
  check_quant_range(args.integer(4), args.integer(5), dtype);
  return quantize_per_channel(x, args.tensor(1), args.tensor(2), args.integer(3), range_at(args, 4),
                              dtype);
}

Value infer_dequantize_per_channel(const Args& args) {
  const DType dtype = args.dtype(6, DType::Int8);
  check_quantized_input(args.meta(0).dtype, dtype);
  check_axis(args.integer(3), args.meta(0).sizes.size());
  check_quant_range(args.integer(4), args.integer(5), dtype);
  return with_dtype(args.meta(0), args.dtype(7, DType::Float32));
}

Value dequantize_per_channel_op(const Args& args) {
  const Tensor& q = args.tensor(0);
  const DType dtype = args.dtype(6, DType::Int8);
  if (q.dtype() != dtype) {  // this operator words it differently from the others
    throw AssertionError(cat("Expecting input to have dtype: ", torch_name(dtype),
                             ", but got dtype: ", torch_name(q.dtype())));
  }
  check_axis(args.integer(3), q.sizes().size());
  check_quant_range(args.integer(4), args.integer(5), dtype);
  return dequantize_per_channel(q, args.tensor(1), args.optional_tensor(2), args.integer(3),
                                args.dtype(7, DType::Float32));
}

Value infer_fake_quant_per_channel(const Args& args) {
  check_axis(args.integer(3), args.meta(0).sizes.size());
  return args.meta(0);
}

// Unlike fake_quantize_per_channel this one lets NaN through.
Value fake_quant_per_channel_op(const Args& args) {
  const Tensor& x = args.tensor(0);
  if (x.dtype() != DType::Float32) {
    throw AssertionError(
        cat("Expecting input to have dtype torch.float32, but got dtype: ", torch_name(x.dtype())));
  }
  check_axis(args.integer(3), x.sizes().size());
  const Tensor in = densely_packed(x);
  const ChannelView view = channel_view(in, args.integer(3));
  const Tensor scales = args.tensor(1).to(DType::Float32).contiguous();
  const Tensor zero_points = args.tensor(2).to(DType::Int32).contiguous();
  if (scales.numel() != view.channels || zero_points.numel() != view.channels) {
    throw ValueError(cat("there are ", scales.numel(), " scales and ", zero_points.numel(),
                         " zero points for ", view.channels, " channels"));
  }
  const auto lo = static_cast<float>(args.integer(4));
  const auto hi = static_cast<float>(args.integer(5));
  Tensor out = empty_like_dense(in, DType::Float32);
  const float* from = in.data<float>();
  float* to = out.mutable_data<float>();
  for (int64_t i = 0; i < in.numel(); ++i) {
    const int64_t c = i / view.inner % view.channels;
    const float scale = scales.data<float>()[c];
    const auto zp = static_cast<float>(zero_points.data<int32_t>()[c]);
    to[i] = dequantize_real(quantize_real(from[i], 1.0F / scale, zp, lo, hi), scale, zp);
  }
  return out;
}

void register_per_channel(OpTable& table) {
  OpDef& q = table.define("quantized_decomposed.quantize_per_channel.default",
                          "(Tensor input, Tensor scales, Tensor zero_points, int axis, "
                          "int quant_min, int quant_max, ScalarType dtype) -> Tensor");
  q.infer = infer_quantize_per_channel;
  q.reference = quantize_per_channel_op;
  OpDef& dq =
      table.define("quantized_decomposed.dequantize_per_channel.default",
                   "(Tensor input, Tensor scales, Tensor? zero_points, int axis, int quant_min, "
                   "int quant_max, ScalarType dtype, *, ScalarType? out_dtype=None) -> Tensor");
  dq.infer = infer_dequantize_per_channel;
  dq.reference = dequantize_per_channel_op;
  OpDef& fq = table.define("quantized_decomposed.fake_quant_per_channel.default",
                           "(Tensor input, Tensor scales, Tensor zero_points, int axis, "
                           "int quant_min, int quant_max) -> Tensor");
  fq.infer = infer_fake_quant_per_channel;
  fq.reference = fake_quant_per_channel_op;
}

// --- cast
// ------------------------------------------------------------------------------------------

void register_convert(OpTable& table) {
  OpDef& op = table.define("quantized_decomposed.convert_element_type.no_fuse",
                           "(Tensor input, ScalarType dtype) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    return with_dtype(args.meta(0), args.dtype(1, DType::Float32));
  };
  op.reference = [](const Args& args) -> Value {
    const Tensor& x = args.tensor(0);
    const DType dtype = args.dtype(1, DType::Float32);
    return x.dtype() == dtype ? x.clone() : x.to(dtype);
  };
}

}  // namespace

void register_quantized_decomposed(OpTable& table);
void register_quantized_decomposed(OpTable& table) {
  register_per_tensor(table);
  register_per_channel(table);
  register_convert(table);
}

}  // namespace pt2q
