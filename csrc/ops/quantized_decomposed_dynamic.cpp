// quantized_decomposed operators that choose their parameters from data, and those with one scale
// per token or per group (SPEC section 3). Schemas are PyTorch's.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/op.h"
#include "tensor/affine.h"
#include "tensor/qparams.h"
#include "tensor/strided.h"

namespace pt2q {
namespace {

TensorMeta with_dtype(const TensorMeta& like, DType dtype) {
  return TensorMeta{like.sizes, dtype, like.device};
}

// --- choosing parameters from data
// -----------------------------------------------------------------

void check_choose_arguments(DType input, DType dtype) {
  if (input != DType::Float32 && input != DType::Float16 && input != DType::BFloat16) {
    throw AssertionError(cat("Expecting input to have dtype torch.float32/16/b16, but got dtype: ",
                             torch_name(input)));
  }
  if (!is_quantized_storage(dtype)) {
    throw AssertionError(
        cat("Expecting target dtype to be one of dict_keys([torch.uint8, torch.int8, torch.uint16, "
            "torch.int16, torch.int32, torch.float8_e5m2, torch.float8_e4m3fn]), but got: ",
            torch_name(dtype)));
  }
}

struct Extremes {
  double min;
  double max;
};

// Extremes of n values `stride` elements apart; both are NaN when one value is.
template <typename T>
Extremes extremes(const T* p, int64_t n) {
  Extremes e{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  for (int64_t i = 0; i < n; ++i) {
    const auto v = convert_element<double>(p[i]);
    if (std::isnan(v)) return {v, v};
    e.min = std::min(e.min, v);
    e.max = std::max(e.max, v);
  }
  return e;
}

Value infer_choose_qparams(const Args& args) {
  check_choose_arguments(args.meta(0).dtype, args.dtype(4, DType::UInt8));
  if (args.integer(1) >= args.integer(2)) {
    throw AssertionError(cat("Expecting quant_min to be smaller than quant_max but received min: ",
                             args.integer(1), " max: ", args.integer(2)));
  }
  const Device device = args.meta(0).device;
  return Value::List{TensorMeta{{1}, DType::Float64, device},
                     TensorMeta{{1}, DType::Int64, device}};
}

KernelFn choose_qparams_op(QScheme scheme) {
  return [scheme](const Args& args) -> Value {
    const Tensor& x = args.tensor(0);
    const DType dtype = args.dtype(4, DType::UInt8);
    check_choose_arguments(x.dtype(), dtype);
    const QuantRange range{args.integer(1), args.integer(2)};
    validate_quant_range(range.min, range.max);
    if (x.numel() == 0) {
      throw RuntimeError(
          "aminmax(): cannot compute aminmax over an empty dimension as the operation has no "
          "identity.");
    }
    const Tensor in = densely_packed(x);
    const Extremes e = visit_dtype(in.dtype(), [&](auto tag) {
      using T = decltype(tag);
      return extremes(static_cast<const T*>(in.raw_data()), in.numel());
    });
    const QParamsRule rule{dtype, scheme, range, args.number(3), false};
    ScaleZeroPoint q = determine_qparams(e.min, e.max, rule, x.dtype());
    // determine_qparams knows no rule for uint16 in PyTorch, unlike the observers.
    if (dtype == DType::UInt16 && is_symmetric(scheme)) q.zero_point = 0.0;
    return Value::List{Tensor::full({1}, q.scale, DType::Float64),
                       Tensor::full({1}, q.zero_point, DType::Int64)};
  };
}

SymShape per_token_sizes(SymShape sizes) {
  if (sizes.empty()) throw ValueError("per-token quantization needs at least one dimension");
  sizes.back() = 1;
  return sizes;
}

DType per_token_dtype(DType input) { return input == DType::Float16 ? DType::Float32 : input; }

void check_per_token_dtypes(DType input, DType dtype) {
  if (dtype != DType::Int8) {
    throw ValueError(cat("unsupported dtype in choose_qparams_per_token: ", torch_name(dtype)),
                     "use torch.int8");
  }
  if (!is_floating_point(input)) {
    throw AssertionError(cat("Expecting a floating point input, but got ", torch_name(input)));
  }
}

// Calls fn(row, extremes) for every row of the last dimension.
template <typename Fn>
void for_each_token(const Tensor& x, Fn&& fn) {
  const Tensor in = x.contiguous();
  const int64_t length = in.size(-1);
  if (length == 0) throw IndexError("amax(): Expected reduction dim -1 to have non-zero size.");
  visit_dtype(in.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const auto* p = static_cast<const T*>(in.raw_data());
    for (int64_t row = 0; row < in.numel() / length; ++row) {
      fn(row, extremes(p + row * length, length));
    }
  });
}

Shape token_shape(const Tensor& x) { return hints(per_token_sizes(to_sym(x.sizes()))); }

Value choose_qparams_per_token_op(const Args& args) {
  const Tensor& x = args.tensor(0);
  check_per_token_dtypes(x.dtype(), args.dtype(1, DType::Int8));
  const DType dtype = per_token_dtype(x.dtype());
  Tensor scales = Tensor::empty(token_shape(x), DType::Float64);
  double* out = scales.mutable_data<double>();
  for_each_token(
      x, [&](int64_t row, Extremes e) { out[row] = symmetric_token_scale(e.min, e.max, dtype); });
  return Value::List{scales.to(dtype), Tensor::zeros(scales.sizes(), dtype)};
}

Value infer_per_token(const Args& args) {
  check_per_token_dtypes(args.meta(0).dtype, args.dtype(1, DType::Int8));
  const DType dtype = per_token_dtype(args.meta(0).dtype);
  const TensorMeta meta{per_token_sizes(args.meta(0).sizes), dtype, args.meta(0).device};
  return Value::List{meta, meta};
}

Value infer_per_token_asymmetric(const Args& args) {
  const SymShape sizes = per_token_sizes(args.meta(0).sizes);
  return Value::List{TensorMeta{sizes, DType::Float64, args.meta(0).device},
                     TensorMeta{sizes, DType::Int64, args.meta(0).device}};
}

Value choose_qparams_per_token_asymmetric_op(const Args& args) {
  const Tensor& x = args.tensor(0);
  if (!is_floating_point(x.dtype())) {
    throw AssertionError(cat("Expecting a floating point input, but got ", torch_name(x.dtype())));
  }
  Tensor scales = Tensor::empty(token_shape(x), DType::Float64);
  Tensor zero_points = Tensor::empty(scales.sizes(), DType::Float64);
  for_each_token(x, [&](int64_t row, Extremes e) {
    const ScaleZeroPoint q = token_qparams(e.min, e.max, x.dtype());
    scales.mutable_data<double>()[row] = q.scale;
    zero_points.mutable_data<double>()[row] = q.zero_point;
  });
  return Value::List{scales, zero_points.to(DType::Int64)};
}

void register_choose_qparams(OpTable& table) {
  const std::string schema =
      "(Tensor input, int quant_min, int quant_max, float eps, ScalarType dtype) -> (Tensor, "
      "Tensor)";
  OpDef& affine = table.define("quantized_decomposed.choose_qparams.tensor", schema);
  affine.infer = infer_choose_qparams;
  affine.reference = choose_qparams_op(QScheme::PerTensorAffine);
  OpDef& symmetric = table.define("quantized_decomposed.choose_qparams_symmetric.tensor", schema);
  symmetric.infer = infer_choose_qparams;
  symmetric.reference = choose_qparams_op(QScheme::PerTensorSymmetric);

  const std::string per_token = "(Tensor input, ScalarType dtype) -> (Tensor, Tensor)";
  OpDef& token = table.define("quantized_decomposed.choose_qparams_per_token.default", per_token);
  token.infer = infer_per_token;
  token.reference = choose_qparams_per_token_op;
  OpDef& asymmetric =
      table.define("quantized_decomposed.choose_qparams_per_token_asymmetric.default", per_token);
  asymmetric.infer = infer_per_token_asymmetric;
  asymmetric.reference = choose_qparams_per_token_asymmetric_op;
  table.define_alias("quantized_decomposed._choose_qparams_per_token_asymmetric_impl.default",
                     "quantized_decomposed.choose_qparams_per_token_asymmetric.default");
}

// --- per token
// -------------------------------------------------------------------------------------

const char* const kRowsSchema =
    "(Tensor input, Tensor scales, Tensor zero_points, int quant_min, int quant_max, "
    "ScalarType dtype";

void check_token_counts(const Tensor& x, const Tensor& scales, const Tensor& zero_points) {
  const int64_t tokens = numel_of(x.sizes()) == 0 ? 0 : x.numel() / x.size(-1);
  const auto size_text = [](const Tensor& t) {
    return cat("torch.Size(", list_to_string(t.sizes()), ")");
  };
  if (tokens != scales.numel()) {
    throw AssertionError(cat("num_tokens: ", tokens, " scales: ", size_text(scales)));
  }
  if (tokens != zero_points.numel()) {
    throw AssertionError(cat("num_tokens: ", tokens, " zero_points: ", size_text(zero_points)));
  }
}

Value quantize_per_token_op(const Args& args) {
  const Tensor& x = args.tensor(0);
  const DType dtype = args.dtype(5, DType::Int8);
  const QuantRange range{args.integer(3), args.integer(4)};
  check_quant_range(range.min, range.max, dtype);
  check_token_counts(x, args.tensor(1), args.tensor(2));
  return quantize_rows(x, args.tensor(1), args.tensor(2), x.size(-1), range, dtype);
}

Value dequantize_per_token_op(const Args& args) {
  const Tensor& q = args.tensor(0);
  return dequantize_rows(q, args.tensor(1), args.tensor(2), q.size(-1),
                         args.dtype(6, DType::Float32));
}

void register_per_token(OpTable& table) {
  OpDef& q = table.define("quantized_decomposed.quantize_per_token.default",
                          cat(kRowsSchema, ") -> Tensor"));
  q.infer = [](const Args& args) -> Value {
    const DType dtype = args.dtype(5, DType::Int8);
    check_quant_range(args.integer(3), args.integer(4), dtype);
    return with_dtype(args.meta(0), dtype);
  };
  q.reference = quantize_per_token_op;
  OpDef& dq = table.define("quantized_decomposed.dequantize_per_token.default",
                           cat(kRowsSchema, ", ScalarType output_dtype) -> Tensor"));
  dq.infer = [](const Args& args) -> Value {
    check_quant_range(args.integer(3), args.integer(4), args.dtype(5, DType::Int8));
    return with_dtype(args.meta(0), args.dtype(6, DType::Float32));
  };
  dq.reference = dequantize_per_token_op;
}

// --- per group of a row
// ----------------------------------------------------------------------------

// The group length to use for rows of `columns`; throws AssertionError with PyTorch's texts.
int64_t checked_group_size(int64_t group_size, size_t ndim, int64_t columns,
                           const SymShape& scale_sizes, const char* input) {
  if (group_size <= 1) throw AssertionError("group_size must be > 1");
  const bool one_scale = !scale_sizes.empty() && scale_sizes.back().hint() == 1;
  if (group_size > columns && one_scale) group_size = columns;  // GPTQ quantizes single columns
  if (group_size == 0 || columns % group_size != 0) {
    throw AssertionError(cat(input, ".shape[-1] must be divisible by group_size"));
  }
  if (ndim != 2) throw AssertionError(cat(input, " must be 2-dimensional"));
  return group_size;
}

int64_t group_size_of(const Args& args, size_t position, const char* input) {
  const Tensor& x = args.tensor(0);
  return checked_group_size(args.integer(position), x.sizes().size(), x.size(-1),
                            to_sym(args.tensor(1).sizes()), input);
}

void check_group_meta(const Args& args, const char* input) {
  const SymShape& sizes = args.meta(0).sizes;
  if (sizes.empty()) throw AssertionError(cat(input, " must be 2-dimensional"));
  checked_group_size(args.integer(6), sizes.size(), sizes.back().hint(), args.meta(1).sizes, input);
}

Value quantize_per_channel_group_op(const Args& args) {
  const Tensor& x = args.tensor(0);
  const int64_t group_size = group_size_of(args, 6, "input");
  for_each_token(x, [](int64_t, Extremes e) {
    if (std::isnan(e.min)) throw AssertionError("to_quant must not contain NaNs");
  });
  return quantize_rows(x, args.tensor(1), args.tensor(2), group_size,
                       {args.integer(3), args.integer(4)}, args.dtype(5, DType::Int8));
}

Value dequantize_per_channel_group_op(const Args& args) {
  return dequantize_rows(args.tensor(0), args.tensor(1), args.optional_tensor(2),
                         group_size_of(args, 6, "w_int8"), args.dtype(7, DType::Float32));
}

void register_per_group(OpTable& table) {
  OpDef& q = table.define("quantized_decomposed.quantize_per_channel_group.default",
                          cat(kRowsSchema, ", int group_size) -> Tensor"));
  q.infer = [](const Args& args) -> Value {
    check_group_meta(args, "input");
    return with_dtype(args.meta(0), args.dtype(5, DType::Int8));
  };
  q.reference = quantize_per_channel_group_op;
  OpDef& dq = table.define(
      "quantized_decomposed.dequantize_per_channel_group.default",
      "(Tensor input, Tensor scales, Tensor? zero_points, int quant_min, int quant_max, "
      "ScalarType dtype, int group_size, ScalarType output_dtype) -> Tensor");
  dq.infer = [](const Args& args) -> Value {
    check_group_meta(args, "w_int8");
    return with_dtype(args.meta(0), args.dtype(7, DType::Float32));
  };
  dq.reference = dequantize_per_channel_group_op;
}

}  // namespace

void register_quantized_decomposed_dynamic(OpTable& table);
void register_quantized_decomposed_dynamic(OpTable& table) {
  register_choose_qparams(table);
  register_per_token(table);
  register_per_group(table);
}

}  // namespace pt2q
