// Elementwise loops with broadcasting: operands of any strides, vectorisable when they are dense.
#pragma once

#include <algorithm>
#include <array>
#include <numeric>

#include "base/parallel.h"
#include "ops/support/operands.h"

namespace pt2q::ops {

// A loop nest over N operands of one shape: dimensions ordered by the first operand's strides and
// merged where all operands allow, so that equal dense layouts become one row.
template <size_t N>
class RowPlan {
 public:
  RowPlan(const Shape& sizes, const std::array<Shape, N>& strides) {
    std::vector<size_t> order;
    for (size_t d = 0; d < sizes.size(); ++d) {
      if (sizes[d] != 1) order.push_back(d);
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return strides[0][a] > strides[0][b]; });
    for (const size_t d : order) {
      if (!sizes_.empty() && merges(sizes[d], strides, d)) {
        sizes_.back() *= sizes[d];
        for (size_t k = 0; k < N; ++k) strides_[k].back() = strides[k][d];
      } else {
        sizes_.push_back(sizes[d]);
        for (size_t k = 0; k < N; ++k) strides_[k].push_back(strides[k][d]);
      }
    }
    if (sizes_.empty()) {
      sizes_.push_back(1);
      for (size_t k = 0; k < N; ++k) strides_[k].push_back(0);
    }
    inner_ = sizes_.back();
    sizes_.pop_back();
    for (size_t k = 0; k < N; ++k) {
      inner_strides_[k] = strides_[k].back();
      strides_[k].pop_back();
    }
    rows_ = inner_ == 0 ? 0 : numel_of(sizes_);
  }

  const std::array<int64_t, N>& inner_strides() const { return inner_strides_; }

  // row(offsets, n): n elements from `offsets`, in steps of inner_strides(). Runs in parallel.
  template <typename Row>
  void run(Row&& row) const {
    constexpr int64_t kGrain = 1 << 15;  // elements that are worth a thread
    if (rows_ == 1) {
      parallel_for(inner_, kGrain,
                   [&](int64_t begin, int64_t end) { row(shifted({}, begin), end - begin); });
      return;
    }
    parallel_for(rows_, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, inner_)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t r = begin; r < end; ++r) row(offsets_of(r), inner_);
                 });
  }

 private:
  bool merges(int64_t size, const std::array<Shape, N>& strides, size_t d) const {
    for (size_t k = 0; k < N; ++k) {
      if (strides_[k].back() != strides[k][d] * size) return false;
    }
    return true;
  }
  std::array<int64_t, N> shifted(std::array<int64_t, N> offsets, int64_t steps) const {
    for (size_t k = 0; k < N; ++k) offsets[k] += steps * inner_strides_[k];
    return offsets;
  }
  std::array<int64_t, N> offsets_of(int64_t row) const {
    std::array<int64_t, N> offsets{};
    for (size_t d = sizes_.size(); d-- > 0;) {
      const int64_t i = row % sizes_[d];
      row /= sizes_[d];
      for (size_t k = 0; k < N; ++k) offsets[k] += i * strides_[k][d];
    }
    return offsets;
  }

  Shape sizes_;  // outer dimensions
  std::array<Shape, N> strides_;
  int64_t inner_ = 1;
  std::array<int64_t, N> inner_strides_{};
  int64_t rows_ = 0;
};

// out[i] = fn(in[i]); `out` has the shape of `in`.
template <typename In, typename Out, typename Fn>
void map1(const Tensor& in, Tensor& out, Fn fn) {
  const RowPlan<2> plan(out.sizes(), {out.strides(), in.strides()});
  auto* y = out.mutable_data<Out>();
  const auto* x = in.data<In>();
  const auto step = plan.inner_strides();
  plan.run([&](const std::array<int64_t, 2>& at, int64_t n) {
    Out* o = y + at[0];
    const In* a = x + at[1];
    if (step[0] == 1 && step[1] == 1) {
      for (int64_t i = 0; i < n; ++i) o[i] = fn(a[i]);
    } else {
      for (int64_t i = 0; i < n; ++i) o[i * step[0]] = fn(a[i * step[1]]);
    }
  });
}

// out[i] = fn(a[i], b[i]); a and b broadcast to the shape of `out`.
template <typename In, typename Out, typename Fn>
void map2(const Tensor& first, const Tensor& second, Tensor& out, Fn fn) {
  const Tensor ta = first.expand(out.sizes());
  const Tensor tb = second.expand(out.sizes());
  const RowPlan<3> plan(out.sizes(), {out.strides(), ta.strides(), tb.strides()});
  auto* y = out.mutable_data<Out>();
  const auto* pa = ta.data<In>();
  const auto* pb = tb.data<In>();
  const auto step = plan.inner_strides();
  plan.run([&](const std::array<int64_t, 3>& at, int64_t n) {
    Out* o = y + at[0];
    const In* a = pa + at[1];
    const In* b = pb + at[2];
    if (step[0] == 1 && step[1] == 1 && step[2] == 1) {
      for (int64_t i = 0; i < n; ++i) o[i] = fn(a[i], b[i]);
    } else if (step[0] == 1 && step[1] == 1 && step[2] == 0) {
      const In scalar = b[0];
      for (int64_t i = 0; i < n; ++i) o[i] = fn(a[i], scalar);
    } else {
      for (int64_t i = 0; i < n; ++i) o[i * step[0]] = fn(a[i * step[1]], b[i * step[2]]);
    }
  });
}

// out[i] = fn(a[i], b[i], c[i]) with broadcasting; the operands may differ in type.
template <typename A, typename B, typename Out, typename Fn>
void map3(const Tensor& first, const Tensor& second, const Tensor& third, Tensor& out, Fn fn) {
  const Tensor ta = first.expand(out.sizes());
  const Tensor tb = second.expand(out.sizes());
  const Tensor tc = third.expand(out.sizes());
  const RowPlan<4> plan(out.sizes(), {out.strides(), ta.strides(), tb.strides(), tc.strides()});
  auto* y = out.mutable_data<Out>();
  const auto* pa = ta.data<A>();
  const auto* pb = tb.data<B>();
  const auto* pc = tc.data<B>();
  const auto s = plan.inner_strides();
  plan.run([&](const std::array<int64_t, 4>& at, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      y[at[0] + i * s[0]] = fn(pa[at[1] + i * s[1]], pb[at[2] + i * s[2]], pc[at[3] + i * s[3]]);
    }
  });
}

// A tensor is rounded to the promoted dtype first; a number goes to the compute type directly (as
// PyTorch's bfloat16 kernels do).
template <typename T>
Tensor operand(const Value& value, DType common) {
  return is_number(value) ? as_tensor(value, DTypeOf<T>::value)
                          : as_tensor(value, common).to(DTypeOf<T>::value);
}

// The operand that decides the output's memory layout: the first tensor with the output's shape.
Tensor layout_source(const std::vector<Value>& operands, const Shape& sizes);

// y = fn(x) with the arithmetic in the compute type of argument 0 (fn keeps the type).
template <typename Fn>
Value unary_same(const Args& args, Fn fn) {
  const TensorMeta meta = infer_output(args);
  return visit_compute(meta.dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    const Tensor x = args.tensor(0).to(DTypeOf<T>::value);
    Tensor out = empty_like(x, DTypeOf<T>::value);
    map1<T, T>(x, out, fn);
    return out.to(meta.dtype);
  });
}

// y = fn(x) in float or double; integers count as float32.
template <typename Fn>
Value unary_float(const Args& args, Fn fn) {
  const TensorMeta meta = infer_output(args);
  return visit_float(meta.dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    const Tensor x = args.tensor(0).to(DTypeOf<T>::value);
    Tensor out = empty_like(x, DTypeOf<T>::value);
    map1<T, T>(x, out, fn);
    return out.to(meta.dtype);
  });
}

// Broadcasting binary operation in T, the type of `common` as computed: fn takes two T and gives
// Out.
template <typename T, typename Out, typename Fn>
Value binary_as(const Args& args, const Value& a, const Value& b, DType common, Fn fn) {
  const TensorMeta meta = infer_output(args);
  const Tensor x = operand<T>(a, common);
  const Tensor y = operand<T>(b, common);
  Tensor out = make_output(TensorMeta{meta.sizes, DTypeOf<Out>::value, meta.device},
                           layout_source({x, y}, hints(meta.sizes)));
  map2<T, Out>(x, y, out, fn);
  return out.to(meta.dtype);
}

// The result is of the operands' type.
template <typename Fn>
Value binary_same(const Args& args, const Value& a, const Value& b, DType common, Fn fn) {
  return visit_compute(common, [&](auto tag) -> Value {
    return binary_as<decltype(tag), decltype(tag)>(args, a, b, common, fn);
  });
}

// The same in float or double only.
template <typename Fn>
Value binary_float(const Args& args, const Value& a, const Value& b, DType common, Fn fn) {
  return visit_float(common, [&](auto tag) -> Value {
    return binary_as<decltype(tag), decltype(tag)>(args, a, b, common, fn);
  });
}

// The same with a bool result (comparisons).
template <typename Fn>
Value binary_bool(const Args& args, const Value& a, const Value& b, DType common, Fn fn) {
  return visit_compute(common, [&](auto tag) -> Value {
    return binary_as<decltype(tag), bool>(args, a, b, common, fn);
  });
}

// Inference of a broadcasting operation over arguments 0 and 1.
TensorMeta infer_binary(const Args& args);      // promoted dtype
Value infer_binary_promoted(const Args& args);  // the same, as an InferFn
Value infer_binary_float(const Args& args);     // integers become float32
Value infer_binary_bool(const Args& args);

}  // namespace pt2q::ops
