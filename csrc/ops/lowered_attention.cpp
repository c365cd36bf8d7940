// Attention of quantized operands, which compile() makes of dequantize → product → softmax →
// quantize → dequantize → product.
#include "base/strings.h"
#include "kernels/attention_int8.h"
#include "ops/support/lowered.h"
#include "ops/support/lowered_rows.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

enum Position : size_t { kQuery, kKey, kValue, kMask };

// As of the float operator.
TensorMeta float_result(const Args& args) {
  const OpDef& op = op_table().get("aten.scaled_dot_product_attention.default");
  std::vector<Value> values;
  for (const size_t i : {kQuery, kKey, kValue}) {
    TensorMeta meta = args.meta(i);
    if (meta.dtype != DType::UInt8) {
      throw TypeError(cat("expected uint8 operands, got ", dtype_name(meta.dtype)));
    }
    meta.dtype = DType::Float32;
    values.push_back(meta);
  }
  for (const Value& v : {args.value(kMask), Value(0.0), Value(false), Value(), Value(false)})
    values.push_back(v);
  return op.infer(Args(op, values)).as<TensorMeta>();
}

Value infer(const Args& args) {
  TensorMeta meta = float_result(args);
  meta.dtype = args.dtype(kInt8AttentionTail + 4, DType::Float32);
  if (meta.dtype != DType::Float32 && meta.dtype != DType::UInt8 && meta.dtype != DType::Int8) {
    throw TypeError(cat("expected float32, uint8 or int8 results, got ", dtype_name(meta.dtype)));
  }
  return meta;
}

// Heads as they come: all batch dimensions in one.
Tensor flat(const Tensor& t) {
  const Shape& sizes = t.sizes();
  return t.contiguous().reshape({-1, sizes[sizes.size() - 2], sizes.back()});
}

template <typename Out>
void run(const AttentionShape& shape, const kernels::AttentionQuant& quant, const Tensor& q,
         const Tensor& k, const Tensor& v, const AttentionMask& mask, const QuantParams& to,
         Tensor* out) {
  kernels::attention_int8_reference(shape, quant, q.data<uint8_t>(), k.data<uint8_t>(),
                                    v.data<uint8_t>(), mask, out->mutable_data<Out>(), to);
}

Value integer_attention(const Args& args) {
  const TensorMeta meta = infer(args).as<TensorMeta>();
  const Tensor q = flat(args.tensor(kQuery)), k = flat(args.tensor(kKey));
  const Tensor v = flat(args.tensor(kValue));
  Tensor out = Tensor::empty(hints(meta.sizes), meta.dtype);
  if (out.numel() == 0) return out;
  std::vector<Value> values;
  for (size_t i = 0; i < args.size(); ++i) values.push_back(args.value(i));
  AttentionShape s;
  s.batch = q.size(0);
  s.length = q.size(1);
  s.source = k.size(1);
  s.depth = q.size(2);
  s.value_depth = v.size(2);
  s.scale = static_cast<float>(args.number(kInt8AttentionScale));
  s.q[0] = s.length * (s.q[2] = s.depth);
  s.k[0] = s.source * (s.k[2] = s.depth);
  s.v[0] = s.source * (s.v[2] = s.value_depth);
  s.out[0] = s.length * (s.out[2] = s.value_depth);
  AttentionMask mask;
  Tensor added;
  if (!args.is_none(kMask)) {
    Shape scores = hints(meta.sizes);
    scores.back() = s.source;
    added = args.tensor(kMask).expand(scores).contiguous();
    mask.added = added.data<float>();
    s.mask[0] = s.length * (s.mask[2] = s.source);
    s.mask[3] = 1;
  }
  const kernels::AttentionQuant quant = int8_attention_quant(values);
  const QuantParams to = int8_attention_result(values);
  if (meta.dtype == DType::UInt8) run<uint8_t>(s, quant, q, k, v, mask, to, &out);
  if (meta.dtype == DType::Int8) run<int8_t>(s, quant, q, k, v, mask, to, &out);
  if (meta.dtype == DType::Float32) run<float>(s, quant, q, k, v, mask, to, &out);
  return out;
}

QuantParams params(const std::vector<Value>& args, size_t at, size_t bounds) {
  QuantParams p;
  p.scale = args[at].to_double();
  p.zero_point = static_cast<int32_t>(args[at + 1].to_int());
  if (bounds != 0) {
    p.quant_min = static_cast<int32_t>(args[bounds].to_int());
    p.quant_max = static_cast<int32_t>(args[bounds + 1].to_int());
  }
  return p;
}

}  // namespace

namespace ops {

kernels::AttentionQuant int8_attention_quant(const std::vector<Value>& args) {
  constexpr size_t kFirst = kInt8AttentionScale + 1;
  return {params(args, kFirst, 0), params(args, kFirst + 2, 0), params(args, kFirst + 4, 0),
          params(args, kFirst + 6, kFirst + 8)};
}

QuantParams int8_attention_result(const std::vector<Value>& args) {
  return params(args, kInt8AttentionTail, kInt8AttentionTail + 2);
}

}  // namespace ops

void register_lowered_attention(OpTable& t) {
  define_lowered(t, "pt2q.attention_int8.default",
                 "(Tensor query, Tensor key, Tensor value, Tensor? attn_mask, float scale, float "
                 "q_scale, int q_zero_point, float k_scale, int k_zero_point, float v_scale, int "
                 "v_zero_point, float p_scale, int p_zero_point, int p_min, int p_max, *, float "
                 "out_scale=1.0, int out_zero_point=0, int out_min=0, int out_max=255, ScalarType? "
                 "out_dtype=None) -> Tensor",
                 infer, integer_attention);
}

}  // namespace pt2q
