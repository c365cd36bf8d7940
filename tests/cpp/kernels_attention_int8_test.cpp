// Attention of quantized operands against its definition, bit for bit, and against float attention.
#include "attention_case.h"
#include "kernels/attention_int8.h"
#include "kernels/attention_int8_words.h"
#include "kernels_test_util.h"

namespace pt2q::kernels {
namespace {

using Case = AttentionCase;

struct Operands {
  std::vector<float> q, k, v;
  std::vector<uint8_t> qc, kc, vc;

  // The real values are those of the codes.
  Operands(const Case& c, const AttentionQuant& quant) {
    const int64_t key_heads = c.heads / c.heads_per_key;
    fill(c.batch * c.heads * c.length * c.depth, 1, quant.q, &q, &qc);
    fill(c.batch * key_heads * c.source * c.depth, 2, quant.k, &k, &kc);
    fill(c.batch * key_heads * c.source * c.value_depth, 3, quant.v, &v, &vc);
  }
  static void fill(int64_t n, int seed, const QuantParams& p, std::vector<float>* real,
                   std::vector<uint8_t>* codes) {
    *real = random_floats(n, static_cast<unsigned>(seed));
    codes->resize(real->size());
    quantize_reference(real->data(), n, p, codes->data());
    dequantize_reference(codes->data(), n, p, real->data());
  }
};

template <typename Out>
void check_bits(const AttentionShape& s, const AttentionQuant& quant, const Operands& o,
                const AttentionMask& mask, size_t results, const QuantParams& to) {
  std::vector<Out> want(results, Out(7)), got(results, Out(9));
  attention_int8_reference(s, quant, o.qc.data(), o.kc.data(), o.vc.data(), mask, want.data(), to);
  attention_int8(s, quant, o.qc.data(), o.kc.data(), o.vc.data(), mask, got.data(), to);
  EXPECT_TRUE(same_bits(got, want));
  for_each_route([&] {
    std::vector<Out> other(results);
    attention_int8(s, quant, o.qc.data(), o.kc.data(), o.vc.data(), mask, other.data(), to);
    EXPECT_TRUE(same_bits(other, want));
    attention_int8_words(s, quant, o.qc.data(), o.kc.data(), o.vc.data(), mask, other.data(), to);
    EXPECT_TRUE(same_bits(other, want));
  });
}

const AttentionQuant kQuant = {
    {0.021, 119, 0, 255}, {0.019, 140, 0, 255}, {0.023, 128, 0, 255}, {1.0 / 255, 0, 0, 255}};

void check(const Case& c, const AttentionQuant& quant = kQuant) {
  const AttentionShape s = interleaved_shape(c);
  ASSERT_TRUE(attention_int8_fits(s));
  const Operands o(c, quant);
  const AttentionMasks masks(c);
  const auto results = static_cast<size_t>(c.batch * c.heads * c.length * c.value_depth);
  check_bits<float>(s, quant, o, masks.mask, results, {});
  check_bits<uint8_t>(s, quant, o, masks.mask, results, {0.006, 131, 0, 255});
  check_bits<int8_t>(s, quant, o, masks.mask, results, {0.004, -9, -128, 120});

  std::vector<float> want(results), got(results);
  attention_reference(s, o.q.data(), o.k.data(), o.v.data(), masks.mask, want.data());
  attention_int8(s, quant, o.qc.data(), o.kc.data(), o.vc.data(), masks.mask, got.data());
  // Each probability is off by half a quantum at most, a value by at most 255 quanta of its own.
  const double most = 0.5 * quant.p.scale * static_cast<double>(c.source) * 255 * quant.v.scale;
  const double exceeds = quant.p.scale * quant.p.quant_max < 0.99 ? INFINITY : most;
  for (size_t i = 0; i < results; ++i) ASSERT_NEAR(got[i], want[i], exceeds) << i;
}

TEST(AttentionInt8, EqualsTheReferenceBitForBit) {
  check({2, 3, 1, 5, 7, 8, 16, false, Case::none});
  check({1, 2, 1, 33, 70, 20, 48, false, Case::none});
  check({1, 1, 1, 64, 64, 64, 64, false, Case::none});
  check({2, 4, 2, 9, 65, 16, 32, false, Case::added});
  check({2, 2, 1, 6, 17, 4, 16, false, Case::allowed});
  check({1, 2, 1, 12, 10, 100, 112, false, Case::added});
  check({1, 2, 1, 70, 197, 16, 48, false, Case::added});
  check({1, 8, 1, 1, 40, 32, 32, false, Case::none});
}

TEST(AttentionInt8, TakesAnyParametersOfTheProbabilities) {
  AttentionQuant quant = kQuant;
  for (const QuantParams& p : {QuantParams{0.002, 0, 0, 255}, QuantParams{0.009, 13, 0, 127},
                               QuantParams{1e-5, 0, 0, 255}, QuantParams{0.5, 3, 5, 200}}) {
    quant.p = p;
    check({1, 2, 1, 6, 21, 16, 16, false, Case::added}, quant);
    check({1, 1, 1, 5, 35, 8, 32, false, Case::none}, quant);
  }
  quant = {{0.03, 0, 0, 255}, {0.03, 255, 0, 255}, {0.05, 0, 0, 255}, {1.0 / 255, 0, 0, 255}};
  check({1, 1, 1, 5, 35, 8, 32, false, Case::none}, quant);
}

TEST(AttentionInt8, NanInAMaskGivesTheLeastCodes) {
  const Case c{1, 1, 1, 2, 8, 4, 16, false, Case::none};
  const Operands o(c, kQuant);
  std::vector<float> added(16);
  added[3] = NAN;
  AttentionMask mask;
  mask.added = added.data();
  check_bits<float>(interleaved_shape(c), kQuant, o, mask, 32, {});
}

TEST(AttentionInt8, SuitsWholeWordsAndVectors) {
  const AttentionShape whole = interleaved_shape({1, 1, 1, 4, 4, 8, 16, false, Case::none});
  EXPECT_TRUE(attention_int8_fits(whole));
  EXPECT_FALSE(attention_int8_fits(interleaved_shape({1, 1, 1, 4, 4, 6, 16, false, Case::none})));
  EXPECT_FALSE(attention_int8_fits(interleaved_shape({1, 1, 1, 4, 4, 8, 20, false, Case::none})));
  EXPECT_FALSE(attention_int8_fits(interleaved_shape({1, 1, 1, 4, 4, 8, 16, true, Case::none})));
  EXPECT_FALSE(
      attention_int8_fits(interleaved_shape({1, 1, 1, 4, 40000, 8, 16, false, Case::none})));
}

}  // namespace
}  // namespace pt2q::kernels
