// Winograd convolutions against the plain loops of qconv_reference, bit by bit: the emulation,
// which runs the same packing and loops on any machine, and native kernels as far as this CPU goes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "error_message.h"
#include "kernels/winograd.h"
#include "pt2q/error.h"
#include "qconv_case.h"

namespace pt2q::kernels {
namespace {

std::vector<Isa> all_isas() {
  std::vector<Isa> isas;
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_vnni}) {
    if (isa <= native_isa()) isas.push_back(isa);
  }
  return isas;
}

std::shared_ptr<const PackedWinograd> pack(const Case& c, const Data& d, Isa isa) {
  return pack_winograd(weight_shape(c.spec.shape), d.weights.data(), isa);
}

std::vector<uint8_t> run(const Case& c, const Data& d, Isa isa, int threads) {
  QConvSpec first = c.spec;
  first.threads = threads;
  // With several threads, as the plan for a second input size is made.
  if (threads > 1) {
    first.shape.batch += 1;
    first.shape.in_h += 7;
  }
  const ConvShape& s = c.spec.shape;
  const WinogradConv conv = WinogradConv(first, pack(c, d, isa)).resized(s.batch, s.in_h, s.in_w);
  const AlignedBuffer scratch(conv.scratch_bytes());
  std::vector<uint8_t> dst = untouched_result(c);
  conv.run(d.src.data(), dst.data(), scratch.data(), d.residual.data());
  return dst;
}

void expect_exact(const Case& c, const Data& d, const std::string& what) {
  const std::vector<uint8_t> want = reference_result(c, d);
  for (const Isa isa : all_isas()) {
    for (const int threads : {1, 3}) {
      const std::vector<uint8_t> got = run(c, d, isa, threads);
      const auto at = std::mismatch(want.begin(), want.end(), got.begin());
      EXPECT_TRUE(at.first == want.end())
          << what << ": " << isa_label(isa) << ", " << threads
          << " threads, first difference at byte " << at.first - want.begin();
    }
  }
}

Case plain_case(const ConvShape& shape, std::mt19937& rng) {
  Case c;
  c.spec.shape = shape;
  c.spec.epilogue.ops.push_back({PostOpKind::relu});
  c.spec.epilogue.out_zero_point = 9;
  set_scales(c, rng, true);
  return c;
}

TEST(WinogradConv, MatchesTheReferenceOnShapes) {
  const ConvShape shapes[] = {
      conv(1, 8, 8, 64, 64, 3, 1, 1),     // whole tiles
      conv(2, 9, 7, 16, 48, 3, 1, 1),     // a rest on both sides
      conv(1, 3, 3, 32, 20, 3, 1, 1),     // less than a tile; a channel tail
      conv(1, 1, 1, 48, 5, 3, 1, 1),      // one pixel
      conv(3, 5, 14, 80, 100, 3, 1, 1),   // odd panels
      conv(1, 30, 29, 16, 16, 3, 1, 0),   // no padding, several blocks of tiles
      conv(1, 6, 6, 32, 160, 3, 1, 2),    // tiles that see padding alone on a side
      conv(2, 12, 12, 112, 96, 3, 1, 1),  // threads divide channels
  };
  std::mt19937 rng(1);
  for (const ConvShape& s : shapes) {
    for (const int32_t zero : {0, 113, 255}) {
      Case c = plain_case(s, rng);
      c.spec.src_zero_point = zero;
      c.weight_limit = 100;
      expect_exact(c, make_data(c, rng),
                   std::to_string(s.in_c) + "->" + std::to_string(s.out_c) + " @" +
                       std::to_string(s.in_h) + "x" + std::to_string(s.in_w));
    }
  }
}

TEST(WinogradConv, RandomPaddingAndSizes) {
  std::mt19937 rng(2);
  std::uniform_int_distribution<int> pick(0, 3);
  for (int i = 0; i < 20; ++i) {
    ConvShape s = conv(1 + pick(rng), 3 + 3 * pick(rng) + pick(rng), 3 + 5 * pick(rng),
                       16 * (1 + pick(rng)), 1 + 13 * pick(rng), 3, 1, 0);
    s.pad_top = pick(rng);
    s.pad_left = pick(rng);
    s.pad_bottom = pick(rng);
    s.pad_right = pick(rng);
    Case c = plain_case(s, rng);
    c.spec.src_zero_point = 200;
    expect_exact(c, make_data(c, rng), "random " + std::to_string(i));
  }
}

TEST(WinogradConv, ChannelSlicesResidualsAndTypes) {
  std::mt19937 rng(3);
  for (const ElemType out : {ElemType::u8, ElemType::s8, ElemType::f32, ElemType::bf16}) {
    for (const ElemType residual : {ElemType::u8, ElemType::s8, ElemType::f32}) {
      Case c;
      c.spec.shape = conv(2, 9, 11, 32, 36, 3, 1, 1);
      c.spec.src_stride = 45;
      c.spec.dst_stride = 50;
      c.spec.residual_stride = 41;
      c.spec.src_is_s8 = out == ElemType::s8;
      c.spec.src_zero_point = c.spec.src_is_s8 ? -5 : 5;
      c.spec.epilogue.out = out;
      c.spec.epilogue.qmin = out == ElemType::s8 ? -127 : 3;
      c.spec.epilogue.qmax = out == ElemType::s8 ? 127 : 250;
      PostOp add;
      add.kind = PostOpKind::add;
      add.residual_type = residual;
      add.residual_scale = 0.01F;
      add.residual_zero_point = residual == ElemType::f32 ? 0 : 12;
      c.spec.epilogue.ops = {add, {PostOpKind::relu}};
      set_scales(c, rng, true);
      expect_exact(c, make_data(c, rng), "types");
    }
  }
}

// The largest numbers that may occur: inputs and weights at the ends of their range, and sums right
// below 2^25, which is where a result could no longer be told from its residue.
TEST(WinogradConv, ExtremesAreExact) {
  std::mt19937 rng(4);
  const auto any_of = [&](int a, int b) { return rng() % 2 == 0 ? a : b; };
  for (const int64_t in_c : {16, 112}) {
    for (const int kind : {0, 1, 2}) {
      Case c = plain_case(conv(1, 8, 8, in_c, 16, 3, 1, 1), rng);
      c.spec.epilogue.out = ElemType::f32;
      c.spec.epilogue.ops.clear();
      c.spec.epilogue.scale = {1.0F};
      Data d = make_data(c, rng);
      for (auto& w : d.weights)
        w = static_cast<int8_t>(kind == 0 ? 127 : kind == 1 ? -128 : any_of(-128, 127));
      for (auto& x : d.src) x = static_cast<uint8_t>(kind == 2 ? any_of(0, 255) : 255);
      ASSERT_NE(pack(c, d, Isa::portable), nullptr);
      expect_exact(c, d, "extremes");
    }
  }
}

TEST(WinogradConv, RefusesWeightsWhoseSumsMayLeaveTheRange) {
  const WeightShape shape = weight_shape(conv(1, 8, 8, 128, 2, 3, 1, 1));
  std::vector<int8_t> weights(2 * 128 * 9, 1);
  EXPECT_NE(pack_winograd(shape, weights.data(), Isa::portable), nullptr);
  std::fill(weights.begin() + 128 * 9, weights.end(), int8_t{127});  // 255 * 127 * 1152 > 2^25
  EXPECT_EQ(pack_winograd(shape, weights.data(), Isa::portable), nullptr);
  std::fill(weights.begin() + 128 * 9, weights.end(), int8_t{-128});
  EXPECT_EQ(pack_winograd(shape, weights.data(), Isa::portable), nullptr);
}

TEST(WinogradConv, SaysWhatDoesNotFit) {
  EXPECT_TRUE(winograd_fits(conv(1, 8, 8, 64, 64, 3, 1, 1)));
  const std::vector<int8_t> weights(24 * 16 * 25, 1);
  for (const ConvShape& s : {conv(1, 8, 8, 24, 16, 3, 1, 1), conv(1, 8, 8, 16, 16, 5, 1, 2),
                             conv(1, 8, 8, 16, 16, 3, 2, 1), conv(1, 8, 8, 16, 16, 3, 1, 2, 2),
                             conv(1, 8, 8, 32, 32, 3, 1, 1, 1, 2)}) {
    EXPECT_FALSE(winograd_fits(s));
    EXPECT_FALSE(winograd_pays(s, Isa::avx512_vnni));
  }
  EXPECT_NE(pt2q::testing::error_message<ValueError>([&] {
              pack_winograd(weight_shape(conv(1, 8, 8, 16, 16, 5, 1, 2)), weights.data(),
                            Isa::portable);
            }).find("got 5x5 filters of 16 channels in 1 groups"),
            std::string::npos);
  QConvSpec spec;
  spec.shape = conv(1, 8, 8, 16, 16, 3, 2, 1);
  spec.epilogue.scale = {1.0F};
  const auto packed =
      pack_winograd(weight_shape(conv(1, 8, 8, 16, 16, 3, 1, 1)), weights.data(), Isa::portable);
  EXPECT_THROW(WinogradConv(spec, packed), ValueError);
  spec.shape = conv(1, 8, 8, 32, 16, 3, 1, 1);
  EXPECT_THROW(WinogradConv(spec, packed), ValueError);
  EXPECT_THROW(WinogradConv(spec, nullptr), ValueError);
}

// The cost model: many pixels and channels pay, filters larger than caches and tiles do not.
TEST(WinogradConv, PaysWhereProductsOutweighTransforms) {
  for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::avx512_vnni}) {
    EXPECT_TRUE(winograd_pays(conv(1, 56, 56, 64, 64, 3, 1, 1), isa)) << isa_label(isa);
    EXPECT_FALSE(winograd_pays(conv(1, 7, 7, 512, 512, 3, 1, 1), isa)) << isa_label(isa);
    EXPECT_FALSE(winograd_pays(conv(1, 1, 1, 64, 64, 3, 1, 1), isa)) << isa_label(isa);
    EXPECT_FALSE(winograd_pays(conv(0, 56, 56, 64, 64, 3, 1, 1), isa)) << isa_label(isa);
  }
  EXPECT_FALSE(winograd_pays(conv(1, 56, 56, 64, 64, 3, 1, 1), Isa::amx));
  EXPECT_FALSE(winograd_pays(conv(1, 56, 56, 64, 64, 3, 1, 1), Isa::portable));
}

TEST(WinogradConv, AnEmptyBatchGivesNothing) {
  std::mt19937 rng(5);
  Case c = plain_case(conv(1, 8, 8, 16, 16, 3, 1, 1), rng);
  const Data d = make_data(c, rng);
  const WinogradConv empty = WinogradConv(c.spec, pack(c, d, Isa::portable)).resized(0, 8, 8);
  const AlignedBuffer scratch(empty.scratch_bytes() + 64);
  uint8_t dst = 77;
  empty.run(d.src.data(), &dst, scratch.data());
  EXPECT_EQ(dst, 77);
}

// --- float32 -------------------------------------------------------------------------------------

struct RealCase {
  QConvSpec spec;
  std::vector<float> x, w, residual;

  RealCase(const ConvShape& shape, std::mt19937& rng) {
    spec.shape = shape;
    spec.epilogue.out = ElemType::f32;
    std::normal_distribution<float> normal(0, 1);
    const auto fill = [&](std::vector<float>& v, int64_t n, float scale) {
      v.resize(static_cast<size_t>(n));
      for (float& f : v) f = scale * normal(rng);
    };
    fill(x, shape.batch * shape.in_h * shape.in_w * shape.in_c, 1);
    fill(w, shape.out_c * shape.in_c * 9, 0.1F);
    fill(spec.epilogue.bias, shape.out_c, 1);
    fill(residual, pixels() * shape.out_c, 1);
  }
  int64_t pixels() const { return spec.shape.batch * spec.shape.out_h() * spec.shape.out_w(); }

  std::vector<float> run(Isa isa, int threads) const {
    QConvSpec now = spec;
    now.threads = threads;
    const WinogradConv conv(now, pack_winograd(weight_shape(spec.shape), w.data(), isa));
    const AlignedBuffer scratch(conv.scratch_bytes());
    std::vector<float> y(static_cast<size_t>(pixels() * spec.shape.out_c), -1);
    conv.run(x.data(), y.data(), scratch.data(), residual.data());
    return y;
  }

  // One output element before its bias, product by product.
  template <class Sum>
  Sum sum(int64_t image, int64_t row, int64_t column, int64_t oc) const {
    const ConvShape& s = spec.shape;
    Sum total = 0;
    for (int64_t kh = 0; kh < 3; ++kh) {
      for (int64_t kw = 0; kw < 3; ++kw) {
        const int64_t h = row - s.pad_top + kh, v = column - s.pad_left + kw;
        if (h < 0 || h >= s.in_h || v < 0 || v >= s.in_w) continue;
        for (int64_t c = 0; c < s.in_c; ++c) {
          const int64_t at = ((image * s.in_h + h) * s.in_w + v) * s.in_c + c;
          total += static_cast<Sum>(x[static_cast<size_t>(at)]) *
                   static_cast<Sum>(w[static_cast<size_t>(((oc * s.in_c + c) * 3 + kh) * 3 + kw)]);
        }
      }
    }
    return total;
  }
};

// Mean square errors against sums in double: those of float32 sums product by product, whose errors
// grow with the depth, and ours.
TEST(WinogradFloat, IsAsPreciseAsSummingProductByProduct) {
  std::mt19937 rng(7);
  for (const ConvShape& s : {conv(2, 9, 14, 64, 20, 3, 1, 1), conv(1, 16, 15, 256, 16, 3, 1, 0)}) {
    RealCase c(s, rng);
    c.spec.epilogue.bias.clear();
    const std::vector<float> y = c.run(native_isa(), 2);
    double ours = 0, plain = 0;
    size_t at = 0;
    for (int64_t n = 0; n < s.batch; ++n) {
      for (int64_t h = 0; h < s.out_h(); ++h) {
        for (int64_t v = 0; v < s.out_w(); ++v) {
          for (int64_t oc = 0; oc < s.out_c; ++oc, ++at) {
            const double want = c.sum<double>(n, h, v, oc);
            ours += std::pow(double{y[at]} - want, 2);
            plain += std::pow(double{c.sum<float>(n, h, v, oc)} - want, 2);
          }
        }
      }
    }
    EXPECT_LT(std::sqrt(ours), 2 * std::sqrt(plain)) << "of " << s.in_c << " channels";
  }
}

TEST(WinogradFloat, SameBitsOnEveryInstructionSetAndForAnyThreads) {
  std::mt19937 rng(8);
  PostOp add;
  add.kind = PostOpKind::add;
  add.residual_type = ElemType::f32;
  const std::vector<std::vector<PostOp>> chains = {
      {}, {{PostOpKind::relu}}, {add, {PostOpKind::relu}}, {{PostOpKind::silu}}};
  for (const ConvShape& s : {conv(2, 9, 7, 16, 20, 3, 1, 1), conv(1, 26, 26, 48, 100, 3, 1, 1)}) {
    for (const auto& chain : chains) {
      RealCase c(s, rng);
      c.spec.epilogue.ops = chain;
      const std::vector<float> want = c.run(Isa::portable, 1);
      for (const Isa isa : all_isas()) {
        for (const int threads : {1, 3}) EXPECT_TRUE(c.run(isa, threads) == want) << isa_label(isa);
      }
    }
  }
}

TEST(WinogradFloat, RefusesQuantizedValues) {
  std::mt19937 rng(9);
  RealCase c(conv(1, 8, 8, 16, 16, 3, 1, 1), rng);
  const auto packed = pack_winograd(weight_shape(c.spec.shape), c.w.data(), Isa::portable);
  QConvSpec spec = c.spec;
  spec.src_zero_point = 3;
  EXPECT_THROW(WinogradConv(spec, packed), ValueError);
  spec = c.spec;
  spec.epilogue.out = ElemType::u8;
  EXPECT_THROW(WinogradConv(spec, packed), ValueError);
}

}  // namespace
}  // namespace pt2q::kernels
