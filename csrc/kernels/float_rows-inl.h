// Float functions on vectors, and sums and exponentials of rows, for inclusion after
// foreach_target.h by kernels that share them. Only where the target has a fused multiply-add.
// Include once per target: the guard toggles.
#if defined(PT2Q_KERNELS_FLOAT_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PT2Q_KERNELS_FLOAT_ROWS_INL_H_
#undef PT2Q_KERNELS_FLOAT_ROWS_INL_H_
#else
#define PT2Q_KERNELS_FLOAT_ROWS_INL_H_
#endif

#include <limits>

#include "hwy/highway.h"
#include "kernels/affine-inl.h"

#if HWY_NATIVE_FMA

HWY_BEFORE_NAMESPACE();
namespace pt2q {
namespace HWY_NAMESPACE {

struct VectorOps {
  using V = FloatVec;
  using M = hn::Mask<FloatTag>;
  static HWY_INLINE V set(float v) { return hn::Set(FloatTag(), v); }
  static HWY_INLINE V add(V a, V b) { return hn::Add(a, b); }
  static HWY_INLINE V sub(V a, V b) { return hn::Sub(a, b); }
  static HWY_INLINE V mul(V a, V b) { return hn::Mul(a, b); }
  static HWY_INLINE V div(V a, V b) { return hn::Div(a, b); }
  static HWY_INLINE V fma(V a, V b, V c) { return hn::MulAdd(a, b, c); }
  static HWY_INLINE V fnma(V a, V b, V c) { return hn::NegMulAdd(a, b, c); }
  static HWY_INLINE V min(V a, V b) { return hn::Min(a, b); }
  static HWY_INLINE V max(V a, V b) { return hn::Max(a, b); }
  static HWY_INLINE M less(V a, V b) { return hn::Lt(a, b); }
  static HWY_INLINE M is_nan(V a) { return hn::IsNaN(a); }
  static HWY_INLINE V select(M m, V yes, V no) { return hn::IfThenElse(m, yes, no); }
  static HWY_INLINE V abs(V a) { return hn::Abs(a); }
  static HWY_INLINE V copy_sign(V magnitude, V sign) { return hn::CopySign(magnitude, sign); }
  static HWY_INLINE V round(V a) { return hn::Round(a); }
  static HWY_INLINE V floor(V a) { return hn::Floor(a); }
  static HWY_INLINE V ceil(V a) { return hn::Ceil(a); }
  static HWY_INLINE V trunc(V a) { return hn::Trunc(a); }
  static HWY_INLINE V sqrt(V a) { return hn::Sqrt(a); }
  static HWY_INLINE V neg(V a) { return hn::Neg(a); }
  // a * 2^n where that is a normal number.
  static HWY_INLINE V scale_by_power(V a, V n) {
#if HWY_TARGET <= HWY_AVX3
    return V{_mm512_scalef_ps(a.raw, n.raw)};
#else
    return mul(a, power_of_two(n));
#endif
  }
  static HWY_INLINE V power_of_two(V n) {
    const hn::RebindToSigned<FloatTag> di;
    const auto exponent = hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127));
    return hn::BitCast(FloatTag(), hn::ShiftLeft<23>(exponent));
  }
};

#include "kernels/float_math-inl.h"

using Math = FloatMath<VectorOps>;

constexpr size_t kPartials = 16;
constexpr size_t kMaxVectors = kPartials / 4;

// Runs body(lanes at i, index of the partial sums they belong to) over [0, n), the last lanes
// filled up with `fill`.
template <class Body>
HWY_INLINE void for_partials(const float* x, size_t n, float fill, const Body& body) {
  const size_t lanes = hn::Lanes(FloatTag());
  size_t i = 0;
  for (; i + kPartials <= n; i += kPartials) {
    for (size_t k = 0; k * lanes < kPartials; ++k)
      body(hn::LoadU(FloatTag(), x + i + k * lanes), k);
  }
  if (i == n) return;
  float rest[kPartials];
  for (size_t j = 0; j < kPartials; ++j) rest[j] = i + j < n ? x[i + j] : fill;
  for (size_t k = 0; k * lanes < kPartials; ++k) body(hn::LoadU(FloatTag(), rest + k * lanes), k);
}

struct PartialSums {
  FloatVec sums[kMaxVectors];
  PartialSums() {
    for (FloatVec& sum : sums) sum = hn::Zero(FloatTag());
  }
  HWY_INLINE void add(FloatVec v, size_t k) { sums[k] = hn::Add(sums[k], v); }
  HWY_INLINE float total() const {
    float partial[kPartials];
    const size_t lanes = hn::Lanes(FloatTag());
    for (size_t k = 0; k * lanes < kPartials; ++k) {
      hn::StoreU(sums[k], FloatTag(), partial + k * lanes);
    }
    const hn::FixedTag<float, 4> d;  // in halves
    const auto even = hn::Add(hn::LoadU(d, partial), hn::LoadU(d, partial + 8));
    const auto odd = hn::Add(hn::LoadU(d, partial + 4), hn::LoadU(d, partial + 12));
    float four[4];
    hn::StoreU(hn::Add(even, odd), d, four);
    return (four[0] + four[2]) + (four[1] + four[3]);
  }
};

// The largest value of a row, which is not NaN unless that is all there is.
HWY_INLINE FloatVec row_maximum(const float* x, size_t n) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  FloatVec most = hn::Set(FloatTag(), kLowest);
  for_partials(x, n, kLowest, [&](FloatVec v, size_t) HWY_ATTR { most = hn::Max(v, most); });
  return hn::MaxOfLanes(FloatTag(), most);
}

// exp(x - max) to y; returns 1 / sum.
HWY_INLINE float exponentials(const float* x, size_t n, FloatVec max, float* y) {
  map_lanes(x, n, y, [&](FloatVec v) HWY_ATTR { return Math::exp_of_negative(hn::Sub(v, max)); });
  PartialSums sums;
  for_partials(y, n, 0.0f, [&](FloatVec v, size_t k) HWY_ATTR { sums.add(v, k); });
  return 1.0f / sums.total();
}

// The same with the row's maximum.
HWY_INLINE float softmax_exponentials(const float* x, size_t n, float* y) {
  return exponentials(x, n, row_maximum(x, n), y);
}

// Rows whose exponentials are computed side by side.
constexpr size_t kSoftRows = HWY_MAX_BYTES >= 64 ? 4 : 2;

// Attention's scores of kCount rows, `pitch` apart, to exponentials, and what they are multiplied
// with in the end. `whole` columns, a whole number of partial sums.
template <size_t kCount>
HWY_INLINE void soften_rows(float* scores, int64_t pitch, int64_t whole, float* inverse) {
  const FloatTag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  FloatVec most[kCount];
  for (FloatVec& m : most) m = hn::Set(d, kNever);
  for (int64_t j = 0; j < whole; j += lanes) {
    for (size_t r = 0; r < kCount; ++r)
      most[r] = hn::Max(load_lanes(scores + static_cast<int64_t>(r) * pitch + j), most[r]);
  }
  for (FloatVec& m : most) {
    m = hn::MaxOfLanes(d, m);
    m = hn::IfThenZeroElse(hn::Eq(m, hn::Set(d, kNever)), m);  // sees nothing: all are exp(-inf)
  }
  PartialSums sums[kCount];
  for (int64_t j = 0; j < whole; j += static_cast<int64_t>(kPartials)) {
    for (size_t k = 0; k * hn::Lanes(d) < kPartials; ++k) {
      for (size_t r = 0; r < kCount; ++r) {
        float* at = scores + static_cast<int64_t>(r) * pitch + j + static_cast<int64_t>(k) * lanes;
        const FloatVec e = Math::exp_of_negative(hn::Sub(load_lanes(at), most[r]));
        sums[r].add(e, k);
        store_lanes(e, at);
      }
    }
  }
  for (size_t r = 0; r < kCount; ++r) {
    const float total = sums[r].total();
    inverse[r] = total == 0.0f ? 0.0f : 1.0f / total;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pt2q
HWY_AFTER_NAMESPACE();

#endif  // HWY_NATIVE_FMA
#endif  // per-target include guard
