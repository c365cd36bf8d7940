// Every route of the quantized convolution against the plain loops of qconv_reference, bit by bit.
// Emulated routes always run; native ones as far as this CPU goes.
#include "kernels/qconv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <set>

#include "base/cpu.h"
#include "base/parallel.h"
#include "error_message.h"
#include "kernels/qconv_frame.h"
#include "pt2q/error.h"
#include "qconv_case.h"

namespace pt2q::kernels {
namespace {

std::vector<Route> all_routes() {
  std::vector<Route> routes = {{Isa::portable, DotKind::vnni, false},
                               {Isa::avx2, DotKind::mixed, true},
                               {Isa::avx512, DotKind::mixed, true},
                               {Isa::amx, DotKind::vnni, true}};
  const Isa native = native_isa();
  if (native >= Isa::avx2) {
    if (cpu_features().avxvnni) routes.push_back({Isa::avx2, DotKind::vnni, false});
    routes.push_back({Isa::avx2, DotKind::mixed, false});
  }
  if (native >= Isa::avx512) routes.push_back({Isa::avx512, DotKind::mixed, false});
  if (native >= Isa::avx512_vnni) routes.push_back({Isa::avx512_vnni, DotKind::vnni, false});
  if (native >= Isa::amx) routes.push_back({Isa::amx, DotKind::vnni, false});
  return routes;
}

std::vector<uint8_t> run_route(const Case& c, const Data& d, const Route& route, int threads) {
  QConvSpec spec = c.spec;
  spec.threads = threads;
  const ConvShape& s = spec.shape;
  const auto packed =
      pack_weights(weight_shape(s), d.weights.data(), route, std::max(c.src_limit, 1));
  // With several threads, as the plan for a second input size is made.
  QConvSpec first = spec;
  if (threads > 1) {
    first.shape.batch += 1;
    first.shape.in_h += 7;
    first.shape.in_w += 5;
  }
  const QConv conv = QConv(first, packed).resized(s.batch, s.in_h, s.in_w);
  const AlignedBuffer scratch(conv.scratch_bytes());
  std::vector<uint8_t> dst = untouched_result(c);
  conv.run(d.src.data(), dst.data(), scratch.data(), d.residual.data());
  return dst;
}

void expect_all_routes_match(const Case& c, const Data& d, const std::string& what,
                             std::set<std::string>* ran = nullptr) {
  const std::vector<uint8_t> want = reference_result(c, d);
  for (const Route& route : all_routes()) {
    if (ran != nullptr) ran->insert(route.name());
    for (const int threads : {1, 3}) {
      const auto got = run_route(c, d, route, threads);
      const auto at = std::mismatch(want.begin(), want.end(), got.begin());
      EXPECT_TRUE(at.first == want.end()) << what << ": " << route.name() << ", " << threads
                                          << " threads, first difference at byte "
                                          << at.first - want.begin() << " of " << want.size();
    }
  }
}

TEST(QConv, RoutesMatchTheReferenceOnShapes) {
  const ConvShape shapes[] = {
      conv(1, 9, 9, 64, 64, 3, 1, 1),          // in place, or in frames
      conv(2, 20, 18, 32, 48, 3, 1, 1),        // frames with waste columns
      conv(1, 7, 7, 128, 32, 3, 1, 1),         // expanded
      conv(3, 12, 10, 24, 20, 3, 2, 1),        // stride, channel tails
      conv(1, 23, 21, 3, 64, 7, 2, 3),         // stem
      conv(2, 15, 17, 3, 24, 3, 2, 1),         // small stem
      conv(1, 14, 14, 64, 100, 1, 1, 0),       // pointwise
      conv(2, 9, 7, 16, 96, 1, 1, 0),          // fewer than 64 channels: tile tail
      conv(1, 3, 3, 70, 33, 1, 1, 0),          // fewer than 16 pixels
      conv(1, 8, 8, 100, 17, 1, 2, 0),         // strided pointwise
      conv(1, 5, 5, 2, 5, 1, 1, 0),            // fewer than four channels
      conv(1, 12, 12, 16, 16, 3, 1, 2, 2),     // dilation
      conv(1, 13, 13, 8, 8, 3, 2, 2, 2),       // dilation and stride
      conv(1, 10, 10, 32, 32, 3, 1, 1, 1, 4),  // groups
      conv(2, 9, 9, 24, 24, 3, 1, 1, 1, 24),   // depthwise
      conv(1, 9, 9, 12, 12, 5, 2, 2, 1, 12),   // depthwise with stride
      conv(1, 6, 6, 12, 36, 1, 1, 0, 1, 3),    // grouped pointwise
      conv(1, 1, 1, 300, 70, 1, 1, 0),         // one pixel
      conv(5, 4, 4, 40, 40, 3, 1, 1),
      conv(2, 6, 1, 16, 40, 3, 1, 1),  // one column that is both edges
      conv(1, 5, 2, 16, 64, 3, 2, 1),
      conv(2, 7, 14, 32, 80, 3, 1, 1),  // blocks that hold both edges
      conv(1, 8, 9, 8, 48, 5, 1, 2),    // two columns of padding
      conv(2, 17, 19, 3, 40, 3, 2, 1),  // rows of few channels, with strides
      conv(1, 30, 31, 3, 16, 5, 3, 2),
      conv(1, 28, 28, 1, 32, 5, 1, 2),
      conv(2, 14, 15, 8, 32, 3, 1, 1),
      conv(1, 1, 29, 700, 150, 1, 1, 0),  // weights that stream: four panels at once
      conv(1, 7, 7, 80, 112, 3, 1, 1),    // and three in short rows
      conv(1, 9, 15, 300, 1, 1, 1, 0),    // few channels: narrow
      conv(2, 3, 3, 129, 2, 1, 1, 0),
      conv(1, 5, 5, 128, 3, 1, 1, 0),
      conv(1, 1, 7, 200, 4, 1, 1, 0),
  };
  std::mt19937 rng(1);
  std::set<std::string> ran;
  for (const ConvShape& s : shapes) {
    for (const int weight_limit : {127, 60, 30}) {
      Case c;
      c.spec.shape = s;
      c.weight_limit = weight_limit;
      c.spec.src_zero_point = weight_limit == 127 ? 0 : 113;
      c.spec.epilogue.ops.push_back({PostOpKind::relu});
      c.spec.epilogue.out_zero_point = 9;
      set_scales(c, rng, true);
      const Data d = make_data(c, rng);
      expect_all_routes_match(c, d,
                              std::to_string(s.kernel_h) + "x" + std::to_string(s.kernel_w) + " " +
                                  std::to_string(s.in_c) + "->" + std::to_string(s.out_c),
                              &ran);
    }
  }
  std::printf("routes that ran:");
  for (const auto& name : ran) std::printf(" [%s]", name.c_str());
  std::printf("\n");
}

TEST(QConv, AsymmetricPaddingAndRectangularKernels) {
  std::mt19937 rng(2);
  for (int i = 0; i < 12; ++i) {
    Case c;
    ConvShape& s = c.spec.shape;
    std::uniform_int_distribution<int> pick(0, 3);
    s = conv(1 + pick(rng) % 2, 8 + pick(rng), 7 + pick(rng), 4 + 5 * pick(rng), 10 + pick(rng), 1,
             1, 0);
    s.kernel_h = 1 + pick(rng);
    s.kernel_w = 1 + pick(rng);
    s.stride_h = 1 + pick(rng) % 3;
    s.stride_w = 1 + pick(rng) % 3;
    s.pad_top = pick(rng);
    s.pad_left = pick(rng);
    s.pad_bottom = pick(rng);
    s.pad_right = pick(rng);
    s.dilation_h = 1 + pick(rng) % 2;
    s.dilation_w = 1 + pick(rng) % 2;
    c.spec.src_zero_point = 200;
    set_scales(c, rng, false);
    expect_all_routes_match(c, make_data(c, rng), "random " + std::to_string(i));
  }
}

TEST(QConv, ChannelSlicesAndSignedTypes) {
  std::mt19937 rng(3);
  for (const int64_t kernel : {1, 3}) {
    for (const ElemType out : {ElemType::u8, ElemType::s8, ElemType::f32, ElemType::bf16}) {
      Case c;
      c.spec.shape = conv(2, 9, 11, 20, 36, kernel, 1, kernel / 2);
      c.spec.src_stride = 29;
      c.spec.dst_stride = 50;
      c.spec.residual_stride = 41;
      c.spec.src_is_s8 = out != ElemType::f32;
      c.spec.src_zero_point = c.spec.src_is_s8 ? -5 : 5;
      c.spec.epilogue.out = out;
      c.spec.epilogue.qmin = out == ElemType::s8 ? -127 : 3;
      c.spec.epilogue.qmax = out == ElemType::s8 ? 127 : 250;
      PostOp add;
      add.kind = PostOpKind::add;
      add.residual_type = out == ElemType::s8 ? ElemType::s8 : ElemType::u8;
      add.residual_scale = 0.01F;
      add.residual_zero_point = 12;
      c.spec.epilogue.ops = {add, {PostOpKind::relu}};
      set_scales(c, rng, true);
      expect_all_routes_match(c, make_data(c, rng), "slices");
    }
  }
}

// u8 without zero points or bounds takes fewer instructions; the last shape's weights exceed L1.
TEST(QConv, ResultsAndResidualsWithoutZeroPoint) {
  std::mt19937 rng(11);
  for (const int64_t out : {16, 24, 32, 40, 48, 56, 64, 100, 320}) {
    for (const int32_t zero_point : {-1, 0, 1}) {  // of the residual; -1: there is none
      Case c;
      c.spec.shape = conv(2, 5, 5, out == 320 ? 256 : 20, out, 1, 1, 0);
      c.spec.dst_stride = out + 3;
      PostOp add;
      add.kind = PostOpKind::add;
      add.residual_type = ElemType::u8;
      add.residual_scale = 0.01F;
      add.residual_zero_point = zero_point;
      if (zero_point >= 0) c.spec.epilogue.ops.push_back(add);
      c.spec.epilogue.ops.push_back({PostOpKind::relu});
      set_scales(c, rng, true);
      expect_all_routes_match(c, make_data(c, rng), "residual " + std::to_string(out));
    }
  }
}

// Rows that bring scale and zero point: one for all, and one each, with and without post-ops.
TEST(QConv, ScaledRowsMatchTheReferenceOnEveryRoute) {
  std::mt19937 rng(11);
  std::uniform_real_distribution<float> u(0.5F, 1.5F);
  for (const int64_t rows : {1, 5, 100}) {
    for (const bool gelu : {false, true}) {
      const int64_t out = rows == 5 ? 3 : 90;  // narrow or not
      Case c;
      c.spec.shape = linear_shape(rows, out == 3 ? 140 : 70, out);
      c.spec.scaled_rows = true;
      c.spec.epilogue.out = gelu ? ElemType::u8 : ElemType::f32;
      if (gelu) c.spec.epilogue.ops = {{PostOpKind::gelu_erf}};
      set_scales(c, rng, true);
      const Data d = make_data(c, rng);
      std::vector<float> scale;
      std::vector<int32_t> zero;
      for (int64_t i = 0; i < rows; ++i) {
        scale.push_back(u(rng));
        zero.push_back(static_cast<int32_t>(rng() % 256));
      }
      for (const ptrdiff_t step : {0, 1}) {
        const RowScales scales{scale.data(), zero.data(), step};
        std::vector<uint8_t> want(static_cast<size_t>(rows * out * 4), 77);
        qconv_reference(c.spec, d.weights.data(), d.src.data(), want.data(), nullptr, scales);
        for (const Route& route : all_routes()) {
          for (const int threads : {1, 3}) {
            QConvSpec spec = c.spec;
            spec.threads = threads;
            const QConv conv(spec, pack_weights(weight_shape(spec.shape), d.weights.data(), route));
            const AlignedBuffer scratch(conv.scratch_bytes());
            std::vector<uint8_t> got(want.size(), 77);
            conv.run(d.src.data(), got.data(), scratch.data(), nullptr, scales);
            EXPECT_TRUE(want == got) << route.name() << ": " << rows << " rows, step " << step;
          }
        }
      }
    }
  }
}

TEST(QConv, PostOpsAreIdenticalOnEveryRoute) {
  std::mt19937 rng(4);
  PostOp add_f32;
  add_f32.kind = PostOpKind::add;
  add_f32.residual_type = ElemType::f32;
  const std::vector<std::vector<PostOp>> chains = {
      {{PostOpKind::relu}},
      {{PostOpKind::clip, 0.0F, 1.0F}},
      {{PostOpKind::clip, -0.5F, 0.25F}, {PostOpKind::relu}},
      {{PostOpKind::hardswish}},
      {{PostOpKind::leaky_relu, 0.1F}},
      {{PostOpKind::silu}},
      {{PostOpKind::sigmoid}},
      {{PostOpKind::tanh}},
      {{PostOpKind::gelu_erf}},
      {{PostOpKind::gelu_tanh}},
      {add_f32, {PostOpKind::relu}},
      {{PostOpKind::relu}, add_f32},
  };
  for (const auto& chain : chains) {
    for (const ElemType out : {ElemType::u8, ElemType::f32, ElemType::bf16}) {
      Case c;
      c.spec.shape = conv(1, 6, 6, 24, 40, 3, 1, 1);
      c.spec.src_zero_point = 128;
      c.spec.epilogue.ops = chain;
      c.spec.epilogue.out = out;
      c.spec.epilogue.out_zero_point = 30;
      set_scales(c, rng, true);
      expect_all_routes_match(c, make_data(c, rng),
                              "post-op " + std::to_string(static_cast<int>(chain[0].kind)));
    }
  }
}

// Few outputs: pixels one behind the other share a row of the epilogue, others do not.
TEST(QConv, NarrowLinearsMatchTheReferenceOnEveryRoute) {
  std::mt19937 rng(13);
  PostOp add;
  add.kind = PostOpKind::add;
  add.residual_type = ElemType::s8;
  add.residual_scale = 0.02F;
  const std::vector<std::vector<PostOp>> chains = {
      {}, {{PostOpKind::relu}}, {{PostOpKind::sigmoid}}, {add}};
  for (const int64_t out : {1, 2, 3, 4}) {
    for (const auto& chain : chains) {
      for (const ElemType type : {ElemType::u8, ElemType::s8, ElemType::f32, ElemType::bf16}) {
        Case c;
        c.spec.shape = linear_shape(type == ElemType::s8 ? 5 : 151, 128 + 23 * (out - 1), out);
        c.spec.src_zero_point = static_cast<int32_t>(3 * out);
        c.spec.dst_stride = out + (type == ElemType::f32 ? 2 : 0);
        c.spec.residual_stride = out + (type == ElemType::bf16 ? 1 : 0);
        c.spec.epilogue.ops = chain;
        c.spec.epilogue.out = type;
        c.spec.epilogue.qmin = type == ElemType::s8 ? -128 : 0;
        c.spec.epilogue.qmax = type == ElemType::s8 ? 127 : 255;
        set_scales(c, rng, true);
        expect_all_routes_match(c, make_data(c, rng), "narrow " + std::to_string(out));
      }
    }
  }
  const auto packed = pack_weights({3, 200}, std::vector<int8_t>(600, 1).data());
  QConvSpec spec;
  spec.shape = linear_shape(8, 200, 3);
  spec.epilogue.scale = {1.0F};
  EXPECT_THAT(QConv(spec, packed).describe(), ::testing::HasSubstr("narrow 1x1 200->3"));
}

// float32 results are stored as they are computed, the residual added on the way; bfloat16 too.
TEST(QConv, RealResultsWithAndWithoutResidual) {
  std::mt19937 rng(12);
  enum { plain, residual, half };
  for (const int64_t out : {5, 16, 24, 40, 64, 100, 320}) {
    for (const int kind : {plain, residual, half}) {
      Case c;
      c.spec.shape = conv(1, 5, 5, out == 320 ? 256 : 20, out, 1, 1, 0);
      c.spec.src_zero_point = 7;
      c.spec.dst_stride = out + 3;
      c.spec.residual_stride = out + 5;
      PostOp add;
      add.kind = PostOpKind::add;
      add.residual_type = ElemType::f32;
      if (kind == residual) c.spec.epilogue.ops = {add};
      c.spec.epilogue.out = kind == half ? ElemType::bf16 : ElemType::f32;
      set_scales(c, rng, true);
      expect_all_routes_match(c, make_data(c, rng), "real " + std::to_string(out));
    }
  }
}

// Activations to integers take a shortcut; values in doubt take the long way.
TEST(QConv, ActivationsToIntegersAreTheDefinitions) {
  std::mt19937 rng(13);
  for (const PostOpKind kind : {PostOpKind::gelu_erf, PostOpKind::gelu_tanh, PostOpKind::silu}) {
    for (const float out_scale : {0.0002F, 0.01F, 0.2F}) {
      Case c;
      c.spec.shape = conv(1, 13, 7, 64, 150, 1, 1, 0);
      c.spec.src_zero_point = 128;
      c.spec.epilogue.ops = {{kind}};
      c.spec.epilogue.out = out_scale == 0.01F ? ElemType::s8 : ElemType::u8;
      c.spec.epilogue.out_zero_point = out_scale == 0.01F ? -100 : 17;
      c.spec.epilogue.qmin = out_scale == 0.01F ? -127 : 2;
      c.spec.epilogue.qmax = out_scale == 0.01F ? 127 : 255;
      set_scales(c, rng, true);
      for (float& scale : c.spec.epilogue.scale) scale *= 200 * out_scale;
      c.spec.epilogue.out_scale = out_scale;
      expect_all_routes_match(c, make_data(c, rng), "scale " + std::to_string(out_scale));
    }
  }
}

TEST(QConv, NonFiniteValuesFollowQuantizePerTensor) {
  std::mt19937 rng(5);
  Case c;
  c.spec.shape = conv(1, 4, 4, 8, 20, 1, 1, 0);
  c.spec.epilogue.out_zero_point = 10;
  c.spec.epilogue.qmin = 2;
  set_scales(c, rng, true);
  c.spec.epilogue.bias[1] = std::numeric_limits<float>::infinity();
  c.spec.epilogue.bias[2] = -std::numeric_limits<float>::infinity();
  c.spec.epilogue.bias[3] = std::numeric_limits<float>::quiet_NaN();
  const Data d = make_data(c, rng);
  expect_all_routes_match(c, d, "non-finite");
  const auto got = run_route(c, d, all_routes().back(), 1);
  EXPECT_EQ(got[1], 255);
  EXPECT_EQ(got[2], 2);
  EXPECT_EQ(got[3], 0);
}

TEST(QConv, RoundsHalfToEven) {
  Case c;
  c.spec.shape = linear_shape(8, 4, 1);
  c.spec.epilogue.scale = {0.5F};
  Data d;
  d.weights = {1, 0, 0, 0};
  for (int i = 0; i < 8; ++i) d.src.insert(d.src.end(), {static_cast<uint8_t>(i), 0, 0, 0});
  for (const Route& route : all_routes()) {
    const auto got = run_route(c, d, route, 1);
    const std::vector<uint8_t> want = {0, 0, 1, 2, 2, 2, 3, 4};
    EXPECT_TRUE(std::equal(want.begin(), want.end(), got.begin())) << route.name();
  }
}

// The steps of the first panel.
std::vector<DotStep> steps_of(const std::vector<int8_t>& weights, int32_t src_max,
                              int64_t inputs = 8) {
  const WeightShape shape{static_cast<int64_t>(weights.size()) / inputs, inputs, 1, 1, 1, 1};
  const Route route{Isa::avx512, DotKind::mixed, true};
  const auto packed = pack_weights(shape, weights.data(), route, src_max);
  std::vector<DotStep> steps;
  for (const DotRun& run : packed->dot_runs) steps.insert(steps.end(), run.count, run.step);
  return steps;
}

TEST(QConv, SixteenBitSumsOnlyWhereTheyFit) {
  using Steps = std::vector<DotStep>;
  const DotStep pair = DotStep::pair, single = DotStep::single, wide = DotStep::wide;
  EXPECT_EQ(steps_of({127, 127, 0, 0, 1, 1, 1, 1}, 255), (Steps{single, wide}));
  EXPECT_EQ(steps_of({127, 127, 0, 0, 1, 1, 1, 1}, 127), Steps{pair});
  EXPECT_EQ(steps_of({127, 0, 0, 127, 1, 0, 0, 1}, 255), Steps{pair});
  EXPECT_EQ(steps_of({127, 1, 0, 0, 1, 0, 0, 0}, 255), (Steps{single, single}));
  EXPECT_EQ(steps_of({127, -128, 0, 0, 1, 0, 0, 0}, 255), Steps{pair});
  EXPECT_EQ(steps_of({-128, 0, 0, 0, -1, 0, 0, 0}, 255), (Steps{single, single}));
  EXPECT_EQ(steps_of({1, 1, 1, 1, 100, 29, 0, 0}, 255), (Steps{single, wide}));
  // Any two quads make a pair.
  EXPECT_EQ(steps_of({100, 0, 0, 0, 90, 0, 0, 0, 20, 0, 0, 0, 38, 0, 0, 0}, 255, 16),
            (Steps{pair, pair}));
  // One channel of sixteen decides for its panel.
  std::vector<int8_t> channels(16 * 8, 1);
  channels[5 * 8] = channels[5 * 8 + 1] = 127;
  EXPECT_EQ(steps_of(channels, 255), (Steps{single, wide}));
}

TEST(QConv, LargestSumsStayExact) {
  std::mt19937 rng(8);
  const int8_t values[] = {-128, -127, -64, -32, -1, 0, 1, 31, 32, 64, 127};
  for (const int src_max : {255, 200, 127, 63}) {
    Case c;
    c.spec.shape = conv(1, 4, 7, 64, 32, 3, 1, 1);
    c.src_limit = src_max;
    c.spec.src_zero_point = src_max;
    c.spec.epilogue.out = ElemType::f32;
    set_scales(c, rng, false);
    Data d = make_data(c, rng);
    std::fill(d.src.begin(), d.src.end(), static_cast<uint8_t>(src_max));
    d.src[17] = 0;
    for (auto& w : d.weights) w = values[rng() % 11];
    expect_all_routes_match(c, d, "largest input " + std::to_string(src_max));
  }
}

TEST(QConv, InPlaceResidualIsAddedOnce) {
  std::mt19937 rng(6);
  Case c;  // 21 pixels: the second tile reaches back over the first
  c.spec.shape = conv(1, 3, 7, 64, 48, 1, 1, 0);
  PostOp add;
  add.kind = PostOpKind::add;
  add.residual_scale = 0.0117F;
  c.spec.epilogue.ops = {add};
  set_scales(c, rng, true);
  const Data d = make_data(c, rng);
  const size_t size = 21 * 48;
  std::vector<uint8_t> want(size);
  qconv_reference(c.spec, d.weights.data(), d.src.data(), want.data(), d.residual.data());
  for (const Route& route : all_routes()) {
    const QConv op(c.spec, pack_weights(weight_shape(c.spec.shape), d.weights.data(), route));
    const AlignedBuffer scratch(op.scratch_bytes());
    std::vector<uint8_t> io(d.residual.begin(), d.residual.begin() + size);
    op.run(d.src.data(), io.data(), scratch.data(), io.data());
    EXPECT_EQ(io, want) << route.name();
  }
}

TEST(QConv, BadInputIsNamed) {
  using ::testing::HasSubstr;
  const int8_t w[64] = {};
  QConvSpec spec;
  spec.shape = conv(1, 4, 4, 8, 8, 1, 1, 0);
  spec.epilogue.scale = {1.0F};
  const auto packed = pack_weights(weight_shape(spec.shape), w);
  EXPECT_NO_THROW(QConv(spec, packed));
  QConvSpec other = spec;
  other.shape.in_c = 16;
  const auto error = [](auto&& fn) { return testing::error_message<ValueError>(fn); };
  EXPECT_THAT(error([&] { QConv(other, packed); }),
              HasSubstr("1x1 16->8 @4x4: the weights were packed for another shape"));
  QConvSpec lengths = spec;
  lengths.epilogue.scale = {1, 2, 3};
  EXPECT_THAT(error([&] { QConv(lengths, packed); }),
              HasSubstr("scale has 3 values for 8 output channels"));
  QConvSpec zero = spec;
  zero.src_zero_point = 300;
  EXPECT_THAT(error([&] { QConv(zero, packed); }),
              HasSubstr("1x1 8->8 @4x4: the source zero point 300"));
  QConvSpec rows = spec;
  rows.scaled_rows = true;
  EXPECT_THAT(error([&] { QConv(rows, packed).run(w, nullptr, nullptr); }),
              HasSubstr("parameters of rows are given where the plan has none, or missing"));
  rows.src_zero_point = 3;
  EXPECT_THAT(error([&] { QConv(rows, packed); }),
              HasSubstr("rows with parameters of their own have neither a zero point nor padding"));
  EXPECT_EQ(error([] { isa_from_label("sse9"); }), "unknown instruction set 'sse9'");
}

TEST(QConv, AnEmptyBatchIsNoWork) {
  const std::vector<int8_t> w(8 * 8 * 9, 1);
  for (const int64_t kernel : {1, 3}) {
    QConvSpec spec;
    spec.shape = conv(0, 5, 5, 8, 8, kernel, 1, 0);
    spec.epilogue.scale = {1.0F};
    const auto packed = pack_weights(weight_shape(spec.shape), w.data());
    QConv(spec, packed).run(nullptr, nullptr, nullptr);
    spec.shape.batch = 1;
    QConv(spec, packed).resized(0, 4, 6).run(nullptr, nullptr, nullptr);
  }
}

// Every choice that a shape has, alone and on top of another, and some that it does not allow.
std::vector<QConvChoice> all_choices(const QConvSpec& spec, const PackedWeights& packed) {
  std::vector<QConvChoice> out{{}, {static_cast<int>(FrameMode::direct), 1, 1}, {4, 1 << 30, 99}};
  for (const QConvAspect first :
       {QConvAspect::mode, QConvAspect::frame_bytes, QConvAspect::pixel_ways}) {
    for (const QConvChoice& c : qconv_choices(spec, packed, {}, first)) {
      out.push_back(c);
      if (first != QConvAspect::mode) continue;
      for (const QConvChoice& more : qconv_choices(spec, packed, c, QConvAspect::pixel_ways))
        out.push_back(more);
      out.push_back(qconv_choices(spec, packed, c, QConvAspect::frame_bytes).front());
    }
  }
  return out;
}

TEST(QConvChoices, DoNotChangeABit) {
  const std::vector<ConvShape> shapes{
      conv(2, 9, 11, 16, 24, 3, 1, 1),      conv(1, 7, 7, 64, 40, 3, 1, 1),
      conv(1, 13, 9, 3, 20, 7, 2, 3),       conv(3, 6, 5, 20, 33, 1, 1, 0),
      conv(1, 12, 12, 32, 16, 3, 2, 1),     conv(1, 10, 10, 8, 16, 3, 1, 2, 2),
      conv(1, 8, 8, 24, 48, 3, 1, 1, 1, 2), conv(1, 1, 50, 48, 64, 1, 1, 0),
  };
  std::mt19937 rng(8);
  size_t tried = 0;
  for (const ConvShape& shape : shapes) {
    Case c;
    c.spec.shape = shape;
    c.spec.src_zero_point = 7;
    c.spec.epilogue.ops = {{PostOpKind::add}};
    set_scales(c, rng, true);
    const Data d = make_data(c, rng);
    for (const Route& route : all_routes()) {
      const auto want = run_route(c, d, route, 3);
      const auto packed = pack_weights(weight_shape(shape), d.weights.data(), route, c.src_limit);
      QConvSpec spec = c.spec;
      spec.threads = 3;
      for (const QConvChoice& choice : all_choices(spec, *packed)) {
        Case other = c;
        other.spec.choice = choice;
        EXPECT_EQ(run_route(other, d, route, 3), want)
            << route.name() << ", " << QConv(c.spec, packed).describe() << ": mode " << choice.mode
            << ", " << choice.frame_bytes << " bytes, " << choice.pixel_ways << " ways";
        ++tried;
      }
    }
  }
  EXPECT_GT(tried, 200U);
}

}  // namespace
}  // namespace pt2q::kernels
