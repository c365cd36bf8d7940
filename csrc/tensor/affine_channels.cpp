// Members of affine.h that work per channel, per row, or quantize and dequantize in one step.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/strings.h"
#include "kernels/quantize.h"
#include "pt2q/error.h"
#include "tensor/affine.h"
#include "tensor/strided.h"

namespace pt2q {
namespace {

bool is_wide(const Tensor& t) { return t.defined() && t.dtype() == DType::Float64; }

// Entry `i` of a parameter vector of `count` entries, where one entry stands for all.
class Entries {
 public:
  Entries(const Tensor& t, int64_t count, const char* what) : broadcast_(t.numel() == 1) {
    if (t.numel() != count && t.numel() != 1) {
      throw ValueError(
          cat("there are ", t.numel(), " ", what, "s for ", count, " channels or rows"),
          cat("give one ", what, " for each, or one for all"));
    }
    if (is_floating_point(t.dtype())) {
      const Tensor d = t.to(DType::Float64).contiguous();
      reals_.assign(d.data<double>(), d.data<double>() + d.numel());
    } else {
      const Tensor d = t.to(DType::Int64).contiguous();
      integers_.assign(d.data<int64_t>(), d.data<int64_t>() + d.numel());
    }
  }
  bool integral() const { return reals_.empty(); }
  int64_t integer(size_t i) const { return integers_[broadcast_ ? 0 : i]; }
  double number(size_t i) const {
    const size_t k = broadcast_ ? 0 : i;
    return reals_.empty() ? static_cast<double>(integers_[k]) : reals_[k];
  }

 private:
  bool broadcast_;
  std::vector<int64_t> integers_;
  std::vector<double> reals_;
};

// dtype of an arithmetic result; a 0-dimensional operand does not widen one of the same category.
DType combine(DType a, bool a_scalar, DType b, bool b_scalar) {
  if (a_scalar != b_scalar && is_floating_point(a) == is_floating_point(b)) return a_scalar ? b : a;
  return promote_types(a, b);
}

bool is_scalar(const Tensor& t) { return t.dim() == 0; }

// (q - zero_point) * scale with PyTorch's type promotion: integers subtract as integers.
class Dequantizer {
 public:
  Dequantizer(DType q, const Tensor& scales, const Tensor& zero_points, int64_t count)
      : scales_(scales, count, "scale") {
    difference_ = q;
    if (zero_points.defined()) {
      zero_points_.emplace_back(zero_points, count, "zero point");
      difference_ = combine(q, false, zero_points.dtype(), is_scalar(zero_points));
    }
    product_ = combine(difference_, false, scales.dtype(), is_scalar(scales));
  }

  template <typename Q>
  double operator()(Q q, size_t i) const {
    return round_to(product_, round_to(product_, difference(q, i)) * scales_.number(i));
  }

 private:
  template <typename Q>
  double difference(Q q, size_t i) const {
    const double value = convert_element<double>(q);
    if (zero_points_.empty()) return value;
    const Entries& zp = zero_points_.front();
    if (is_integral(difference_)) {
      // Wraps as integers do: a zero point cast from NaN is the least int64.
      const uint64_t wrapped =
          static_cast<uint64_t>(convert_element<int64_t>(q)) - static_cast<uint64_t>(zp.integer(i));
      return static_cast<double>(wrap_to(difference_, static_cast<int64_t>(wrapped)));
    }
    return round_to(difference_, round_to(difference_, value) - zp.number(i));
  }

  DType difference_ = DType::Float32;  // dtype of q - zero_point
  DType product_ = DType::Float32;     // dtype of the difference times scale
  Entries scales_;
  std::vector<Entries> zero_points_;  // none or one
};

// Dequantizes `in`, whose memory is [outer][channels][inner].
Tensor dequantize_view(const Tensor& in, const ChannelView& view, const Dequantizer& dequantizer,
                       DType out_dtype) {
  Tensor out = empty_like_dense(in, out_dtype);
  visit_dtype(in.dtype(), [&](auto from_tag) {
    using Q = decltype(from_tag);
    const auto* from = static_cast<const Q*>(in.raw_data());
    visit_dtype(out_dtype, [&](auto to_tag) {
      using To = decltype(to_tag);
      auto* to = static_cast<To*>(out.raw_mutable_data());
      int64_t i = 0;
      for (int64_t o = 0; o < view.outer; ++o) {
        for (int64_t c = 0; c < view.channels; ++c) {
          for (int64_t k = 0; k < view.inner; ++k, ++i) {
            to[i] = convert_element<To>(dequantizer(from[i], static_cast<size_t>(c)));
          }
        }
      }
    });
  });
  return out;
}

bool kernel_can_dequantize(const Tensor& q, const Tensor& scales, const Tensor& zero_points,
                           DType out_dtype) {
  const bool bytes = q.dtype() == DType::UInt8 || q.dtype() == DType::Int8;
  if (!bytes || scales.dtype() != DType::Float32 || out_dtype != DType::Float32) return false;
  if (!zero_points.defined()) return true;
  // 32- and 64-bit zero points subtract exactly from a byte; narrower ones might wrap. The kernel
  // holds them as float32, which is exact to 2^24.
  const DType zp = zero_points.dtype();
  if (zp == DType::Float32) return true;
  if (zp != DType::Int64 && zp != DType::Int32) return false;
  const Tensor wide = zero_points.to(DType::Int64).contiguous();
  const int64_t* p = wide.data<int64_t>();
  return std::all_of(p, p + wide.numel(), [](int64_t v) { return std::abs(v) < (1 << 23); });
}

std::vector<float> float_values(const Tensor& t, int64_t count) {
  if (!t.defined()) return std::vector<float>(static_cast<size_t>(count), 0.0F);
  const Tensor values = t.to(DType::Float32).contiguous();
  const float* p = values.data<float>();
  if (values.numel() == 1) return std::vector<float>(static_cast<size_t>(count), *p);
  return std::vector<float>(p, p + values.numel());
}

}  // namespace

Tensor dequantize_per_channel(const Tensor& q, const Tensor& scales, const Tensor& zero_points,
                              int64_t axis, DType out_dtype) {
  if (axis >= q.dim()) throw AssertionError(cat("Expecting axis to be < ", q.dim()));
  const Tensor in = densely_packed(q);
  const ChannelView view = channel_view(in, axis);
  const Dequantizer dequantizer(in.dtype(), scales, zero_points, view.channels);
  if (!kernel_can_dequantize(in, scales, zero_points, out_dtype)) {
    return dequantize_view(in, view, dequantizer, out_dtype);
  }
  const auto s = float_values(scales, view.channels);
  const auto zp = float_values(zero_points, view.channels);
  const ChannelQuantParams params{s.data(), zp.data(), 0, 0};
  Tensor out = empty_like_dense(in, out_dtype);
  if (in.dtype() == DType::UInt8) {
    dequantize_per_channel(in.data<uint8_t>(), view.outer, view.channels, view.inner, params,
                           out.mutable_data<float>());
  } else {
    dequantize_per_channel(in.data<int8_t>(), view.outer, view.channels, view.inner, params,
                           out.mutable_data<float>());
  }
  return out;
}

Tensor quantize_rows(const Tensor& x, const Tensor& scales, const Tensor& zero_points,
                     int64_t row_length, QuantRange range, DType dtype) {
  const Tensor in = x.contiguous();
  const int64_t rows = row_length > 0 ? in.numel() / row_length : 0;
  const Entries scale(scales, rows, "scale");
  const Entries zero(zero_points, rows, "zero point");
  const DType product = combine(x.dtype(), false, scales.dtype(), is_scalar(scales));
  const DType sum = combine(product, false, zero_points.dtype(), is_scalar(zero_points));
  const double lo = round_to(sum, static_cast<double>(range.min));
  const double hi = round_to(sum, static_cast<double>(range.max));
  Tensor out = Tensor::empty(in.sizes(), dtype);
  visit_dtype(in.dtype(), [&](auto from_tag) {
    using From = decltype(from_tag);
    const auto* from = static_cast<const From*>(in.raw_data());
    visit_dtype(dtype, [&](auto to_tag) {
      using Q = decltype(to_tag);
      auto* to = static_cast<Q*>(out.raw_mutable_data());
      for (int64_t i = 0; i < rows * row_length; ++i) {
        const auto row = static_cast<size_t>(i / row_length);
        const double inv = round_to(scales.dtype(), 1.0 / scale.number(row));
        const double value = round_to(product, convert_element<double>(from[i]) * inv);
        const double shifted =
            std::nearbyint(round_to(sum, value + round_to(sum, zero.number(row))));
        to[i] = store_quantized<Q>(shifted < lo ? lo : (shifted > hi ? hi : shifted));
      }
    });
  });
  return out;
}

Tensor dequantize_rows(const Tensor& q, const Tensor& scales, const Tensor& zero_points,
                       int64_t row_length, DType out_dtype) {
  const Tensor in = q.contiguous();
  const int64_t rows = row_length > 0 ? in.numel() / row_length : 0;
  const Dequantizer dequantizer(in.dtype(), scales, zero_points, rows);
  return dequantize_view(in, {1, rows, rows == 0 ? 0 : row_length}, dequantizer, out_dtype);
}

Tensor fake_quantize_per_tensor(const Tensor& x, double scale, int64_t zero_point,
                                QuantRange range) {
  const Tensor in = densely_packed(x.to(DType::Float32));
  Tensor out = empty_like_dense(in, DType::Float32);
  const float* from = in.data<float>();
  float* to = out.mutable_data<float>();
  const int64_t n = in.numel();
  const QuantParams params{scale, static_cast<int32_t>(zero_point), static_cast<int32_t>(range.min),
                           static_cast<int32_t>(range.max)};
  fake_quantize(from, n, params, to);
  const float at_nan = dequantize_real(static_cast<float>(range.min), static_cast<float>(scale),
                                       static_cast<float>(zero_point));
  for (int64_t i = 0; i < n; ++i) to[i] = std::isnan(from[i]) ? at_nan : to[i];
  return out.to(x.dtype());
}

namespace {

// Nearest integer of x / scale + zero_point in the arithmetic PyTorch uses for `Real` inputs; a
// fractional zero point is added before rounding.
template <typename Real>
double channel_steps(Real x, Real inv, Real zero_point, bool integral_zero_point) {
  return static_cast<double>(integral_zero_point ? std::nearbyint(x * inv) + zero_point
                                                 : std::nearbyint(x * inv + zero_point));
}

template <typename Real>
void fake_quantize_view(const Real* from, const ChannelView& view, const std::vector<float>& scales,
                        const std::vector<float>& zero_points, bool integral, QuantRange range,
                        Real* to) {
  constexpr double kLimit = 9223372036854775808.0;  // 2^63: PyTorch goes through int64
  const auto lo = static_cast<double>(range.min);
  const auto hi = static_cast<double>(range.max);
  int64_t i = 0;
  for (int64_t o = 0; o < view.outer; ++o) {
    for (int64_t c = 0; c < view.channels; ++c) {
      const float scale = scales[static_cast<size_t>(c)];
      const float zp = zero_points[static_cast<size_t>(c)];
      const Real inv = 1.0F / scale;
      for (int64_t k = 0; k < view.inner; ++k, ++i) {
        double q = channel_steps<Real>(from[i], inv, zp, integral);
        q = q >= -kLimit && q < kLimit ? std::min(std::max(q, lo), hi) : lo;
        to[i] = static_cast<Real>(
            dequantize_real(q, static_cast<double>(scale), static_cast<double>(zp)));
      }
    }
  }
}

}  // namespace

Tensor fake_quantize_per_channel(const Tensor& x, const Tensor& scales, const Tensor& zero_points,
                                 int64_t axis, QuantRange range) {
  const DType compute = is_wide(x) ? DType::Float64 : DType::Float32;
  const Tensor in = densely_packed(x.to(compute));
  const ChannelView view = channel_view(in, axis);
  if (scales.numel() != view.channels || zero_points.numel() != view.channels) {
    throw RuntimeError(
        "dimensions of scale and zero-point are not consistent with input tensor",
        cat("dimension ", axis, " of the input has ", view.channels, " channels, there are ",
            scales.numel(), " scales and ", zero_points.numel(), " zero points"));
  }
  const auto s = float_values(scales, view.channels);
  const auto zp = float_values(zero_points, view.channels);
  const bool integral = is_integral(zero_points.dtype());
  Tensor out = empty_like_dense(in, compute);
  if (compute == DType::Float64) {
    fake_quantize_view(in.data<double>(), view, s, zp, integral, range, out.mutable_data<double>());
  } else {
    fake_quantize_view(in.data<float>(), view, s, zp, integral, range, out.mutable_data<float>());
  }
  return out.to(x.dtype());
}

}  // namespace pt2q
