#include "tensor/affine_blocks.h"

#include <cmath>

#include "base/strings.h"
#include "pt2q/error.h"
#include "tensor/affine.h"
#include "tensor/strided.h"

namespace pt2q {

std::string tuple_text(const Shape& values) {
  std::string text = list_to_string(values);  // "[4, 3]"
  text.front() = '(';
  text.back() = ')';
  if (values.size() == 1) text.insert(text.size() - 1, ",");
  return text;
}

// --- the grid ------------------------------------------------------------------------------------

BlockGrid::BlockGrid(const Shape& tensor_sizes, const Shape& block_size)
    : sizes(tensor_sizes), blocks(block_size) {
  if (blocks.size() != sizes.size()) {
    throw AssertionError(cat("Got input dim:", sizes.size(), ", block_size: ", tuple_text(blocks)));
  }
  for (size_t i = 0; i < sizes.size(); ++i) {
    const bool whole = blocks[i] == sizes[i] && blocks[i] != 1;
    if (!whole && (blocks[i] < 1 || sizes[i] % blocks[i] != 0)) {
      throw AssertionError(cat("Expecting input size at ", i, " dimension: ", sizes[i],
                               " to be divisible by block_size at ", i, " dimension: ", blocks[i]));
    }
    counts.push_back(whole ? 1 : sizes[i] / blocks[i]);
    if (!whole) reduced.push_back(counts.back());
  }
  run_blocks_ = find_run_blocks();
}

int64_t BlockGrid::count() const { return numel_of(counts); }

int64_t BlockGrid::run_length() const {
  int64_t run = 1;
  for (size_t i = sizes.size(); i-- > 0;) {
    run *= blocks[i];
    if (blocks[i] != sizes[i]) break;
  }
  return run;
}

std::vector<int64_t> BlockGrid::find_run_blocks() const {
  // Runs are addressed by the dimensions in front of the one a run ends in, and by the blocks of
  // that one.
  size_t last = sizes.size();
  while (last > 0 && blocks[last - 1] == sizes[last - 1]) --last;
  Shape steps(sizes.begin(), sizes.begin() + static_cast<std::ptrdiff_t>(last));
  Shape weight(last, 1);
  int64_t w = 1;
  for (size_t i = sizes.size(); i-- > 0;) {
    if (i < last) weight[i] = w;
    w *= counts[i];
  }
  if (last > 0) steps[last - 1] = counts[last - 1];
  std::vector<int64_t> ids(numel_of(sizes) == 0 ? 0 : static_cast<size_t>(numel_of(steps)));
  Shape at(last, 0);
  for (int64_t& id : ids) {
    id = 0;
    for (size_t i = 0; i < last; ++i) {
      id += weight[i] * (i + 1 == last ? at[i] : at[i] / blocks[i]);
    }
    for (size_t i = last; i-- > 0;) {
      if (++at[i] < steps[i]) break;
      at[i] = 0;
    }
  }
  return ids;
}

// --- quantize, dequantize ------------------------------------------------------------------------

namespace {

void check_float_input(DType dtype, const char* what) {
  if (dtype != DType::Float32 && dtype != DType::Float16 && dtype != DType::BFloat16) {
    throw AssertionError(cat("Unsupported ", what, " dtype: ", torch_name(dtype)));
  }
}

// The parameters of all blocks, with the dtype their arithmetic has.
class BlockParams {
 public:
  BlockParams(const BlockGrid& grid, const Tensor& scale, const Tensor& zero_point)
      : scale_dtype(scale.dtype()) {
    const auto check = [&](const Tensor& t, const char* what) {
      if (t.numel() == grid.count()) return;
      throw ValueError(
          cat("there are ", t.numel(), " ", what, "s for ", grid.count(), " blocks"),
          cat("blocks are ", tuple_text(grid.blocks), " of a tensor ", tuple_text(grid.sizes)));
    };
    check(scale, "scale");
    scales_ = scale.to(DType::Float64).contiguous();
    if (!zero_point.defined() || zero_point.numel() == 0) return;
    check(zero_point, "zero point");
    zero_points_ = zero_point.to(DType::Float64).contiguous();
    if (is_floating_point(zero_point.dtype())) zero_point_dtype = zero_point.dtype();
  }

  double scale(int64_t i) const { return scales_.data<double>()[i]; }
  double zero_point(int64_t i) const {
    return zero_points_.defined() ? zero_points_.data<double>()[i] : 0.0;
  }

  DType scale_dtype;
  std::optional<DType> zero_point_dtype;  // of a floating zero point

 private:
  Tensor scales_;
  Tensor zero_points_;
};

// Values of a contiguous tensor of any dtype, widened: float64 holds them all.
Tensor widened(const Tensor& x) { return x.to(DType::Float64).contiguous(); }

// The real number before it is stored as an integer.
double quantized_value(double x, double inverse, double zero_point, AffineRange range,
                       DType product, DType sum) {
  const double steps = std::nearbyint(round_to(product, x * inverse));
  const double shifted = round_to(sum, steps + zero_point);
  return shifted < range.min ? range.min : (shifted > range.max ? range.max : shifted);
}

struct QuantizeDTypes {
  DType product;  // of x * (1 / scale)
  DType sum;      // of that plus the zero point
};

QuantizeDTypes quantize_dtypes(const Tensor& x, const BlockParams& params) {
  const DType product = promote_types(x.dtype(), params.scale_dtype);
  return {product,
          params.zero_point_dtype ? promote_types(product, *params.zero_point_dtype) : product};
}

// Calls fn(element, block) in memory order.
template <typename Fn>
void for_each_element(const BlockGrid& grid, Fn&& fn) {
  const int64_t run = grid.run_length();
  grid.for_each_run([&](int64_t first, int64_t block) {
    for (int64_t i = first; i < first + run; ++i) fn(i, block);
  });
}

// zero_point in the floating domain: the real value of the middle step (tinygemm).
double fake_quantized_float_domain(double x, double scale, double zero_point, AffineRange range,
                                   DType dtype) {
  const auto rounded = [dtype](double v) { return round_to(dtype, v); };
  const double middle = (range.max + range.min + 1.0) / 2.0;
  const double lowest = rounded(zero_point - rounded(scale * middle));
  double q = std::nearbyint(rounded(rounded(x - lowest) / scale));
  q = q < range.min ? range.min : (q > range.max ? range.max : q);
  return rounded(rounded(rounded(q - middle) * scale) + zero_point);
}

}  // namespace

Tensor quantize_blocks(const Tensor& x, const Shape& block_size, const Tensor& scale,
                       const Tensor& zero_point, AffineRange range, DType dtype) {
  check_float_input(x.dtype(), "input");
  const BlockGrid grid(x.sizes(), block_size);
  const BlockParams params(grid, scale, zero_point);
  const QuantizeDTypes in_dtypes = quantize_dtypes(x, params);
  const DType product = in_dtypes.product;
  const DType sum = in_dtypes.sum;
  range = {round_to(sum, range.min), round_to(sum, range.max)};
  const Tensor in = widened(x);
  Tensor out = Tensor::empty(x.sizes(), dtype);
  visit_dtype(dtype, [&](auto tag) {
    using Q = decltype(tag);
    auto* to = static_cast<Q*>(out.raw_mutable_data());
    for_each_element(grid, [&](int64_t i, int64_t block) {
      const double inverse = round_to(params.scale_dtype, 1.0 / params.scale(block));
      const double v = quantized_value(in.data<double>()[i], inverse, params.zero_point(block),
                                       range, product, sum);
      if constexpr (std::is_same_v<Q, bool>) {
        throw InternalError("boolean quantized values");
      } else {
        to[i] = store_quantized<Q>(v);
      }
    });
  });
  return out;
}

Tensor dequantize_blocks(const Tensor& q, const Shape& block_size, const Tensor& scale,
                         const Tensor& zero_point, DType output_dtype) {
  check_float_input(output_dtype, "output");
  const BlockGrid grid(q.sizes(), block_size);
  const BlockParams params(grid, scale, zero_point);
  const DType product = promote_types(output_dtype, params.scale_dtype);
  const Tensor in = widened(q);
  Tensor out = Tensor::empty(q.sizes(), DType::Float64);
  for_each_element(grid, [&](int64_t i, int64_t block) {
    const double value = round_to(output_dtype, in.data<double>()[i]);
    const double zp = round_to(output_dtype, params.zero_point(block));
    const double centered = round_to(output_dtype, value - zp);
    out.mutable_data<double>()[i] = round_to(product, centered * params.scale(block));
  });
  return out.to(product).to(output_dtype);
}

Tensor fake_quantize_blocks(const Tensor& x, const Shape& block_size, const Tensor& scale,
                            const Tensor& zero_point, AffineRange range, ZeroPointDomain domain) {
  check_float_input(x.dtype(), "input");
  const BlockGrid grid(x.sizes(), block_size);
  const BlockParams params(grid, scale, zero_point);
  const QuantizeDTypes in_dtypes = quantize_dtypes(x, params);
  const DType product = in_dtypes.product;
  const DType sum = in_dtypes.sum;
  const AffineRange ends = {round_to(sum, range.min), round_to(sum, range.max)};
  const DType out_product = promote_types(x.dtype(), params.scale_dtype);
  const Tensor in = widened(x);
  Tensor out = Tensor::empty(x.sizes(), DType::Float64);
  for_each_element(grid, [&](int64_t i, int64_t block) {
    const double s = params.scale(block);
    const double z = params.zero_point(block);
    double& to = out.mutable_data<double>()[i];
    if (domain == ZeroPointDomain::Float) {
      to = fake_quantized_float_domain(in.data<double>()[i], s, z, range, sum);
      return;
    }
    const double inverse = round_to(params.scale_dtype, 1.0 / s);
    const double q =
        round_to(x.dtype(), quantized_value(in.data<double>()[i], inverse, z, ends, product, sum));
    const double centered = round_to(x.dtype(), q - round_to(x.dtype(), z));
    to = round_to(out_product, centered * s);
  });
  return out.to(x.dtype());
}

}  // namespace pt2q
