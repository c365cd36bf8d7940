// Attention of bfloat16 against float32 attention of the same operands.
#include "attention_case.h"
#include "isa_cap.h"
#include "kernels/attention_bf16.h"
#include "kernels/bfloat16.h"
#include "kernels_test_util.h"

namespace pt2q::kernels {
namespace {

std::vector<uint16_t> halves(std::vector<float>* values) {
  std::vector<uint16_t> out(values->size());
  const auto n = static_cast<int64_t>(out.size());
  float_to_bfloat16(values->data(), n, out.data());
  bfloat16_to_float(out.data(), n, values->data());
  return out;
}

using Case = AttentionCase;

void check(const Case& c) {
  const AttentionShape s = interleaved_shape(c);
  ASSERT_TRUE(attention_bf16_fits(s));
  const int64_t key_heads = c.heads / c.heads_per_key;
  auto q = random_floats(c.batch * c.heads * c.length * c.depth, 1);
  auto k = random_floats(c.batch * key_heads * c.source * c.depth, 2);
  auto v = random_floats(c.batch * key_heads * c.source * c.value_depth, 3);
  const auto qh = halves(&q), kh = halves(&k), vh = halves(&v);
  const AttentionMasks masks(c);
  const AttentionMask& mask = masks.mask;
  std::vector<float> want(q.size() / static_cast<size_t>(c.depth * c.batch) *
                          static_cast<size_t>(c.value_depth * c.batch));
  attention_reference(s, q.data(), k.data(), v.data(), mask, want.data());

  std::vector<uint16_t> got(want.size()), again(want.size());
  attention_bf16(s, qh.data(), kh.data(), vh.data(), mask, got.data());
  std::vector<float> real(want.size());
  bfloat16_to_float(got.data(), static_cast<int64_t>(got.size()), real.data());
  // Exponentials and result are rounded to 8 bits; values are around 1.
  for (size_t i = 0; i < want.size(); ++i)
    ASSERT_NEAR(real[i], want[i], 0.006 + 0.005 * std::fabs(want[i])) << i;

  const int threads = num_threads();
  set_num_threads(3);
  attention_bf16(s, qh.data(), kh.data(), vh.data(), mask, again.data());
  set_num_threads(threads);
  EXPECT_TRUE(same_bits(again, got));

  const QuantParams to{0.013, -9, -128, 120};
  std::vector<int8_t> codes(want.size()), expected(want.size());
  attention_bf16(s, qh.data(), kh.data(), vh.data(), mask, codes.data(), to);
  quantize_reference(real.data(), static_cast<int64_t>(real.size()), to, expected.data());
  EXPECT_TRUE(same_bits(codes, expected));
}

TEST(AttentionBf16, IsCloseToFloatAndQuantizesItsOwnResult) {
  if (!has_attention_bf16()) GTEST_SKIP() << "this CPU has no AVX512-BF16";
  check({2, 3, 1, 5, 7, 8, 16, false, Case::none});
  check({1, 2, 1, 33, 70, 20, 48, false, Case::none});
  check({1, 1, 1, 64, 64, 64, 64, true, Case::none});
  check({2, 4, 2, 9, 65, 16, 32, false, Case::added});
  check({2, 2, 1, 6, 17, 2, 16, false, Case::allowed});
  check({1, 2, 1, 12, 10, 4, 112, true, Case::added});
  check({1, 2, 1, 70, 197, 16, 48, false, Case::added});
  check({1, 8, 1, 1, 40, 32, 32, false, Case::none});
}

TEST(AttentionBf16, SuitsEvenDepthsAndWholeVectorsWhereTheCpuHasIt) {
  const AttentionShape whole = interleaved_shape({1, 1, 1, 4, 4, 8, 16, false, Case::none});
  EXPECT_EQ(attention_bf16_fits(whole), has_attention_bf16());
  EXPECT_FALSE(attention_bf16_fits(interleaved_shape({1, 1, 1, 4, 4, 7, 16, false, Case::none})));
  EXPECT_FALSE(attention_bf16_fits(interleaved_shape({1, 1, 1, 4, 4, 8, 20, false, Case::none})));
  const testing::IsaCap cap(Isa::avx2);
  EXPECT_FALSE(attention_bf16_fits(whole));
}

}  // namespace
}  // namespace pt2q::kernels
