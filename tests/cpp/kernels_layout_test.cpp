// kernels/layout.h: permutations are exact, fused quantization equals the separate steps.
#include <gtest/gtest.h>

#include "kernels/layout.h"
#include "kernels_test_util.h"

namespace pt2q {
namespace {

const std::vector<ImageShape> kShapes = {{1, 3, 224 * 224}, {2, 3, 49},    {1, 1, 100},
                                         {2, 16, 64},       {1, 17, 259},  {3, 64, 3136},
                                         {1, 130, 77},      {1, 2048, 49}, {2, 5, 1}};

int64_t numel(const ImageShape& s) { return s.batch * s.channels * s.pixels; }

template <typename T>
void check_permutation(const std::vector<T>& x, const ImageShape& s) {
  std::vector<T> y(x.size()), expected(x.size());
  nchw_to_nhwc(x.data(), s, y.data());
  nchw_to_nhwc_reference(x.data(), s, expected.data());
  ASSERT_TRUE(same_bits(y, expected)) << s.channels << " channels, " << s.pixels << " pixels";
  nhwc_to_nchw(expected.data(), s, y.data());
  ASSERT_TRUE(same_bits(y, x)) << s.channels << " channels, " << s.pixels << " pixels";
}

TEST(Layout, PermutationsAreExact) {
  for_each_route([] {
    for (const ImageShape& s : kShapes) {
      check_permutation(random_floats(numel(s), 1), s);
      check_permutation(random_integers<uint8_t>(numel(s), 2), s);
      check_permutation(random_integers<int8_t>(numel(s), 3), s);
    }
  });
}

template <typename Q>
void check_fused(const ImageShape& s, const QuantParams& p) {
  const auto x = random_floats(numel(s), 4, 3.0f);
  std::vector<Q> planar(x.size()), expected(x.size()), q(x.size());
  quantize_reference(x.data(), numel(s), p, planar.data());
  nchw_to_nhwc_reference(planar.data(), s, expected.data());
  quantize_nchw_to_nhwc(x.data(), s, p, q.data());
  ASSERT_TRUE(same_bits(q, expected)) << s.channels << " channels, " << s.pixels << " pixels";
  std::vector<float> y(x.size()), y_expected(x.size());
  dequantize_reference(planar.data(), numel(s), p, y_expected.data());
  dequantize_nhwc_to_nchw(q.data(), s, p, y.data());
  ASSERT_TRUE(same_bits(y, y_expected)) << s.channels << " channels, " << s.pixels << " pixels";
}

TEST(Layout, FusedQuantizationEqualsSeparateSteps) {
  for_each_route([] {
    for (const ImageShape& s : kShapes) {
      check_fused<uint8_t>(s, {0.05, 117, 0, 255});
      check_fused<int8_t>(s, {0.03, -5, -128, 127});
    }
  });
}

}  // namespace
}  // namespace pt2q
