#include "pt2q/tensor.h"

#include <gtest/gtest.h>

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
