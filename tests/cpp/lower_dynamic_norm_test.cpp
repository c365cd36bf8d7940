// Layer norm with a dynamic quantize behind it: one step, the same bits as two.
#include <gtest/gtest.h>

#include <cmath>

#include "base/parallel.h"
#include "base/strings.h"
#include "graph_builder.h"
#include "pt2q/pt2e.h"

namespace pt2q::testing {
namespace {

constexpr int64_t kRows = 37, kWidth = 24;

// The quantized sum goes to a linear layer; the float one is a result too.
std::unique_ptr<GraphModule> network(const std::string& choose, bool tokens) {
  NetBuilder b;
  Node* x = b.input("x", {1, kRows, kWidth});
  Node* n = b.op("aten.layer_norm.default", {x, std::vector<int64_t>{kWidth},
                                             b.parameter(random_tensor({kWidth}, 70, 0.5F, 2)),
                                             b.parameter(random_tensor({kWidth}, 71))});
  const std::string name = cat("quantized_decomposed.", choose);
  Node* p = tokens ? b.op(cat(name, ".default"), {n, DType::Int8})
                   : b.op(cat(name, ".tensor"), {n, 0, 127, 0.000244140625, DType::UInt8});
  Node* s = b.op("_operator.getitem", {p, 0});
  Node* z = b.op("_operator.getitem", {p, 1});
  const char* rule = tokens ? "per_token.default" : "per_tensor.tensor";
  const Value low = tokens ? -128 : 0, dtype = tokens ? DType::Int8 : DType::UInt8;
  Node* q = b.op(cat("quantized_decomposed.quantize_", rule), {n, s, z, low, 127, dtype});
  std::vector<Value> args = {q, s, z, low, 127, dtype};
  if (tokens) args.emplace_back(DType::Float32);
  Node* d = b.op(cat("quantized_decomposed.dequantize_", rule), std::move(args));
  Tensor codes = Tensor::empty({7, kWidth}, DType::Int8);
  for (int64_t i = 0; i < codes.numel(); ++i)
    codes.mutable_data<int8_t>()[i] = static_cast<int8_t>(i * 37 % 255 - 127);
  Node* w = b.op("quantized_decomposed.dequantize_per_tensor.default",
                 {b.parameter(codes), 0.01, 0, -127, 127, DType::Int8});
  return b.finish(Value::List{b.op("aten.linear.default", {d, w}), n});
}

void check(const std::string& choose, bool tokens) {
  SCOPED_TRACE(choose);
  const auto m = network(choose, tokens);
  CompileOptions options;
  options.disabled_passes = {"fuse_dynamic_norms"};
  auto fused = compile(*m), plain = compile(*m, options);
  const Tensor usual = random_tensor({1, kRows, kWidth}, 9, -2, 2);
  Tensor odd = usual.clone();
  odd.mutable_data<float>()[30 * kWidth] = std::numeric_limits<float>::quiet_NaN();
  const int threads = num_threads();
  for (const int n : {1, 3}) {
    set_num_threads(n);
    for (const Tensor& x : {usual, odd}) {
      const Value got = (*fused)({x}), want = (*plain)({x});
      for (size_t i = 0; i < 2; ++i)
        EXPECT_TRUE(same_bits(got.list()[i].as<Tensor>(), want.list()[i].as<Tensor>())) << i;
    }
  }
  set_num_threads(threads);
  int steps = 0;
  for (const StepReport& step : fused->steps({usual})) {
    EXPECT_NE(step.kernel, "reference") << step.op;
    EXPECT_NE(step.op, "pt2q.quantize_dynamic.default");
    if (step.op == "pt2q.layer_norm_dynamic.default") ++steps;
  }
  EXPECT_EQ(steps, 1);
  // The lowered graph means the same on the reference kernels, whose layer norm adds in another
  // order: a code may be another one.
  const Value exact = run_reference(fused->module(), {usual}), got = (*fused)({usual});
  for (size_t i = 0; i < 2; ++i)
    EXPECT_LT(relative_error(got.list()[i].as<Tensor>(), exact.list()[i].as<Tensor>()), 0.01);
}

TEST(LowerDynamicNorm, GivesTheSameBitsAsTwoSteps) {
  check("choose_qparams", false);
  check("choose_qparams_symmetric", false);
  check("choose_qparams_per_token", true);
  check("choose_qparams_per_token_asymmetric", true);
}

}  // namespace
}  // namespace pt2q::testing
