// kernels/qdepthwise.h against qconv_reference, on every instruction set of this machine.
#include <gtest/gtest.h>

#include "kernels/qdepthwise.h"
#include "kernels_test_util.h"
#include "pt2q/error.h"

namespace pt2q::kernels {
namespace {

ConvShape depthwise_shape(int64_t batch, int64_t h, int64_t w, int64_t channels, int64_t kernel,
                          int64_t stride, int64_t pad, int64_t dilation = 1) {
  ConvShape s;
  s.batch = batch;
  s.in_h = h;
  s.in_w = w;
  s.in_c = s.out_c = s.groups = channels;
  s.kernel_h = s.kernel_w = kernel;
  s.stride_h = s.stride_w = stride;
  s.pad_top = s.pad_bottom = s.pad_left = s.pad_right = pad;
  s.dilation_h = s.dilation_w = dilation;
  return s;
}

std::vector<ConvShape> shapes() {
  ConvShape odd = depthwise_shape(1, 9, 14, 40, 3, 1, 1);
  odd.kernel_w = 5;
  odd.stride_h = 2;
  odd.pad_left = 3;
  odd.pad_bottom = 0;
  return {depthwise_shape(1, 14, 14, 64, 3, 1, 1),
          depthwise_shape(2, 15, 13, 96, 3, 2, 1),
          depthwise_shape(1, 7, 7, 160, 5, 1, 2),
          depthwise_shape(1, 12, 11, 24, 5, 2, 2),
          depthwise_shape(1, 10, 10, 32, 3, 1, 2, 2),
          depthwise_shape(1, 9, 9, 3, 7, 1, 3),
          depthwise_shape(1, 5, 200, 65, 3, 1, 1),
          depthwise_shape(3, 4, 4, 130, 1, 1, 0),
          depthwise_shape(1, 6, 6, 17, 4, 3, 0),
          depthwise_shape(1, 3, 3, 8, 3, 1, 1),
          depthwise_shape(1, 19, 31, 100, 3, 1, 1),
          depthwise_shape(1, 9, 40, 20, 3, 2, 0),
          odd};
}

struct Case {
  QConvSpec spec;
  std::vector<int8_t> weights;
  std::vector<uint8_t> src;
  std::vector<float> residual;  // as floats or, reinterpreted, as bytes
};

int64_t out_pixels(const ConvShape& s) { return s.batch * s.out_h() * s.out_w(); }

Case make_case(const ConvShape& s, uint32_t seed) {
  Case c;
  c.spec.shape = s;
  c.spec.src_zero_point = 114;
  c.weights = random_integers<int8_t>(s.in_c * s.kernel_h * s.kernel_w, seed);
  c.weights[0] = -128;
  c.src = random_integers<uint8_t>(s.batch * s.in_h * s.in_w * s.in_c, seed + 1);
  c.residual = random_floats(out_pixels(s) * s.in_c, seed + 2);
  c.spec.epilogue.scale = random_floats(s.in_c, seed + 3, 0.01f);
  c.spec.epilogue.bias = random_floats(s.in_c, seed + 4, 5.0f);
  c.spec.epilogue.out_scale = 0.3f;
  c.spec.epilogue.out_zero_point = 100;
  return c;
}

// Runs on every instruction set, with one thread and with three.
void expect_equal_to_reference(const Case& c, const std::string& what) {
  const QConvSpec& spec = c.spec;
  const int64_t stride = spec.dst_stride == 0 ? spec.shape.out_c : spec.dst_stride;
  const auto element = static_cast<size_t>(elem_bytes(spec.epilogue.out));
  std::vector<uint8_t> expected(static_cast<size_t>(out_pixels(spec.shape) * stride) * element, 77);
  qconv_reference(spec, c.weights.data(), c.src.data(), expected.data(), c.residual.data());
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_vnni}) {
    if (isa > native_isa()) continue;
    // As the plan for a second input size is made.
    QConvSpec first = spec;
    first.shape.batch += 1;
    first.shape.in_h += 7;
    first.shape.in_w += 5;
    const QDepthwise conv = QDepthwise(first, pack_depthwise(spec.shape, c.weights.data(), isa))
                                .resized(spec.shape.batch, spec.shape.in_h, spec.shape.in_w);
    for (const int threads : {1, 3}) {
      set_num_threads(threads);
      std::vector<uint8_t> out(expected.size(), 77);
      conv.run(c.src.data(), out.data(), c.residual.data());
      EXPECT_TRUE(same_bits(out, expected)) << what << ", " << conv.describe();
    }
  }
}

TEST(QDepthwise, EqualsReferenceForEveryShape) {
  uint32_t seed = 1;
  for (const ConvShape& s : shapes()) {
    expect_equal_to_reference(make_case(s, seed++), "u8 to u8");
  }
}

TEST(QDepthwise, EqualsReferenceForSignedInputAndOutput) {
  for (const ConvShape& s : shapes()) {
    Case c = make_case(s, 50);
    c.spec.src_is_s8 = true;
    c.spec.src_zero_point = -7;
    c.spec.epilogue.out = ElemType::s8;
    c.spec.epilogue.out_zero_point = 3;
    c.spec.epilogue.qmin = -127;
    c.spec.epilogue.qmax = 127;
    expect_equal_to_reference(c, "s8 to s8");
  }
}

TEST(QDepthwise, EqualsReferenceForPostOps) {
  for (const ConvShape& s : {shapes()[0], shapes()[1], shapes()[3]}) {
    for (const PostOpKind kind : {PostOpKind::relu, PostOpKind::clip, PostOpKind::hardswish,
                                  PostOpKind::silu, PostOpKind::add}) {
      for (const ElemType out : {ElemType::u8, ElemType::f32, ElemType::bf16}) {
        Case c = make_case(s, 70);
        PostOp op;
        op.kind = kind;
        op.alpha = 0.0f;
        op.beta = 6.0f;
        op.residual_type = out == ElemType::u8 ? ElemType::u8 : ElemType::f32;
        op.residual_scale = 0.2f;
        op.residual_zero_point = 9;
        c.spec.epilogue.ops = {op};
        c.spec.epilogue.out = out;
        expect_equal_to_reference(c, "post-op " + std::to_string(static_cast<int>(kind)));
      }
    }
  }
}

TEST(QDepthwise, WritesASliceOfAWiderBufferOnly) {
  Case c = make_case(shapes()[1], 90);
  c.spec.dst_stride = c.spec.shape.out_c + 13;
  expect_equal_to_reference(c, "strided");
}

// Large enough for rows to be fetched ahead.
TEST(QDepthwise, EqualsReferenceForInputsThatExceedTheCache) {
  expect_equal_to_reference(make_case(depthwise_shape(2, 150, 150, 96, 3, 2, 1), 91), "large");
}

TEST(QDepthwise, AccumulatesExactlyAtTheExtremes) {
  Case c = make_case(depthwise_shape(1, 8, 8, 64, 3, 1, 1), 3);
  std::fill(c.weights.begin(), c.weights.end(), int8_t{127});
  std::fill(c.src.begin(), c.src.end(), uint8_t{255});
  c.spec.src_zero_point = 0;
  c.spec.epilogue.out = ElemType::f32;
  c.spec.epilogue.scale = {1.0f};
  c.spec.epilogue.bias.clear();
  expect_equal_to_reference(c, "extremes");
}

TEST(QDepthwise, RejectsWrongShapes) {
  ConvShape s = depthwise_shape(1, 8, 8, 64, 3, 1, 1);
  const std::vector<int8_t> w(64 * 9, 1);
  const auto packed = pack_depthwise(s, w.data());
  ConvShape grouped = s;
  grouped.groups = 32;
  EXPECT_THROW(pack_depthwise(grouped, w.data()), ValueError);
  QConvSpec spec;
  spec.shape = depthwise_shape(1, 8, 8, 32, 3, 1, 1);
  spec.epilogue.scale = {1.0f};
  EXPECT_THROW(QDepthwise(spec, packed), ValueError);
  spec.shape = s;
  spec.src_zero_point = 300;
  EXPECT_THROW(QDepthwise(spec, packed), ValueError);
  spec.src_zero_point = 0;
  EXPECT_THROW(QDepthwise(spec, nullptr), ValueError);
  EXPECT_THROW(QDepthwise(spec, packed).resized(1, 0, 8), ValueError);
  QConvSpec narrow = spec;
  narrow.src_stride = 63;
  EXPECT_THROW(QDepthwise(narrow, packed), ValueError);
  QConvSpec outside = spec;
  outside.shape.pad_left = -1;
  EXPECT_THROW(QDepthwise(outside, packed), ValueError);
  spec.epilogue.ops = {{PostOpKind::add}};
  EXPECT_THROW(QDepthwise(spec, packed).run(w.data(), nullptr), ValueError);
}

}  // namespace
}  // namespace pt2q::kernels
