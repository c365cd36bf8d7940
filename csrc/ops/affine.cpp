// torchao.*_affine: quantization per block, which affine observers convert to (SPEC section 3).
// Schemas are torchao's; the arithmetic is in tensor/affine_blocks.h.
#include "tensor/affine.h"

#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/op.h"
#include "tensor/affine_blocks.h"

namespace pt2q {
namespace {

std::optional<double> optional_number(const Args& args, size_t i) {
  return args.is_none(i) ? std::nullopt : std::optional<double>(args.number(i));
}

AffineRange range_at(const Args& args, size_t i, DType dtype) {
  return affine_range(dtype, optional_number(args, i), optional_number(args, i + 1));
}

void check_rank(size_t rank, const std::vector<int64_t>& block_size) {
  if (rank == block_size.size()) return;
  throw AssertionError(cat("Got input dim:", rank, ", block_size: ", tuple_text(block_size)));
}

// --- choose_qparams_affine -----------------------------------------------------------------------

struct ChosenDTypes {
  DType scale;
  DType zero_point;
};

ChosenDTypes chosen_dtypes(const Args& args, DType input) {
  const bool symmetric = parse_mapping_type(args.string(1)) != MappingType::Asymmetric;
  return {args.dtype(7, input), args.dtype(8, symmetric ? input : DType::Int32)};
}

Value infer_choose(const Args& args) {
  const TensorMeta& x = args.meta(0);
  const std::vector<int64_t> block_size = args.integers(2);
  range_at(args, 4, args.dtype(3, DType::Int8));
  check_rank(x.sizes.size(), block_size);
  const bool keepdim = args.boolean(9);
  SymShape sizes;
  for (size_t i = 0; i < block_size.size(); ++i) {
    const bool whole = x.sizes[i] == SymInt(block_size[i]) && block_size[i] != 1;
    if (whole && !keepdim) continue;
    sizes.push_back(whole ? SymInt(1) : floordiv(x.sizes[i], SymInt(block_size[i])));
  }
  const ChosenDTypes dtypes = chosen_dtypes(args, x.dtype);
  return Value::List{TensorMeta{sizes, dtypes.scale, x.device},
                     TensorMeta{sizes, dtypes.zero_point, x.device}};
}

Value choose_op(const Args& args) {
  const Tensor& x = args.tensor(0);
  AffineRule rule;
  rule.mapping = parse_mapping_type(args.string(1));
  rule.range = range_at(args, 4, args.dtype(3, DType::Int8));
  rule.eps = args.is_none(6) ? float_smallest_normal(x.dtype()) : args.number(6);
  const ChosenDTypes dtypes = chosen_dtypes(args, x.dtype());
  rule.scale_dtype = dtypes.scale;
  rule.zero_point_dtype = dtypes.zero_point;
  const BlockGrid grid(x.sizes(), args.integers(2));
  Tensor min;
  Tensor max;
  block_ranges(x, grid, &min, &max);
  AffineParams params = choose_affine_params(min, max, rule);
  if (args.boolean(9)) {
    params.scale = params.scale.reshape(grid.counts);
    params.zero_point = params.zero_point.reshape(grid.counts);
  }
  return Value::List{params.scale, params.zero_point};
}

// --- quantize_affine, dequantize_affine ----------------------------------------------------------

Value infer_quantize(const Args& args) {
  const DType dtype = args.dtype(4, DType::Int8);
  range_at(args, 5, dtype);
  check_rank(args.meta(0).sizes.size(), args.integers(1));
  return TensorMeta{args.meta(0).sizes, dtype, args.meta(0).device};
}

Value quantize_op(const Args& args) {
  const DType dtype = args.dtype(4, DType::Int8);
  const AffineRange range = range_at(args, 5, dtype);
  const Tensor zero_point = args.optional_tensor(3);
  if (!zero_point.defined()) {
    throw TypeError("unsupported operand type(s) for +: 'Tensor' and 'NoneType'",
                    "quantize_affine needs a zero_point; give a tensor of zeros");
  }
  return quantize_blocks(args.tensor(0), args.integers(1), args.tensor(2), zero_point, range,
                         dtype);
}

void check_dequantize(const Args& args, DType input) {
  const DType dtype = args.dtype(4, DType::Int8);
  if (input != dtype) {
    throw AssertionError(cat("Expected: ", torch_name(dtype), ", got: ", torch_name(input)));
  }
  range_at(args, 5, dtype);
}

Value infer_dequantize(const Args& args) {
  check_dequantize(args, args.meta(0).dtype);
  check_rank(args.meta(0).sizes.size(), args.integers(1));
  return TensorMeta{args.meta(0).sizes, args.dtype(7, DType::Float32), args.meta(0).device};
}

Value dequantize_op(const Args& args) {
  check_dequantize(args, args.tensor(0).dtype());
  return dequantize_blocks(args.tensor(0), args.integers(1), args.tensor(2),
                           args.optional_tensor(3), args.dtype(7, DType::Float32));
}

// --- reference_dqlinear_int4 ---------------------------------------------------------------------

SymShape last_replaced(SymShape sizes, const SymInt& last) {
  if (sizes.empty()) throw ValueError("a linear needs an input of at least one dimension");
  sizes.back() = last;
  return sizes;
}

Value infer_dqlinear(const Args& args) {
  const TensorMeta& x = args.meta(0);
  return TensorMeta{last_replaced(x.sizes, args.meta(2).sizes.at(0)), DType::Float32, x.device};
}

struct Int4Weight {
  Tensor values;  // int8 [out, in]
  Tensor scales;  // float32 [out, groups], rounded to bfloat16
  int64_t group = 0;
};

// One row of activations: x8 in `group`-long pieces, each product scaled by its weight scale.
void dqlinear_row(const int8_t* x, float scale, int32_t zero_point, const Int4Weight& w,
                  const float* bias, float* out) {
  const int64_t outputs = w.values.size(0);
  const int64_t columns = w.values.size(1);
  const int64_t groups = columns / w.group;
  for (int64_t o = 0; o < outputs; ++o) {
    const int8_t* row = w.values.data<int8_t>() + o * columns;
    float sum = 0.0F;
    for (int64_t g = 0; g < groups; ++g) {
      int32_t products = 0;
      int32_t weights = 0;
      for (int64_t k = g * w.group; k < (g + 1) * w.group; ++k) {
        products += int32_t{x[k]} * int32_t{row[k]};
        weights += row[k];
      }
      const float s = w.scales.data<float>()[o * groups + g];
      sum = sum + static_cast<float>(products) * s;
      sum = sum - static_cast<float>(weights) * static_cast<float>(zero_point) * s;
    }
    const float real = sum * scale;
    out[o] = bias == nullptr ? real : real + bias[o];
  }
}

Value dqlinear_op(const Args& args) {
  const Tensor x = args.tensor(0).contiguous();
  const std::vector<int64_t> block = args.integers(6);
  Int4Weight w;
  w.values = args.tensor(2).contiguous();
  w.scales = args.tensor(3).to(DType::BFloat16).to(DType::Float32).contiguous();
  w.group = block.empty() ? 0 : block.back();
  const int64_t columns = x.size(-1);
  if (w.values.dim() != 2 || w.values.size(1) != columns || w.group < 1 || columns % w.group != 0 ||
      w.scales.numel() != w.values.size(0) * (columns / w.group)) {
    throw ValueError(cat("weight ", describe(w.values), ", scales ", describe(w.scales),
                         " and groups of ", w.group, " do not fit an input ", describe(x)));
  }
  AffineRule rule;
  rule.range = {-128.0, 127.0};
  rule.eps = args.number(1);
  rule.zero_point_dtype = DType::Int32;
  Shape tokens(x.sizes().size(), 1);
  tokens.back() = columns;
  const BlockGrid grid(x.sizes(), tokens);
  Tensor min;
  Tensor max;
  block_ranges(x, grid, &min, &max);
  const AffineParams p = choose_affine_params(min, max, rule);
  const Tensor q = quantize_blocks(x, tokens, p.scale, p.zero_point, rule.range, DType::Int8);
  const Tensor bias = args.is_none(5) ? Tensor() : args.tensor(5).to(DType::Float32).contiguous();
  Shape sizes = x.sizes();
  sizes.back() = w.values.size(0);
  Tensor out = Tensor::empty(sizes);
  for (int64_t r = 0; r < grid.count(); ++r) {
    dqlinear_row(q.data<int8_t>() + r * columns, p.scale.data<float>()[r],
                 p.zero_point.data<int32_t>()[r], w, bias.defined() ? bias.data<float>() : nullptr,
                 out.mutable_data<float>() + r * sizes.back());
  }
  return out;
}

}  // namespace

void register_affine(OpTable& table);
void register_affine(OpTable& table) {
  OpDef& choose = table.define(
      "torchao.choose_qparams_affine.default",
      "(Tensor? input, str mapping_type, SymInt[] block_size, ScalarType target_dtype, Scalar? "
      "quant_min=None, Scalar? quant_max=None, float? eps=None, ScalarType? scale_dtype=None, "
      "ScalarType? zero_point_dtype=None, bool keepdim=False) -> (Tensor, Tensor)");
  choose.infer = infer_choose;
  choose.reference = choose_op;
  OpDef& q = table.define(
      "torchao.quantize_affine.default",
      "(Tensor input, SymInt[] block_size, Tensor scale, Tensor? zero_point, ScalarType "
      "output_dtype, Scalar? quant_min=None, Scalar? quant_max=None) -> Tensor");
  q.infer = infer_quantize;
  q.reference = quantize_op;
  OpDef& dq = table.define(
      "torchao.dequantize_affine.default",
      "(Tensor input, SymInt[] block_size, Tensor scale, Tensor? zero_point, ScalarType "
      "input_dtype, Scalar? quant_min=None, Scalar? quant_max=None, ScalarType "
      "output_dtype=float32) "
      "-> Tensor");
  dq.infer = infer_dequantize;
  dq.reference = dequantize_op;
  OpDef& linear =
      table.define("torchao.reference_dqlinear_int4.default",
                   "(Tensor x_fp32, float x_eps, Tensor weight_i4, Tensor weight_scale, Tensor "
                   "weight_zero_point, Tensor? bias_fp32, SymInt[] group_size) -> Tensor");
  linear.infer = infer_dqlinear;
  linear.reference = dqlinear_op;
}

}  // namespace pt2q
