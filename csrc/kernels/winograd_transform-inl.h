// The transforms of F(4x4, 3x3) over vectors of kBytes. Included by the per-ISA files inside their
// target region, after all other includes; Arch is a distinct type per ISA, so that no two of them
// share a function.
//
// B' (input) and A' (output) by rows; the filters' C, or G, is in winograd_pack.cpp. Integers:
//   B'  4  0 -5  0  1  0     A'  1  1  1  1  1  0
//       0 -4 -4  1  1  0         0  1 -1  2 -2  0
//       0  4 -4 -1  1  0         0  1  1  4  4  0
//       0 -2 -1  2  1  0         0  1 -1  8 -8  2
//       0  2 -1 -2  1  0
//       0  4  0 -5  0  1
// float32 takes the points 0, a, -a, b, -b and infinity with a = 1/b = sqrt(1/2) instead of 1 and
// 2: of the points with a b = 1 those whose rounding errors are about those of the plain loops.
//   B'  1   0  -5/2  0  1  0     A'  1   1   1    1    1   0
//       0 -2a   -2   a  1  0         0   a  -a    b   -b   0
//       0  2a   -2  -a  1  0         0  1/2 1/2   2    2   0
//       0 -b/2 -1/2  b  1  0         0  a/2 -a/2  2b  -2b  1
//       0  b/2 -1/2 -b  1  0
//       0   1   0  -5/2 0  1
#pragma once

#include <cstring>
#include <type_traits>

#include "kernels/winograd_kernel.h"

namespace pt2q::kernels {

template <class Arch, int kBytes>
struct WinogradTransform {
  using Words [[gnu::vector_size(kBytes)]] = int16_t;
  using LastWords[[gnu::vector_size(kBytes < 32 ? kBytes : 32)]] = int16_t;  // 16, or a part
  using Ints [[gnu::vector_size(kBytes)]] = uint32_t;
  using SignedInts [[gnu::vector_size(kBytes)]] = int32_t;
  using Reals [[gnu::vector_size(kBytes)]] = float;
  template <class W>
  static constexpr bool kReal = std::is_same_v<W, Reals>;
  static constexpr float kA = 0.70710678118654752F, kB = 1.4142135623730951F;

  template <class W>
  struct Line {
    W v[kWinogradIn];
  };

  // Channels from `c` of a pixel; bytes are widened.
  template <class W>
  [[gnu::always_inline]] static W load(const uint8_t* pixel, int64_t c, uint8_t flip) {
    if constexpr (kReal<W>) {
      W x;
      std::memcpy(&x, pixel + c * 4, sizeof x);
      return x;
    } else {
      using Bytes [[gnu::vector_size(sizeof(W) / 2)]] = uint8_t;
      Bytes x;
      std::memcpy(&x, pixel + c, sizeof x);
      return __builtin_convertvector(x ^ flip, W);
    }
  }

  template <class W>
  [[gnu::always_inline]] static Line<W> input_line(const Line<W>& d) {
    if constexpr (kReal<W>) {
      const W even = d.v[4] - d.v[2] * 2.0F, odd = (d.v[3] - d.v[1] * 2.0F) * kA;
      const W far_even = d.v[4] - d.v[2] * 0.5F, far_odd = (d.v[3] - d.v[1] * 0.5F) * kB;
      return {{d.v[0] + d.v[4] - d.v[2] * 2.5F, even + odd, even - odd, far_even + far_odd,
               far_even - far_odd, d.v[1] + d.v[5] - d.v[3] * 2.5F}};
    } else {
      const W even = d.v[4] - (d.v[2] << 2), odd = d.v[3] - (d.v[1] << 2);
      const W outer = d.v[4] - d.v[2], inner = d.v[3] - d.v[1];
      const W twice = inner + inner;
      return {{((d.v[0] - d.v[2]) << 2) + outer, even + odd, even - odd, outer + twice,
               outer - twice, d.v[5] - d.v[3] - (inner << 2)}};
    }
  }

  template <class W>
  [[gnu::always_inline]] static void input_lanes(const WinogradInput& in, int64_t c) {
    W columns[kWinogradIn][kWinogradIn];  // [column][row]
    for (int j = 0; j < kWinogradIn; ++j) {
      Line<W> d;
#pragma GCC unroll 6
      for (int i = 0; i < kWinogradIn; ++i)
        d.v[i] = load<W>(in.pixels[i * kWinogradIn + j], c, in.flip);
      const Line<W> t = input_line(d);
#pragma GCC unroll 6
      for (int i = 0; i < kWinogradIn; ++i) columns[j][i] = t.v[i];
    }
    uint8_t* to = in.points + c * (kReal<W> ? 4 : 2);
    for (int i = 0; i < kWinogradIn; ++i) {
      Line<W> d;
#pragma GCC unroll 6
      for (int j = 0; j < kWinogradIn; ++j) d.v[j] = columns[j][i];
      const Line<W> t = input_line(d);
#pragma GCC unroll 6
      for (int j = 0; j < kWinogradIn; ++j) {
        std::memcpy(to, &t.v[j], sizeof(W));
        to += in.point_stride;
      }
    }
  }

  static void input(const WinogradInput& in) {
    constexpr int64_t kLanes = kBytes / 2;
    int64_t c = 0;
    for (; c + kLanes <= in.channels; c += kLanes) input_lanes<Words>(in, c);
    for (; c < in.channels; c += 16) input_lanes<LastWords>(in, c);
  }

  static void real_input(const WinogradInput& in) {
    for (int64_t c = 0; c < in.channels; c += kBytes / 4) input_lanes<Reals>(in, c);
  }

  template <class W>
  [[gnu::always_inline]] static void output_line(const W* m, W* y, ptrdiff_t y_step) {
    const W sum = m[1] + m[2], difference = m[1] - m[2];
    const W far_sum = m[3] + m[4], far = m[3] - m[4];
    y[0] = m[0] + sum + far_sum;
    if constexpr (kReal<W>) {
      const W near = difference * kA, scaled = far * kB;
      y[y_step] = near + scaled;
      y[2 * y_step] = sum * 0.5F + far_sum * 2.0F;
      y[3 * y_step] = near * 0.5F + scaled * 2.0F + m[5];
    } else {
      y[y_step] = difference + (far << 1);
      y[2 * y_step] = sum + (far_sum << 2);
      y[3 * y_step] = difference + (((far << 2) + m[5]) << 1);
    }
  }

  // What remains to be done with a result.
  template <class W>
  [[gnu::always_inline]] static W finished(W y, const int32_t* init) {
    if constexpr (kReal<W>) {
      return y;
    } else {
      constexpr uint32_t kInverseOf9 = 0x38e38e39;
      const SignedInts r = reinterpret_cast<SignedInts>(y * kInverseOf9) >> 6;
      Ints start;
      std::memcpy(&start, init, sizeof start);
      return reinterpret_cast<Ints>(r) + start;
    }
  }

  template <class W>
  [[gnu::always_inline]] static void output_lanes(const WinogradOutput& out, int64_t c) {
    W rows[kWinogradOut][kWinogradIn];
    for (int j = 0; j < kWinogradIn; ++j) {
      W m[kWinogradIn];
#pragma GCC unroll 6
      for (int i = 0; i < kWinogradIn; ++i)
        std::memcpy(&m[i], out.sums + (i * kWinogradIn + j) * out.point_stride + c, sizeof(W));
      output_line(m, &rows[0][j], kWinogradIn);
    }
    for (int i = 0; i < kWinogradOut; ++i) {
      W y[kWinogradOut];
      output_line(rows[i], y, 1);
#pragma GCC unroll 4
      for (int j = 0; j < kWinogradOut; ++j) {
        const W r = finished(y[j], out.init + c);
        std::memcpy(out.acc + (i * kWinogradOut + j) * out.channels + c, &r, sizeof r);
      }
    }
  }

  static void output(const WinogradOutput& out) {
    for (int64_t c = 0; c < out.channels; c += kBytes / 4) output_lanes<Ints>(out, c);
  }

  static void real_output(const WinogradOutput& out) {
    for (int64_t c = 0; c < out.channels; c += kBytes / 4) output_lanes<Reals>(out, c);
  }

  static constexpr WinogradTable table(const DotTable* dot, EpilogueFn epilogue) {
    return {&input, &output, dot, epilogue};
  }
  static constexpr WinogradTable real_table(const DotTable* dot, EpilogueFn epilogue) {
    return {&real_input, &real_output, dot, epilogue};
  }
};

}  // namespace pt2q::kernels
