// The scalar definitions of elementwise.h.
#include <cmath>
#include <cstring>

#include "hwy/base.h"
#include "kernels/elementwise.h"

namespace pt2q {
namespace {

struct ScalarOps {
  using V = float;
  using M = bool;
  static V set(float v) { return v; }
  static V add(V a, V b) { return a + b; }
  static V sub(V a, V b) { return a - b; }
  static V mul(V a, V b) { return a * b; }
  static V div(V a, V b) { return a / b; }
  static V fma(V a, V b, V c) { return std::fma(a, b, c); }
  static V fnma(V a, V b, V c) { return std::fma(-a, b, c); }
  static V min(V a, V b) { return a < b ? a : b; }
  static V max(V a, V b) { return a > b ? a : b; }
  static M less(V a, V b) { return a < b; }
  static M is_nan(V a) { return std::isnan(a); }
  static V select(M m, V yes, V no) { return m ? yes : no; }
  static V abs(V a) { return std::fabs(a); }
  static V copy_sign(V magnitude, V sign) { return std::copysign(magnitude, sign); }
  static V round(V a) { return std::nearbyint(a); }
  static V floor(V a) { return std::floor(a); }
  static V ceil(V a) { return std::ceil(a); }
  static V trunc(V a) { return std::trunc(a); }
  static V sqrt(V a) { return std::sqrt(a); }
  static V neg(V a) { return -a; }
  static V scale_by_power(V a, V n) { return mul(a, power_of_two(n)); }
  static V power_of_two(V n) {
    const int32_t bits = (static_cast<int32_t>(n) + 127) * (1 << 23);
    float power;
    std::memcpy(&power, &bits, sizeof power);
    return power;
  }
};

#include "kernels/float_math-inl.h"

using Math = FloatMath<ScalarOps>;

constexpr int64_t kPartials = 16;

// Sum of f(i) over [0, n) in 16 interleaved partial sums, added in halves.
template <class F>
float interleaved_sum(int64_t n, const F& f) {
  float partial[kPartials] = {};
  for (int64_t i = 0; i < n; ++i) partial[i % kPartials] += f(i);
  for (int64_t half = kPartials / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) partial[i] += partial[i + half];
  }
  return partial[0];
}

}  // namespace

float unary_value(const UnaryStep& s, float x) {
  switch (s.op) {
    case Unary::relu:
      return Math::relu(x);
    case Unary::clip:
      return Math::clip(x, s.alpha, s.beta);
    case Unary::leaky_relu:
      return Math::leaky_relu(x, s.alpha);
    case Unary::hardswish:
      return Math::hardswish(x);
    case Unary::hardsigmoid:
      return Math::hardsigmoid(x);
    case Unary::silu:
      return Math::silu(x);
    case Unary::sigmoid:
      return Math::sigmoid(x);
    case Unary::tanh:
      return Math::tanh(x);
    case Unary::mish:
      return Math::mish(x);
    case Unary::gelu_erf:
      return Math::gelu_erf(x);
    case Unary::gelu_tanh:
      return Math::gelu_tanh(x);
    case Unary::exp:
      return Math::exp(x);
    case Unary::erf:
      return Math::erf(x);
    case Unary::floor:
      return Math::floor(x);
    case Unary::ceil:
      return Math::ceil(x);
    case Unary::round:
      return Math::round(x);
    case Unary::trunc:
      return Math::trunc(x);
    case Unary::frac:
      return Math::frac(x);
    case Unary::abs:
      return Math::abs(x);
    case Unary::neg:
      return Math::neg(x);
    case Unary::square:
      return Math::square(x);
    case Unary::reciprocal:
      return Math::reciprocal(x);
    case Unary::rsqrt:
      return Math::rsqrt(x);
  }
  return x;
}

float binary_value(Binary op, float a, float b, bool relu) {
  float v = 0.0f;
  switch (op) {
    case Binary::add:
      v = a + b;
      break;
    case Binary::sub:
      v = a - b;
      break;
    case Binary::mul:
      v = a * b;
      break;
    case Binary::div:
      v = a / b;
      break;
    case Binary::maximum:
      v = a > b || std::isnan(a) ? a : b;
      break;
    case Binary::minimum:
      v = a < b || std::isnan(a) ? a : b;
      break;
  }
  return relu ? Math::relu(v) : v;
}

float softmax_exponentials_reference(const float* x, int64_t n, float* y) {
  float most = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < n; ++i) most = x[i] > most ? x[i] : most;
  for (int64_t i = 0; i < n; ++i) y[i] = Math::exp_of_negative(x[i] - most);
  return 1.0f / interleaved_sum(n, [&](int64_t i) { return y[i]; });
}

void softmax_rows_reference(const float* x, int64_t rows, int64_t n, float* y) {
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    const float inverse = softmax_exponentials_reference(x, n, y);
    for (int64_t i = 0; i < n; ++i) y[i] *= inverse;
  }
}

void layer_norm_rows_reference(const float* x, int64_t rows, int64_t n, const float* weight,
                               const float* bias, float eps, float* y) {
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    const float count = static_cast<float>(n);
    const float mean = interleaved_sum(n, [&](int64_t i) { return x[i]; }) / count;
    const float variance =
        interleaved_sum(n, [&](int64_t i) { return (x[i] - mean) * (x[i] - mean); }) / count;
    const float scale = 1.0f / std::sqrt(variance + eps);
    for (int64_t i = 0; i < n; ++i) {
      const float v = (x[i] - mean) * scale;
      const float weighted = weight != nullptr ? v * weight[i] : v;
      y[i] = bias != nullptr ? weighted + bias[i] : weighted;
    }
  }
}

}  // namespace pt2q
