// A shortcut to quantize(f(y)) for activations with f(y) - f(-y) = y: gelu, silu.
//
// f(y) = max(y, 0) + f(-|y|), and f(-|y|) is a small bump that cubic pieces follow closely. The
// shortcut gives z, close to f(y) / out_scale; where z is so close to the middle between two
// integers that the definition could round to the other one, the definition decides. So the result
// is always that of the definition (unary_value of elementwise.h, then epilogue.h's rounding).
#pragma once

#include <memory>

namespace pt2q {
enum class Unary;
}

namespace pt2q::kernels {

struct ActivationCurve {
  static constexpr int kPieces = 32;
  static constexpr float kMagic = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer

  // z = max(y, 0) * inv_scale + c0 + t (c1 + t (c2 + t c3)), with v = min(|y|, end), c those of
  // piece i = round(v * per_step) and t = v - i * step (exact).
  float coefficients[4][kPieces] = {};
  float end = 0, step = 0, per_step = 0, inv_scale = 0;
  float certain = 0;  // |z - round(z)| up to here: round(z) is right
};

// Null for other activations and where z would too often be uncertain. `largest`: |z| above it is
// clamped whatever it is.
std::shared_ptr<const ActivationCurve> make_activation_curve(Unary op, float inv_scale,
                                                             float largest);

// One value by the pieces, as vectors compute it.
float curve_value(const ActivationCurve& curve, float y);

}  // namespace pt2q::kernels
