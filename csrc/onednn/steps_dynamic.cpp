// Quantization with parameters chosen at run time: range, parameters and codes in one step.
#include <algorithm>
#include <vector>

#include "base/parallel.h"
#include "base/strings.h"
#include "kernels/elementwise.h"
#include "kernels/observe.h"
#include "kernels/quantize.h"
#include "kernels/quantize_rows.h"
#include "onednn/kernel_step.h"
#include "onednn/step_makers.h"
#include "onednn/steps_norm.h"
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

void quantize_tensor(const DynamicQuant& d, const MinMax& range, const float* x, uint8_t* q,
                     float* scale, int32_t* zero) {
  const int64_t n = d.rows * d.length;
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

// Rows [begin, end).
void quantize_tokens(const DynamicQuant& d, int64_t begin, int64_t end, const float* x, uint8_t* q,
                     float* scale, int32_t* zero) {
  RowQuantParams p;
  p.quant_min = static_cast<double>(d.params.range.min);
  p.quant_max = static_cast<double>(d.params.range.max);
  p.single = d.rule == DynamicRule::TokenSymmetric;
  p.shift = d.shift();
  for (int64_t i = begin; i < end; ++i) {
    const float* from = x + i * d.length;
    const MinMax range = min_max(from, d.length);
    const auto low = static_cast<double>(range.min), high = static_cast<double>(range.max);
    const ScaleZeroPoint chosen =
        p.single ? ScaleZeroPoint{symmetric_token_scale(low, high), 0} : token_qparams(low, high);
    p.scale = chosen.scale;
    p.zero_point = chosen.zero_point;
    quantize_row(from, d.length, p, q + i * d.length);
    const ops::StoredRow stored = ops::stored_row(chosen.scale, chosen.zero_point, d.shift());
    scale[i] = stored.scale;
    zero[i] = stored.zero_point;
  }
}

void quantize_all(const DynamicQuant& d, const float* x, uint8_t* q, float* scale, int32_t* zero) {
  if (!ops::per_token(d.rule))
    return quantize_tensor(d, min_max(x, d.rows * d.length), x, q, scale, zero);
  parallel_for(d.rows, (1 << 15) / d.length + 1, [&](int64_t begin, int64_t end) {
    quantize_tokens(d, begin, end, x, q, scale, zero);
  });
}

MinMax merged(const MinMax& a, const MinMax& b) {
  if (a.has_nan || b.has_nan) return a.has_nan ? a : b;
  return {std::min(a.min, b.min), std::max(a.max, b.max), false, a.has_inf || b.has_inf};
}

// Layer norm whose rows are looked at and, per token, quantized while they are in cache.
void normalize_and_quantize(const DynamicQuant& d, const LayerNorm& norm, RunContext& ctx, float* y,
                            uint8_t* q, float* scale, int32_t* zero) {
  constexpr int64_t kRows = 8;
  const int64_t n = norm.n, blocks = (norm.rows + kRows - 1) / kRows;
  const float* const x = ctx.data<const float>(norm.x);
  const float* const weight = norm.parameter(ctx, norm.weight);
  const float* const bias = norm.parameter(ctx, norm.bias);
  const bool tokens = ops::per_token(d.rule);
  std::vector<MinMax> ranges(tokens ? 0 : static_cast<size_t>(blocks));
  parallel_for(blocks, (1 << 13) / (kRows * n) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i * kRows, count = std::min(kRows, norm.rows - first);
      layer_norm_rows(x + first * n, count, n, weight, bias, norm.eps, y + first * n);
      if (tokens) {
        quantize_tokens(d, first, first + count, y, q, scale, zero);
      } else {
        ranges[static_cast<size_t>(i)] = min_max(y + first * n, count * n);
      }
    }
  });
  if (tokens) return;
  MinMax range;
  for (const MinMax& r : ranges) range = merged(range, r);
  quantize_tensor(d, range, y, q, scale, zero);
}

// The arguments behind the tensor, from `first` on.
DynamicQuant read_quantize_arguments(const std::vector<Value>& args, size_t first,
                                     const Shape& sizes) {
  DynamicQuant d;
  d.rule = ops::read_dynamic_rule(args[first + 4].as<std::string>());
  d.params.dtype = args[first + 3].as<DType>();
  d.params.qscheme = d.rule == DynamicRule::TensorSymmetric ? QScheme::PerTensorSymmetric
                                                            : QScheme::PerTensorAffine;
  d.params.range = {args[first].to_int(), args[first + 1].to_int()};
  d.params.eps = args[first + 2].to_double();
  d.is_signed = d.params.dtype == DType::Int8;
  d.length = ops::per_token(d.rule) ? sizes.back() : numel_of(sizes);
  d.rows = numel_of(sizes) / d.length;
  return d;
}

// Codes, scales and zero points.
struct Results {
  int q, scale, zero;

  Results(PlanBuilder& builder, const DynamicQuant& d, const Shape& sizes) {
    Shape few{1};
    if (ops::per_token(d.rule)) {
      few = sizes;
      few.back() = 1;
    }
    q = builder.new_value(sizes, contiguous_strides(sizes), DType::UInt8);
    scale = builder.new_value(few, contiguous_strides(few), DType::Float32);
    zero = builder.new_value(few, contiguous_strides(few), DType::Int32);
  }
};

bool make_layer_norm(PlanBuilder& builder, const Node& node, std::string*) {
  LayerNorm norm;
  if (!read_layer_norm(builder, node, &norm) || numel_of(norm.sizes) == 0) return false;
  const DynamicQuant d =
      read_quantize_arguments(builder.plain_args(node), ops::kDynamicNormTail, norm.sizes);
  const int real = builder.new_value(norm.sizes, contiguous_strides(norm.sizes), DType::Float32);
  const Results to(builder, d, norm.sizes);
  auto step = std::make_unique<KernelStep>([=](RunContext& ctx) {
    normalize_and_quantize(d, norm, ctx, ctx.data<float>(real), ctx.data<uint8_t>(to.q),
                           ctx.data<float>(to.scale), ctx.data<int32_t>(to.zero));
  });
  step->in_place_input = norm.x;
  step->info = builder.describe(node, "pt2q layer_norm, range at run time", to.q);
  step->info.dtype = "float32 -> float32, uint8";
  step->info.note = "exact";
  builder.add(std::move(step), norm.inputs, {real, to.q, to.scale, to.zero});
  builder.bind_list(node, {real, to.q, to.scale, to.zero});
  return true;
}

bool make_quantize(PlanBuilder& builder, const Node& node, std::string*) {
  int x = builder.tensor_arg(node, 0);
  if (x < 0 || builder.value(x).dtype != DType::Float32) return false;
  x = builder.as_contiguous(x);
  const PlanValue v = builder.value(x);
  const DynamicQuant d = read_quantize_arguments(builder.plain_args(node), 1, v.sizes);
  const bool tokens = ops::per_token(d.rule);
  const Results to(builder, d, v.sizes);
  auto step = std::make_unique<KernelStep>([=](RunContext& ctx) {
    quantize_all(d, ctx.data<const float>(x), ctx.data<uint8_t>(to.q), ctx.data<float>(to.scale),
                 ctx.data<int32_t>(to.zero));
  });
  step->info = builder.describe(
      node,
      tokens ? "pt2q quantize per token, range at run time" : "pt2q quantize, range at run time",
      to.q);
  step->info.note = "exact";
  builder.add(std::move(step), {x}, {to.q, to.scale, to.zero});
  builder.bind_list(node, {to.q, to.scale, to.zero});
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
  makers["pt2q.layer_norm_dynamic.default"] = make_layer_norm;
  makers["pt2q.dequantize_dynamic.default"] = make_dequantize;
}

}  // namespace pt2q
