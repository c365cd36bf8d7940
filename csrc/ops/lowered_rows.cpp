// Operators that compile() makes of layer norm and attention with a quantize behind them.
#include "ops/support/lowered_rows.h"

#include "base/strings.h"
#include "ops/support/lowered.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

constexpr const char* kNorm = "aten.layer_norm.default";
constexpr const char* kAttention = "aten.scaled_dot_product_attention.default";

// The first `count` arguments as those of the float operator.
Args float_args(const Args& args, const OpDef& op, size_t count, std::vector<Value>* values) {
  values->clear();
  for (size_t i = 0; i < count; ++i) values->push_back(args.value(i));
  return Args(op, *values);
}

TensorMeta codes_of(const Args& args, size_t tail, const Value& result) {
  TensorMeta meta = result.as<TensorMeta>();
  const DType dtype = args.dtype(tail + 4, DType::UInt8);
  const bool real = meta.dtype == DType::Float32 || meta.dtype == DType::BFloat16;
  if (!real || (dtype != DType::UInt8 && dtype != DType::Int8)) {
    throw TypeError(cat("expected uint8 or int8 results of float32 or bfloat16, got ",
                        dtype_name(dtype), " of ", dtype_name(meta.dtype)));
  }
  meta.dtype = dtype;
  return meta;
}

Value quantized(const Args& args, size_t tail, const Value& real) {
  const OpDef& op = op_table().get("quantized_decomposed.quantize_per_tensor.default");
  const std::vector<Value> values = {real,
                                     args.value(tail),
                                     args.value(tail + 1),
                                     args.value(tail + 2),
                                     args.value(tail + 3),
                                     args.dtype(tail + 4, DType::UInt8)};
  return op.reference(Args(op, values));
}

Value infer_norm(const Args& args) {
  const OpDef& op = op_table().get(kNorm);
  std::vector<Value> values;
  const Value real = op.infer(float_args(args, op, kQNormTail, &values));
  return Value::List{real, codes_of(args, kQNormTail, real)};
}

Value norm(const Args& args) {
  const OpDef& op = op_table().get(kNorm);
  std::vector<Value> values;
  const Value real = op.reference(float_args(args, op, kQNormTail, &values));
  return Value::List{real, quantized(args, kQNormTail, real)};
}

Value infer_attention(const Args& args) {
  const OpDef& op = op_table().get(kAttention);
  std::vector<Value> values;
  return codes_of(args, kQAttentionTail, op.infer(float_args(args, op, kQAttentionTail, &values)));
}

Value quantized_attention(const Args& args) {
  const OpDef& op = op_table().get(kAttention);
  std::vector<Value> values;
  return quantized(args, kQAttentionTail,
                   op.reference(float_args(args, op, kQAttentionTail, &values)));
}

}  // namespace

void register_lowered_rows(OpTable& t) {
  const std::string tail =
      "float out_scale=1.0, int out_zero_point=0, int out_min=0, int out_max=255, ScalarType "
      "out_dtype=uint8) -> ";
  define_lowered(t, "pt2q.qlayer_norm.default",
                 cat("(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, Tensor? "
                     "bias=None, float eps=1e-05, *, ",
                     tail, "(Tensor, Tensor)"),
                 infer_norm, norm);
  define_lowered(t, "pt2q.qattention.default",
                 cat("(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, float "
                     "dropout_p=0.0, bool is_causal=False, *, float? scale=None, bool "
                     "enable_gqa=False, ",
                     tail, "Tensor"),
                 infer_attention, quantized_attention);
}

}  // namespace pt2q
