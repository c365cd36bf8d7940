// The scalar arithmetic of affine quantization: the only one. q = clamp(rint(x / scale) +
// zero_point), x' = (q - zero_point) * scale, with the rounding steps of PyTorch's
// quantized_decomposed operators, so that results are equal bit for bit. affine-inl.h is its vector
// twin, held to it by tests; tensor/affine.h builds the tensor functions on it.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace pt2q {

// 1 / scale, divided in double and rounded once.
inline float inverse_scale(double scale) { return static_cast<float>(1.0 / scale); }

// clamp(rint(x * inv) + zero_point, lo, hi), half to even; NaN stays NaN. Real: float or double.
template <typename Real>
Real quantize_real(Real x, Real inv, Real zero_point, Real lo, Real hi) {
  const Real shifted = std::nearbyint(x * inv) + zero_point;
  return shifted < lo ? lo : (shifted > hi ? hi : shifted);
}

template <typename Real>
Real dequantize_real(Real q, Real scale, Real zero_point) {
  return (q - zero_point) * scale;
}

// Stores a clamped, integral value as PyTorch's cast does on x86: NaN becomes 0 in 8 and 16 bits;
// NaN and values beyond int32 (a clamp to 2147483647 in float32 gives 2^31) become INT32_MIN.
template <typename Q, typename Real>
Q store_quantized(Real value) {
  if constexpr (std::is_integral_v<Q>) {
    if (!(value >= Real(-2147483648.0) && value < Real(2147483648.0))) {
      return static_cast<Q>(std::numeric_limits<int32_t>::min());
    }
    return static_cast<Q>(static_cast<int32_t>(value));
  } else {
    return Q(static_cast<float>(value));
  }
}

}  // namespace pt2q
