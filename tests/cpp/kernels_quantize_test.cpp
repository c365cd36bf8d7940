// kernels/quantize.h: every route equals the scalar reference bit for bit.
#include <gtest/gtest.h>

#include "isa_cap.h"
#include "kernels/quantize.h"
#include "kernels_test_util.h"

namespace pt2q {
namespace {

const std::vector<int64_t> kSizes = {0, 1, 3, 15, 16, 17, 63, 64, 65, 255, 1000, 70001};

// Random values plus everything rounding and clamping can stumble over.
std::vector<float> hard_floats(int64_t n, uint32_t seed, double scale) {
  std::vector<float> x = random_floats(n, seed, 40.0f * static_cast<float>(scale));
  const float inf = std::numeric_limits<float>::infinity();
  const float s = static_cast<float>(scale);
  const std::vector<float> hard = {std::nanf(""), inf,         -inf,      1e30f,     -1e30f,
                                   0.0f,          -0.0f,       0.5f * s,  -0.5f * s, 1.5f * s,
                                   2.5f * s,      -1.5f * s,   1e-42f,    3e9f * s,  -3e9f * s,
                                   127.5f * s,    -128.5f * s, 254.5f * s};
  for (size_t i = 0; i < x.size(); i += 3) x[i] = hard[(i / 3 + seed) % hard.size()];
  return x;
}

template <typename Q>
std::vector<QuantParams> params_of() {
  const int lo = std::numeric_limits<Q>::min(), hi = std::numeric_limits<Q>::max();
  return {{0.1, 0, lo, hi},
          {1.0 / 3, lo + 100, lo, hi},
          {1e-7, 3, lo + 1, hi - 1},
          {0.5, lo + 64, lo, lo + 127},
          {123.0, hi, lo, hi}};
}

template <typename T>
class QuantizeTest : public ::testing::Test {};
using QuantizedTypes = ::testing::Types<uint8_t, int8_t>;
TYPED_TEST_SUITE(QuantizeTest, QuantizedTypes);

TYPED_TEST(QuantizeTest, QuantizeEqualsReference) {
  for_each_route([] {
    for (const QuantParams& p : params_of<TypeParam>()) {
      for (const int64_t n : kSizes) {
        const auto x = hard_floats(n, static_cast<uint32_t>(n), p.scale);
        std::vector<TypeParam> q(x.size()), expected(x.size());
        quantize(x.data(), n, p, q.data());
        quantize_reference(x.data(), n, p, expected.data());
        ASSERT_TRUE(same_bits(q, expected)) << "scale " << p.scale << " n " << n;
      }
    }
  });
}

TYPED_TEST(QuantizeTest, RowsApartEqualTheReferenceAndNothingBetweenIsTouched) {
  for_each_route([] {
    for (const QuantParams& p : params_of<TypeParam>()) {
      for (const int64_t width : {1, 3, 16, 17, 64, 351}) {
        const int64_t rows = width == 351 ? 200 : 5, stride = width + 7;
        const auto x = hard_floats(rows * width, static_cast<uint32_t>(width), p.scale);
        std::vector<TypeParam> q(static_cast<size_t>(rows * stride), 99), expected = q;
        quantize_apart(x.data(), rows, width, p, q.data(), stride);
        for (int64_t r = 0; r < rows; ++r)
          quantize_reference(x.data() + r * width, width, p, expected.data() + r * stride);
        ASSERT_TRUE(same_bits(q, expected)) << "scale " << p.scale << " width " << width;
      }
    }
  });
}

TYPED_TEST(QuantizeTest, DequantizeEqualsReference) {
  for_each_route([] {
    for (const QuantParams& p : params_of<TypeParam>()) {
      for (const int64_t n : kSizes) {
        const auto q = random_integers<TypeParam>(n, 7);
        std::vector<float> x(q.size()), expected(q.size());
        dequantize(q.data(), n, p, x.data());
        dequantize_reference(q.data(), n, p, expected.data());
        ASSERT_TRUE(same_bits(x, expected)) << "scale " << p.scale << " n " << n;
      }
    }
  });
}

template <typename QIn, typename QOut>
void check_requantize() {
  for (const QuantParams& from : params_of<QIn>()) {
    for (const QuantParams& to : params_of<QOut>()) {
      for (const int64_t n : {int64_t{5}, int64_t{256}, int64_t{40003}}) {
        const auto q = random_integers<QIn>(n, 11);
        std::vector<QOut> out(q.size()), expected(q.size());
        requantize(q.data(), n, from, to, out.data());
        requantize_reference(q.data(), n, from, to, expected.data());
        ASSERT_TRUE(same_bits(out, expected)) << from.scale << " to " << to.scale << " n " << n;
        std::vector<float> x(q.size());
        dequantize(q.data(), n, from, x.data());
        quantize(x.data(), n, to, out.data());
        ASSERT_TRUE(same_bits(out, expected)) << "the two operators";
      }
    }
  }
}

TYPED_TEST(QuantizeTest, RequantizeEqualsReferenceAndTheTwoOperators) {
  for_each_route([] {
    check_requantize<TypeParam, uint8_t>();
    check_requantize<TypeParam, int8_t>();
  });
}

TYPED_TEST(QuantizeTest, FakeQuantizeEqualsQuantizeDequantize) {
  for_each_route([] {
    for (const QuantParams& p : params_of<TypeParam>()) {
      for (const int64_t n : kSizes) {
        const auto x = hard_floats(n, static_cast<uint32_t>(n + 1), p.scale);
        std::vector<float> y(x.size()), expected(x.size());
        fake_quantize(x.data(), n, p, y.data());
        fake_quantize_reference(x.data(), n, p, expected.data());
        ASSERT_TRUE(same_bits(y, expected)) << "scale " << p.scale << " n " << n;
        std::vector<TypeParam> q(x.size());
        quantize(x.data(), n, p, q.data());
        dequantize(q.data(), n, p, expected.data());
        ASSERT_TRUE(same_bits(y, expected)) << "the two operators";
      }
    }
  });
}

TYPED_TEST(QuantizeTest, PerChannelEqualsReference) {
  struct Shape {
    int64_t outer, channels, inner;
  };
  for_each_route([] {
    for (const Shape& s : std::vector<Shape>{{1, 5, 9},
                                             {2, 37, 1},
                                             {3, 16, 1},
                                             {1, 64, 2048},
                                             {7, 3, 33},
                                             {300, 130, 1},
                                             {0, 4, 4},
                                             {2, 3, 0}}) {
      for (const bool fractional : {false, true}) {
        std::vector<float> scales(static_cast<size_t>(s.channels)), zero_points(scales.size());
        for (size_t c = 0; c < scales.size(); ++c) {
          scales[c] = 0.01f + 0.003f * static_cast<float>(c);
          zero_points[c] = static_cast<float>(c % 7) - 3.0f + (fractional ? 0.3f : 0.0f);
        }
        const int lo = std::numeric_limits<TypeParam>::min();
        const ChannelQuantParams p{scales.data(), zero_points.data(), lo + 1, lo + 255};
        const auto x = hard_floats(s.outer * s.channels * s.inner, 5, 0.05);
        std::vector<TypeParam> q(x.size()), q_expected(x.size());
        quantize_per_channel(x.data(), s.outer, s.channels, s.inner, p, q.data());
        quantize_per_channel_reference(x.data(), s.outer, s.channels, s.inner, p,
                                       q_expected.data());
        ASSERT_TRUE(same_bits(q, q_expected)) << s.channels << "x" << s.inner;
        std::vector<float> y(x.size()), y_expected(x.size());
        dequantize_per_channel(q.data(), s.outer, s.channels, s.inner, p, y.data());
        dequantize_per_channel_reference(q.data(), s.outer, s.channels, s.inner, p,
                                         y_expected.data());
        ASSERT_TRUE(same_bits(y, y_expected)) << s.channels << "x" << s.inner;
        fake_quantize_per_channel(x.data(), s.outer, s.channels, s.inner, p, y.data());
        fake_quantize_per_channel_reference(x.data(), s.outer, s.channels, s.inner, p,
                                            y_expected.data());
        ASSERT_TRUE(same_bits(y, y_expected)) << s.channels << "x" << s.inner;
      }
    }
  });
}

TEST(IsaCap, HoldsForHighwaysKernelsToo) {
  const int64_t all = hwy::SupportedTargets();
  const std::vector<float> x = hard_floats(1000, 1, 0.1);
  const QuantParams p{0.1, 3, 0, 255};
  std::vector<uint8_t> q(x.size()), expected(x.size());
  {
    const testing::IsaCap avx512(kernels::Isa::avx512);
    EXPECT_EQ(hwy::SupportedTargets() & HWY_AVX3_DL, 0);
    const testing::IsaCap avx2(kernels::Isa::avx2);
    EXPECT_EQ(hwy::SupportedTargets() & (HWY_AVX3 | HWY_AVX3_DL), 0);
    const testing::IsaCap portable(kernels::Isa::portable);
    EXPECT_EQ(hwy::SupportedTargets() & (HWY_AVX2 | HWY_AVX3 | HWY_AVX3_DL | HWY_SSE4), 0);
    quantize(x.data(), 1000, p, q.data());
  }
  EXPECT_EQ(hwy::SupportedTargets(), all);
  quantize(x.data(), 1000, p, expected.data());
  EXPECT_TRUE(same_bits(q, expected));
}

TEST(QuantizeReference, MatchesHandComputedValues) {
  const QuantParams p{0.5, 10, 0, 255};
  const std::vector<float> x = {0.25f, 0.75f, -0.25f, 1000.0f, -1000.0f, std::nanf("")};
  std::vector<uint8_t> q(x.size());
  quantize_reference(x.data(), 6, p, q.data());
  EXPECT_EQ(q, (std::vector<uint8_t>{10, 12, 10, 255, 0, 0}));  // 0.5 -> 0, 1.5 -> 2, -0.5 -> 0
  std::vector<float> y(x.size());
  dequantize_reference(q.data(), 6, p, y.data());
  EXPECT_EQ(y, (std::vector<float>{0.0f, 1.0f, 0.0f, 122.5f, -5.0f, -5.0f}));
}

}  // namespace
}  // namespace pt2q
