#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include <cstring>
#include <limits>
#include <vector>

#include "base/parallel.h"
#include "hwy/highway.h"
#include "kernels/elementwise.h"
#include "kernels/float_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pt2q {
namespace HWY_NAMESPACE {

#if HWY_NATIVE_FMA

// Calls body(function of lanes) with the function of the step.
template <class Body>
HWY_INLINE void with_unary(const UnaryStep& s, const Body& body) {
  const FloatVec alpha = hn::Set(FloatTag(), s.alpha), beta = hn::Set(FloatTag(), s.beta);
  switch (s.op) {
    case Unary::relu:
      return body([](FloatVec v) { return Math::relu(v); });
    case Unary::clip:
      return body([&](FloatVec v) { return Math::clip(v, alpha, beta); });
    case Unary::leaky_relu:
      return body([&](FloatVec v) { return Math::leaky_relu(v, alpha); });
    case Unary::hardswish:
      return body([](FloatVec v) { return Math::hardswish(v); });
    case Unary::hardsigmoid:
      return body([](FloatVec v) { return Math::hardsigmoid(v); });
    case Unary::silu:
      return body([](FloatVec v) { return Math::silu(v); });
    case Unary::sigmoid:
      return body([](FloatVec v) { return Math::sigmoid(v); });
    case Unary::tanh:
      return body([](FloatVec v) { return Math::tanh(v); });
    case Unary::mish:
      return body([](FloatVec v) { return Math::mish(v); });
    case Unary::gelu_erf:
      return body([](FloatVec v) { return Math::gelu_erf(v); });
    case Unary::gelu_tanh:
      return body([](FloatVec v) { return Math::gelu_tanh(v); });
    case Unary::exp:
      return body([](FloatVec v) { return Math::exp(v); });
    case Unary::erf:
      return body([](FloatVec v) { return Math::erf(v); });
    case Unary::floor:
      return body([](FloatVec v) { return Math::floor(v); });
    case Unary::ceil:
      return body([](FloatVec v) { return Math::ceil(v); });
    case Unary::round:
      return body([](FloatVec v) { return Math::round(v); });
    case Unary::trunc:
      return body([](FloatVec v) { return Math::trunc(v); });
    case Unary::frac:
      return body([](FloatVec v) { return Math::frac(v); });
    case Unary::abs:
      return body([](FloatVec v) { return Math::abs(v); });
    case Unary::neg:
      return body([](FloatVec v) { return Math::neg(v); });
    case Unary::square:
      return body([](FloatVec v) { return Math::square(v); });
    case Unary::reciprocal:
      return body([](FloatVec v) { return Math::reciprocal(v); });
    case Unary::rsqrt:
      return body([](FloatVec v) { return Math::rsqrt(v); });
  }
}

void unary_run(const float* x, size_t n, const UnaryStep& step, float* y) {
  with_unary(step, [&](const auto& f) HWY_ATTR { map_lanes(x, n, y, f); });
}

template <typename Q>
HWY_INLINE void unary_quantize_run(const float* x, size_t n, const UnaryStep& step,
                                   const QuantParams& to, Q* q) {
  const QuantizeLanes lanes(to);
  with_unary(step, [&](const auto& f) HWY_ATTR {
    map_lanes(x, n, q, [&](FloatVec v) HWY_ATTR { return lanes(f(v)); });
  });
}

void softmax_run(const float* x, size_t rows, size_t n, float* y) {
  for (size_t r = 0; r < rows; ++r, x += n, y += n) {
    const FloatVec inverse = hn::Set(FloatTag(), softmax_exponentials(x, n, y));
    map_lanes(y, n, y, [&](FloatVec v) HWY_ATTR { return hn::Mul(v, inverse); });
  }
}

template <typename Q>
HWY_INLINE void softmax_quantize_run(const float* x, size_t rows, size_t n, const QuantParams& to,
                                     float* row, Q* q) {
  const QuantizeLanes lanes(to);
  for (size_t r = 0; r < rows; ++r, x += n, q += n) {
    const FloatVec inverse = hn::Set(FloatTag(), softmax_exponentials(x, n, row));
    map_lanes(row, n, q, [&](FloatVec v) HWY_ATTR { return lanes(hn::Mul(v, inverse)); });
  }
}

// for_partials over kRows rows of n elements: the additions of one row wait for each other, those
// of several do not. body(lanes, index of the partial sums, row); `fill` of each row.
template <size_t kRows, class Body>
HWY_INLINE void for_row_partials(const float* x, size_t n, const float (&fill)[kRows],
                                 const Body& body) {
  const size_t lanes = hn::Lanes(FloatTag());
  const size_t whole = n / kPartials * kPartials;
  for (size_t i = 0; i < whole; i += kPartials) {
    for (size_t r = 0; r < kRows; ++r) {
      for (size_t k = 0; k * lanes < kPartials; ++k)
        body(hn::LoadU(FloatTag(), x + r * n + i + k * lanes), k, r);
    }
  }
  if (whole == n) return;
  for (size_t r = 0; r < kRows; ++r) {
    for_partials(x + r * n + whole, n - whole, fill[r],
                 [&](FloatVec v, size_t k) HWY_ATTR { body(v, k, r); });
  }
}

// put(index, values) for the lanes of normalized rows, put_one(index, value) for the rest.
template <size_t kRows, class Put, class PutOne>
HWY_INLINE void normalize_some(const float* x, size_t n, const float* weight, const float* bias,
                               float eps, const Put& put, const PutOne& put_one) {
  const size_t lanes = hn::Lanes(FloatTag());
  const float count = static_cast<float>(n);
  float mean[kRows] = {}, scale[kRows];
  FloatVec center[kRows];
  PartialSums sums[kRows], squares[kRows];
  for_row_partials(x, n, mean, [&](FloatVec v, size_t k, size_t r) HWY_ATTR { sums[r].add(v, k); });
  for (size_t r = 0; r < kRows; ++r) {
    mean[r] = sums[r].total() / count;
    center[r] = hn::Set(FloatTag(), mean[r]);
  }
  for_row_partials(x, n, mean, [&](FloatVec v, size_t k, size_t r) HWY_ATTR {
    const FloatVec d = hn::Sub(v, center[r]);
    squares[r].add(hn::Mul(d, d), k);
  });
  for (size_t r = 0; r < kRows; ++r) scale[r] = 1.0f / std::sqrt(squares[r].total() / count + eps);
  for (size_t r = 0; r < kRows; ++r, x += n) {
    const FloatVec factor = hn::Set(FloatTag(), scale[r]);
    size_t i = 0;
    for (; i + lanes <= n; i += lanes) {
      __builtin_prefetch(x + kRows * n +
                         i);  // the rows that come next; behind the last, a hint in vain
      FloatVec v = hn::Mul(hn::Sub(hn::LoadU(FloatTag(), x + i), center[r]), factor);
      if (weight != nullptr) v = hn::Mul(v, hn::LoadU(FloatTag(), weight + i));
      if (bias != nullptr) v = hn::Add(v, hn::LoadU(FloatTag(), bias + i));
      put(r * n + i, v);
    }
    for (; i < n; ++i) {
      float v = (x[i] - mean[r]) * scale[r];
      if (weight != nullptr) v = v * weight[i];
      if (bias != nullptr) v = v + bias[i];
      put_one(r * n + i, v);
    }
  }
}

// The same for any number of rows.
template <class Put, class PutOne>
HWY_INLINE void normalize_rows(const float* x, size_t rows, size_t n, const float* weight,
                               const float* bias, float eps, const Put& put,
                               const PutOne& put_one) {
  constexpr size_t kAtOnce = 4;
  for (size_t r = 0; r < rows;) {
    const size_t at = r * n;
    const auto put_at = [&](size_t i, FloatVec v) HWY_ATTR { put(at + i, v); };
    const auto put_one_at = [&](size_t i, float v) HWY_ATTR { put_one(at + i, v); };
    if (r + kAtOnce <= rows) {
      normalize_some<kAtOnce>(x + at, n, weight, bias, eps, put_at, put_one_at);
      r += kAtOnce;
    } else {
      normalize_some<1>(x + at, n, weight, bias, eps, put_at, put_one_at);
      ++r;
    }
  }
}

void layer_norm_run(const float* x, size_t rows, size_t n, const float* weight, const float* bias,
                    float eps, float* y) {
  normalize_rows(
      x, rows, n, weight, bias, eps,
      [&](size_t i, FloatVec v) HWY_ATTR { hn::StoreU(v, FloatTag(), y + i); },
      [&](size_t i, float v) { y[i] = v; });
}

template <typename Q>
HWY_INLINE void layer_norm_quantize_run(const float* x, size_t rows, size_t n, const float* weight,
                                        const float* bias, float eps, const QuantParams& to,
                                        float* y, Q* q) {
  const QuantizeLanes lanes(to);
  normalize_rows(
      x, rows, n, weight, bias, eps,
      [&](size_t i, FloatVec v) HWY_ATTR {
        if (y != nullptr) hn::StoreU(v, FloatTag(), y + i);
        store_lanes(lanes(v), q + i);
      },
      [&](size_t i, float v) {
        if (y != nullptr) y[i] = v;
        quantize_reference(&v, 1, to, q + i);
      });
}

#else  // no fused multiply-add: the scalar definitions

void unary_run(const float* x, size_t n, const UnaryStep& step, float* y) {
  for (size_t i = 0; i < n; ++i) y[i] = unary_value(step, x[i]);
}
template <typename Q>
void unary_quantize_run(const float* x, size_t n, const UnaryStep& step, const QuantParams& to,
                        Q* q) {
  for (size_t i = 0; i < n; ++i) {
    const float v = unary_value(step, x[i]);
    quantize_reference(&v, 1, to, q + i);
  }
}
void softmax_run(const float* x, size_t rows, size_t n, float* y) {
  softmax_rows_reference(x, static_cast<int64_t>(rows), static_cast<int64_t>(n), y);
}
template <typename Q>
void softmax_quantize_run(const float* x, size_t rows, size_t n, const QuantParams& to, float* row,
                          Q* q) {
  const int64_t count = static_cast<int64_t>(n);
  for (size_t r = 0; r < rows; ++r, x += n, q += n) {
    softmax_rows_reference(x, 1, count, row);
    quantize_reference(row, count, to, q);
  }
}
void layer_norm_run(const float* x, size_t rows, size_t n, const float* weight, const float* bias,
                    float eps, float* y) {
  layer_norm_rows_reference(x, static_cast<int64_t>(rows), static_cast<int64_t>(n), weight, bias,
                            eps, y);
}

template <typename Q>
void layer_norm_quantize_run(const float* x, size_t rows, size_t n, const float* weight,
                             const float* bias, float eps, const QuantParams& to, float* y, Q* q) {
  std::vector<float> row(n);
  for (size_t r = 0; r < rows; ++r, x += n, q += n) {
    float* const out = y == nullptr ? row.data() : y + r * n;
    layer_norm_rows_reference(x, 1, static_cast<int64_t>(n), weight, bias, eps, out);
    quantize_reference(out, static_cast<int64_t>(n), to, q);
  }
}

#endif  // HWY_NATIVE_FMA

#define PT2Q_QUANTIZED_RUNS(NAME, Q)                                                             \
  void unary_quantize_##NAME(const float* x, size_t n, const UnaryStep& step,                    \
                             const QuantParams& to, Q* q) {                                      \
    unary_quantize_run(x, n, step, to, q);                                                       \
  }                                                                                              \
  void softmax_quantize_##NAME(const float* x, size_t rows, size_t n, const QuantParams& to,     \
                               float* row, Q* q) {                                               \
    softmax_quantize_run(x, rows, n, to, row, q);                                                \
  }                                                                                              \
  void layer_norm_quantize_##NAME(const float* x, size_t rows, size_t n, const float* weight,    \
                                  const float* bias, float eps, const QuantParams& to, float* y, \
                                  Q* q) {                                                        \
    layer_norm_quantize_run(x, rows, n, weight, bias, eps, to, y, q);                            \
  }
PT2Q_QUANTIZED_RUNS(u8, uint8_t)
PT2Q_QUANTIZED_RUNS(s8, int8_t)
#undef PT2Q_QUANTIZED_RUNS

// y = op(a, b or scalar), relu by a floor.
template <class Op>
HWY_INLINE void binary_with(const float* a, const float* b, size_t n, float scalar, float floor,
                            float* y, const Op& op) {
  const FloatVec least = hn::Set(FloatTag(), floor), second = hn::Set(FloatTag(), scalar);
  const size_t lanes = hn::Lanes(FloatTag());
  const auto one = [&](const float* at, FloatVec v) HWY_ATTR {
    const FloatVec result = op(hn::LoadU(FloatTag(), at), v);
    return hn::IfThenElse(hn::Lt(result, least), least, result);
  };
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const FloatVec v = b == nullptr ? second : hn::LoadU(FloatTag(), b + i);
    hn::StoreU(one(a + i, v), FloatTag(), y + i);
  }
  if (i == n) return;
  float rest_a[hn::MaxLanes(FloatTag())] = {}, rest_b[hn::MaxLanes(FloatTag())] = {};
  std::memcpy(rest_a, a + i, (n - i) * sizeof(float));
  if (b != nullptr) std::memcpy(rest_b, b + i, (n - i) * sizeof(float));
  const FloatVec v = b == nullptr ? second : hn::LoadU(FloatTag(), rest_b);
  hn::StoreU(one(rest_a, v), FloatTag(), rest_a);
  std::memcpy(y + i, rest_a, (n - i) * sizeof(float));
}

// u where it is `further` than v; NaN of either.
HWY_INLINE FloatVec extreme(FloatVec u, FloatVec v, hn::Mask<FloatTag> further) {
  return hn::IfThenElse(hn::Or(further, hn::IsNaN(u)), u, v);
}

void binary_run(Binary op, const float* a, const float* b, size_t n, float scalar, float floor,
                float* y) {
  const auto run = [&](const auto& f) HWY_ATTR { binary_with(a, b, n, scalar, floor, y, f); };
  switch (op) {
    case Binary::add:
      return run([](FloatVec u, FloatVec v) HWY_ATTR { return hn::Add(u, v); });
    case Binary::sub:
      return run([](FloatVec u, FloatVec v) HWY_ATTR { return hn::Sub(u, v); });
    case Binary::mul:
      return run([](FloatVec u, FloatVec v) HWY_ATTR { return hn::Mul(u, v); });
    case Binary::div:
      return run([](FloatVec u, FloatVec v) HWY_ATTR { return hn::Div(u, v); });
    case Binary::maximum:
      return run([](FloatVec u, FloatVec v) HWY_ATTR { return extreme(u, v, hn::Gt(u, v)); });
    case Binary::minimum:
      return run([](FloatVec u, FloatVec v) HWY_ATTR { return extreme(u, v, hn::Lt(u, v)); });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pt2q
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pt2q {
namespace {

HWY_EXPORT(unary_run);
HWY_EXPORT(unary_quantize_u8);
HWY_EXPORT(unary_quantize_s8);
HWY_EXPORT(binary_run);
HWY_EXPORT(softmax_run);
HWY_EXPORT(softmax_quantize_u8);
HWY_EXPORT(softmax_quantize_s8);
HWY_EXPORT(layer_norm_run);
HWY_EXPORT(layer_norm_quantize_u8);
HWY_EXPORT(layer_norm_quantize_s8);

constexpr int64_t kGrain = 32768;  // elements

void run_binary(Binary op, const float* a, const float* b, int64_t n, float scalar, bool relu,
                float* y) {
  const float floor = relu ? 0.0f : -std::numeric_limits<float>::infinity();
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(binary_run)
    (op, a + begin, b == nullptr ? nullptr : b + begin, static_cast<size_t>(end - begin), scalar,
     floor, y + begin);
  });
}

// body(first row, number of rows) over chunks of rows of n elements.
template <class Body>
void for_rows(int64_t rows, int64_t n, const Body& body) {
  if (n <= 0) return;
  parallel_for(rows, kGrain / (4 * n) + 1,
               [&](int64_t begin, int64_t end) { body(begin, static_cast<size_t>(end - begin)); });
}

template <class Run, typename Q>
void softmax_quantized(Run* run, const float* x, int64_t rows, int64_t n, const QuantParams& to,
                       Q* q) {
  for_rows(rows, n, [&](int64_t first, size_t count) {
    std::vector<float> row(static_cast<size_t>(n));
    run(x + first * n, count, row.size(), to, row.data(), q + first * n);
  });
}

}  // namespace

void unary(const UnaryStep& step, const float* x, int64_t n, float* y) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(unary_run)(x + begin, static_cast<size_t>(end - begin), step, y + begin);
  });
}

#define PT2Q_QUANTIZED_API(NAME, Q)                                                            \
  template <>                                                                                  \
  void unary_quantize(const UnaryStep& step, const float* x, int64_t n, const QuantParams& to, \
                      Q* q) {                                                                  \
    parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {                                  \
      HWY_DYNAMIC_DISPATCH(unary_quantize_##NAME)                                              \
      (x + begin, static_cast<size_t>(end - begin), step, to, q + begin);                      \
    });                                                                                        \
  }                                                                                            \
  template <>                                                                                  \
  void softmax_rows_quantize(const float* x, int64_t rows, int64_t n, const QuantParams& to,   \
                             Q* q) {                                                           \
    softmax_quantized(HWY_DYNAMIC_DISPATCH(softmax_quantize_##NAME), x, rows, n, to, q);       \
  }                                                                                            \
  template <>                                                                                  \
  void layer_norm_rows_quantize(const float* x, int64_t rows, int64_t n, const float* weight,  \
                                const float* bias, float eps, const QuantParams& to, float* y, \
                                Q* q) {                                                        \
    for_rows(rows, n, [&](int64_t first, size_t count) {                                       \
      HWY_DYNAMIC_DISPATCH(layer_norm_quantize_##NAME)                                         \
      (x + first * n, count, static_cast<size_t>(n), weight, bias, eps, to,                    \
       y == nullptr ? nullptr : y + first * n, q + first * n);                                 \
    });                                                                                        \
  }
PT2Q_QUANTIZED_API(u8, uint8_t)
PT2Q_QUANTIZED_API(s8, int8_t)
#undef PT2Q_QUANTIZED_API

void binary(Binary op, const float* a, const float* b, int64_t n, bool relu, float* y) {
  run_binary(op, a, b, n, 0.0f, relu, y);
}

void binary_scalar(Binary op, const float* a, float b, int64_t n, bool relu, float* y) {
  run_binary(op, a, nullptr, n, b, relu, y);
}

void softmax_rows(const float* x, int64_t rows, int64_t n, float* y) {
  for_rows(rows, n, [&](int64_t first, size_t count) {
    HWY_DYNAMIC_DISPATCH(softmax_run)(x + first * n, count, static_cast<size_t>(n), y + first * n);
  });
}

void layer_norm_rows(const float* x, int64_t rows, int64_t n, const float* weight,
                     const float* bias, float eps, float* y) {
  for_rows(rows, n, [&](int64_t first, size_t count) {
    HWY_DYNAMIC_DISPATCH(layer_norm_run)
    (x + first * n, count, static_cast<size_t>(n), weight, bias, eps, y + first * n);
  });
}

}  // namespace pt2q
#endif  // HWY_ONCE
