// kernels/observe.h: equality with the scalar definitions on every route.
#include <gtest/gtest.h>

#include "kernels/observe.h"
#include "kernels_test_util.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

const float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();
const std::vector<int64_t> kSizes = {0, 1, 2, 15, 16, 17, 64, 65, 1000, 300007};

bool same(const MinMax& a, const MinMax& b) {
  return std::memcmp(&a.min, &b.min, 4) == 0 && std::memcmp(&a.max, &b.max, 4) == 0 &&
         a.has_nan == b.has_nan && a.has_inf == b.has_inf;
}

void expect_ranges_equal(const std::vector<float>& x) {
  const int64_t n = static_cast<int64_t>(x.size());
  EXPECT_TRUE(same(min_max(x.data(), n), min_max_reference(x.data(), n))) << "n " << n;
  EXPECT_TRUE(same(min_max_finite(x.data(), n), min_max_finite_reference(x.data(), n))) << n;
}

TEST(MinMax, EqualsReferenceWithSpecialValuesAnywhere) {
  for_each_route([] {
    for (const int64_t n : kSizes) {
      std::vector<float> x = random_floats(n, 3);
      expect_ranges_equal(x);
      for (const float special : {kNan, kInf, -kInf, -0.0f}) {
        for (const int64_t at : {int64_t{0}, n / 2, n - 1}) {
          if (at < 0 || at >= n) continue;
          std::vector<float> y = x;
          y[static_cast<size_t>(at)] = special;
          expect_ranges_equal(y);
        }
      }
    }
    expect_ranges_equal(std::vector<float>(100, -0.0f));
    expect_ranges_equal(std::vector<float>(100, kInf));
    std::vector<float> both(70, kInf);
    both[33] = kNan;
    expect_ranges_equal(both);
  });
}

TEST(MinMax, EveryElementCountsWhereverTheArrayStarts) {
  for_each_route([] {
    const std::vector<float> x = random_floats(300, 9);
    for (const int64_t start : {0, 1, 3, 7, 13}) {
      for (int64_t n = 1; n <= 280; n += n < 70 ? 1 : 13) {
        for (const float special : {kNan, -9.0f, 9.0f}) {
          for (int64_t at = 0; at < n; at += n < 70 ? 1 : 7) {
            std::vector<float> y = x;
            y[static_cast<size_t>(start + at)] = special;
            const float* p = y.data() + start;
            ASSERT_TRUE(same(min_max(p, n), min_max_reference(p, n))) << start << " " << n;
            float low = 0, high = 0;
            min_max_per_channel(p, 1, 1, n, &low, &high);
            const MinMax range = min_max(p, n);
            ASSERT_EQ(std::memcmp(&low, &range.min, 4), 0) << start << " " << n;
            ASSERT_EQ(std::memcmp(&high, &range.max, 4), 0) << start << " " << n;
          }
        }
      }
    }
  });
}

TEST(MinMax, ReferenceReportsWhatItLeavesOut) {
  const std::vector<float> x = {1.0f, kInf, -2.0f};
  const MinMax all = min_max_reference(x.data(), 3), finite = min_max_finite_reference(x.data(), 3);
  EXPECT_EQ(all.max, kInf);
  EXPECT_EQ(finite.max, 1.0f);
  EXPECT_EQ(finite.min, -2.0f);
  EXPECT_TRUE(finite.has_inf);
}

TEST(MinMax, PerChannelEqualsReference) {
  struct Shape {
    int64_t outer, channels, inner;
  };
  for_each_route([] {
    for (const Shape& s : std::vector<Shape>{{1, 64, 576},
                                             {4, 7, 9},
                                             {100, 130, 1},
                                             {1, 5, 1},
                                             {3, 1, 1},
                                             {2, 90, 3},
                                             {1, 400, 64},
                                             {5, 3, 130},
                                             {0, 3, 1},
                                             {2, 3, 0},
                                             {2000, 200, 1}}) {
      auto x = random_floats(s.outer * s.channels * s.inner, 8);
      if (x.size() > 40) x[37] = kNan;
      std::vector<float> mins(static_cast<size_t>(s.channels)), maxs(mins), mins_ref(mins),
          maxs_ref(mins);
      min_max_per_channel(x.data(), s.outer, s.channels, s.inner, mins.data(), maxs.data());
      min_max_per_channel_reference(x.data(), s.outer, s.channels, s.inner, mins_ref.data(),
                                    maxs_ref.data());
      EXPECT_TRUE(same_bits(mins, mins_ref)) << s.channels << "x" << s.inner;
      EXPECT_TRUE(same_bits(maxs, maxs_ref)) << s.channels << "x" << s.inner;
    }
  });
}

template <typename Count>
void expect_histograms_equal(const std::vector<float>& x, int64_t bins, float min, float max) {
  const int64_t n = static_cast<int64_t>(x.size());
  std::vector<Count> hist(static_cast<size_t>(bins), Count{3}), expected = hist;
  add_histogram(x.data(), n, bins, min, max, hist.data());
  add_histogram_reference(x.data(), n, bins, min, max, expected.data());
  ASSERT_TRUE(same_bits(hist, expected)) << "n " << n << " bins " << bins;
}

TEST(Histogram, EqualsReference) {
  for_each_route([] {
    for (const int64_t n : kSizes) {
      std::vector<float> x = random_floats(n, 5);
      if (n > 20) {
        x[3] = kNan;
        x[7] = kInf;
        x[11] = -kInf;
      }
      for (const int64_t bins : {1, 17, 256, 2048, 70000}) {
        expect_histograms_equal<float>(x, bins, -3.5f, 3.25f);
        expect_histograms_equal<uint32_t>(x, bins, -0.7f, 0.1f);
        expect_histograms_equal<uint64_t>(x, bins, 0.0f, 1e30f);
      }
    }
    // More equal values than a 16-bit counter holds.
    expect_histograms_equal<uint32_t>(std::vector<float>(900001, 0.25f), 2048, 0.0f, 1.0f);
  });
}

TEST(Histogram, PointRangeTakesTheDataOrOneAround) {
  std::vector<uint32_t> hist(4, 0);
  const std::vector<float> constant(10, 5.0f);
  add_histogram(constant.data(), 10, 4, 5.0f, 5.0f, hist.data());
  EXPECT_EQ(hist, (std::vector<uint32_t>{0, 0, 10, 0}));
  const std::vector<float> spread = {0.0f, 1.0f, 4.0f};
  hist.assign(4, 0);
  add_histogram(spread.data(), 3, 4, 2.0f, 2.0f, hist.data());
  EXPECT_EQ(hist, (std::vector<uint32_t>{1, 1, 0, 1}));
}

TEST(Histogram, RejectsBadRanges) {
  const std::vector<float> x = {0.0f, 1.0f};
  std::vector<float> hist(8);
  EXPECT_THROW(add_histogram(x.data(), 2, 0, 0.0f, 1.0f, hist.data()), ValueError);
  EXPECT_THROW(add_histogram(x.data(), 2, 8, 1.0f, 0.0f, hist.data()), ValueError);
  EXPECT_THROW(add_histogram(x.data(), 2, 8, 0.0f, kInf, hist.data()), RuntimeError);
  EXPECT_THROW(add_histogram(x.data(), 2, 8, kNan, kNan, hist.data()), RuntimeError);
}

}  // namespace
}  // namespace pt2q
