// Concatenations whose parts are written in place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/parallel.h"
#include "error_message.h"
#include "graph_builder.h"
#include "kernels/qconv.h"
#include "kernels/qdepthwise.h"
#include "onednn/executor.h"
#include "pt2q/error.h"
#include "pt2q/pt2e.h"
#include "pt2q/quantizers.h"

namespace pt2q::testing {
namespace {

// Steps that copy for a concatenation, and steps that write into one.
struct Joins {
  int copied = 0;
  int in_place = 0;
};
Joins joins_of(GraphModule& m, const std::vector<Value>& inputs) {
  Joins out;
  for (const auto& step : plan_for(m, inputs)->plan()->steps) {
    const std::string& kernel = step->info.kernel;
    if (kernel == "pt2q cat" || kernel == "pt2q concat" || step->info.reference) ++out.copied;
    if (step->info.note.find("written into") != std::string::npos) ++out.in_place;
  }
  return out;
}

std::unique_ptr<CompiledModel> compile_x86(GraphModule& m, const Tensor& sample) {
  X86InductorQuantizer quantizer;
  quantizer.set_global(get_default_x86_inductor_quantization_config());
  m.exported = true;
  prepare_pt2e(m, quantizer);
  run(m, {sample});
  convert_pt2e(m);
  return compile(m);
}

Node* cat(NetBuilder& b, const std::vector<Node*>& parts, int64_t dim = 1) {
  Value::List list;
  for (Node* n : parts) list.emplace_back(n);
  return b.op("aten.cat.default", {Value(std::move(list)), dim});
}

// Squeeze, then 1x1 and 3x3 side by side.
Node* fire(NetBuilder& b, Node* x, int64_t in, int64_t squeeze, int64_t expand) {
  Node* s = b.relu(b.conv2d(x, in, squeeze, 1));
  return cat(
      b, {b.relu(b.conv2d(s, squeeze, expand, 1)), b.relu(b.conv2d(s, squeeze, expand, 3, 1, 1))});
}

TEST(PlanJoin, ConvolutionsWriteIntoTheConcatenation) {
  for (const int64_t expand : {16, 21}) {
    NetBuilder b;
    Node* x = b.input("x", {3, 3, 17, 17});
    Node* y = fire(b, b.relu(b.conv2d(x, 3, 8, 3, 2, 1)), 8, 6, expand);
    y = fire(b, b.max_pool(y, 3, 2, 1), 2 * expand, 8, expand);
    auto m = b.finish(b.conv2d(y, 2 * expand, 5, 1));
    const Tensor in = random_tensor({3, 3, 17, 17}, 3);
    const auto c = compile_x86(*m, in);
    const Tensor got = first((*c)({in}));
    EXPECT_TRUE(same_bits(got, first(run_reference(c->module(), {in})))) << expand;
    const Joins joins = joins_of(c->module(), {in});
    EXPECT_EQ(joins.copied, 0);
    EXPECT_EQ(joins.in_place, 4);
    const int threads = num_threads();
    set_num_threads(threads == 1 ? 2 : 1);
    EXPECT_TRUE(same_bits(first((*c)({in})), got));
    set_num_threads(threads);
  }
}

TEST(PlanJoin, BatchSplitsGiveTheSameBits) {
  const auto build = [](const SymInt& batch) {
    NetBuilder b;
    Node* x = b.input("x", {batch, 4, 9, 7});
    return b.finish(b.conv2d(fire(b, b.relu(b.conv2d(x, 4, 8, 1)), 8, 4, 12), 24, 3, 1));
  };
  const Tensor in = random_tensor({4, 4, 9, 7}, 5);
  auto m = build(SymInt::symbol("s0", 4));
  const auto c = compile_x86(*m, in);
  const Tensor whole = first((*c)({in}));
  for (int64_t i = 0; i < 4; ++i) {
    const Tensor one = first((*c)({in.slice(0, i, i + 1).contiguous()}));
    EXPECT_TRUE(same_bits(one, whole.slice(0, i, i + 1).contiguous())) << i;
  }
}

// Depthwise convolution, pools and a concatenation of a concatenation.
TEST(PlanJoin, BranchesOfAllKindsAndNestedConcatenations) {
  NetBuilder b;
  Node* x = b.input("x", {2, 3, 12, 12});
  Node* stem = b.relu(b.conv2d(x, 3, 8, 3, 1, 1));
  Node* deep = b.relu(b.conv2d(stem, 8, 8, 3, 1, 1, 8));
  Node* inner = cat(b, {deep, b.max_pool(stem, 3, 1, 1)});
  Node* right = b.relu(b.conv2d(stem, 8, 5, 1));
  auto m = b.finish(b.conv2d(cat(b, {right, inner}), 21, 4, 1));
  const Tensor in = random_tensor({2, 3, 12, 12}, 6);
  const auto c = compile_x86(*m, in);
  EXPECT_TRUE(same_bits(first((*c)({in})), first(run_reference(c->module(), {in}))));
  const Joins joins = joins_of(c->module(), {in});
  EXPECT_EQ(joins.copied, 0) << c->explain();
  EXPECT_EQ(joins.in_place, 3);
}

TEST(PlanJoin, WhatOthersReadIsCopied) {
  NetBuilder b;
  Node* x = b.input("x", {2, 3, 8, 8});
  Node* stem = b.relu(b.conv2d(x, 3, 8, 3, 1, 1));
  Node* twice = cat(b, {stem, stem});
  Node* left = b.relu(b.conv2d(stem, 8, 6, 1));
  Node* mixed = cat(b, {left, b.relu(b.conv2d(stem, 8, 4, 1)), stem});
  Node* sum = b.conv2d(left, 6, 4, 1);
  auto m = b.finish(b.add(b.add(b.conv2d(twice, 16, 4, 1), b.conv2d(mixed, 18, 4, 1)), sum));
  const Tensor in = random_tensor({2, 3, 8, 8}, 7);
  const auto c = compile_x86(*m, in);
  EXPECT_TRUE(same_bits(first((*c)({in})), first(run_reference(c->module(), {in}))));
  const Joins joins = joins_of(c->module(), {in});
  EXPECT_EQ(joins.in_place, 1);
  EXPECT_EQ(joins.copied, 3);  // both stems at once, and two slices
}

// quantize writes rows with gaps; a part with other parameters is requantized into its slice.
TEST(PlanJoin, EqualParametersInPlaceOthersRequantized) {
  const auto dq = [](NetBuilder& b, Node* n, double scale) {
    Node* q = b.op("quantized_decomposed.quantize_per_tensor.default",
                   {n, scale, 10, 0, 255, DType::UInt8});
    return b.op("quantized_decomposed.dequantize_per_tensor.default",
                {q, scale, 10, 0, 255, DType::UInt8});
  };
  NetBuilder b;
  Node* x = b.input("x", {5, 33});
  Node* y = b.input("y", {5, 40});
  Node* z = cat(b, {dq(b, x, 0.02), dq(b, y, 0.017)});
  auto m = b.finish(dq(b, z, 0.02));
  const std::vector<Value> in{random_tensor({5, 33}, 8), random_tensor({5, 40}, 9)};
  const auto c = compile(*m);
  EXPECT_TRUE(same_bits(first((*c)(in)), first(run_reference(c->module(), in))));
  const Joins joins = joins_of(c->module(), in);
  EXPECT_EQ(joins.in_place, 1) << c->explain();
  EXPECT_EQ(joins.copied, 1);
}

// Along the outermost dimension a part is one piece of memory: any step can write it.
TEST(PlanJoin, LeadingDimensionTakesAnyStep) {
  NetBuilder b;
  Node* x = b.input("x", {3, 6});
  Node* y = cat(b, {b.linear(x, 6, 4), b.relu(b.linear(x, 6, 4))}, 0);
  auto m = b.finish(Value::List{y, b.linear(y, 4, 2)});
  const std::vector<Value> in{random_tensor({3, 6}, 10)};
  const Joins joins = joins_of(*m, in);
  EXPECT_EQ(joins.in_place, 2);
  EXPECT_EQ(joins.copied, 0);
  for (int repeat = 0; repeat < 2; ++repeat) {  // results are new memory each time
    const Value got = run(*m, in), want = run_reference(*m, in);
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_LT(max_difference(got.list()[i].as<Tensor>(), want.list()[i].as<Tensor>()), 1e-6);
    }
  }
}

// The concatenation is as large as what the part is computed from, and may take its memory, but
// only where every element is written at the place it was read from.
TEST(PlanJoin, APartElsewhereInTheResultDoesNotWorkInPlace) {
  for (const int64_t from : {0, 1}) {
    NetBuilder b;
    Node* x = b.input("x", {1, 3, 9, 9});
    Node* y = b.input("y", {1, 1, 9, 9});
    Node* whole = b.op("aten.mul.Tensor", {x, 2.0});
    Node* part = b.relu(b.op("aten.slice.Tensor", {whole, 1, from, from + 2}));
    Node* joined = from == 0 ? cat(b, {y, part}) : cat(b, {part, y});
    auto m = b.finish(b.op("aten.mul.Tensor", {joined, 3.0}));
    const std::vector<Value> in{random_tensor({1, 3, 9, 9}, 11), random_tensor({1, 1, 9, 9}, 12)};
    EXPECT_EQ(joins_of(*m, in).in_place, 1);
    EXPECT_TRUE(same_bits(first(run(*m, in)), first(run_reference(*m, in)))) << from;
  }
}

TEST(PlanJoin, PixelStridesAreChecked) {
  kernels::QConvSpec spec;
  spec.shape.in_c = 8;
  spec.shape.out_c = 16;
  spec.epilogue.scale = {0.1F};
  const std::vector<int8_t> w(128, 1);
  kernels::QConv conv(spec, kernels::pack_weights(kernels::weight_shape(spec.shape), w.data()));
  EXPECT_THAT(error_message<ValueError>([&] { conv.set_dst_stride(15); }),
              ::testing::HasSubstr("a pixel stride of 15 for the destination is smaller"));
  spec.shape.out_c = spec.shape.groups = 8;
  kernels::QDepthwise depthwise(spec, kernels::pack_depthwise(spec.shape, w.data()));
  EXPECT_THAT(error_message<ValueError>([&] { depthwise.set_dst_stride(7); }),
              ::testing::HasSubstr(
                  "a pixel stride of 7 for the destination is smaller than its 8 channels"));
}

}  // namespace
}  // namespace pt2q::testing
