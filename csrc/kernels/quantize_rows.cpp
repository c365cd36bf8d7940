#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quantize_rows.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include <algorithm>
#include <cmath>

#include "hwy/highway.h"
#include "kernels/affine-inl.h"
#include "kernels/quantize_rows.h"

#ifndef PT2Q_KERNELS_QUANTIZE_ROWS_ONCE
#define PT2Q_KERNELS_QUANTIZE_ROWS_ONCE
namespace pt2q {

// The code before the shift, NaN giving 0. Real: double or float.
template <typename Real>
Real token_value(float x, const RowQuantParams& p) {
  const Real inverse = static_cast<Real>(1.0 / p.scale);
  const Real v = std::nearbyint(static_cast<Real>(x) * inverse + static_cast<Real>(p.zero_point));
  const Real lo = static_cast<Real>(p.quant_min), hi = static_cast<Real>(p.quant_max);
  return std::isnan(v) ? Real(0) : v < lo ? lo : (v > hi ? hi : v);
}

}  // namespace pt2q
#endif  // PT2Q_KERNELS_QUANTIZE_ROWS_ONCE

HWY_BEFORE_NAMESPACE();
namespace pt2q {
namespace HWY_NAMESPACE {

template <class D>
HWY_INLINE hn::Vec<D> token_lanes(D d, hn::Vec<D> x, const RowQuantParams& p) {
  using T = hn::TFromD<D>;
  const auto inverse = hn::Set(d, static_cast<T>(1.0 / p.scale));
  const auto lo = hn::Set(d, static_cast<T>(p.quant_min));
  const auto hi = hn::Set(d, static_cast<T>(p.quant_max));
  const auto sum = hn::Add(hn::Mul(x, inverse), hn::Set(d, static_cast<T>(p.zero_point)));
  // Bounds are integers: clamping before rounding is clamping after it.
  const auto clamped =
      hn::IfThenElse(hn::Lt(sum, lo), lo, hn::IfThenElse(hn::Gt(sum, hi), hi, sum));
  return hn::Round(hn::IfThenElseZero(hn::Eq(sum, sum), clamped));
}

// n values, a multiple of the lanes of both types, to values of codes.
void token_values(const float* x, int64_t n, const RowQuantParams& p, float* values) {
  if (p.single) {
    const auto lanes = static_cast<int64_t>(hn::Lanes(FloatTag()));
    for (int64_t i = 0; i < n; i += lanes)
      hn::StoreU(token_lanes(FloatTag(), hn::LoadU(FloatTag(), x + i), p), FloatTag(), values + i);
    return;
  }
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> half;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < n; i += lanes) {
    const auto v = token_lanes(d, hn::PromoteTo(d, hn::LoadU(half, x + i)), p);
    hn::StoreU(hn::DemoteTo(half, v), half, values + i);
  }
}

void quantize_row_run(const float* x, int64_t n, const RowQuantParams& p, uint8_t* q) {
  constexpr int64_t kBlock = 256;
  float values[kBlock];
  const FloatVec shift = hn::Set(FloatTag(), static_cast<float>(p.shift));
  const auto lanes = static_cast<int64_t>(hn::Lanes(FloatTag()));
  const int64_t whole = n / lanes * lanes;
  for (int64_t at = 0; at < whole; at += kBlock) {
    const int64_t count = std::min(kBlock, whole - at);
    token_values(x + at, count, p, values);
    for (int64_t i = 0; i < count; i += lanes)
      store_lanes(hn::Add(hn::LoadU(FloatTag(), values + i), shift), q + at + i);
  }
  quantize_row_reference(x + whole, n - whole, p, q + whole);
}

}  // namespace HWY_NAMESPACE
}  // namespace pt2q
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pt2q {

HWY_EXPORT(quantize_row_run);

void quantize_row(const float* x, int64_t n, const RowQuantParams& params, uint8_t* q) {
  HWY_DYNAMIC_DISPATCH(quantize_row_run)(x, n, params, q);
}

void quantize_row_reference(const float* x, int64_t n, const RowQuantParams& params, uint8_t* q) {
  for (int64_t i = 0; i < n; ++i) {
    const auto v = params.single ? static_cast<double>(token_value<float>(x[i], params))
                                 : token_value<double>(x[i], params);
    q[i] = static_cast<uint8_t>(static_cast<int32_t>(v) + params.shift);
  }
}

}  // namespace pt2q
#endif  // HWY_ONCE
