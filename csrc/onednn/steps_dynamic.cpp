// Quantization with parameters chosen at run time: range, parameters and codes in one step.
#include "base/parallel.h"
#include "base/strings.h"
#include "kernels/observe.h"
#include "kernels/quantize.h"
#include "kernels/quantize_rows.h"
#include "onednn/kernel_step.h"
#include "onednn/step_makers.h"
#include "ops/support/lowered_dynamic.h"
#include "tensor/qparams.h"

namespace pt2q {
namespace {

using ops::DynamicRule;

struct DynamicQuant {
  DynamicRule rule = DynamicRule::Tensor;
  QParamsRule params;
  bool is_signed = false;  // int8 codes, stored plus 128
  int64_t rows = 1, length = 1;

  int32_t shift() const { return is_signed ? 128 : 0; }
};

void flip(uint8_t* q, int64_t n) {
  parallel_for(n, 1 << 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) q[i] = static_cast<uint8_t>(q[i] ^ 0x80);
  });
}

void quantize_tensor(const DynamicQuant& d, const float* x, uint8_t* q, float* scale,
                     int32_t* zero) {
  const int64_t n = d.rows * d.length;
  const MinMax range = min_max(x, n);
  const ScaleZeroPoint chosen =
      determine_qparams(static_cast<double>(range.min), static_cast<double>(range.max), d.params);
  const QuantParams params{chosen.scale, static_cast<int32_t>(chosen.zero_point),
                           static_cast<int32_t>(d.params.range.min),
                           static_cast<int32_t>(d.params.range.max)};
  if (d.is_signed) {
    quantize(x, n, params, reinterpret_cast<int8_t*>(q));
    flip(q, n);
  } else {
    quantize(x, n, params, q);
  }
  scale[0] = static_cast<float>(chosen.scale);
  zero[0] = params.zero_point + d.shift();
}

void quantize_tokens(const DynamicQuant& d, const float* x, uint8_t* q, float* scale,
                     int32_t* zero) {
  RowQuantParams row;
  row.quant_min = static_cast<double>(d.params.range.min);
  row.quant_max = static_cast<double>(d.params.range.max);
  row.single = d.rule == DynamicRule::TokenSymmetric;
  row.shift = d.shift();
  parallel_for(d.rows, (1 << 15) / d.length + 1, [&](int64_t begin, int64_t end) {
    RowQuantParams p = row;
    for (int64_t i = begin; i < end; ++i) {
      const float* from = x + i * d.length;
      const MinMax range = min_max(from, d.length);
      const auto low = static_cast<double>(range.min), high = static_cast<double>(range.max);
      const ScaleZeroPoint chosen = row.single ? ScaleZeroPoint{symmetric_token_scale(low, high), 0}
                                               : token_qparams(low, high);
      p.scale = chosen.scale;
      p.zero_point = chosen.zero_point;
      quantize_row(from, d.length, p, q + i * d.length);
      const ops::StoredRow stored = ops::stored_row(chosen.scale, chosen.zero_point, d.shift());
      scale[i] = stored.scale;
      zero[i] = stored.zero_point;
    }
  });
}

bool make_quantize(PlanBuilder& builder, const Node& node, std::string*) {
  int x = builder.tensor_arg(node, 0);
  if (x < 0 || builder.value(x).dtype != DType::Float32) return false;
  x = builder.as_contiguous(x);
  const std::vector<Value> args = builder.plain_args(node);
  const PlanValue v = builder.value(x);
  DynamicQuant d;
  d.rule = ops::read_dynamic_rule(args[5].as<std::string>());
  d.params.dtype = args[4].as<DType>();
  d.params.qscheme = d.rule == DynamicRule::TensorSymmetric ? QScheme::PerTensorSymmetric
                                                            : QScheme::PerTensorAffine;
  d.params.range = {args[1].to_int(), args[2].to_int()};
  d.params.eps = args[3].to_double();
  d.is_signed = d.params.dtype == DType::Int8;
  const bool tokens = ops::per_token(d.rule);
  d.length = tokens ? v.sizes.back() : numel_of(v.sizes);
  d.rows = numel_of(v.sizes) / d.length;
  Shape sizes{1};
  if (tokens) {
    sizes = v.sizes;
    sizes.back() = 1;
  }
  const Shape flat = contiguous_strides(sizes);
  const int q = builder.new_value(v.sizes, contiguous_strides(v.sizes), DType::UInt8);
  const int scale = builder.new_value(sizes, flat, DType::Float32);
  const int zero = builder.new_value(sizes, flat, DType::Int32);
  auto step = std::make_unique<KernelStep>([=](RunContext& ctx) {
    (tokens ? quantize_tokens : quantize_tensor)(d, ctx.data<const float>(x), ctx.data<uint8_t>(q),
                                                 ctx.data<float>(scale), ctx.data<int32_t>(zero));
  });
  step->info = builder.describe(
      node,
      tokens ? "pt2q quantize per token, range at run time" : "pt2q quantize, range at run time",
      q);
  step->info.note = "exact";
  builder.add(std::move(step), {x}, {q, scale, zero});
  builder.bind_list(node, {q, scale, zero});
  return true;
}

// What no int8 layer takes. Rows are dequantized as uint8 with their own parameters.
bool make_dequantize(PlanBuilder& builder, const Node& node, std::string*) {
  int q = builder.tensor_arg(node, 0);
  const int scale = builder.tensor_arg(node, 1), zero = builder.tensor_arg(node, 2);
  if (q < 0 || scale < 0 || zero < 0 || builder.value(q).dtype != DType::UInt8) return false;
  q = builder.as_contiguous(q);
  const Shape sizes = builder.value(q).sizes;
  const int64_t rows = numel_of(builder.value(scale).sizes), n = numel_of(sizes) / rows;
  const int out = builder.new_value(sizes, contiguous_strides(sizes), DType::Float32);
  auto step = std::make_unique<KernelStep>([=](RunContext& ctx) {
    for (int64_t i = 0; i < rows; ++i) {
      const QuantParams params{static_cast<double>(ctx.data<const float>(scale)[i]),
                               ctx.data<const int32_t>(zero)[i], 0, 255};
      dequantize(ctx.data<const uint8_t>(q) + i * n, n, params, ctx.data<float>(out) + i * n);
    }
  });
  step->info = builder.describe(node, "pt2q dequantize", out);
  builder.add(std::move(step), {q, scale, zero}, {out});
  builder.bind(node, out);
  return true;
}

}  // namespace

void add_dynamic_steps(StepMakerMap& makers) {
  makers["pt2q.quantize_dynamic.default"] = make_quantize;
  makers["pt2q.dequantize_dynamic.default"] = make_dequantize;
}

}  // namespace pt2q
