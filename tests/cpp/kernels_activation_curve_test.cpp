// The shortcut to quantized activations against the definition, over the floats themselves.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/activation_curve.h"
#include "kernels/elementwise.h"

namespace pt2q::kernels {
namespace {

constexpr float kLargest = 256.0F;

float integer_of(float z) { return std::nearbyint(std::fmin(std::fmax(z, -kLargest), kLargest)); }

// Every `stride`th float from `first` up to a magnitude of 64: how many are in doubt among those
// that a network gives (1/64 to 4), and whether all others round as the definition does.
struct Tally {
  int64_t typical = 0, doubtful = 0, wrong = 0;

  void count(Unary op, const ActivationCurve& curve, uint32_t first, uint32_t stride) {
    std::vector<float> x;
    for (uint32_t bits = first; (bits & 0x7fffffffU) < 0x42800000U; bits += stride) {
      float v;
      std::memcpy(&v, &bits, sizeof v);
      x.push_back(v);
    }
    std::vector<float> y(x.size());
    unary({op, 0.0F, 0.0F}, x.data(), static_cast<int64_t>(x.size()), y.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const float z = curve_value(curve, x[i]);
      const bool usual = std::fabs(x[i]) > 0.015625F && std::fabs(x[i]) < 4.0F;
      typical += usual ? 1 : 0;
      if (std::fabs(z - std::nearbyint(z)) > curve.certain) {
        doubtful += usual ? 1 : 0;
      } else {
        wrong += integer_of(z) != integer_of(y[i] * curve.inv_scale) ? 1 : 0;
      }
    }
  }
};

TEST(ActivationCurve, RoundsAsTheDefinitionWhereItIsCertain) {
  for (const Unary op : {Unary::gelu_erf, Unary::gelu_tanh, Unary::silu}) {
    for (const float scale : {0.002F, 0.00994F, 0.031F, 0.5F}) {
      if (op == Unary::silu && scale < 0.005F) continue;  // refused: its bump is wide
      const auto curve = make_activation_curve(op, 1.0F / scale, kLargest);
      ASSERT_NE(curve, nullptr) << scale;
      Tally tally;
      tally.count(op, *curve, 0, 1009);
      tally.count(op, *curve, 0x80000000U, 1013);
      EXPECT_EQ(tally.wrong, 0) << static_cast<int>(op) << " at " << scale;
      EXPECT_LT(tally.doubtful, tally.typical / 50) << static_cast<int>(op) << " at " << scale;
    }
  }
}

TEST(ActivationCurve, IsRefusedWhereItWouldSeldomBeCertain) {
  EXPECT_EQ(make_activation_curve(Unary::relu, 100.0F, kLargest), nullptr);
  EXPECT_EQ(make_activation_curve(Unary::tanh, 100.0F, kLargest), nullptr);
  EXPECT_EQ(make_activation_curve(Unary::gelu_erf, 1e6F, kLargest), nullptr);
  EXPECT_EQ(
      make_activation_curve(Unary::gelu_erf, std::numeric_limits<float>::infinity(), kLargest),
      nullptr);
}

}  // namespace
}  // namespace pt2q::kernels
