// kernels/reduce.h: routes against the scalar definitions.
#include <gtest/gtest.h>

#include "kernels/reduce.h"
#include "kernels_test_util.h"

namespace pt2q {
namespace {

constexpr Reduction kAll[] = {Reduction::sum, Reduction::mean, Reduction::norm, Reduction::maximum,
                              Reduction::minimum};

TEST(Reduce, EqualsReference) {
  for_each_route([] {
    for (const int64_t n : {1, 3, 8, 17, 130}) {
      for (const int64_t inner : {1, 5, 16, 300}) {
        const int64_t outer = 7;
        auto x = random_floats(outer * n * inner, 5, 3.0f);
        if (n > 8) x[static_cast<size_t>(4 * inner)] = std::nanf("");
        const auto size = static_cast<size_t>(outer * inner);
        for (const Reduction op : kAll) {
          std::vector<float> y(size), expected(size);
          reduce(op, x.data(), outer, n, inner, y.data());
          reduce_reference(op, x.data(), outer, n, inner, expected.data());
          ASSERT_EQ(std::isnan(y[0]), n > 8) << n << " x " << inner;
          y[0] = expected[0] = 0.0f;
          ASSERT_TRUE(same_bits(y, expected)) << static_cast<int>(op) << ": " << n << "," << inner;
        }
      }
    }
  });
}

TEST(Reduce, KnownValues) {
  const std::vector<float> x = {1, 2, 3, 4, -5, 6};
  std::vector<float> y(3);
  reduce(Reduction::sum, x.data(), 1, 2, 3, y.data());
  EXPECT_EQ(y, (std::vector<float>{5, -3, 9}));
  reduce(Reduction::mean, x.data(), 2, 3, 1, y.data());
  EXPECT_EQ(y[0], 2.0f);
  reduce(Reduction::maximum, x.data(), 1, 2, 3, y.data());
  EXPECT_EQ(y, (std::vector<float>{4, 2, 6}));
  reduce(Reduction::minimum, x.data(), 2, 3, 1, y.data());
  EXPECT_EQ(y[1], -5.0f);
}

}  // namespace
}  // namespace pt2q
