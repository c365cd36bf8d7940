// Elementwise add and mul, and concatenation, of quantized tensors; only compile() makes these. The
// results are those of dequantize, the float operator and quantize one after another.
#include "ops/support/lowered_binary.h"

#include "base/strings.h"
#include "kernels/qadd.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

std::vector<Value> all_args(const Args& args) {
  std::vector<Value> out;
  for (size_t i = 0; i < args.size(); ++i) out.push_back(args.value(i));
  return out;
}

Value infer_binary(const Args& args) {
  const TensorMeta& a = args.meta(0);
  const TensorMeta& b = args.meta(3);
  if (a.sizes != b.sizes) {
    throw ValueError(cat("operands differ in shape: ", describe(a), " and ", describe(b)));
  }
  TensorMeta out = a;
  out.dtype = read_quant_output(all_args(args), kQBinaryTail).dtype;
  return out;
}

template <typename Out>
Tensor run_binary(QuantBinary op, const QuantOperand& a, const QuantOperand& b, const Shape& sizes,
                  bool relu, const QuantOutput& to) {
  Tensor y = Tensor::empty(sizes, to.dtype);
  quantized_binary_reference(op, a, b, y.numel(), relu, to.params,
                             static_cast<Out*>(y.raw_mutable_data()));
  return y;
}

template <QuantBinary kOp>
Value binary(const Args& args) {
  const std::vector<Value> values = all_args(args);
  const Tensor a = args.tensor(0).contiguous(), b = args.tensor(3).contiguous();
  if (a.sizes() != b.sizes())
    throw ValueError(cat("operands differ in shape: ", describe(a), " and ", describe(b)));
  const QuantOperand x{a.raw_data(), is_signed_operand(a.dtype()), read_operand(values, 1)};
  const QuantOperand y{b.raw_data(), is_signed_operand(b.dtype()), read_operand(values, 4)};
  const QuantOutput to = read_quant_output(values, kQBinaryTail);
  const bool relu = args.boolean(6);
  switch (to.dtype) {
    case DType::UInt8:
      return run_binary<uint8_t>(kOp, x, y, a.sizes(), relu, to);
    case DType::Int8:
      return run_binary<int8_t>(kOp, x, y, a.sizes(), relu, to);
    default:
      return run_binary<float>(kOp, x, y, a.sizes(), relu, to);
  }
}

Value infer_cat(const Args& args) {
  std::vector<TensorMeta> parts = args.metas(0);
  if (parts.empty()) throw ValueError("expected a non-empty list of tensors");
  TensorMeta out = parts[0];
  const auto dim =
      static_cast<size_t>(wrap_dim(args.integer(1), static_cast<int64_t>(out.sizes.size())));
  for (size_t i = 1; i < parts.size(); ++i) out.sizes[dim] = out.sizes[dim] + parts[i].sizes[dim];
  out.dtype = read_quant_output(all_args(args), kQCatTail).dtype;
  return out;
}

Value qcat(const Args& args) {
  const std::vector<Value> values = all_args(args);
  const QuantOutput to = read_quant_output(values, kQCatTail);
  const auto& scales = values[2].list();
  const auto& zero_points = values[3].list();
  std::vector<Tensor> parts;
  const std::vector<Tensor> given = args.tensors(0);
  if (scales.size() != given.size() || zero_points.size() != given.size())
    throw ValueError("one scale and one zero point per tensor are needed");
  for (size_t i = 0; i < given.size(); ++i) {
    QuantParams from;
    from.scale = scales[i].to_double();
    from.zero_point = static_cast<int32_t>(zero_points[i].to_int());
    const Tensor q = given[i].contiguous();
    Tensor x = Tensor::empty(q.sizes());
    float* data = x.mutable_data<float>();
    if (is_signed_operand(q.dtype())) {
      dequantize_reference(q.data<int8_t>(), q.numel(), from, data);
    } else {
      dequantize_reference(q.data<uint8_t>(), q.numel(), from, data);
    }
    parts.push_back(x);
  }
  const Tensor joined =
      call("aten.cat.default", {Value(parts), values[1]}).as<Tensor>().contiguous();
  Tensor y = Tensor::empty(joined.sizes(), to.dtype);
  if (to.dtype == DType::UInt8) {
    quantize_reference(joined.data<float>(), y.numel(), to.params, y.mutable_data<uint8_t>());
  } else {
    quantize_reference(joined.data<float>(), y.numel(), to.params, y.mutable_data<int8_t>());
  }
  return y;
}

Value infer_requantize(const Args& args) {
  TensorMeta out = args.meta(0);
  out.dtype = read_quant_output(all_args(args), kRequantizeTail).dtype;
  return out;
}

Value requantize_values(const Args& args) {
  const std::vector<Value> values = all_args(args);
  const Tensor x = args.tensor(0).contiguous();
  const QuantParams from = read_operand(values, 1);
  const QuantOutput to = read_quant_output(values, kRequantizeTail);
  Tensor y = Tensor::empty(x.sizes(), to.dtype);
  const auto run = [&](const auto* in) {
    if (to.dtype == DType::UInt8) {
      requantize_reference(in, x.numel(), from, to.params, y.mutable_data<uint8_t>());
    } else {
      requantize_reference(in, x.numel(), from, to.params, y.mutable_data<int8_t>());
    }
  };
  if (is_signed_operand(x.dtype())) {
    run(x.data<int8_t>());
  } else {
    run(x.data<uint8_t>());
  }
  return y;
}

constexpr const char* kOutput =
    "float out_scale=1.0, int out_zero_point=0, int out_min=0, int out_max=255, ScalarType? "
    "out_dtype=None) -> Tensor";

}  // namespace

namespace ops {

bool is_signed_operand(DType dtype) {
  if (dtype != DType::UInt8 && dtype != DType::Int8)
    throw TypeError(cat("expected a uint8 or int8 tensor, got ", dtype_name(dtype)));
  return dtype == DType::Int8;
}

QuantParams read_operand(const std::vector<Value>& args, size_t i) {
  QuantParams p;
  p.scale = args.at(i).to_double();
  p.zero_point = static_cast<int32_t>(args.at(i + 1).to_int());
  return p;
}

QuantOutput read_quant_output(const std::vector<Value>& args, size_t tail) {
  QuantOutput out;
  out.params = read_operand(args, tail);
  out.params.quant_min = static_cast<int32_t>(args.at(tail + 2).to_int());
  out.params.quant_max = static_cast<int32_t>(args.at(tail + 3).to_int());
  if (!args.at(tail + 4).is_none()) out.dtype = args.at(tail + 4).as<DType>();
  return out;
}

}  // namespace ops

void register_lowered_binary(OpTable& t) {
  const std::string schema =
      cat("(Tensor a, float a_scale, int a_zero_point, Tensor b, float b_scale, int b_zero_point, "
          "bool relu=False, *, ",
          kOutput);
  OpDef& add = t.define("pt2q.qadd.default", schema);
  add.infer = infer_binary;
  add.reference = binary<QuantBinary::add>;
  OpDef& mul = t.define("pt2q.qmul.default", schema);
  mul.infer = infer_binary;
  mul.reference = binary<QuantBinary::mul>;
  OpDef& joined =
      t.define("pt2q.qcat.default",
               cat("(Tensor[] tensors, int dim, float[] scales, int[] zero_points, *, ", kOutput));
  joined.infer = infer_cat;
  joined.reference = qcat;
  OpDef& again = t.define("pt2q.requantize.default",
                          cat("(Tensor x, float scale, int zero_point, *, ", kOutput));
  again.infer = infer_requantize;
  again.reference = requantize_values;
}

}  // namespace pt2q
