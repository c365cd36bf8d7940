// kernels/histogram_search.h: values computed by PyTorch 2.13 / torchao 0.18, and fast = reference.
#include <gtest/gtest.h>

#include "kernels/histogram_search.h"
#include "kernels_test_util.h"

namespace pt2q {
namespace {

struct Golden {
  int64_t bins, peak;
  float min, max;
  int64_t dst_bins;
  float new_min, new_max;  // HistogramObserver._non_linear_param_search
  float sum;               // torch.sum(1 / (1 + hist))
};

const Golden kGolden[] = {
    {2048, 700, -3.0f, 5.5f, 256, -0x1.7d58p+1f, 0x1.5d58p+2f, 0x1.db1b1ep+7f},
    {1000, 10, 0.0f, 6.0f, 256, 0.0f, 0x1.7db22ep+2f, 0x1.904778p+6f},
    {256, 128, -1.0f, 1.0f, 65536, -0x1p+0f, 0x1.fcp-1f, 0x1.51924cp+0f},
    {2048, 2000, -0.001f, 0.002f, 256, -0x1.03d70cp-10f, 0x1.0624dcp-9f, 0x1.5b2814p+8f},
};

std::vector<float> golden_histogram(const Golden& g) {
  std::vector<float> hist;
  for (int64_t i = 0; i < g.bins; ++i) {
    const int64_t distance = i - g.peak;
    hist.push_back(static_cast<float>(1000000 / (1 + distance * distance) + (i * 7919) % 13));
  }
  return hist;
}

TEST(HistogramSearch, EqualsPyTorch) {
  for_each_route([] {
    for (const Golden& g : kGolden) {
      const auto hist = golden_histogram(g);
      const auto range = search_histogram_range(hist.data(), g.bins, g.min, g.max, g.dst_bins);
      EXPECT_EQ(range.min, g.new_min) << g.bins << " peak " << g.peak;
      EXPECT_EQ(range.max, g.new_max) << g.bins << " peak " << g.peak;
    }
  });
}

TEST(HistogramSearch, EqualsReferenceOnRandomHistograms) {
  for_each_route([] {
    std::mt19937 engine(1);
    for (int trial = 0; trial < 12; ++trial) {
      const int64_t bins = std::vector<int64_t>{1, 2, 50, 333, 2048}[engine() % 5];
      std::vector<float> hist(static_cast<size_t>(bins));
      for (float& h : hist) h = engine() % 3 == 0 ? 0.0f : static_cast<float>(engine() % 5000);
      const float min = -static_cast<float>(engine() % 100) * 0.01f;
      const float max = min + static_cast<float>(engine() % 1000) * 0.003f;  // may be equal
      for (const int64_t dst : {int64_t{16}, int64_t{256}, int64_t{65536}, int64_t{1} << 32}) {
        const auto a = search_histogram_range(hist.data(), bins, min, max, dst);
        const auto b = search_histogram_range_reference(hist.data(), bins, min, max, dst);
        EXPECT_EQ(a.min, b.min) << bins << " bins, to " << dst;
        EXPECT_EQ(a.max, b.max) << bins << " bins, to " << dst;
      }
    }
  });
}

TEST(HistogramSearch, EmptyHistogramEqualsReference) {
  const std::vector<float> hist(64, 0.0f);
  const auto range = search_histogram_range(hist.data(), 64, 0.0f, 1.0f, 256);
  const auto expected = search_histogram_range_reference(hist.data(), 64, 0.0f, 1.0f, 256);
  EXPECT_EQ(range.min, expected.min);
  EXPECT_EQ(range.max, expected.max);
}

TEST(CascadeSum, EqualsTorchSum) {
  for (const Golden& g : kGolden) {
    std::vector<float> x;
    for (const float h : golden_histogram(g)) x.push_back(static_cast<float>(1.0 / (1.0 + h)));
    EXPECT_EQ(cascade_sum(x.data(), g.bins), g.sum) << g.bins;
  }
  std::vector<float> harmonic;
  for (int i = 1; i <= 500; ++i) harmonic.push_back(1.0f / static_cast<float>(i));
  EXPECT_EQ(cascade_sum(harmonic.data(), 7), 0x1.4be2bep+1f);
  EXPECT_EQ(cascade_sum(harmonic.data(), 33), 0x1.05aedep+2f);
  EXPECT_EQ(cascade_sum(harmonic.data(), 500), 0x1.b2bdap+2f);
}

}  // namespace
}  // namespace pt2q
