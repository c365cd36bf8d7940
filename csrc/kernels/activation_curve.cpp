#include "kernels/activation_curve.h"

#include <algorithm>
#include <cmath>

#include "kernels/elementwise.h"

namespace pt2q::kernels {
namespace {

constexpr int kLast = ActivationCurve::kPieces - 1;

double activation(Unary op, double x) {
  if (op == Unary::gelu_erf) return 0.5 * x * std::erfc(-x * 0.70710678118654752440);
  if (op == Unary::gelu_tanh) {
    const double inner = 0.79788456080286535588 * (x + 0.044715 * x * x * x);
    return x / (1.0 + std::exp(-2.0 * inner));
  }
  return x / (1.0 + std::exp(-x));
}

// Where the bump has died away.
double end_of_bump(Unary op, double inv_scale) {
  double v = 2.0;
  while (v < 40.0 && std::fabs(activation(op, -v)) * inv_scale > 2e-5) v += 0.0625;
  return v;
}

// The cubic through four values at Chebyshev's points of [-half, half] around `middle`.
void fit(Unary op, double inv_scale, double middle, double half, double (&c)[4]) {
  double x[4], d[4];
  for (int i = 0; i < 4; ++i) {
    x[i] = half * std::cos((2 * i + 1) * 3.14159265358979323846 / 8);
    d[i] = activation(op, -(middle + x[i])) * inv_scale;
  }
  for (int order = 1; order < 4; ++order) {  // divided differences
    for (int i = 3; i >= order; --i) d[i] = (d[i] - d[i - 1]) / (x[i] - x[i - order]);
  }
  std::fill(c, c + 4, 0.0);
  for (int i = 3; i >= 0; --i) {  // Newton's form to powers
    for (int k = 3; k > 0; --k) c[k] = c[k - 1] - x[i] * c[k];
    c[0] = d[i] - x[i] * c[0];
  }
}

// The largest error over a fine grid, on the negative side, where nothing is added to the bump.
double worst_error(Unary op, const ActivationCurve& curve) {
  constexpr int kPoints = 64;
  double worst = std::fabs(activation(op, -double{curve.end})) * double{curve.inv_scale};
  for (int i = 0; i <= kLast * kPoints; ++i) {
    const auto v = static_cast<float>(i) / kPoints * curve.step;
    const double truth = activation(op, -double{v}) * double{curve.inv_scale};
    worst = std::max(worst, std::fabs(double{curve_value(curve, -v)} - truth));
  }
  return worst;
}

}  // namespace

float curve_value(const ActivationCurve& curve, float y) {
  const float v = std::min(std::fabs(y), curve.end);
  const float rounded = std::fma(v, curve.per_step, ActivationCurve::kMagic);
  const auto i = static_cast<int>(rounded - ActivationCurve::kMagic);
  const float t = std::fma(-static_cast<float>(i), curve.step, v);
  const auto& c = curve.coefficients;
  const float bump = std::fma(std::fma(std::fma(c[3][i], t, c[2][i]), t, c[1][i]), t, c[0][i]);
  return std::fma(std::max(y, 0.0F), curve.inv_scale, bump);
}

std::shared_ptr<const ActivationCurve> make_activation_curve(Unary op, float inv_scale,
                                                             float largest) {
  if (op != Unary::gelu_erf && op != Unary::gelu_tanh && op != Unary::silu) return nullptr;
  if (!std::isfinite(inv_scale) || !(inv_scale > 0)) return nullptr;
  auto curve = std::make_shared<ActivationCurve>();
  // A step of few bits, so that i * step is exact.
  const double step = std::ceil(end_of_bump(op, double{inv_scale}) / kLast * 256) / 256;
  curve->step = static_cast<float>(step);
  curve->per_step = static_cast<float>(1.0 / step);
  curve->end = static_cast<float>(kLast * step);
  curve->inv_scale = inv_scale;
  for (int i = 0; i < ActivationCurve::kPieces; ++i) {
    double c[4];
    fit(op, double{inv_scale}, i * step, 0.5 * step, c);
    for (int k = 0; k < 4; ++k) curve->coefficients[k][i] = static_cast<float>(c[k]);
  }
  // The definition's own error (float_math-inl.h) of 1e-6 or four units in the last place, and one
  // rounding on either side.
  const double definition = 1e-6 * double{inv_scale} + 6.0 * 1.2e-7 * double{largest};
  const double doubt = 2.0 * worst_error(op, *curve) + definition;
  if (!(doubt < 0.01)) return nullptr;
  curve->certain = static_cast<float>(0.5 - doubt);
  return curve;
}

}  // namespace pt2q::kernels
