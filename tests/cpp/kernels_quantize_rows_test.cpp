// kernels/quantize_rows.h: routes against the scalar definition.
#include <gtest/gtest.h>

#include "kernels/quantize_rows.h"
#include "kernels_test_util.h"

namespace pt2q {
namespace {

TEST(QuantizeRow, EqualsReference) {
  const RowQuantParams cases[] = {{0.0371, 13, -128, 127, false, 128},
                                  {0.0371, 0, -127, 127, true, 128},
                                  {0.5, 100, 0, 200, false, 0},
                                  {std::nan(""), 0, -128, 127, true, 128}};
  for_each_route([&] {
    for (const int64_t n : {0, 1, 7, 16, 100, 1000}) {
      auto x = random_floats(n, 9, 3.0f);
      for (size_t i = 0; i < x.size(); i += 7)
        x[i] = std::vector<float>{std::nanf(""), INFINITY, -INFINITY, 1e30f, 0.25f}[i / 7 % 5];
      for (const RowQuantParams& p : cases) {
        std::vector<uint8_t> q(x.size()), expected(x.size());
        quantize_row(x.data(), n, p, q.data());
        quantize_row_reference(x.data(), n, p, expected.data());
        ASSERT_TRUE(same_bits(q, expected)) << n << " of scale " << p.scale;
      }
    }
  });
}

TEST(QuantizeRow, AddsTheZeroPointBeforeRounding) {
  const float x[] = {0.5f, 1.5f, -0.5f, 300.0f, std::nanf("")};
  uint8_t q[5];
  quantize_row(x, 5, {1.0, 1, -128, 127, false, 128}, q);
  // 1.5 and 2.5 round to even; without the zero point 0.5 and 1.5 would give 1 and 3.
  EXPECT_EQ((std::vector<int>{q[0], q[1], q[2], q[3], q[4]}),
            (std::vector<int>{130, 130, 128, 255, 128}));
}

}  // namespace
}  // namespace pt2q
