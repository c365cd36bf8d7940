// The 16-lane vector layer in plain C++: the fallback, and the twin that tests hold the others to.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/bfloat16.h"

namespace pt2q::kernels {

struct VecPortable {
  struct F {
    float v[16];
  };
  struct I {
    int32_t v[16];
  };
  struct Pack {
    int32_t zero_point, qmin, qmax;
  };

  template <class R, class Fn>
  static R map(Fn fn) {
    R r;
    for (int i = 0; i < 16; ++i) r.v[i] = fn(i);
    return r;
  }
  static I load_i(const int32_t* p) {
    return map<I>([&](int i) { return p[i]; });
  }
  static F load_f(const float* p) {
    return map<F>([&](int i) { return p[i]; });
  }
  static F load_fn(const float* p, int n) {
    return map<F>([&](int i) { return i < n ? p[i] : 0.0F; });
  }
  static I load_q(const uint8_t* p, int n, bool is_s8) {
    return map<I>([&](int i) -> int32_t {
      if (i >= n) return 0;
      return is_s8 ? int32_t{static_cast<int8_t>(p[i])} : int32_t{p[i]};
    });
  }
  static F set_f(float x) {
    return map<F>([&](int) { return x; });
  }
  static I set_i(int32_t x) {
    return map<I>([&](int) { return x; });
  }
  static F to_float(I a) {
    return map<F>([&](int i) { return static_cast<float>(a.v[i]); });
  }
  // Out of range and NaN give INT32_MIN, as the vector instructions do.
  static I to_int(F a) {
    return map<I>([&](int i) {
      const float r = std::nearbyint(a.v[i]);
      return r >= -2147483648.0F && r < 2147483648.0F ? static_cast<int32_t>(r) : INT32_MIN;
    });
  }
  static F fma(F a, F b, F c) {
    return map<F>([&](int i) { return std::fma(a.v[i], b.v[i], c.v[i]); });
  }
  static F mul(F a, F b) {
    return map<F>([&](int i) { return a.v[i] * b.v[i]; });
  }
  static F add(F a, F b) {
    return map<F>([&](int i) { return a.v[i] + b.v[i]; });
  }
  static F div(F a, F b) {
    return map<F>([&](int i) { return a.v[i] / b.v[i]; });
  }
  // a < b ? x : y
  static F select_lt(F a, F b, F x, F y) {
    return map<F>([&](int i) { return a.v[i] < b.v[i] ? x.v[i] : y.v[i]; });
  }
  static I add_i(I a, I b) {
    return map<I>([&](int i) {
      return static_cast<int32_t>(static_cast<uint32_t>(a.v[i]) + static_cast<uint32_t>(b.v[i]));
    });
  }
  static I mul_i(I a, I b) {
    return map<I>([&](int i) { return a.v[i] * b.v[i]; });
  }
  static I sub_i(I a, I b) {
    return map<I>([&](int i) { return a.v[i] - b.v[i]; });
  }
  static I zero_if_nan(I a, F f) {
    return map<I>([&](int i) { return f.v[i] == f.v[i] ? a.v[i] : 0; });
  }
  static void store_fn(float* p, F a, int n) {
    for (int i = 0; i < n; ++i) p[i] = a.v[i];
  }
  static void store_bf16(uint16_t* p, F a, int n) {
    for (int i = 0; i < n; ++i) p[i] = to_bfloat16(a.v[i]);
  }
  static void store_q16(uint8_t* p, I a, int n) {
    for (int i = 0; i < n; ++i) p[i] = static_cast<uint8_t>(a.v[i]);
  }

  static constexpr bool kTables = true;  // slow here too, but tests then see it anywhere
  struct Table {
    const float* p;
  };
  static Table load_table(const float* p) { return {p}; }
  static F lookup(const Table& t, I at) {
    return map<F>([&](int i) { return t.p[at.v[i] & 31]; });
  }
  static I bits(F a) {
    I r;
    std::memcpy(r.v, a.v, sizeof r.v);
    return r;
  }
  static F sub(F a, F b) {
    return map<F>([&](int i) { return a.v[i] - b.v[i]; });
  }
  static F fnma(F a, F b, F c) {
    return map<F>([&](int i) { return std::fma(-a.v[i], b.v[i], c.v[i]); });
  }
  static F positive(F a) {
    return map<F>([&](int i) { return a.v[i] > 0.0F ? a.v[i] : 0.0F; });
  }
  static F min_magnitude(F a, F b) {
    return map<F>([&](int i) { return std::fmin(std::fabs(a.v[i]), std::fabs(b.v[i])); });
  }
  static F max_magnitude(F a, F b) {
    return map<F>([&](int i) { return std::fmax(std::fabs(a.v[i]), std::fabs(b.v[i])); });
  }
  static F rounding_error(F a) {
    return map<F>([&](int i) { return a.v[i] - std::nearbyint(a.v[i]); });
  }
  static bool any_above(F a, float bound) {
    for (const float v : a.v) {
      if (v > bound) return true;
    }
    return false;
  }

  template <bool kS8>
  static Pack make_pack(int32_t zero_point, int32_t qmin, int32_t qmax) {
    return {zero_point, qmin, qmax};
  }
  template <bool kS8>
  static void store_packed16(uint8_t* p, I a, const Pack& k, int n) {
    for (int i = 0; i < n; ++i) {
      const int64_t q = int64_t{a.v[i]} + k.zero_point;
      p[i] = static_cast<uint8_t>(q < k.qmin ? k.qmin : (q > k.qmax ? k.qmax : q));
    }
  }
  template <bool kS8>
  static void store_q64(uint8_t* p, I a, I b, I c, I d, const Pack& k) {
    store_packed16<kS8>(p, a, k, 16);
    store_packed16<kS8>(p + 16, b, k, 16);
    store_packed16<kS8>(p + 32, c, k, 16);
    store_packed16<kS8>(p + 48, d, k, 16);
  }
  template <bool kS8>
  static void store_q32x2(uint8_t* p, uint8_t* q, I a, I b, I c, I d, const Pack& k) {
    store_packed16<kS8>(p, a, k, 16);
    store_packed16<kS8>(p + 16, b, k, 16);
    store_packed16<kS8>(q, c, k, 16);
    store_packed16<kS8>(q + 16, d, k, 16);
  }
  template <bool kS8>
  static void store_q16x4(uint8_t* p, ptrdiff_t stride, I a, I b, I c, I d, const Pack& k) {
    store_packed16<kS8>(p, a, k, 16);
    store_packed16<kS8>(p + stride, b, k, 16);
    store_packed16<kS8>(p + 2 * stride, c, k, 16);
    store_packed16<kS8>(p + 3 * stride, d, k, 16);
  }
};

}  // namespace pt2q::kernels
