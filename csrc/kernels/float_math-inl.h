// Elementary functions of float32 written once for scalars and for vectors: every operation is one
// IEEE operation (fma where it says fma), so all instantiations agree bit for bit.
//
// No include guard: include in the namespace (and Highway target) whose `Ops` it is used with.
// Ops: V, M (masks); set, add, sub, mul, div, fma(a, b, c) = a * b + c, fnma = c - a * b, min, max
// (the second operand where either is NaN), less(a, b), is_nan, select(m, yes, no), abs,
// copy_sign(magnitude, sign), round (half to even), floor, power_of_two(n) for integral n in
// [-126, 127], scale_by_power(a, n) = a * 2^n where that is normal.
//
// Polynomials: weighted least squares refitted towards equal ripple (Chebyshev basis, double
// precision), coefficients rounded to float32. Largest error against double precision, over all
// normal results: exp 1 ulp, sigmoid 3, silu 3, tanh 2, mish 4, erf 2; the gelus 4 ulp or 1e-6
// (tests/cpp/kernels_elementwise_test.cpp checks them).

template <class Ops>
struct FloatMath {
  using V = typename Ops::V;

  template <size_t kCount>
  static HWY_INLINE V polynomial(V x, const float (&coefficients)[kCount]) {
    V sum = Ops::set(coefficients[kCount - 1]);
    for (size_t i = kCount - 1; i-- > 0;) sum = Ops::fma(sum, x, Ops::set(coefficients[i]));
    return sum;
  }

  // exp(x) = 2^n exp(r), |r| <= ln(2) / 2.
  static HWY_INLINE V exp(V x) {
    const float kTail[] = {0.5f, 0.166665763f, 0.0416663736f, 0.00836317986f, 0.0013941105f};
    const V bounded = Ops::min(Ops::max(x, Ops::set(-104.0f)), Ops::set(89.0f));
    const V n = Ops::round(Ops::mul(bounded, Ops::set(1.44269504f)));
    V r = Ops::fnma(n, Ops::set(0.693145752f), bounded);  // ln(2) in two parts
    r = Ops::fnma(n, Ops::set(1.42860677e-6f), r);
    const V square = Ops::mul(r, r);
    const V fraction = Ops::add(Ops::fma(square, polynomial(r, kTail), r), Ops::set(1.0f));
    // In two steps, so that results below the normal range are rounded once.
    const V half = Ops::floor(Ops::mul(n, Ops::set(0.5f)));
    const V scaled =
        Ops::mul(Ops::mul(fraction, Ops::power_of_two(half)), Ops::power_of_two(Ops::sub(n, half)));
    return Ops::select(Ops::is_nan(x), x, scaled);
  }

  // exp(x) for x <= 0, as softmax needs it: 2^(x log2(e)), 0 where that would be below the normal
  // range. The product is rounded, so the relative error grows to 1e-7 |x|: where the largest
  // exponential of a row is 1, less than the rounding of the row's sum.
  static HWY_INLINE V exp_of_negative(V x) {
    const float kTail[] = {0.693147004f, 0.240222424f, 0.0555073358f, 0.00967151299f,
                           0.00132647238f};
    const V power = Ops::mul(x, Ops::set(1.44269504f));  // keeps NaN
    const V n = Ops::round(Ops::max(power, Ops::set(-126.0f)));
    const V r = Ops::sub(power, n);
    const V scaled = Ops::scale_by_power(Ops::fma(r, polynomial(r, kTail), Ops::set(1.0f)), n);
    return Ops::select(Ops::less(power, Ops::set(-126.0f)), Ops::set(0.0f), scaled);
  }

  static HWY_INLINE V sigmoid(V x) {
    const V one = Ops::set(1.0f);
    return Ops::div(one, Ops::add(one, exp(Ops::sub(Ops::set(0.0f), x))));
  }

  static HWY_INLINE V silu(V x) {
    return Ops::div(x, Ops::add(Ops::set(1.0f), exp(Ops::sub(Ops::set(0.0f), x))));
  }

  static HWY_INLINE V tanh(V x) {
    const float kSmall[] = {-0.333333284f, 0.133327469f, -0.0538466908f, 0.0209749937f,
                            -0.00606220681f};
    const V magnitude = Ops::abs(x), square = Ops::mul(x, x);
    const V small = Ops::fma(Ops::mul(x, square), polynomial(square, kSmall), x);
    const V power = exp(Ops::add(magnitude, magnitude));
    const V large =
        Ops::sub(Ops::set(1.0f), Ops::div(Ops::set(2.0f), Ops::add(power, Ops::set(1.0f))));
    return Ops::select(Ops::less(magnitude, Ops::set(0.632f)), small, Ops::copy_sign(large, x));
  }

  // With e = exp(x), tanh(log(1 + e)) is n / (n + 2), n = e (e + 2): 1 from x = 20 on.
  static HWY_INLINE V mish(V x) {
    const V two = Ops::set(2.0f);
    const V power = exp(Ops::min(x, Ops::set(20.0f)));
    const V n = Ops::mul(power, Ops::add(power, two));
    return Ops::mul(x, Ops::div(n, Ops::add(n, two)));
  }

  // erfc(a) for a >= 0: exp(-a^2) R(1 / (1 + a / 2)); 0 above 10. a^2 is given as square - rest.
  static HWY_INLINE V erfc_positive(V a, V square, V rest) {
    const float kScaled[] = {-6.00938301e-06f, 0.282221347f,  0.281098843f, 0.249791235f,
                             0.181257263f,     0.0170624219f, 0.221211046f, -0.441493928f,
                             0.263910532f,     -0.0550527461f};
    const V one = Ops::set(1.0f);
    const V t = Ops::div(one, Ops::fma(a, Ops::set(0.5f), one));
    const V power = exp(Ops::sub(Ops::set(0.0f), square));
    const V result = Ops::mul(Ops::fma(power, rest, power), polynomial(t, kScaled));
    return Ops::select(Ops::less(Ops::set(10.0f), a), Ops::set(0.0f), result);
  }

  static HWY_INLINE V erf(V x) {
    const float kSmall[] = {1.12837911f,    -0.37612626f,     0.112836003f,   -0.0268544443f,
                            0.00518953474f, -0.000802083756f, 7.88910766e-05f};
    const V magnitude = Ops::abs(x);
    const V square = Ops::mul(x, x);
    const V small = Ops::mul(x, polynomial(square, kSmall));
    const V tail = erfc_positive(magnitude, square, Ops::fnma(x, x, square));
    const V large = Ops::copy_sign(Ops::sub(Ops::set(1.0f), tail), x);
    return Ops::select(Ops::less(magnitude, Ops::set(1.0f)), small, large);
  }

  // x Phi(x), Phi(x) - 1/2 by a rational function of x, which is within 2e-7 of it.
  static HWY_INLINE V gelu_erf(V x) {
    const float kUpper[] = {0.398942232f,    0.0338353477f,   0.00467613246f,
                            0.000168638857f, 6.34987555e-06f, 2.2757332e-08f};
    const float kLower[] = {1.0f,           0.251478583f,    0.0286357868f,
                            0.00188340212f, 7.35822541e-05f, 1.19756817e-06f};
    const V half = Ops::set(0.5f), least = Ops::set(-0.5f), zero = Ops::set(0.0f);
    const V bounded = Ops::min(Ops::max(x, Ops::set(-5.5f)), Ops::set(5.5f));
    const V square = Ops::mul(bounded, bounded);
    const V ratio =
        Ops::div(Ops::mul(bounded, polynomial(square, kUpper)), polynomial(square, kLower));
    const V y = Ops::mul(x, Ops::add(half, Ops::min(Ops::max(ratio, least), half)));
    return Ops::select(Ops::less(x, Ops::set(-5.5f)), zero, y);
  }

  static HWY_INLINE V gelu_tanh(V x) {
    const V cube = Ops::mul(Ops::mul(x, x), x);
    const V inner = Ops::mul(Ops::set(0.797884561f), Ops::fma(cube, Ops::set(0.044715f), x));
    // 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2 u))
    const V power = exp(Ops::mul(inner, Ops::set(-2.0f)));
    const V y = Ops::div(x, Ops::add(Ops::set(1.0f), power));
    return Ops::select(Ops::less(x, Ops::set(-1e3f)), Ops::set(0.0f), y);
  }

  static HWY_INLINE V relu(V x) {
    return Ops::select(Ops::less(x, Ops::set(0.0f)), Ops::set(0.0f), x);
  }
  static HWY_INLINE V clip(V x, V low, V high) {
    return Ops::select(Ops::less(x, low), low, Ops::select(Ops::less(high, x), high, x));
  }
  static HWY_INLINE V leaky_relu(V x, V slope) {
    return Ops::select(Ops::less(x, Ops::set(0.0f)), Ops::mul(slope, x), x);
  }
  static HWY_INLINE V floor(V x) { return Ops::floor(x); }
  static HWY_INLINE V ceil(V x) { return Ops::ceil(x); }
  static HWY_INLINE V round(V x) { return Ops::round(x); }
  static HWY_INLINE V trunc(V x) { return Ops::trunc(x); }
  static HWY_INLINE V frac(V x) { return Ops::sub(x, Ops::trunc(x)); }
  static HWY_INLINE V abs(V x) { return Ops::abs(x); }
  static HWY_INLINE V neg(V x) { return Ops::neg(x); }
  static HWY_INLINE V square(V x) { return Ops::mul(x, x); }
  static HWY_INLINE V reciprocal(V x) { return Ops::div(Ops::set(1.0f), x); }
  static HWY_INLINE V rsqrt(V x) { return Ops::div(Ops::set(1.0f), Ops::sqrt(x)); }
  static HWY_INLINE V hardswish(V x) {
    const V gate = clip(Ops::add(x, Ops::set(3.0f)), Ops::set(0.0f), Ops::set(6.0f));
    return Ops::div(Ops::mul(x, gate), Ops::set(6.0f));
  }
  static HWY_INLINE V hardsigmoid(V x) {
    const V gate = clip(Ops::add(x, Ops::set(3.0f)), Ops::set(0.0f), Ops::set(6.0f));
    return Ops::div(gate, Ops::set(6.0f));
  }
};
