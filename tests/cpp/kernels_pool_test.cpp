// kernels/pool.h: geometry against hand-computed values, every route against the references.
#include <gtest/gtest.h>

#include "kernels/pool.h"
#include "kernels_test_util.h"

namespace pt2q {
namespace {

struct Case {
  NhwcShape shape;
  Pool2d pool;
};

std::vector<Case> cases() {
  Pool2d stem{3, 3, 2, 2, 1, 1}, ceil{3, 3, 2, 2, 0, 0}, plain{2, 2, 2, 2}, wide{5, 2, 1, 3, 2, 1},
      dilated{3, 3, 1, 1, 1, 1, 2, 2}, same{3, 3, 1, 1, 1, 1};
  ceil.ceil_mode = true;
  wide.ceil_mode = true;
  return {{{1, 112, 112, 64}, stem}, {{2, 13, 11, 3}, stem},  {{1, 9, 9, 200}, ceil},
          {{3, 8, 6, 17}, plain},    {{1, 10, 12, 33}, wide}, {{1, 9, 9, 70}, dilated},
          {{2, 7, 7, 257}, same},    {{1, 1, 1, 5}, same},    {{1, 6, 6, 130}, ceil}};
}

int64_t numel(const NhwcShape& s) { return s.batch * s.height * s.width * s.channels; }

int64_t out_pixels(const Case& c) {
  const Pool2d& p = c.pool;
  return c.shape.batch *
         pool_output_size(c.shape.height, p.kernel_h, p.stride_h, p.padding_h, p.dilation_h,
                          p.ceil_mode) *
         pool_output_size(c.shape.width, p.kernel_w, p.stride_w, p.padding_w, p.dilation_w,
                          p.ceil_mode);
}

TEST(PoolGeometry, OutputSizeFollowsPyTorch) {
  EXPECT_EQ(pool_output_size(112, 3, 2, 1, 1, false), 56);
  EXPECT_EQ(pool_output_size(7, 2, 2, 0, 1, false), 3);
  EXPECT_EQ(pool_output_size(7, 2, 2, 0, 1, true), 4);
  EXPECT_EQ(pool_output_size(4, 3, 2, 1, 1, true), 3);
  EXPECT_EQ(pool_output_size(3, 2, 2, 1, 1, true), 2);  // a third window would start in the padding
  EXPECT_EQ(pool_output_size(9, 3, 1, 0, 2, false), 5);
  EXPECT_EQ(pool_output_size(2, 3, 1, 0, 1, false), 0);
}

template <typename T>
void check_max(const std::vector<T>& x, const Case& c, int64_t stride) {
  std::vector<T> y(static_cast<size_t>(out_pixels(c) * stride), T{1}), expected = y;
  max_pool(x.data(), c.shape, c.pool, y.data(), stride);
  max_pool_reference(x.data(), c.shape, c.pool, expected.data(), stride);
  EXPECT_TRUE(same_bits(y, expected)) << c.shape.channels << " channels";
}

TEST(MaxPool, EqualsReference) {
  for_each_route([] {
    for (const Case& c : cases()) {
      const int64_t n = numel(c.shape);
      for (const int64_t stride : {c.shape.channels, c.shape.channels + 9}) {
        check_max(random_integers<uint8_t>(n, 1), c, stride);
        check_max(random_integers<int8_t>(n, 2), c, stride);
        auto x = random_floats(n, 3);
        x[static_cast<size_t>(n / 2)] = std::nanf("");
        x[static_cast<size_t>(n / 3)] = -std::numeric_limits<float>::infinity();
        check_max(x, c, stride);
      }
    }
  });
}

template <typename In, typename Out>
void check_average(const Case& c, const QuantParams& from, const QuantParams& to) {
  const auto x = random_integers<In>(numel(c.shape), 4);
  std::vector<Out> y(static_cast<size_t>(out_pixels(c) * c.shape.channels)), expected(y);
  avg_pool(x.data(), c.shape, c.pool, from, to, y.data());
  avg_pool_reference(x.data(), c.shape, c.pool, from, to, expected.data());
  EXPECT_TRUE(same_bits(y, expected)) << c.shape.channels << " channels";
}

TEST(AvgPool, EqualsReference) {
  for_each_route([] {
    for (Case c : cases()) {
      c.pool.dilation_h = c.pool.dilation_w = 1;
      for (const int variant : {0, 1, 2}) {
        c.pool.count_include_pad = variant != 1;
        c.pool.divisor_override = variant == 2 ? 7 : 0;
        const QuantParams u8{0.02, 17, 0, 255}, s8{0.03, -4, -128, 127};
        check_average<uint8_t, uint8_t>(c, u8, {0.019, 3, 0, 255});
        check_average<uint8_t, int8_t>(c, u8, s8);
        check_average<uint8_t, float>(c, u8, {});
        check_average<int8_t, uint8_t>(c, s8, u8);
        check_average<int8_t, int8_t>(c, s8, {0.01, 0, -127, 127});
        check_average<int8_t, float>(c, s8, {});
        const auto x = random_floats(numel(c.shape), 6);
        std::vector<float> y(static_cast<size_t>(out_pixels(c) * c.shape.channels)), expected(y);
        avg_pool_f32(x.data(), c.shape, c.pool, y.data());
        avg_pool_f32_reference(x.data(), c.shape, c.pool, expected.data());
        EXPECT_TRUE(same_bits(y, expected)) << c.shape.channels << " channels";
      }
    }
  });
}

TEST(AvgPool, ReferenceMatchesHandComputedValues) {
  const std::vector<uint8_t> x = {10, 20, 30, 40};  // 2 x 2, one channel, zero point 10, scale 0.5
  const NhwcShape shape{1, 2, 2, 1};
  Pool2d pool{2, 2, 2, 2, 1, 1};
  std::vector<float> y(4);
  avg_pool_reference(x.data(), shape, pool, {0.5, 10, 0, 255}, {}, y.data());
  EXPECT_EQ(y, (std::vector<float>{0.0f, 1.25f, 2.5f, 3.75f}));
  pool.count_include_pad = false;
  avg_pool_reference(x.data(), shape, pool, {0.5, 10, 0, 255}, {}, y.data());
  EXPECT_EQ(y, (std::vector<float>{0.0f, 5.0f, 10.0f, 15.0f}));
  std::vector<uint8_t> q(1);
  adaptive_avg_pool_reference(x.data(), shape, 1, 1, {0.5, 10, 0, 255}, {0.25, 1, 0, 255},
                              q.data());
  EXPECT_EQ(q[0], 31);  // (0 + 10 + 20 + 30) / 4 * 0.5 = 7.5 = 30 steps of 0.25
}

TEST(AdaptiveAvgPool, EqualsReference) {
  struct Adaptive {
    NhwcShape shape;
    int64_t h, w;
  };
  for_each_route([] {
    for (const Adaptive& a : std::vector<Adaptive>{{{1, 7, 7, 2048}, 1, 1},
                                                   {{3, 5, 7, 300}, 2, 3},
                                                   {{2, 8, 8, 5}, 3, 3},
                                                   {{1, 3, 3, 20}, 6, 6},
                                                   {{1, 30, 40, 100}, 1, 1},
                                                   {{50, 7, 7, 40}, 1, 1}}) {
      const QuantParams from{0.02, 30, 0, 255}, to{0.011, 5, 0, 255};
      const auto x = random_integers<uint8_t>(numel(a.shape), 9);
      const size_t n = static_cast<size_t>(a.shape.batch * a.h * a.w * a.shape.channels);
      std::vector<uint8_t> y(n), expected(n);
      adaptive_avg_pool(x.data(), a.shape, a.h, a.w, from, to, y.data());
      adaptive_avg_pool_reference(x.data(), a.shape, a.h, a.w, from, to, expected.data());
      EXPECT_TRUE(same_bits(y, expected)) << a.shape.channels;
      const auto xf = random_floats(numel(a.shape), 10);
      std::vector<float> yf(n), yf_expected(n);
      adaptive_avg_pool_f32(xf.data(), a.shape, a.h, a.w, yf.data());
      adaptive_avg_pool_f32_reference(xf.data(), a.shape, a.h, a.w, yf_expected.data());
      EXPECT_TRUE(same_bits(yf, yf_expected)) << a.shape.channels;
      // An image gives the same bits in a batch and alone.
      const NhwcShape one{1, a.shape.height, a.shape.width, a.shape.channels};
      const int64_t last = a.shape.batch - 1;
      std::vector<float> alone(n / static_cast<size_t>(a.shape.batch));
      adaptive_avg_pool_f32(xf.data() + last * numel(one), one, a.h, a.w, alone.data());
      EXPECT_TRUE(same_bits(
          alone, std::vector<float>(yf.end() - static_cast<int64_t>(alone.size()), yf.end())));
    }
  });
}

}  // namespace
}  // namespace pt2q
