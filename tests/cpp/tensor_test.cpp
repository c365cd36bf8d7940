#include "pt2q/tensor.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "pt2q/error.h"
#include "tensor/half.h"

namespace pt2q {
namespace {

TEST(Tensor, ReshapeOfContiguousSharesStorage) {
  Tensor t = Tensor::from_vector<float>({0, 1, 2, 3, 4, 5}, {2, 3});
  Tensor r = t.reshape({3, -1});
  EXPECT_EQ(r.sizes(), (Shape{3, 2}));
  r.mutable_data<float>()[5] = 50;
  EXPECT_EQ(t.data<float>()[5], 50);
}

TEST(Tensor, ReshapeOfTransposedCopies) {
  Tensor t = Tensor::from_vector<float>({0, 1, 2, 3, 4, 5}, {2, 3}).transpose(0, 1);
  Tensor r = t.reshape({6});
  EXPECT_FALSE(r.shares_storage(t));
  EXPECT_EQ(r.data<float>()[1], 3);
}

TEST(Tensor, ChannelsLastRoundTrip) {
  Tensor t = Tensor::empty({2, 3, 4, 5});
  for (int i = 0; i < 120; ++i) t.mutable_data<float>()[i] = static_cast<float>(i);
  const Tensor c = t.contiguous(MemoryFormat::ChannelsLast);
  EXPECT_EQ(c.strides(), (Shape{60, 1, 15, 3}));
  EXPECT_EQ(c.data<float>()[1], 20);  // channel 1 of pixel 0
  const Tensor back = c.contiguous();
  EXPECT_EQ(std::vector<float>(back.data<float>(), back.data<float>() + 120),
            std::vector<float>(t.data<float>(), t.data<float>() + 120));
}

TEST(Tensor, SliceSelectExpand) {
  Tensor t = Tensor::from_vector<int64_t>({0, 1, 2, 3, 4, 5}, {2, 3});
  EXPECT_EQ(t.slice(1, 0, 3, 2).sizes(), (Shape{2, 2}));
  EXPECT_EQ(t.select(0, -1).contiguous().data<int64_t>()[0], 3);
  EXPECT_EQ(t.select(1, 0).unsqueeze(1).expand({2, 4}).sizes(), (Shape{2, 4}));
  EXPECT_THROW(t.select(0, 2), IndexError);
  EXPECT_THROW(t.reshape({4}), ValueError);
}

// Every permutation of a strided block, every element size, against an index by index copy.
template <typename T>
void check_permuted_copies() {
  const Shape sizes{3, 1, 17, 5, 33};
  std::vector<size_t> order{0, 1, 2, 3, 4};
  Tensor source = Tensor::empty({4, 2, 19, 6, 35}, DTypeOf<T>::value);
  for (int64_t i = 0; i < source.numel(); ++i) source.mutable_data<T>()[i] = static_cast<T>(i * 7);
  for (size_t d = 0; d < sizes.size(); ++d)
    source = source.slice(static_cast<int64_t>(d), 1, 1 + sizes[d]);
  do {
    Shape shape;
    for (const size_t d : order) shape.push_back(sizes[d]);
    std::vector<int64_t> back(5), dims(5);
    for (size_t i = 0; i < 5; ++i) dims[i] = static_cast<int64_t>(order[i]);
    for (size_t i = 0; i < 5; ++i) back[order[i]] = static_cast<int64_t>(i);
    const Tensor got = source.permute(dims).contiguous();
    ASSERT_EQ(got.sizes(), shape);
    const Tensor again = got.permute(back);
    for (int64_t a = 0; a < 3; ++a)
      for (int64_t c = 0; c < 17; ++c)
        for (int64_t d = 0; d < 5; ++d)
          for (int64_t e = 0; e < 33; ++e) {
            const auto& g = again.strides();
            const auto& s = source.strides();
            ASSERT_EQ(again.data<T>()[a * g[0] + c * g[2] + d * g[3] + e * g[4]],
                      source.data<T>()[a * s[0] + c * s[2] + d * s[3] + e * s[4]]);
          }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(Tensor, PermutedCopiesOfEveryElementSize) {
  check_permuted_copies<uint8_t>();
  check_permuted_copies<int16_t>();
  check_permuted_copies<float>();
  check_permuted_copies<int64_t>();
}

TEST(Tensor, CopyOfAnExpandedOneElementAndEmptyTensor) {
  Tensor row = Tensor::from_vector<float>({1, 2, 3}, {1, 3});
  const Tensor wide = row.expand({4, 3}).contiguous();
  EXPECT_EQ(std::vector<float>(wide.data<float>(), wide.data<float>() + 12),
            (std::vector<float>{1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3}));
  const Tensor tall = row.transpose(0, 1).expand({3, 2}).contiguous();
  EXPECT_EQ(std::vector<float>(tall.data<float>(), tall.data<float>() + 6),
            (std::vector<float>{1, 1, 2, 2, 3, 3}));
  Tensor one = Tensor::empty({});
  one.copy_(row.select(0, 0).select(0, 2));
  EXPECT_EQ(one.item(), 3);
  EXPECT_EQ(row.slice(1, 0, 0).transpose(0, 1).contiguous().sizes(), (Shape{0, 1}));
  Tensor integers = Tensor::empty({3, 4}, DType::Int32);
  integers.copy_(wide.transpose(0, 1));  // converts while it transposes
  EXPECT_EQ(std::vector<int32_t>(integers.data<int32_t>(), integers.data<int32_t>() + 12),
            (std::vector<int32_t>{1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3}));
}

TEST(Tensor, ReadOnlyMemoryRefusesWrites) {
  float data[2] = {1, 2};
  Tensor t = Tensor::from_blob(data, {2}, {1}, DType::Float32, nullptr, true);
  EXPECT_EQ(t.data<float>()[1], 2);
  EXPECT_THROW(t.mutable_data<float>(), ValueError);
}

TEST(Half, EveryHalfRoundTrips) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float f = half_to_float(static_cast<uint16_t>(bits));
    if (f != f) continue;
    ASSERT_EQ(float_to_half(f), bits) << f;
  }
}

TEST(Half, RoundsToNearestEven) {
  EXPECT_EQ(half_to_float(float_to_half(2049.0F)), 2048.0F);
  EXPECT_EQ(half_to_float(float_to_half(2051.0F)), 2052.0F);
  EXPECT_EQ(half_to_float(float_to_half(65520.0F)), std::numeric_limits<float>::infinity());
  EXPECT_EQ(bfloat16_to_float(float_to_bfloat16(1.00390625F)), 1.0F);
}

}  // namespace
}  // namespace pt2q
