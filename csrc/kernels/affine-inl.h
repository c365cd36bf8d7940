// Vector twins of the scalar arithmetic in quantize.h, for inclusion after foreach_target.h.
// Include once per target: the guard toggles.
#if defined(PT2Q_KERNELS_AFFINE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PT2Q_KERNELS_AFFINE_INL_H_
#undef PT2Q_KERNELS_AFFINE_INL_H_
#else
#define PT2Q_KERNELS_AFFINE_INL_H_
#endif

#include <cstring>

#include "hwy/highway.h"
#include "kernels/quantize.h"

HWY_BEFORE_NAMESPACE();
namespace pt2q {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVec = hn::Vec<FloatTag>;

// float32 values of Lanes(FloatTag) consecutive elements.
HWY_INLINE FloatVec load_lanes(const float* p) { return hn::LoadU(FloatTag(), p); }
template <typename Q>
HWY_INLINE FloatVec load_lanes(const Q* p) {
  const FloatTag df;
  const hn::RebindToSigned<FloatTag> di;
  const hn::Rebind<Q, FloatTag> dq;
  return hn::ConvertTo(df, hn::PromoteTo(di, hn::LoadU(dq, p)));
}

// Stores Lanes(FloatTag) elements; for integer types v is within range and is truncated.
HWY_INLINE void store_lanes(FloatVec v, float* p) { hn::StoreU(v, FloatTag(), p); }
template <typename Q>
HWY_INLINE void store_lanes(FloatVec v, Q* p) {
#if HWY_TARGET <= HWY_AVX3
  if constexpr (sizeof(Q) == 1) {  // no check of a range that is known to hold
    const __m128i bytes = _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(v.raw));
    return _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
  }
#endif
  const hn::Rebind<Q, FloatTag> dq;
  hn::StoreU(hn::DemoteTo(dq, hn::ConvertTo(hn::RebindToSigned<FloatTag>(), v)), dq, p);
}

// quantize_real (affine.h) on lanes, NaN giving 0; the result is an integral float.
struct QuantizeLanes {
  FloatVec inv, zero_point, quant_min, quant_max;

  QuantizeLanes(float inv_scale, float zp, float qmin, float qmax)
      : inv(hn::Set(FloatTag(), inv_scale)),
        zero_point(hn::Set(FloatTag(), zp)),
        quant_min(hn::Set(FloatTag(), qmin)),
        quant_max(hn::Set(FloatTag(), qmax)) {}
  explicit QuantizeLanes(const QuantParams& p)
      : QuantizeLanes(inverse_scale(p.scale), static_cast<float>(p.zero_point),
                      static_cast<float>(p.quant_min), static_cast<float>(p.quant_max)) {}

  HWY_INLINE FloatVec operator()(FloatVec x) const {
    const FloatVec shifted = hn::Add(hn::Round(hn::Mul(x, inv)), zero_point);
    const FloatVec clamped = hn::Min(hn::Max(shifted, quant_min), quant_max);
    return hn::IfThenZeroElse(hn::IsNaN(shifted), clamped);
  }
};

// dequantize_real on lanes.
struct DequantizeLanes {
  FloatVec scale, zero_point;

  DequantizeLanes(float s, float zp)
      : scale(hn::Set(FloatTag(), s)), zero_point(hn::Set(FloatTag(), zp)) {}
  explicit DequantizeLanes(const QuantParams& p)
      : DequantizeLanes(static_cast<float>(p.scale), static_cast<float>(p.zero_point)) {}

  HWY_INLINE FloatVec operator()(FloatVec q) const {
    return hn::Mul(hn::Sub(q, zero_point), scale);
  }
};

// out[i] = f(in[i]) for n elements, four vectors at a time; the rest goes through a padded buffer.
template <typename In, typename Out, class F>
HWY_INLINE void map_lanes(const In* in, size_t n, Out* out, const F& f) {
  const size_t lanes = hn::Lanes(FloatTag());
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    const FloatVec v0 = f(load_lanes(in + i));
    const FloatVec v1 = f(load_lanes(in + i + lanes));
    const FloatVec v2 = f(load_lanes(in + i + 2 * lanes));
    const FloatVec v3 = f(load_lanes(in + i + 3 * lanes));
    store_lanes(v0, out + i);
    store_lanes(v1, out + i + lanes);
    store_lanes(v2, out + i + 2 * lanes);
    store_lanes(v3, out + i + 3 * lanes);
  }
  for (; i + lanes <= n; i += lanes) store_lanes(f(load_lanes(in + i)), out + i);
  if (i == n) return;
  In padded_in[hn::MaxLanes(FloatTag())] = {};
  Out padded_out[hn::MaxLanes(FloatTag())];
  std::memcpy(padded_in, in + i, (n - i) * sizeof(In));
  store_lanes(f(load_lanes(padded_in)), padded_out);
  std::memcpy(out + i, padded_out, (n - i) * sizeof(Out));
}

}  // namespace HWY_NAMESPACE
}  // namespace pt2q
HWY_AFTER_NAMESPACE();

#endif  // PT2Q_KERNELS_AFFINE_INL_H_
