// Iteration over strided tensors and dispatch over dtypes, for the plain-loop kernels.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/tensor.h"
#include "tensor/half.h"

namespace pt2q {

// Walks all index tuples of `sizes` in row-major order, keeping one element offset per operand.
// Usage: StridedIterator<2> it(sizes, {a.strides(), b.strides()}); for (; !it.done(); it.next())
template <size_t N>
class StridedIterator {
 public:
  StridedIterator(const Shape& sizes, const std::array<Shape, N>& strides)
      : sizes_(sizes), strides_(strides), index_(sizes.size(), 0), left_(numel_of(sizes)) {}

  bool done() const { return left_ == 0; }
  int64_t offset(size_t operand) const { return offsets_[operand]; }
  const Shape& index() const { return index_; }

  void next() {
    --left_;
    for (size_t d = sizes_.size(); d-- > 0;) {
      if (++index_[d] < sizes_[d]) {
        for (size_t k = 0; k < N; ++k) offsets_[k] += strides_[k][d];
        return;
      }
      index_[d] = 0;
      for (size_t k = 0; k < N; ++k) offsets_[k] -= strides_[k][d] * (sizes_[d] - 1);
    }
  }

 private:
  Shape sizes_;
  std::array<Shape, N> strides_;
  Shape index_;
  std::array<int64_t, N> offsets_{};
  int64_t left_;
};

// float16 and bfloat16 elements: bit patterns that convert to and from float.
struct Half {
  uint16_t bits;
  Half() = default;
  explicit Half(float v) : bits(float_to_half(v)) {}
  explicit operator float() const { return half_to_float(bits); }
};
struct BFloat16 {
  uint16_t bits;
  BFloat16() = default;
  explicit BFloat16(float v) : bits(float_to_bfloat16(v)) {}
  explicit operator float() const { return bfloat16_to_float(bits); }
};
struct Float8E4M3 {
  uint8_t bits;
  Float8E4M3() = default;
  explicit Float8E4M3(float v) : bits(float_to_float8_e4m3fn(v)) {}
  explicit operator float() const { return float8_e4m3fn_to_float(bits); }
};
struct Float8E5M2 {
  uint8_t bits;
  Float8E5M2() = default;
  explicit Float8E5M2(float v) : bits(float_to_float8_e5m2(v)) {}
  explicit operator float() const { return float8_e5m2_to_float(bits); }
};

// The type arithmetic is done in: float for the small floats, itself otherwise.
template <typename T>
struct ComputeType {
  using type = T;
};
template <>
struct ComputeType<Half> {
  using type = float;
};
template <>
struct ComputeType<BFloat16> {
  using type = float;
};
template <>
struct ComputeType<Float8E4M3> {
  using type = float;
};
template <>
struct ComputeType<Float8E5M2> {
  using type = float;
};

// Calls visitor(T{}) with the element type of `dtype`.
template <typename Visitor>
decltype(auto) visit_dtype(DType dtype, Visitor&& visitor) {
  switch (dtype) {
    case DType::Float32:
      return visitor(float{});
    case DType::Float64:
      return visitor(double{});
    case DType::Float16:
      return visitor(Half{});
    case DType::BFloat16:
      return visitor(BFloat16{});
    case DType::UInt8:
    case DType::QUInt8:
    case DType::QUInt4x2:
      return visitor(uint8_t{});
    case DType::Int8:
    case DType::QInt8:
      return visitor(int8_t{});
    case DType::UInt16:
      return visitor(uint16_t{});
    case DType::Int16:
      return visitor(int16_t{});
    case DType::Int32:
    case DType::QInt32:
      return visitor(int32_t{});
    case DType::Int64:
      return visitor(int64_t{});
    case DType::Bool:
      return visitor(bool{});
    case DType::Float8E4M3FN:
      return visitor(Float8E4M3{});
    case DType::Float8E5M2:
      return visitor(Float8E5M2{});
  }
  throw InternalError("visit_dtype: unknown dtype");
}

// Element conversion with PyTorch's cast semantics (float → integer truncates; NaN and values out
// of range behave as x86 cvttss2si does for the common types: unspecified but never trapping).
template <typename To, typename From>
To convert_element(From value) {
  const auto v = static_cast<typename ComputeType<From>::type>(value);
  if constexpr (std::is_same_v<To, typename ComputeType<To>::type>) {
    if constexpr (std::is_same_v<To, bool>) {
      return v != static_cast<decltype(v)>(0);
    } else if constexpr (std::is_floating_point_v<decltype(v)> && std::is_integral_v<To>) {
      if (!(v > static_cast<decltype(v)>(-9.2233720368547758e18) &&
            v < static_cast<decltype(v)>(9.2233720368547758e18))) {
        return static_cast<To>(std::numeric_limits<int64_t>::min());
      }
      return static_cast<To>(static_cast<int64_t>(v));
    } else {
      return static_cast<To>(v);
    }
  } else {
    return To(static_cast<float>(v));
  }
}

}  // namespace pt2q
