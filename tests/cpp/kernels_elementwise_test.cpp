// kernels/elementwise.h: routes against the scalar definitions, those against double precision.
#include <gtest/gtest.h>

#include <functional>

#include "kernels/elementwise.h"
#include "kernels_test_util.h"

namespace pt2q {
namespace {

const float kInf = std::numeric_limits<float>::infinity();

const std::vector<UnaryStep> kSteps = {{Unary::relu},
                                       {Unary::clip, 0.0f, 6.0f},
                                       {Unary::leaky_relu, 0.1f},
                                       {Unary::hardswish},
                                       {Unary::hardsigmoid},
                                       {Unary::silu},
                                       {Unary::sigmoid},
                                       {Unary::tanh},
                                       {Unary::mish},
                                       {Unary::gelu_erf},
                                       {Unary::gelu_tanh},
                                       {Unary::exp},
                                       {Unary::erf},
                                       {Unary::floor},
                                       {Unary::ceil},
                                       {Unary::round},
                                       {Unary::trunc},
                                       {Unary::frac},
                                       {Unary::abs},
                                       {Unary::neg},
                                       {Unary::square},
                                       {Unary::reciprocal},
                                       {Unary::rsqrt}};

std::vector<float> inputs(int64_t n) {
  auto x = random_floats(n, 3, 4.0f);
  const float hard[] = {kInf,  -kInf,  std::nanf(""), 0.0f,   -0.0f,  88.8f, -88.0f, -103.9f,
                        1e30f, -1e30f, 1e-40f,        -1e-6f, 0.632f, 1.0f,  -5.6f,  10.5f};
  for (size_t i = 0; i < x.size(); i += 5) x[i] = hard[i / 5 % 16];
  return x;
}

// Bitwise equal, any NaN equal to any other.
::testing::AssertionResult same_values(std::vector<float> a, std::vector<float> b) {
  for (std::vector<float>* v : {&a, &b}) {
    for (float& f : *v) f = std::isnan(f) ? std::nanf("") : f;
  }
  return same_bits(a, b);
}

TEST(Unary, EqualsScalarDefinition) {
  for_each_route([] {
    for (const UnaryStep& step : kSteps) {
      for (const int64_t n : {0, 1, 15, 17, 100, 40001}) {
        const auto x = inputs(n);
        std::vector<float> y(x.size()), expected(x.size());
        unary(step, x.data(), n, y.data());
        for (size_t i = 0; i < x.size(); ++i) expected[i] = unary_value(step, x[i]);
        ASSERT_TRUE(same_values(y, expected)) << static_cast<int>(step.op) << " n " << n;
        const QuantParams to{0.05, 40, 0, 255};
        std::vector<uint8_t> q(x.size()), q_expected(x.size());
        unary_quantize(step, x.data(), n, to, q.data());
        quantize_reference(expected.data(), n, to, q_expected.data());
        ASSERT_TRUE(same_bits(q, q_expected)) << static_cast<int>(step.op) << " n " << n;
        std::vector<float> in_place = x;
        unary(step, in_place.data(), n, in_place.data());
        ASSERT_TRUE(same_values(in_place, expected)) << "in place";
      }
    }
  });
}

struct Accuracy {
  UnaryStep step;
  std::function<double(double)> truth;
  float low, high;
  double ulps;      // allowed, of the true result
  double absolute;  // or this much
};

double ulp_of(double y) {
  const float f = std::fabs(static_cast<float>(y));
  return static_cast<double>(std::nextafter(f, kInf)) - static_cast<double>(f);
}

TEST(Unary, IsAccurate) {
  const auto sigmoid = [](double x) { return 1.0 / (1.0 + std::exp(-x)); };
  const auto gelu = [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); };
  const std::vector<Accuracy> checks = {
      {{Unary::exp}, [](double x) { return std::exp(x); }, -103.0f, 88.7f, 1.1, 0.0},
      {{Unary::sigmoid}, sigmoid, -87.0f, 30.0f, 3.0, 0.0},
      {{Unary::silu}, [=](double x) { return x * sigmoid(x); }, -87.0f, 100.0f, 3.0, 0.0},
      {{Unary::tanh}, [](double x) { return std::tanh(x); }, -10.0f, 10.0f, 2.0, 0.0},
      {{Unary::mish},
       [](double x) { return x * std::tanh(std::log1p(std::exp(x))); },
       -80.0f,
       100.0f,
       4.0,
       0.0},
      {{Unary::erf}, [](double x) { return std::erf(x); }, -5.0f, 5.0f, 2.3, 0.0},
      {{Unary::gelu_erf}, gelu, -1.0f, 12.0f, 4.0, 0.0},
      // x * (1 + erf): what cancels here is lost of the result, not of its scale.
      {{Unary::gelu_erf}, gelu, -12.0f, -1.0f, 1.0, 9e-7},
      {{Unary::gelu_tanh},
       [](double x) {
         return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
       },
       -8.0f,
       12.0f,
       4.0,
       1e-6},
  };
  for (const Accuracy& check : checks) {
    double worst = 0.0, worst_at = 0.0;
    for (int i = 0; i <= 200000; ++i) {
      const float x = check.low + (check.high - check.low) * static_cast<float>(i) / 200000.0f;
      const double truth = check.truth(static_cast<double>(x));
      const double error = std::fabs(static_cast<double>(unary_value(check.step, x)) - truth);
      const double allowed_scale = std::max(ulp_of(truth), check.absolute / check.ulps);
      if (error / allowed_scale > worst) {
        worst = error / allowed_scale;
        worst_at = static_cast<double>(x);
      }
    }
    RecordProperty("ulps_" + std::to_string(static_cast<int>(check.step.op)),
                   std::to_string(worst));
    EXPECT_LE(worst, check.ulps) << "operator " << static_cast<int>(check.step.op) << " at "
                                 << worst_at;
  }
}

TEST(Binary, EqualsScalarDefinition) {
  for_each_route([] {
    for (const Binary op :
         {Binary::add, Binary::sub, Binary::mul, Binary::div, Binary::maximum, Binary::minimum}) {
      for (const bool relu : {false, true}) {
        for (const int64_t n : {0, 1, 16, 37, 40001}) {
          const auto a = inputs(n), b = random_floats(n, 8);
          std::vector<float> y(a.size()), expected(a.size());
          binary(op, a.data(), b.data(), n, relu, y.data());
          for (size_t i = 0; i < a.size(); ++i) expected[i] = binary_value(op, a[i], b[i], relu);
          ASSERT_TRUE(same_values(y, expected)) << "n " << n;
          binary_scalar(op, a.data(), -1.7f, n, relu, y.data());
          for (size_t i = 0; i < a.size(); ++i) expected[i] = binary_value(op, a[i], -1.7f, relu);
          ASSERT_TRUE(same_values(y, expected)) << "scalar, n " << n;
        }
      }
    }
  });
}

TEST(SoftmaxRows, EqualsReferenceAndSumsToOne) {
  for_each_route([] {
    for (const int64_t n : {1, 3, 16, 50, 128, 1000}) {
      const int64_t rows = n == 128 ? 300 : 5;
      const auto x = random_floats(rows * n, 4, 5.0f);
      std::vector<float> y(x.size()), expected(x.size());
      softmax_rows(x.data(), rows, n, y.data());
      softmax_rows_reference(x.data(), rows, n, expected.data());
      ASSERT_TRUE(same_bits(y, expected)) << "n " << n;
      double sum = 0.0;
      for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(y[static_cast<size_t>(i)]);
      EXPECT_NEAR(sum, 1.0, 1e-6);
      const QuantParams to{1.0 / 256, 0, 0, 255};
      std::vector<uint8_t> q(x.size()), q_expected(x.size());
      softmax_rows_quantize(x.data(), rows, n, to, q.data());
      quantize_reference(expected.data(), rows * n, to, q_expected.data());
      ASSERT_TRUE(same_bits(q, q_expected)) << "n " << n;
    }
  });
}

TEST(SoftmaxRows, PropagatesNanAndIgnoresMinusInfinity) {
  std::vector<float> x = {0.0f, -kInf, 0.0f, std::nanf(""), 1.0f, 2.0f};
  std::vector<float> y(6);
  softmax_rows(x.data(), 2, 3, y.data());
  EXPECT_EQ(y[0], 0.5f);
  EXPECT_EQ(y[1], 0.0f);
  for (size_t i = 3; i < 6; ++i) EXPECT_TRUE(std::isnan(y[i]));
}

TEST(LayerNormRows, EqualsReferenceAndNormalises) {
  for_each_route([] {
    for (const int64_t n : {1, 7, 16, 100, 768}) {
      const auto x = random_floats(40 * n, 5, 3.0f), w = random_floats(n, 6),
                 b = random_floats(n, 7);
      std::vector<float> y(x.size()), expected(x.size());
      for (const bool affine : {false, true}) {
        const float* weight = affine ? w.data() : nullptr;
        const float* bias = affine ? b.data() : nullptr;
        layer_norm_rows(x.data(), 40, n, weight, bias, 1e-5f, y.data());
        layer_norm_rows_reference(x.data(), 40, n, weight, bias, 1e-5f, expected.data());
        ASSERT_TRUE(same_bits(y, expected)) << "n " << n;
        const QuantParams to{0.021, -3, -128, 120};
        std::vector<int8_t> q(x.size()), q_expected(x.size());
        quantize_reference(expected.data(), 40 * n, to, q_expected.data());
        layer_norm_rows_quantize(x.data(), 40, n, weight, bias, 1e-5f, to, nullptr, q.data());
        ASSERT_TRUE(same_bits(q, q_expected)) << "n " << n;
        y = x;  // in place
        q.assign(q.size(), 0);
        layer_norm_rows_quantize(y.data(), 40, n, weight, bias, 1e-5f, to, y.data(), q.data());
        ASSERT_TRUE(same_bits(y, expected)) << "n " << n;
        ASSERT_TRUE(same_bits(q, q_expected)) << "n " << n;
      }
    }
  });
  const auto x = random_floats(768, 5, 3.0f);
  std::vector<float> y(768);
  layer_norm_rows(x.data(), 1, 768, nullptr, nullptr, 1e-5f, y.data());
  double mean = 0.0, square = 0.0;
  for (const float v : y) {
    mean += static_cast<double>(v) / 768;
    square += static_cast<double>(v) * static_cast<double>(v) / 768;
  }
  EXPECT_NEAR(mean, 0.0, 1e-6);
  EXPECT_NEAR(square, 1.0, 1e-5);  // eps makes it a little less
}

}  // namespace
}  // namespace pt2q
