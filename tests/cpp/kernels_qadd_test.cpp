// kernels/qadd.h and kernels/qconcat.h: equality with the references and with separate operators.
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/qadd.h"
#include "kernels/qconcat.h"
#include "kernels_test_util.h"

namespace pt2q {
namespace {

const QuantParams kU8{0.021, 113, 0, 255};
const QuantParams kS8{0.017, -9, -128, 127};

template <typename Out>
void check_binary(const QuantOperand& a, const QuantOperand& b, int64_t n, const QuantParams& to) {
  for (const QuantBinary op : {QuantBinary::add, QuantBinary::mul}) {
    for (const bool relu : {false, true}) {
      std::vector<Out> y(static_cast<size_t>(n)), expected(y);
      quantized_binary(op, a, b, n, relu, to, y.data());
      quantized_binary_reference(op, a, b, n, relu, to, expected.data());
      ASSERT_TRUE(same_bits(y, expected)) << "n " << n << " relu " << relu;
      quantized_binary_scalar(op, a, -0.37f, n, relu, to, y.data());
      quantized_binary_scalar_reference(op, a, -0.37f, n, relu, to, expected.data());
      ASSERT_TRUE(same_bits(y, expected)) << "scalar, n " << n << " relu " << relu;
    }
  }
}

TEST(QuantizedBinary, EqualsReference) {
  for_each_route([] {
    for (const int64_t n : {0, 1, 15, 16, 17, 64, 129}) {
      const auto u = random_integers<uint8_t>(n, 1), v = random_integers<uint8_t>(n, 2);
      const auto s = random_integers<int8_t>(n, 3), t = random_integers<int8_t>(n, 4);
      const QuantOperand operands[] = {{u.data(), false, kU8},
                                       {v.data(), false, {0.5, 0, 0, 255}},
                                       {s.data(), true, kS8},
                                       {t.data(), true, {1e-3, 5, -128, 127}}};
      for (const QuantOperand& a : operands) {
        for (const QuantOperand& b : operands) {
          check_binary<uint8_t>(a, b, n, {0.04, 100, 0, 255});
          check_binary<int8_t>(a, b, n, {0.03, 2, -127, 127});
          check_binary<float>(a, b, n, {});
        }
      }
    }
  });
}

TEST(QuantizedBinary, EqualsReferenceOnSeveralThreads) {
  const int64_t n = 70003;
  const auto u = random_integers<uint8_t>(n, 1);
  const auto s = random_integers<int8_t>(n, 3);
  for_each_route([&] {
    check_binary<uint8_t>({u.data(), false, kU8}, {s.data(), true, kS8}, n, {0.04, 100, 0, 255});
  });
}

TEST(QuantizedBinary, EqualsTheSeparateOperators) {
  const int64_t n = 1000;
  const auto a = random_integers<uint8_t>(n, 1);
  const auto b = random_integers<int8_t>(n, 2);
  std::vector<float> x(1000), y(1000);
  dequantize(a.data(), n, kU8, x.data());
  dequantize(b.data(), n, kS8, y.data());
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::max(x[i] + y[i], 0.0f);
  const QuantParams to{0.02, 7, 0, 255};
  std::vector<uint8_t> expected(1000), q(1000);
  quantize(x.data(), n, to, expected.data());
  quantized_binary(QuantBinary::add, {a.data(), false, kU8}, {b.data(), true, kS8}, n, true, to,
                   q.data());
  EXPECT_TRUE(same_bits(q, expected));
}

template <typename Q>
void check_concat(const std::vector<ConcatPart>& parts, int64_t pixels, const QuantParams& to) {
  int64_t channels = 0;
  for (const ConcatPart& part : parts) channels += part.channels;
  for (const int64_t stride : {channels, channels + 5}) {
    std::vector<Q> y(static_cast<size_t>(pixels * stride), Q{99}), expected(y);
    concat_channels(parts, pixels, to, y.data(), stride);
    concat_channels_reference(parts, pixels, to, expected.data(), stride);
    ASSERT_TRUE(same_bits(y, expected)) << pixels << " pixels, " << channels << " channels";
  }
}

TEST(Concat, EqualsReference) {
  for_each_route([] {
    for (const int64_t pixels : {1, 49, 3000}) {
      const auto a = random_integers<uint8_t>(pixels * 58, 1);
      const auto b = random_integers<uint8_t>(pixels * 3, 2);
      const auto c = random_integers<int8_t>(pixels * 70, 3);
      const std::vector<ConcatPart> parts = {{a.data(), false, 58, kU8},
                                             {b.data(), false, 3, {0.07, 3, 0, 255}},
                                             {c.data(), true, 70, kS8},
                                             {nullptr, true, 0, kS8}};
      check_concat<uint8_t>(parts, pixels, kU8);                    // the first part is copied
      check_concat<int8_t>(parts, pixels, kS8);                     // the third part is copied
      check_concat<uint8_t>(parts, pixels, {0.021, 113, 10, 200});  // nothing is: narrower range
    }
    const auto wide = random_integers<uint8_t>(3 * 9000, 5);
    check_concat<uint8_t>({{wide.data(), false, 9000, kU8}}, 3, {0.05, 1, 0, 255});
  });
}

TEST(Concat, RowsOfAnyTypeAreCopied) {
  const auto a = random_floats(6, 1), b = random_floats(9, 2);
  const std::vector<BytePart> parts = {{a.data(), 8}, {b.data(), 12}, {nullptr, 0}};
  std::vector<float> y(3 * 6, 7.0f);
  concat_rows(parts, 3, y.data(), 24);
  EXPECT_EQ(y, (std::vector<float>{a[0], a[1], b[0], b[1], b[2], 7.0f, a[2], a[3], b[3], b[4], b[5],
                                   7.0f, a[4], a[5], b[6], b[7], b[8], 7.0f}));
  std::vector<float> once(5);
  concat_rows(parts, 1, once.data());
  EXPECT_EQ(once, (std::vector<float>{a[0], a[1], b[0], b[1], b[2]}));
}

}  // namespace
}  // namespace pt2q
