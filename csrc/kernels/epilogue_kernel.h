// The epilogue over a vector layer V of 16 lanes. Included by the per-ISA files inside their target
// region, after all other includes; V is a distinct type per ISA, so no two files share a function.
//
// V: F (16 floats), I (16 int32); load_i, load_f, set_f, to_float, to_int (rint half even), fma,
// mul, mul_i, add, div, select_lt(a, b, x, y), zero_if_nan(i, f), load_q(ptr, n, is_s8),
// load_fn(ptr, n), store_fn(ptr, f, n), store_bf16(ptr, f, n), store_q16(ptr, i, zero_point, qmin,
// qmax, n, is_s8) and store_q64 / store_q32x2 / store_q16x4; kTables, whether looking up values
// pays, and if so Table (32 floats), load_table(ptr), lookup(table, bits), whose low five bits
// count, bits(f), sub, fnma(a, b, c) = c - a * b, positive(f) = max(f, 0), min_magnitude(a, b) and
// max_magnitude, rounding_error(f) = f - rint(f), any_above(f, bound).
#pragma once

#include "kernels/activation_curve.h"
#include "kernels/epilogue.h"

namespace pt2q::kernels {

template <class V>
struct EpilogueKernel {
  using F = typename V::F;
  using I = typename V::I;

  static F real(const EpilogueBlock& b, const int32_t* acc, int c) {
    return V::fma(V::to_float(V::load_i(acc + c)), V::load_f(b.scale + c), V::load_f(b.bias + c));
  }

  // The same with parameters of the row, where there are any.
  static F real_at(const EpilogueBlock& b, int row, int c) {
    if (b.real_acc != nullptr)
      return V::add(V::load_f(b.real_acc + row * b.acc_stride + c), V::load_f(b.bias + c));
    const int32_t* acc = b.acc + row * b.acc_stride;
    if (b.rows_scaled.scale == nullptr) return real(b, acc, c);
    const RowScales of = b.rows_scaled.from(row);
    const I zeros = V::mul_i(V::load_i(b.sums + c), V::set_i(*of.zero));
    const F scale = V::mul(V::load_f(b.scale + c), V::set_f(*of.scale));
    return V::fma(V::to_float(V::sub_i(V::load_i(acc + c), zeros)), scale, V::load_f(b.bias + c));
  }

  static F add_residual(const PostOp& op, const void* residual, ptrdiff_t at, int n, F y) {
    if (op.residual_type == ElemType::f32) {
      return V::add(y, V::load_fn(static_cast<const float*>(residual) + at, n));
    }
    const I r =
        V::load_q(static_cast<const uint8_t*>(residual) + at, n, op.residual_type == ElemType::s8);
    const F centered = V::to_float(V::sub_i(r, V::set_i(op.residual_zero_point)));
    return V::fma(centered, V::set_f(op.residual_scale), y);
  }

  // Ops of a few instructions. The others go through post_op_block, many values at a time.
  static bool is_short(PostOpKind kind) {
    return kind == PostOpKind::relu || kind == PostOpKind::clip || kind == PostOpKind::leaky_relu ||
           kind == PostOpKind::hardswish || kind == PostOpKind::add;
  }

  static F apply(const PostOp& op, F y) {
    switch (op.kind) {
      case PostOpKind::relu: {
        const F zero = V::set_f(0.0F);
        return V::select_lt(y, zero, zero, y);
      }
      case PostOpKind::clip: {
        const F lo = V::set_f(op.alpha);
        const F hi = V::set_f(op.beta);
        return V::select_lt(y, lo, lo, V::select_lt(hi, y, hi, y));
      }
      case PostOpKind::leaky_relu: {
        return V::select_lt(y, V::set_f(0.0F), V::mul(V::set_f(op.alpha), y), y);
      }
      default: {
        const F zero = V::set_f(0.0F);
        const F six = V::set_f(6.0F);
        const F t = V::add(y, V::set_f(3.0F));
        const F c = V::select_lt(t, zero, zero, V::select_lt(six, t, six, t));
        return V::div(V::mul(y, c), six);
      }
    }
  }

  static void general(const Epilogue& e, const EpilogueBlock& b) {
    bool all_short = true;
    for (int i = 0; i < e.op_count; ++i) all_short = all_short && is_short(e.ops[i].kind);
    if (!all_short) return buffered(e, b);
    for (int row = 0; row < b.rows; ++row) {
      for (int c = 0; c < b.channels; c += 16) {
        const int n = b.channels - c < 16 ? b.channels - c : 16;
        F y = real_at(b, row, c);
        for (int i = 0; i < e.op_count; ++i) y = step(e.ops[i], b, row, c, n, y);
        store_general(e, b, row * b.dst_stride + c, n, y);
      }
    }
  }

  static F step(const PostOp& op, const EpilogueBlock& b, int row, int c, int n, F y) {
    return op.kind == PostOpKind::add
               ? add_residual(op, b.residual, row * b.residual_stride + c, n, y)
               : apply(op, y);
  }

  // Real values of many rows wait in a buffer, so that long functions work on several vectors at
  // once.
  static void buffered(const Epilogue& e, const EpilogueBlock& b) {
    constexpr int kBuffer = 1024, kColumns = 256;
    alignas(64) float values[kBuffer];
    for (int c0 = 0; c0 < b.channels; c0 += kColumns) {
      const int columns = b.channels - c0 < kColumns ? b.channels - c0 : kColumns;
      const int pitch = (columns + 15) / 16 * 16;
      const int most = kBuffer / pitch;
      for (int row = 0; row < b.rows; row += most) {
        const int rows = b.rows - row < most ? b.rows - row : most;
        buffered_part(e, b, row, rows, c0, columns, values, pitch);
      }
    }
  }

  static void buffered_part(const Epilogue& e, const EpilogueBlock& b, int first, int rows, int c0,
                            int columns, float* values, int pitch) {
    const auto each = [&](const auto& body) {
      for (int r = 0; r < rows; ++r) {
        for (int c = 0; c < columns; c += 16)
          body(first + r, c0 + c, columns - c < 16 ? columns - c : 16, values + r * pitch + c);
      }
    };
    each([&](int row, int c, int, float* at) { V::store_fn(at, real_at(b, row, c), 16); });
    for (int i = 0; i < e.op_count; ++i) {
      if (!is_short(e.ops[i].kind)) {
        post_op_block(e.ops[i], values, rows * pitch);
        continue;
      }
      each([&](int row, int c, int n, float* at) {
        V::store_fn(at, step(e.ops[i], b, row, c, n, V::load_f(at)), 16);
      });
    }
    each([&](int row, int c, int n, float* at) {
      store_general(e, b, row * b.dst_stride + c, n, V::load_f(at));
    });
  }

  static void store_general(const Epilogue& e, const EpilogueBlock& b, ptrdiff_t at, int n, F y) {
    if (e.out == ElemType::f32) {
      V::store_fn(static_cast<float*>(b.dst) + at, y, n);
      return;
    }
    if (e.out == ElemType::bf16) {
      V::store_bf16(static_cast<uint16_t*>(b.dst) + at, y, n);
      return;
    }
    const F scaled = V::mul(y, V::set_f(e.inv_scale));
    const F lo = V::set_f(static_cast<float>(e.qmin - e.zero_point));
    const F hi = V::set_f(static_cast<float>(e.qmax - e.zero_point));
    // The bounds are integers, so clamping before rounding is clamping after it.
    const F clamped = V::select_lt(scaled, lo, lo, V::select_lt(hi, scaled, hi, scaled));
    I q = V::add_i(V::to_int(clamped), V::set_i(e.zero_point));
    q = V::zero_if_nan(q, scaled);
    V::store_q16(static_cast<uint8_t*>(b.dst) + at, q, n);
  }

  struct FastArgs {
    F inv_scale;
    F residual_scale;
    I residual_zero;
    typename V::Pack pack;
  };

  template <bool kAdd, bool kAddS8>
  static I fast_lane(const FastArgs& a, const EpilogueBlock& b, int row, int c, int n) {
    F y = real(b, b.acc + row * b.acc_stride, c);
    if (kAdd) {
      const I r = V::load_q(static_cast<const uint8_t*>(b.residual) + row * b.residual_stride + c,
                            n, kAddS8);
      y = V::fma(V::to_float(V::sub_i(r, a.residual_zero)), a.residual_scale, y);
    }
    return V::to_int(V::mul(y, a.inv_scale));
  }

  template <bool kS8, bool kAdd, bool kAddS8>
  static void fast(const Epilogue& e, const EpilogueBlock& b) {
    FastArgs a{V::set_f(e.inv_scale), V::set_f(e.add.residual_scale),
               V::set_i(e.add.residual_zero_point),
               V::template make_pack<kS8>(e.zero_point, e.qmin, e.qmax)};
    uint8_t* dst = static_cast<uint8_t*>(b.dst);
    if (b.channels == 32) {
      int row = 0;
      for (; row + 2 <= b.rows; row += 2) {
        const I q0 = fast_lane<kAdd, kAddS8>(a, b, row, 0, 16);
        const I q1 = fast_lane<kAdd, kAddS8>(a, b, row, 16, 16);
        const I q2 = fast_lane<kAdd, kAddS8>(a, b, row + 1, 0, 16);
        const I q3 = fast_lane<kAdd, kAddS8>(a, b, row + 1, 16, 16);
        uint8_t* at = dst + row * b.dst_stride;
        V::template store_q32x2<kS8>(at, at + b.dst_stride, q0, q1, q2, q3, a.pack);
      }
      for (; row < b.rows; ++row) fast_tail<kS8, kAdd, kAddS8>(a, b, dst, row, 0);
      return;
    }
    int row = 0;
    for (; b.channels == 16 && row + 4 <= b.rows; row += 4) {
      const I q0 = fast_lane<kAdd, kAddS8>(a, b, row, 0, 16);
      const I q1 = fast_lane<kAdd, kAddS8>(a, b, row + 1, 0, 16);
      const I q2 = fast_lane<kAdd, kAddS8>(a, b, row + 2, 0, 16);
      const I q3 = fast_lane<kAdd, kAddS8>(a, b, row + 3, 0, 16);
      V::template store_q16x4<kS8>(dst + row * b.dst_stride, b.dst_stride, q0, q1, q2, q3, a.pack);
    }
    for (; row < b.rows; ++row) {
      int c = 0;
      for (; c + 64 <= b.channels; c += 64) {
        const I q0 = fast_lane<kAdd, kAddS8>(a, b, row, c, 16);
        const I q1 = fast_lane<kAdd, kAddS8>(a, b, row, c + 16, 16);
        const I q2 = fast_lane<kAdd, kAddS8>(a, b, row, c + 32, 16);
        const I q3 = fast_lane<kAdd, kAddS8>(a, b, row, c + 48, 16);
        V::template store_q64<kS8>(dst + row * b.dst_stride + c, q0, q1, q2, q3, a.pack);
      }
      fast_tail<kS8, kAdd, kAddS8>(a, b, dst, row, c);
    }
  }

  template <bool kS8, bool kAdd, bool kAddS8>
  static void fast_tail(const FastArgs& a, const EpilogueBlock& b, uint8_t* dst, int row, int c) {
    for (; c < b.channels; c += 16) {
      const int n = b.channels - c < 16 ? b.channels - c : 16;
      const I q = fast_lane<kAdd, kAddS8>(a, b, row, c, n);
      V::template store_packed16<kS8>(dst + row * b.dst_stride + c, q, a.pack, n);
    }
  }

  // The shortcut through an activation's curve. Sixty-four channels at a time: one look tells
  // whether all are certain.
  struct CurveArgs {
    const ActivationCurve& curve;
    typename V::Table table[4];

    explicit CurveArgs(const ActivationCurve& c)
        : curve(c),
          table{V::load_table(c.coefficients[0]), V::load_table(c.coefficients[1]),
                V::load_table(c.coefficients[2]), V::load_table(c.coefficients[3])} {}
  };

  static I curve_lane(const CurveArgs& a, const EpilogueBlock& b, int row, int c, F& doubt) {
    const F magic = V::set_f(ActivationCurve::kMagic);
    const F y = real(b, b.acc + row * b.acc_stride, c);
    const F v = V::min_magnitude(y, V::set_f(a.curve.end));
    const F rounded = V::fma(v, V::set_f(a.curve.per_step), magic);
    const F t = V::fnma(V::sub(rounded, magic), V::set_f(a.curve.step), v);
    const auto piece = V::bits(rounded);
    F z = V::fma(V::lookup(a.table[3], piece), t, V::lookup(a.table[2], piece));
    z = V::fma(z, t, V::lookup(a.table[1], piece));
    z = V::fma(z, t, V::lookup(a.table[0], piece));
    z = V::fma(V::positive(y), V::set_f(a.curve.inv_scale), z);
    const I q = V::to_int(z);
    doubt = V::max_magnitude(doubt, V::rounding_error(z));
    return q;
  }

  static void exact_part(const Epilogue& e, const EpilogueBlock& b, int row, int c, int n) {
    EpilogueBlock part = b;
    part.acc += row * b.acc_stride + c;
    part.rows = 1;
    part.channels = n;
    part.scale += c;
    part.bias += c;
    part.dst = static_cast<uint8_t*>(b.dst) + row * b.dst_stride + c;
    general(e, part);
  }

  template <bool kS8>
  static void curved(const Epilogue& e, const EpilogueBlock& b) {
    const CurveArgs a(*e.curve);
    const auto pack = V::template make_pack<kS8>(e.zero_point, e.qmin, e.qmax);
    auto* const dst = static_cast<uint8_t*>(b.dst);
    for (int row = 0; row < b.rows; ++row) {
      int c = 0;
      for (; c + 64 <= b.channels; c += 64) {
        F doubt = V::set_f(0.0F);
        const I q0 = curve_lane(a, b, row, c, doubt);
        const I q1 = curve_lane(a, b, row, c + 16, doubt);
        const I q2 = curve_lane(a, b, row, c + 32, doubt);
        const I q3 = curve_lane(a, b, row, c + 48, doubt);
        if (V::any_above(doubt, a.curve.certain)) {
          for (int part = 0; part < 64; part += 16)
            curved_part<kS8>(e, a, b, pack, row, c + part, 16);
        } else {
          V::template store_q64<kS8>(dst + row * b.dst_stride + c, q0, q1, q2, q3, pack);
        }
      }
      for (; c < b.channels; c += 16) {
        const int n = b.channels - c < 16 ? b.channels - c : 16;
        curved_part<kS8>(e, a, b, pack, row, c, n);
      }
    }
  }

  // Up to sixteen channels; the definition where one is uncertain.
  template <bool kS8>
  static void curved_part(const Epilogue& e, const CurveArgs& a, const EpilogueBlock& b,
                          const typename V::Pack& pack, int row, int c, int n) {
    F doubt = V::set_f(0.0F);
    const I q = curve_lane(a, b, row, c, doubt);
    if (V::any_above(doubt, a.curve.certain)) return exact_part(e, b, row, c, n);
    auto* const dst = static_cast<uint8_t*>(b.dst);
    V::template store_packed16<kS8>(dst + row * b.dst_stride + c, q, pack, n);
  }

  static void run(const Epilogue& e, const EpilogueBlock& b) {
    if constexpr (V::kTables) {
      if (e.curve != nullptr)
        return e.out == ElemType::s8 ? curved<true>(e, b) : curved<false>(e, b);
    }
    if (!e.fast) return general(e, b);
    const bool s8 = e.out == ElemType::s8;
    if (!e.has_add) return s8 ? fast<true, false, false>(e, b) : fast<false, false, false>(e, b);
    if (e.add.residual_type == ElemType::s8)
      return s8 ? fast<true, true, true>(e, b) : fast<false, true, true>(e, b);
    return s8 ? fast<true, true, false>(e, b) : fast<false, true, false>(e, b);
  }
};

}  // namespace pt2q::kernels
