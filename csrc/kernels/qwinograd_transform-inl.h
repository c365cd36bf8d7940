// The transforms of F(4x4, 3x3) over vectors of kBytes. Included by the per-ISA files inside their
// target region, after all other includes; Arch is a distinct type per ISA, so that no two of them
// share a function.
//
// B' (input) and A' (output) by rows, the filters' C in qwinograd_pack.cpp:
//   B'  4  0 -5  0  1  0     A'  1  1  1  1  1  0
//       0 -4 -4  1  1  0         0  1 -1  2 -2  0
//       0  4 -4 -1  1  0         0  1  1  4  4  0
//       0 -2 -1  2  1  0         0  1 -1  8 -8  2
//       0  2 -1 -2  1  0
//       0  4  0 -5  0  1
#pragma once

#include <cstring>

#include "kernels/qwinograd_kernel.h"

namespace pt2q::kernels {

template <class Arch, int kBytes>
struct WinogradTransform {
  using Words [[gnu::vector_size(kBytes)]] = int16_t;
  using LastWords[[gnu::vector_size(kBytes < 32 ? kBytes : 32)]] = int16_t;  // 16, or a part
  using Ints [[gnu::vector_size(kBytes)]] = uint32_t;
  using SignedInts [[gnu::vector_size(kBytes)]] = int32_t;

  // Bytes, widened.
  template <class W>
  [[gnu::always_inline]] static W load(const uint8_t* p, uint8_t flip) {
    using Bytes [[gnu::vector_size(sizeof(W) / 2)]] = uint8_t;
    Bytes x;
    std::memcpy(&x, p, sizeof x);
    return __builtin_convertvector(x ^ flip, W);
  }

  template <class W>
  struct Line {
    W v[kWinogradIn];
  };

  template <class W>
  [[gnu::always_inline]] static Line<W> input_line(const Line<W>& d) {
    const W even = d.v[4] - (d.v[2] << 2), odd = d.v[3] - (d.v[1] << 2);
    const W outer = d.v[4] - d.v[2], inner = d.v[3] - d.v[1];
    const W twice = inner + inner;
    return {{((d.v[0] - d.v[2]) << 2) + outer, even + odd, even - odd, outer + twice, outer - twice,
             d.v[5] - d.v[3] - (inner << 2)}};
  }

  template <class W>
  [[gnu::always_inline]] static void input_lanes(const WinogradInput& in, int64_t c) {
    W columns[kWinogradIn][kWinogradIn];  // [column][row]
    for (int j = 0; j < kWinogradIn; ++j) {
      Line<W> d;
#pragma GCC unroll 6
      for (int i = 0; i < kWinogradIn; ++i)
        d.v[i] = load<W>(in.pixels[i * kWinogradIn + j] + c, in.flip);
      const Line<W> t = input_line(d);
#pragma GCC unroll 6
      for (int i = 0; i < kWinogradIn; ++i) columns[j][i] = t.v[i];
    }
    int16_t* to = in.points + c;
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

  [[gnu::always_inline]] static void output_line(const Ints* m, ptrdiff_t step, Ints* y,
                                                 ptrdiff_t y_step) {
    const Ints sum = m[step] + m[2 * step], difference = m[step] - m[2 * step];
    const Ints far_sum = m[3 * step] + m[4 * step], far = m[3 * step] - m[4 * step];
    y[0] = m[0] + sum + far_sum;
    y[y_step] = difference + (far << 1);
    y[2 * y_step] = sum + (far_sum << 2);
    y[3 * y_step] = difference + (((far << 2) + m[5 * step]) << 1);
  }

  [[gnu::always_inline]] static void output_lanes(const WinogradOutput& out, int64_t c) {
    Ints rows[kWinogradOut][kWinogradIn];
    for (int j = 0; j < kWinogradIn; ++j) {
      Ints m[kWinogradIn];
#pragma GCC unroll 6
      for (int i = 0; i < kWinogradIn; ++i) {
        std::memcpy(&m[i], out.sums + (i * kWinogradIn + j) * out.point_stride + c, sizeof(Ints));
      }
      output_line(m, 1, &rows[0][j], kWinogradIn);
    }
    Ints init;
    std::memcpy(&init, out.init + c, sizeof init);
    for (int i = 0; i < kWinogradOut; ++i) {
      Ints y[kWinogradOut];
      output_line(rows[i], 1, y, 1);
#pragma GCC unroll 4
      for (int j = 0; j < kWinogradOut; ++j) {
        constexpr uint32_t kInverseOf9 = 0x38e38e39;
        const SignedInts r = reinterpret_cast<SignedInts>(y[j] * kInverseOf9) >> 6;
        const Ints sum = reinterpret_cast<Ints>(r) + init;
        std::memcpy(out.acc + (i * kWinogradOut + j) * out.channels + c, &sum, sizeof sum);
      }
    }
  }

  static void output(const WinogradOutput& out) {
    for (int64_t c = 0; c < out.channels; c += kBytes / 4) output_lanes(out, c);
  }
};

}  // namespace pt2q::kernels
