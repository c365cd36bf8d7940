// A quantized transformer block through compile(): what it becomes, and that no fusion changes a
// bit.
#include <gtest/gtest.h>

#include <map>

#include "base/parallel.h"
#include "graph_builder.h"
#include "isa_cap.h"
#include "kernels/attention_bf16.h"
#include "pt2q/pt2e.h"
#include "pt2q/quantizers.h"

namespace pt2q::testing {
namespace {

constexpr int64_t kLength = 21, kWidth = 48, kHeads = 3;

// Attention and feed-forward with residual sums and layer norms behind them, as in BERT.
std::unique_ptr<GraphModule> encoder_layer(int64_t batch) {
  NetBuilder b;
  Node* x = b.input("x", {batch, kLength, kWidth});
  const auto norm = [&](Node* n) {
    return b.op("aten.layer_norm.default",
                {n, std::vector<int64_t>{kWidth}, b.parameter(random_tensor({kWidth}, 70, 0.5F, 2)),
                 b.parameter(random_tensor({kWidth}, 71))});
  };
  const auto heads = [&](Node* n) {
    const Shape split{batch, kLength, kHeads, kWidth / kHeads};
    return b.op("aten.transpose.int", {b.op("aten.view.default", {n, split}), 1, 2});
  };
  Node* in = norm(x);
  Node* q = heads(b.linear(in, kWidth, kWidth));
  Node* k = heads(b.linear(in, kWidth, kWidth, false));
  Node* v = heads(b.linear(in, kWidth, kWidth));
  Node* a = b.op("aten.scaled_dot_product_attention.default", {q, k, v});
  a = b.op("aten.reshape.default",
           {b.op("aten.transpose.int", {a, 1, 2}), Shape{batch, kLength, kWidth}});
  Node* y = norm(b.add(b.linear(a, kWidth, kWidth), in));
  Node* wide = b.op("aten.gelu.default", {b.linear(y, kWidth, 4 * kWidth)});
  return b.finish(Value::List{norm(b.add(b.linear(wide, 4 * kWidth, kWidth), y))});
}

std::unique_ptr<GraphModule> quantized_layer(int64_t batch) {
  auto m = encoder_layer(batch);
  X86InductorQuantizer quantizer;
  quantizer.set_global(get_default_x86_inductor_quantization_config());
  m->exported = true;
  prepare_pt2e(*m, quantizer);
  for (unsigned seed = 0; seed < 3; ++seed)
    run(*m, {random_tensor({batch, kLength, kWidth}, seed, -2, 2)});
  convert_pt2e(*m);
  return m;
}

Tensor input(int64_t batch) { return random_tensor({batch, kLength, kWidth}, 9, -2, 2); }

TEST(LowerEncoder, FusesWithoutChangingABit) {
  const auto m = quantized_layer(3);
  CompileOptions strict;
  strict.strict = true;
  auto fused = compile(*m, strict);
  CompileOptions options;
  options.disabled_passes = {"fuse_quantized_results", "merge_linears"};
  auto plain = compile(*m, options);
  const Tensor x = input(3), got = first((*fused)({x}));
  EXPECT_TRUE(same_bits(got, first((*plain)({x}))));
  EXPECT_LT(relative_error(got, first(run(*encoder_layer(3), {x}))), 0.05);

  std::map<std::string, int> ops;
  for (const StepReport& step : fused->steps({x})) {
    EXPECT_NE(step.kernel, "reference") << step.op;
    ++ops[step.op];
    if (step.op == "pt2q.qattention.default") {
      EXPECT_EQ(step.dtype, "uint8");
    }
  }
  EXPECT_EQ(ops["pt2q.qlinear.default"], 4);  // queries, keys and values are one
  EXPECT_EQ(ops["pt2q.qattention.default"], 1);
  EXPECT_EQ(ops["pt2q.qlayer_norm.default"], 2);
  EXPECT_EQ(ops["aten.layer_norm.default"], 1);
  EXPECT_EQ(ops["quantized_decomposed.quantize_per_tensor.default"], 0);
}

TEST(LowerEncoder, GivesTheSameForEveryThreadCountAndInstructionSet) {
  const auto m = quantized_layer(2);
  const Tensor x = input(2);
  const int threads = num_threads();
  const Tensor want = first((*compile(*m))({x}));
  for (const int n : {1, 3}) {
    set_num_threads(n);
    EXPECT_TRUE(same_bits(first((*compile(*m))({x})), want)) << n;
  }
  set_num_threads(threads);
  using kernels::Isa;
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_vnni}) {
    if (isa > kernels::native_isa()) continue;
    const IsaCap cap(isa);
    EXPECT_TRUE(same_bits(first((*compile(*m))({x})), want)) << kernels::isa_label(isa);
  }
}

// int8-mixed-bf16: queries, keys and values are bfloat16, and so is attention where the CPU can.
TEST(LowerEncoder, MixedWithBfloat16) {
  const auto m = quantized_layer(2);
  CompileOptions options;
  options.bfloat16 = true;
  auto mixed = compile(*m, options);
  const Tensor x = input(2);
  EXPECT_LT(relative_error(first((*mixed)({x})), first((*compile(*m))({x}))), 0.03);
  std::map<std::string, int> ran;
  for (const StepReport& step : mixed->steps({x})) {
    EXPECT_NE(step.kernel, "reference") << step.op;
    ++ran[step.kernel];
  }
  if (!kernels::has_attention_bf16()) GTEST_SKIP() << "attention runs in float32 on this CPU";
  EXPECT_EQ(ran["pt2q attention bf16"], 1);
  EXPECT_EQ(ran["pt2q convert"], 0);
}

}  // namespace
}  // namespace pt2q::testing
