#include "attention_case.h"
#include "kernels/attention.h"
#include "kernels_test_util.h"

namespace pt2q {
namespace {

using Case = AttentionCase;

void row_major(int64_t (&strides)[3], int64_t heads, int64_t rows, int64_t depth) {
  strides[0] = heads * rows * depth;
  strides[1] = rows * depth;
  strides[2] = depth;
}

AttentionShape shape_of(const Case& c) {
  AttentionShape s = sizes_of(c);
  row_major(s.q, c.heads, c.length, c.depth);
  row_major(s.k, c.heads / c.heads_per_key, c.source, c.depth);
  row_major(s.v, c.heads / c.heads_per_key, c.source, c.value_depth);
  // Heads side by side, as models want the result.
  s.out[0] = c.length * c.heads * c.value_depth;
  s.out[1] = c.value_depth;
  s.out[2] = c.heads * c.value_depth;
  // One mask per batch and row, the same for every head.
  s.mask[0] = c.length * c.source;
  s.mask[2] = c.source;
  s.mask[3] = 1;
  return s;
}

// softmax(q k^T * scale + mask) v of one row in double precision.
double exact(const AttentionShape& s, const std::vector<float>& q, const std::vector<float>& k,
             const std::vector<float>& v, const std::vector<float>& added, int64_t b, int64_t h,
             int64_t i, int64_t e) {
  const int64_t hk = h / s.heads_per_key;
  const int64_t n = s.causal ? std::min(s.source, i + 1) : s.source;
  double sum = 0, weighted = 0, most = -INFINITY;
  std::vector<double> scores(static_cast<size_t>(n));
  for (int64_t j = 0; j < n; ++j) {
    double dot = 0;
    for (int64_t d = 0; d < s.depth; ++d) {
      dot += double{q[static_cast<size_t>(b * s.q[0] + h * s.q[1] + i * s.q[2] + d)]} *
             double{k[static_cast<size_t>(b * s.k[0] + hk * s.k[1] + j * s.k[2] + d)]};
    }
    double& score = scores[static_cast<size_t>(j)];
    score = dot * double{s.scale};
    if (!added.empty()) score += added[static_cast<size_t>(b * s.mask[0] + i * s.mask[2] + j)];
    most = std::max(most, score);
  }
  if (most == -INFINITY) return 0.0;
  for (int64_t j = 0; j < n; ++j) {
    const double p = std::exp(scores[static_cast<size_t>(j)] - most);
    sum += p;
    weighted += p * double{v[static_cast<size_t>(b * s.v[0] + hk * s.v[1] + j * s.v[2] + e)]};
  }
  return weighted / sum;
}

// The integers are those of the float result.
template <typename Q>
void check_quantized(const AttentionShape& s, const std::vector<float>& q,
                     const std::vector<float>& k, const std::vector<float>& v,
                     const AttentionMask& mask, const std::vector<float>& real,
                     const QuantParams& to) {
  std::vector<Q> want(real.size()), got(real.size()), reference(real.size());
  quantize_reference(real.data(), static_cast<int64_t>(real.size()), to, want.data());
  attention_reference(s, q.data(), k.data(), v.data(), mask, reference.data(), to);
  EXPECT_TRUE(same_bits(reference, want));
  for_each_route([&] {
    attention(s, q.data(), k.data(), v.data(), mask, got.data(), to);
    EXPECT_TRUE(same_bits(got, want));
  });
}

void check(const Case& c) {
  const AttentionShape s = shape_of(c);
  const int64_t key_heads = c.heads / c.heads_per_key;
  const auto q = random_floats(c.batch * c.heads * c.length * c.depth, 1);
  const auto k = random_floats(c.batch * key_heads * c.source * c.depth, 2);
  const auto v = random_floats(c.batch * key_heads * c.source * c.value_depth, 3);
  std::vector<float> added;
  std::unique_ptr<bool[]> allowed;
  const int64_t cells = c.batch * c.length * c.source;
  if (c.mask != Case::none) {
    added = random_floats(cells, 4);
    allowed = std::make_unique<bool[]>(static_cast<size_t>(cells));
    for (int64_t i = 0; i < cells; ++i) {
      // Row 1 of every batch may look at nothing.
      const bool yes = added[static_cast<size_t>(i)] > -0.5f && i / c.source % c.length != 1;
      allowed[static_cast<size_t>(i)] = yes;
      if (c.mask == Case::allowed) added[static_cast<size_t>(i)] = yes ? 0.0f : -INFINITY;
      if (!yes) added[static_cast<size_t>(i)] = -INFINITY;
    }
  }
  AttentionMask mask;
  if (c.mask == Case::added) mask.added = added.data();
  if (c.mask == Case::allowed) mask.allowed = allowed.get();
  std::vector<float> want(static_cast<size_t>(c.batch * c.heads * c.length * c.value_depth), 9.0f);
  attention_reference(s, q.data(), k.data(), v.data(), mask, want.data());
  for (int64_t b = 0; b < c.batch; ++b) {
    for (int64_t h = 0; h < c.heads; ++h) {
      for (int64_t i = 0; i < c.length; ++i) {
        for (int64_t e = 0; e < c.value_depth; ++e) {
          const auto at = static_cast<size_t>(b * s.out[0] + h * s.out[1] + i * s.out[2] + e);
          // float32 sums of up to 70 products of values around 1.
          ASSERT_NEAR(want[at], exact(s, q, k, v, added, b, h, i, e), 2e-5);
        }
      }
    }
  }
  for_each_route([&] {
    std::vector<float> got(want.size(), 7.0f);
    attention(s, q.data(), k.data(), v.data(), mask, got.data());
    EXPECT_TRUE(same_bits(got, want));
  });
  check_quantized<uint8_t>(s, q, k, v, mask, want, {0.013, 101, 0, 255});
  check_quantized<int8_t>(s, q, k, v, mask, want, {0.007, -9, -127, 127});
}

TEST(Attention, EqualsTheReferenceBitForBit) {
  check({2, 3, 1, 5, 7, 8, 8, false, Case::none});
  check({1, 2, 1, 33, 70, 20, 37, false, Case::none});
  check({1, 1, 1, 64, 64, 64, 64, true, Case::none});
  check({2, 4, 2, 9, 65, 16, 32, false, Case::added});
  check({2, 2, 1, 6, 17, 5, 3, false, Case::allowed});
  check({1, 2, 1, 12, 10, 4, 4, true, Case::added});
  check({1, 8, 1, 1, 40, 32, 32, false, Case::none});
  check({1, 2, 1, 70, 197, 16, 48, false, Case::added});  // several blocks, a narrow last panel
  check({1, 1, 1, 41, 99, 8, 16, true, Case::allowed});
}

TEST(Attention, NanInAKeySpreadsToEveryRowThatSeesIt) {
  const AttentionShape s = shape_of({1, 1, 1, 6, 6, 4, 4, true, Case::none});
  auto k = random_floats(24, 2);
  k[4 * 4] = NAN;  // key 4: rows 4 and 5 see it
  const auto q = random_floats(24, 1), v = random_floats(24, 3);
  for_each_route([&] {
    std::vector<float> out(24);
    attention(s, q.data(), k.data(), v.data(), {}, out.data());
    for (int64_t i = 0; i < 6; ++i)
      EXPECT_EQ(std::isnan(out[static_cast<size_t>(i * 4)]), i >= 4) << i;
  });
}

}  // namespace
}  // namespace pt2q
