#include "tensor/affine.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "kernels/quantize.h"
#include "pt2q/error.h"
#include "tensor/strided.h"

namespace pt2q {
namespace {

// What clamp() and add() see of an integer scalar: its value in the arithmetic's type.
template <typename Real>
Real real(int64_t value) {
  return static_cast<Real>(value);
}

bool fits_kernel(int64_t zero_point, QuantRange range, DType dtype) {
  const auto exact = [](int64_t v) { return v >= -(1 << 24) && v <= (1 << 24); };
  return (dtype == DType::UInt8 || dtype == DType::Int8) && exact(zero_point) && exact(range.min) &&
         exact(range.max);
}

QuantParams kernel_params(double scale, int64_t zero_point, QuantRange range) {
  return {scale, static_cast<int32_t>(zero_point), static_cast<int32_t>(range.min),
          static_cast<int32_t>(range.max)};
}

// The values of a vector of `channels` entries (or one for all) in the arithmetic's type.
template <typename Real>
std::vector<Real> channel_values(const Tensor& t, int64_t channels, const char* what) {
  if (t.numel() != channels && t.numel() != 1) {
    throw RuntimeError(
        cat("The size of tensor a (", channels, ") must match the size of tensor b (", t.numel(),
            ") at non-singleton dimension 0"),
        cat("give one ", what, " per channel"));
  }
  const Tensor values =
      t.to(std::is_same_v<Real, double> ? DType::Float64 : DType::Float32).contiguous();
  const auto* p = static_cast<const Real*>(values.raw_data());
  std::vector<Real> out(static_cast<size_t>(channels),
                        channels > 0 && t.numel() == 1 ? *p : Real(0));
  if (t.numel() == channels) std::copy(p, p + channels, out.begin());
  return out;
}

// 1 / scale, rounded in the dtype of the scales.
template <typename Real>
std::vector<Real> channel_inverses(const Tensor& scales, int64_t channels) {
  std::vector<Real> inv = channel_values<Real>(scales, channels, "scale");
  for (Real& v : inv) v = static_cast<Real>(round_to(scales.dtype(), 1.0 / static_cast<double>(v)));
  return inv;
}

// Calls f(element, channel) for every element of [outer, channels, inner] in memory order.
template <typename Fn>
void for_each_channel_element(const ChannelView& view, Fn&& fn) {
  int64_t i = 0;
  for (int64_t o = 0; o < view.outer; ++o) {
    for (int64_t c = 0; c < view.channels; ++c) {
      for (int64_t k = 0; k < view.inner; ++k, ++i) fn(i, static_cast<size_t>(c));
    }
  }
}

void check_channel_arguments(const Tensor& x, int64_t axis) {
  if (axis >= x.dim()) throw AssertionError(cat("Expecting axis to be < ", x.dim()));
}

template <typename Real>
Tensor quantize_channels(const Tensor& x, const Tensor& scales, const Tensor& zero_points,
                         int64_t axis, QuantRange range, DType dtype) {
  const Tensor in =
      densely_packed(x.to(std::is_same_v<Real, double> ? DType::Float64 : DType::Float32));
  const ChannelView view = channel_view(in, axis);
  const auto inv = channel_inverses<Real>(scales, view.channels);
  const auto zp = channel_values<Real>(zero_points, view.channels, "zero point");
  Tensor out = empty_like_dense(in, dtype);
  const auto* from = static_cast<const Real*>(in.raw_data());
  visit_dtype(dtype, [&](auto tag) {
    using Q = decltype(tag);
    auto* to = static_cast<Q*>(out.raw_mutable_data());
    for_each_channel_element(view, [&](int64_t i, size_t c) {
      to[i] = store_quantized<Q>(
          quantize_real(from[i], inv[c], zp[c], real<Real>(range.min), real<Real>(range.max)));
    });
  });
  return out;
}

}  // namespace

std::string torch_name(DType dtype) { return cat("torch.", dtype_name(dtype)); }

double round_to(DType dtype, double value) {
  switch (dtype) {
    case DType::Float64:
      return value;
    case DType::Float16:
      return half_to_float(float_to_half(static_cast<float>(value)));
    case DType::BFloat16:
      return bfloat16_to_float(float_to_bfloat16(static_cast<float>(value)));
    default:
      return static_cast<double>(static_cast<float>(value));
  }
}

int64_t wrap_to(DType dtype, int64_t value) {
  return visit_dtype(dtype, [&](auto tag) {
    using T = decltype(tag);
    if constexpr (std::is_integral_v<T>) {
      return static_cast<int64_t>(static_cast<T>(value));
    } else {
      return value;
    }
  });
}

DType storage_dtype(DType dtype) {
  switch (dtype) {
    case DType::QUInt8:
    case DType::QUInt4x2:
      return DType::UInt8;
    case DType::QInt8:
      return DType::Int8;
    case DType::QInt32:
      return DType::Int32;
    default:
      return dtype;
  }
}

bool is_quantized_storage(DType dtype) {
  static constexpr std::array<DType, 7> kStorage = {
      DType::UInt8, DType::Int8,       DType::UInt16,      DType::Int16,
      DType::Int32, DType::Float8E5M2, DType::Float8E4M3FN};
  return std::find(kStorage.begin(), kStorage.end(), dtype) != kStorage.end();
}

QuantRange quant_bounds(DType dtype) {
  switch (dtype) {
    case DType::UInt8:
      return {0, 255};
    case DType::Int8:
      return {-128, 127};
    case DType::UInt16:
      return {0, 65535};
    case DType::Int16:
      return {-32768, 32767};
    case DType::Int32:
      return {-2147483648LL, 2147483647LL};
    case DType::Float8E5M2:
      return {-57344, 57344};
    case DType::Float8E4M3FN:
      return {-448, 448};
    default:
      throw ValueError(cat("Unsupported dtype: ", torch_name(dtype)));
  }
}

void check_quant_range(int64_t quant_min, int64_t quant_max, DType dtype) {
  const QuantRange bounds = quant_bounds(dtype);
  if (quant_min < bounds.min) {
    throw AssertionError(cat("quant_min out of bounds for dtype, quant_min_lower_bound: ",
                             bounds.min, " quant_min: ", quant_min));
  }
  if (quant_max > bounds.max) {
    throw AssertionError(cat("quant_max out of bounds for dtype, quant_max_upper_bound: ",
                             bounds.max, " quant_max: ", quant_max));
  }
}

Tensor densely_packed(const Tensor& x) {
  const bool dense = x.is_contiguous() || x.is_contiguous(MemoryFormat::ChannelsLast) ||
                     x.is_contiguous(MemoryFormat::ChannelsLast3d);
  return dense ? x : x.contiguous();
}

Tensor empty_like_dense(const Tensor& dense, DType dtype) {
  MemoryFormat format = MemoryFormat::Contiguous;
  if (!dense.is_contiguous()) {
    format = dense.dim() == 4 ? MemoryFormat::ChannelsLast : MemoryFormat::ChannelsLast3d;
  }
  Tensor out = Tensor::empty(dense.sizes(), dtype, format);
  out.set_device(dense.device());
  return out;
}

ChannelView channel_view(const Tensor& dense, int64_t axis) {
  const int64_t dim = wrap_dim(axis, dense.dim());
  if (dense.dim() == 0) return {};
  const auto d = static_cast<size_t>(dim);
  ChannelView view;
  view.channels = dense.sizes()[d];
  if (dense.numel() == 0) return {0, view.channels, 0};
  // Along a dense layout the axis' stride is the number of elements inside one channel entry. The
  // stride of an axis of size 1 means nothing.
  view.inner = view.channels == 1 ? dense.numel() : dense.strides()[d];
  view.outer = dense.numel() / (view.channels * view.inner);
  return view;
}

Tensor quantize_per_tensor(const Tensor& x, double scale, int64_t zero_point, QuantRange range,
                           DType dtype) {
  const Tensor in = densely_packed(x.to(DType::Float32));
  Tensor out = empty_like_dense(in, dtype);
  const float* from = in.data<float>();
  const int64_t n = in.numel();
  if (fits_kernel(zero_point, range, dtype)) {
    const QuantParams params = kernel_params(scale, zero_point, range);
    if (dtype == DType::UInt8) {
      quantize(from, n, params, out.mutable_data<uint8_t>());
    } else {
      quantize(from, n, params, out.mutable_data<int8_t>());
    }
    return out;
  }
  const float inv = inverse_scale(scale);
  visit_dtype(dtype, [&](auto tag) {
    using Q = decltype(tag);
    auto* to = static_cast<Q*>(out.raw_mutable_data());
    for (int64_t i = 0; i < n; ++i) {
      to[i] = store_quantized<Q>(quantize_real(from[i], inv, real<float>(zero_point),
                                               real<float>(range.min), real<float>(range.max)));
    }
  });
  return out;
}

Tensor dequantize_per_tensor(const Tensor& q, double scale, int64_t zero_point, DType out_dtype) {
  const Tensor in = densely_packed(q);
  Tensor out = empty_like_dense(in, out_dtype);
  const int64_t n = in.numel();
  if (out_dtype == DType::Float32 && fits_kernel(zero_point, {0, 0}, in.dtype())) {
    const QuantParams params = kernel_params(scale, zero_point, {0, 0});
    if (in.dtype() == DType::UInt8) {
      dequantize(in.data<uint8_t>(), n, params, out.mutable_data<float>());
    } else {
      dequantize(in.data<int8_t>(), n, params, out.mutable_data<float>());
    }
    return out;
  }
  // PyTorch subtracts the zero point in the dtype of the result and multiplies in float32 at least.
  const DType scalar_dtype = out_dtype == DType::Float64 ? DType::Float64 : DType::Float32;
  const double s = round_to(scalar_dtype, scale);
  const double zp = round_to(out_dtype, static_cast<double>(zero_point));
  visit_dtype(in.dtype(), [&](auto from_tag) {
    using Q = decltype(from_tag);
    const auto* from = static_cast<const Q*>(in.raw_data());
    visit_dtype(out_dtype, [&](auto to_tag) {
      using To = decltype(to_tag);
      auto* to = static_cast<To*>(out.raw_mutable_data());
      for (int64_t i = 0; i < n; ++i) {
        const double value = round_to(out_dtype, convert_element<double>(from[i]));
        to[i] = convert_element<To>(round_to(out_dtype, value - zp) * s);
      }
    });
  });
  return out;
}

Tensor quantize_per_channel(const Tensor& x, const Tensor& scales, const Tensor& zero_points,
                            int64_t axis, QuantRange range, DType dtype) {
  check_channel_arguments(x, axis);
  const bool wide = scales.dtype() == DType::Float64 || zero_points.dtype() == DType::Float64;
  if (wide) return quantize_channels<double>(x, scales, zero_points, axis, range, dtype);
  const bool kernel =
      (dtype == DType::UInt8 || dtype == DType::Int8) && scales.dtype() == DType::Float32;
  if (!kernel) return quantize_channels<float>(x, scales, zero_points, axis, range, dtype);
  const Tensor in = densely_packed(x.to(DType::Float32));
  const ChannelView view = channel_view(in, axis);
  const auto s = channel_values<float>(scales, view.channels, "scale");
  const auto zp = channel_values<float>(zero_points, view.channels, "zero point");
  Tensor out = empty_like_dense(in, dtype);
  const ChannelQuantParams params{s.data(), zp.data(), static_cast<int32_t>(range.min),
                                  static_cast<int32_t>(range.max)};
  if (dtype == DType::UInt8) {
    quantize_per_channel(in.data<float>(), view.outer, view.channels, view.inner, params,
                         out.mutable_data<uint8_t>());
  } else {
    quantize_per_channel(in.data<float>(), view.outer, view.channels, view.inner, params,
                         out.mutable_data<int8_t>());
  }
  return out;
}

}  // namespace pt2q
