// Affine blocks: names, ranges, and parameters chosen from data.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/strings.h"
#include "kernels/observe.h"
#include "pt2q/error.h"
#include "tensor/affine.h"
#include "tensor/affine_blocks.h"
#include "tensor/strided.h"

namespace pt2q {

// --- names and ranges ----------------------------------------------------------------------------

const char* mapping_type_name(MappingType type) {
  switch (type) {
    case MappingType::Symmetric:
      return "SYMMETRIC";
    case MappingType::SymmetricNoClippingErr:
      return "SYMMETRIC_NO_CLIPPING_ERR";
    default:
      return "ASYMMETRIC";
  }
}

const char* zero_point_domain_name(ZeroPointDomain domain) {
  switch (domain) {
    case ZeroPointDomain::Int:
      return "INT";
    case ZeroPointDomain::Float:
      return "FLOAT";
    default:
      return "NONE";
  }
}

MappingType parse_mapping_type(const std::string& name) {
  for (const MappingType type :
       {MappingType::Symmetric, MappingType::SymmetricNoClippingErr, MappingType::Asymmetric}) {
    if (name == mapping_type_name(type)) return type;
  }
  throw AssertionError(cat("Unsupported mapping type: ", name),
                       "use SYMMETRIC, SYMMETRIC_NO_CLIPPING_ERR or ASYMMETRIC");
}

ZeroPointDomain parse_zero_point_domain(const std::string& name) {
  for (const ZeroPointDomain d :
       {ZeroPointDomain::Int, ZeroPointDomain::Float, ZeroPointDomain::None}) {
    if (name == zero_point_domain_name(d)) return d;
  }
  throw ValueError(cat("Unrecognized zero point domain: ", name), "use INT, FLOAT or NONE");
}

AffineRange affine_range(DType dtype, std::optional<double> quant_min,
                         std::optional<double> quant_max) {
  AffineRange bounds;
  if (dtype == DType::Float8E4M3FN) {
    bounds = {-448.0, 448.0};
  } else if (dtype == DType::Float8E5M2) {
    bounds = {-57344.0, 57344.0};
  } else if (is_quantized_storage(dtype) && dtype != DType::UInt16) {
    const QuantRange own = quant_bounds(dtype);
    bounds = {static_cast<double>(own.min), static_cast<double>(own.max)};
  } else {
    throw ValueError(cat("Unsupported dtype: ", torch_name(dtype)));
  }
  const auto text = [](double v) { return double_to_string(v); };
  if (quant_min && *quant_min < bounds.min) {
    throw AssertionError(cat("quant_min out of bound for dtype, quant_min_lower_bound: ",
                             text(bounds.min), " quant_min: ", text(*quant_min)));
  }
  if (quant_max && *quant_max > bounds.max) {
    throw AssertionError(cat("quant_max out of bound for dtype, quant_max_upper_bound: ",
                             text(bounds.max), " quant_max: ", text(*quant_max)));
  }
  return {quant_min.value_or(bounds.min), quant_max.value_or(bounds.max)};
}

double float_eps(DType dtype) {
  switch (dtype) {
    case DType::Float64:
      return 0x1p-52;
    case DType::Float16:
      return 0x1p-10;
    case DType::BFloat16:
      return 0x1p-7;
    default:
      return 0x1p-23;
  }
}

double float_smallest_normal(DType dtype) {
  switch (dtype) {
    case DType::Float64:
      return std::numeric_limits<double>::min();
    case DType::Float16:
      return 0x1p-14;
    default:
      return 0x1p-126;
  }
}

// --- parameters from data ------------------------------------------------------------------------

namespace {

// Values of float64 in another dtype; integers of up to 32 bits as quantized values are stored
// (NaN!).
Tensor stored(const Tensor& values, DType dtype) {
  if (is_floating_point(dtype) || itemsize(dtype) > 4) return values.to(dtype);
  Tensor out = Tensor::empty(values.sizes(), dtype);
  visit_dtype(dtype, [&](auto tag) {
    using Q = decltype(tag);
    if constexpr (std::is_integral_v<Q> && !std::is_same_v<Q, bool>) {
      for (int64_t i = 0; i < values.numel(); ++i) {
        out.mutable_data<Q>()[i] = store_quantized<Q>(values.data<double>()[i]);
      }
    } else {
      out = values.to(dtype);
    }
  });
  return out;
}

void fit(Tensor* t, const Shape& sizes, DType dtype) {
  if (!t->defined() || t->sizes() != sizes || t->dtype() != dtype) *t = Tensor::empty(sizes, dtype);
}

}  // namespace

void block_ranges(const Tensor& x, const BlockGrid& grid, Tensor* min, Tensor* max) {
  const Tensor in = x.to(DType::Float32).contiguous();
  const float* p = in.data<float>();
  const int64_t run = grid.run_length();
  const bool direct = x.dtype() == DType::Float32;
  Tensor lo_store;
  Tensor hi_store;
  fit(direct ? min : &lo_store, grid.reduced, DType::Float32);
  fit(direct ? max : &hi_store, grid.reduced, DType::Float32);
  float* lo = (direct ? *min : lo_store).mutable_data<float>();
  float* hi = (direct ? *max : hi_store).mutable_data<float>();
  if (run * grid.count() == in.numel()) {  // runs are the blocks: rows of a matrix
    min_max_per_channel(p, 1, grid.count(), run, lo, hi);
  } else {
    std::fill(lo, lo + grid.count(), std::numeric_limits<float>::infinity());
    std::fill(hi, hi + grid.count(), -std::numeric_limits<float>::infinity());
    grid.for_each_run([&](int64_t first, int64_t block) {
      const MinMax r = min_max(p + first, run);
      lo[block] = std::isnan(lo[block]) || lo[block] <= r.min ? lo[block] : r.min;
      hi[block] = std::isnan(hi[block]) || hi[block] >= r.max ? hi[block] : r.max;
    });
  }
  if (direct) return;
  *min = lo_store.to(x.dtype());
  *max = hi_store.to(x.dtype());
}

AffineParams choose_affine_params(const Tensor& min, const Tensor& max, const AffineRule& rule) {
  const DType dtype = min.dtype();
  const bool symmetric = rule.mapping != MappingType::Asymmetric;
  if (symmetric && !rule.preserve_zero) {
    throw ValueError("preserve_zero == False is not supported for symmetric quantization");
  }
  if (symmetric && rule.domain != ZeroPointDomain::Int) {
    throw ValueError(
        "zero_point_domain != ZeroPointDomain.INT is not supported for symmetric quantization");
  }
  if (!symmetric && !rule.preserve_zero && rule.domain == ZeroPointDomain::Int) {
    throw AssertionError("if not preserve_zero, zero_point must be in FLOAT domain");
  }
  const auto rounded = [dtype](double v) { return round_to(dtype, v); };
  const double qmin = rule.range.min;
  const double qmax = rule.range.max;
  const double eps = rounded(rule.eps.value_or(float_eps(dtype)));
  const double middle = (qmax + qmin + 1.0) / 2.0;
  const Tensor lows = min.to(DType::Float64).contiguous();
  const Tensor highs = max.to(DType::Float64).contiguous();
  Tensor scale = Tensor::empty(min.sizes(), DType::Float64);
  Tensor zero_point = Tensor::empty(min.sizes(), DType::Float64);
  for (int64_t i = 0; i < scale.numel(); ++i) {
    double lo = lows.data<double>()[i];
    double hi = highs.data<double>()[i];
    if (rule.preserve_zero) {
      lo = lo > 0.0 ? 0.0 : lo;
      hi = hi < 0.0 ? 0.0 : hi;
    }
    double s = 0.0;
    if (rule.mapping == MappingType::Symmetric) {
      const double largest = std::isnan(lo) || -lo > hi ? -lo : hi;
      s = rounded(largest / rounded((qmax - qmin) / 2.0));
    } else if (symmetric) {
      const double below = rounded(lo / rounded(qmin));
      const double above = rounded(hi / rounded(qmax));
      s = below > above ? below : above;
    } else {
      s = rounded(rounded(hi - lo) / rounded(qmax - qmin));
    }
    s = s < eps ? eps : s;
    double z = std::trunc(middle);
    if (!symmetric && rule.preserve_zero) {
      z = rounded(rounded(qmin) - std::nearbyint(rounded(lo / s)));
      z = z < qmin ? qmin : (z > qmax ? qmax : z);
    } else if (!symmetric) {
      z = rounded(lo + rounded(s * middle));
    }
    scale.mutable_data<double>()[i] = s;
    zero_point.mutable_data<double>()[i] = rounded(z);
  }
  AffineParams out;
  out.scale = scale.to(dtype).to(rule.scale_dtype.value_or(dtype));
  if (symmetric || rule.domain != ZeroPointDomain::None) {
    out.zero_point = stored(zero_point, rule.zero_point_dtype.value_or(dtype));
  }
  return out;
}

}  // namespace pt2q
