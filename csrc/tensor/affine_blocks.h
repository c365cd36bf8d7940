// Affine quantization with one scale and zero point per block of a tensor: torchao's
// quantize_affine family, bit for bit. A tensor of `sizes` is cut into blocks of `block_size`; per
// tensor, per axis, per group, per token and per row are special blocks.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pt2q/tensor.h"

namespace pt2q {

// How a tensor is cut. Blocks are numbered in row-major order.
struct BlockGrid {
  // Throws AssertionError when block_size has another rank or does not divide `sizes`.
  BlockGrid(const Shape& tensor_sizes, const Shape& block_size);

  Shape sizes;
  Shape blocks;
  Shape counts;   // blocks along each dimension
  Shape reduced;  // shape of one value per block as torch.amin(view, dims) has it: dimensions that
                  // one block covers are gone
  int64_t count() const;
  // Elements come in runs of neighbours that belong to one block.
  int64_t run_length() const;
  // Calls fn(first element, block) for every run of a contiguous tensor, in memory order.
  template <typename Fn>
  void for_each_run(Fn&& fn) const {
    const int64_t length = run_length();
    for (size_t i = 0; i < run_blocks_.size(); ++i) {
      fn(static_cast<int64_t>(i) * length, run_blocks_[i]);
    }
  }

 private:
  std::vector<int64_t> find_run_blocks() const;

  std::vector<int64_t> run_blocks_;  // the block of every run
};

// "(4, 3)", as Python prints a tuple.
std::string tuple_text(const Shape& values);

enum class MappingType { Symmetric, SymmetricNoClippingErr, Asymmetric };
enum class ZeroPointDomain { Int, Float, None };
const char* mapping_type_name(MappingType type);  // "SYMMETRIC" ...
const char* zero_point_domain_name(ZeroPointDomain domain);
// Throw AssertionError / ValueError for unknown names.
MappingType parse_mapping_type(const std::string& name);
ZeroPointDomain parse_zero_point_domain(const std::string& name);

struct AffineRange {
  double min = 0.0;
  double max = 0.0;
};
// The given ends, or the dtype's own. Throws AssertionError "quant_min out of bound for dtype, ..."
// and ValueError "Unsupported dtype: ...".
AffineRange affine_range(DType dtype, std::optional<double> quant_min,
                         std::optional<double> quant_max);

struct AffineRule {
  MappingType mapping = MappingType::Asymmetric;
  AffineRange range;
  std::optional<double> eps;  // unset: the float eps of the minima's dtype
  std::optional<DType> scale_dtype;
  std::optional<DType> zero_point_dtype;  // both: the minima's dtype
  bool preserve_zero = true;
  ZeroPointDomain domain = ZeroPointDomain::Int;
};
struct AffineParams {
  Tensor scale;
  Tensor zero_point;  // undefined for an asymmetric mapping without zero point
};
double float_eps(DType dtype);              // torch.finfo(dtype).eps
double float_smallest_normal(DType dtype);  // torch.finfo(dtype).smallest_normal
// Minima and maxima of the blocks of x (float dtypes), in x's dtype, shape `grid.reduced`; written
// into *min and *max, which are reallocated when they have another shape or dtype. NaN wins.
void block_ranges(const Tensor& x, const BlockGrid& grid, Tensor* min, Tensor* max);
AffineParams choose_affine_params(const Tensor& min, const Tensor& max, const AffineRule& rule);

// clamp(rint(x * (1 / scale)) + zero_point); input float32, float16 or bfloat16. Throws
// AssertionError for other inputs, ValueError when scale or zero_point have another number of
// elements than there are blocks.
Tensor quantize_blocks(const Tensor& x, const Shape& block_size, const Tensor& scale,
                       const Tensor& zero_point, AffineRange range, DType dtype);
// (q - zero_point) * scale in output_dtype (float32, float16 or bfloat16).
Tensor dequantize_blocks(const Tensor& q, const Shape& block_size, const Tensor& scale,
                         const Tensor& zero_point, DType output_dtype);
// Both in one step, without the cast between, in x's dtype.
Tensor fake_quantize_blocks(const Tensor& x, const Shape& block_size, const Tensor& scale,
                            const Tensor& zero_point, AffineRange range, ZeroPointDomain domain);

}  // namespace pt2q
