#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/qadd.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include <cstring>
#include <limits>
#include <utility>

#include "base/parallel.h"
#include "hwy/highway.h"
#include "kernels/affine-inl.h"
#include "kernels/qadd.h"

#ifndef PT2Q_KERNELS_QADD_TYPES_
#define PT2Q_KERNELS_QADD_TYPES_
namespace pt2q {
// What a run of elements needs; the second operand is an array or `scalar`.
struct QuantBinaryStep {
  QuantBinary op = QuantBinary::add;
  QuantParams a, b, to;
  float scalar = 0.0f;
  bool relu = false;
};
}  // namespace pt2q
#endif

HWY_BEFORE_NAMESPACE();
namespace pt2q {
namespace HWY_NAMESPACE {

HWY_INLINE void store_result(FloatVec v, const QuantizeLanes&, float* y) { store_lanes(v, y); }
template <typename Q>
HWY_INLINE void store_result(FloatVec v, const QuantizeLanes& lanes, Q* y) {
  store_lanes(lanes(v), y);
}

struct AddLanes {
  HWY_INLINE FloatVec operator()(FloatVec a, FloatVec b) const { return hn::Add(a, b); }
};
struct MulLanes {
  HWY_INLINE FloatVec operator()(FloatVec a, FloatVec b) const { return hn::Mul(a, b); }
};

// y[i] = f(a[i], second(i)); load_b(i) gives the lanes of the second operand at i.
template <class Op, typename A, class LoadB, typename Out>
HWY_INLINE void binary_lanes(const A* a, size_t n, const QuantBinaryStep& step, const LoadB& load_b,
                             Out* y) {
  const Op op;
  const DequantizeLanes from_a(step.a);
  const QuantizeLanes to(step.to);
  // relu keeps NaN, as torch.relu does; without relu the floor is below everything.
  const FloatVec floor =
      hn::Set(FloatTag(), step.relu ? 0.0f : -std::numeric_limits<float>::infinity());
  const size_t lanes = hn::Lanes(FloatTag());
  const auto one = [&](const A* at, FloatVec b) {
    const FloatVec v = op(from_a(load_lanes(at)), b);
    return hn::IfThenElse(hn::Lt(v, floor), floor, v);
  };
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    const FloatVec v0 = one(a + i, load_b(i));
    const FloatVec v1 = one(a + i + lanes, load_b(i + lanes));
    const FloatVec v2 = one(a + i + 2 * lanes, load_b(i + 2 * lanes));
    const FloatVec v3 = one(a + i + 3 * lanes, load_b(i + 3 * lanes));
    store_result(v0, to, y + i);
    store_result(v1, to, y + i + lanes);
    store_result(v2, to, y + i + 2 * lanes);
    store_result(v3, to, y + i + 3 * lanes);
  }
  for (; i + lanes <= n; i += lanes) store_result(one(a + i, load_b(i)), to, y + i);
}

template <class Op, typename A, typename B, typename Out>
HWY_INLINE void binary_arrays(const A* a, const B* b, size_t n, const QuantBinaryStep& step,
                              Out* y) {
  const size_t lanes = hn::Lanes(FloatTag());
  const DequantizeLanes from_b(step.b);
  const size_t whole = n - n % lanes;
  binary_lanes<Op>(
      a, whole, step, [&](size_t i) { return from_b(load_lanes(b + i)); }, y);
  if (whole == n) return;
  A last_a[hn::MaxLanes(FloatTag())] = {};
  B last_b[hn::MaxLanes(FloatTag())] = {};
  Out last_y[hn::MaxLanes(FloatTag())];
  std::memcpy(last_a, a + whole, (n - whole) * sizeof(A));
  std::memcpy(last_b, b + whole, (n - whole) * sizeof(B));
  binary_lanes<Op>(
      last_a, lanes, step, [&](size_t) { return from_b(load_lanes(last_b)); }, last_y);
  std::memcpy(y + whole, last_y, (n - whole) * sizeof(Out));
}

template <class Op, typename A, typename Out>
HWY_INLINE void binary_scalar(const A* a, size_t n, const QuantBinaryStep& step, Out* y) {
  const size_t lanes = hn::Lanes(FloatTag());
  const FloatVec scalar = hn::Set(FloatTag(), step.scalar);
  const size_t whole = n - n % lanes;
  binary_lanes<Op>(
      a, whole, step, [&](size_t) { return scalar; }, y);
  if (whole == n) return;
  A last_a[hn::MaxLanes(FloatTag())] = {};
  Out last_y[hn::MaxLanes(FloatTag())];
  std::memcpy(last_a, a + whole, (n - whole) * sizeof(A));
  binary_lanes<Op>(
      last_a, lanes, step, [&](size_t) { return scalar; }, last_y);
  std::memcpy(y + whole, last_y, (n - whole) * sizeof(Out));
}

// Instantiates the loop for the operation at hand. b is null for a scalar.
template <typename A, typename B, typename Out>
void binary_run(const A* a, const B* b, size_t n, const QuantBinaryStep& s, Out* y) {
  const bool add = s.op == QuantBinary::add;
  if (b == nullptr) {
    add ? binary_scalar<AddLanes>(a, n, s, y) : binary_scalar<MulLanes>(a, n, s, y);
  } else {
    add ? binary_arrays<AddLanes>(a, b, n, s, y) : binary_arrays<MulLanes>(a, b, n, s, y);
  }
}

#define PT2Q_BINARY_RUN(NAME, A, B, Out)                                                      \
  void binary_##NAME(const A* a, const B* b, size_t n, const QuantBinaryStep& step, Out* y) { \
    binary_run(a, b, n, step, y);                                                             \
  }
PT2Q_BINARY_RUN(uuu, uint8_t, uint8_t, uint8_t)
PT2Q_BINARY_RUN(uus, uint8_t, uint8_t, int8_t)
PT2Q_BINARY_RUN(uuf, uint8_t, uint8_t, float)
PT2Q_BINARY_RUN(usu, uint8_t, int8_t, uint8_t)
PT2Q_BINARY_RUN(uss, uint8_t, int8_t, int8_t)
PT2Q_BINARY_RUN(usf, uint8_t, int8_t, float)
PT2Q_BINARY_RUN(ssu, int8_t, int8_t, uint8_t)
PT2Q_BINARY_RUN(sss, int8_t, int8_t, int8_t)
PT2Q_BINARY_RUN(ssf, int8_t, int8_t, float)
#undef PT2Q_BINARY_RUN

}  // namespace HWY_NAMESPACE
}  // namespace pt2q
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pt2q {
namespace {

HWY_EXPORT(binary_uuu);
HWY_EXPORT(binary_uus);
HWY_EXPORT(binary_uuf);
HWY_EXPORT(binary_usu);
HWY_EXPORT(binary_uss);
HWY_EXPORT(binary_usf);
HWY_EXPORT(binary_ssu);
HWY_EXPORT(binary_sss);
HWY_EXPORT(binary_ssf);

constexpr int64_t kGrain = 32768;  // elements

template <typename A, typename B, typename Out>
void run(void (*step_run)(const A*, const B*, size_t, const QuantBinaryStep&, Out*), const void* a,
         const void* b, int64_t n, const QuantBinaryStep& step, Out* y) {
  const A* first = static_cast<const A*>(a);
  const B* second = static_cast<const B*>(b);
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    step_run(first + begin, second == nullptr ? nullptr : second + begin,
             static_cast<size_t>(end - begin), step, y + begin);
  });
}

// The routes of one output type. Both operations commute bit for bit, so s8-u8 is u8-s8 swapped.
template <typename Out, class UU, class US, class SS>
void run_types(const QuantOperand& a, const QuantOperand& b, int64_t n, QuantBinaryStep step,
               Out* y, UU* both_unsigned, US* mixed, SS* both_signed) {
  step.a = a.params;
  step.b = b.params;
  if (a.is_signed && b.is_signed) {
    run<int8_t, int8_t>(both_signed, a.data, b.data, n, step, y);
  } else if (!a.is_signed && !b.is_signed) {
    run<uint8_t, uint8_t>(both_unsigned, a.data, b.data, n, step, y);
  } else if (!a.is_signed) {
    run<uint8_t, int8_t>(mixed, a.data, b.data, n, step, y);
  } else {
    std::swap(step.a, step.b);
    run<uint8_t, int8_t>(mixed, b.data, a.data, n, step, y);
  }
}

void dispatch(const QuantOperand& a, const QuantOperand& b, int64_t n, const QuantBinaryStep& step,
              uint8_t* y) {
  run_types(a, b, n, step, y, HWY_DYNAMIC_DISPATCH(binary_uuu), HWY_DYNAMIC_DISPATCH(binary_usu),
            HWY_DYNAMIC_DISPATCH(binary_ssu));
}
void dispatch(const QuantOperand& a, const QuantOperand& b, int64_t n, const QuantBinaryStep& step,
              int8_t* y) {
  run_types(a, b, n, step, y, HWY_DYNAMIC_DISPATCH(binary_uus), HWY_DYNAMIC_DISPATCH(binary_uss),
            HWY_DYNAMIC_DISPATCH(binary_sss));
}
void dispatch(const QuantOperand& a, const QuantOperand& b, int64_t n, const QuantBinaryStep& step,
              float* y) {
  run_types(a, b, n, step, y, HWY_DYNAMIC_DISPATCH(binary_uuf), HWY_DYNAMIC_DISPATCH(binary_usf),
            HWY_DYNAMIC_DISPATCH(binary_ssf));
}

float value_of(const QuantOperand& x, int64_t i) {
  const int32_t q = x.is_signed ? int32_t{static_cast<const int8_t*>(x.data)[i]}
                                : int32_t{static_cast<const uint8_t*>(x.data)[i]};
  return dequantize_real(static_cast<float>(q), static_cast<float>(x.params.scale),
                         static_cast<float>(x.params.zero_point));
}

void store_reference(float v, const QuantParams&, float* y) { *y = v; }
template <typename Q>
void store_reference(float v, const QuantParams& to, Q* y) {
  quantize_reference(&v, 1, to, y);
}

float combine(QuantBinary op, float a, float b, bool relu) {
  const float v = op == QuantBinary::add ? a + b : a * b;
  return relu && v < 0.0f ? 0.0f : v;
}

}  // namespace

template <typename Out>
void quantized_binary(QuantBinary op, const QuantOperand& a, const QuantOperand& b, int64_t n,
                      bool relu, const QuantParams& to, Out* y) {
  dispatch(a, b, n, QuantBinaryStep{op, {}, {}, to, 0.0f, relu}, y);
}

template <typename Out>
void quantized_binary_scalar(QuantBinary op, const QuantOperand& a, float scalar, int64_t n,
                             bool relu, const QuantParams& to, Out* y) {
  const QuantOperand none{nullptr, a.is_signed, {}};
  dispatch(a, none, n, QuantBinaryStep{op, {}, {}, to, scalar, relu}, y);
}

template <typename Out>
void quantized_binary_reference(QuantBinary op, const QuantOperand& a, const QuantOperand& b,
                                int64_t n, bool relu, const QuantParams& to, Out* y) {
  for (int64_t i = 0; i < n; ++i) {
    store_reference(combine(op, value_of(a, i), value_of(b, i), relu), to, y + i);
  }
}

template <typename Out>
void quantized_binary_scalar_reference(QuantBinary op, const QuantOperand& a, float scalar,
                                       int64_t n, bool relu, const QuantParams& to, Out* y) {
  for (int64_t i = 0; i < n; ++i) {
    store_reference(combine(op, value_of(a, i), scalar, relu), to, y + i);
  }
}

#define PT2Q_FOR_OUT(Out)                                                                         \
  template void quantized_binary(QuantBinary, const QuantOperand&, const QuantOperand&, int64_t,  \
                                 bool, const QuantParams&, Out*);                                 \
  template void quantized_binary_scalar(QuantBinary, const QuantOperand&, float, int64_t, bool,   \
                                        const QuantParams&, Out*);                                \
  template void quantized_binary_reference(QuantBinary, const QuantOperand&, const QuantOperand&, \
                                           int64_t, bool, const QuantParams&, Out*);              \
  template void quantized_binary_scalar_reference(QuantBinary, const QuantOperand&, float,        \
                                                  int64_t, bool, const QuantParams&, Out*)
PT2Q_FOR_OUT(uint8_t);
PT2Q_FOR_OUT(int8_t);
PT2Q_FOR_OUT(float);
#undef PT2Q_FOR_OUT

}  // namespace pt2q
#endif  // HWY_ONCE
