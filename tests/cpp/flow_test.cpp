// The PT2E flow as a C++ program uses it: capture, prepare, calibrate, convert, run, save, load.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <random>

#include "graph_builder.h"
#include "pt2q/io.h"
#include "pt2q/pt2q.h"
#include "pt2q/quantizers.h"

namespace pt2q {
namespace {

using testing::relative_error;

Tensor normal_tensor(const Shape& sizes, unsigned seed, float scale = 1.0F) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0F, scale);
  Tensor t = Tensor::empty(sizes);
  for (int64_t i = 0; i < t.numel(); ++i) t.mutable_data<float>()[i] = normal(engine);
  return t;
}

// conv → batch norm → relu → conv + residual → relu → max pool → global average → flatten → linear
std::unique_ptr<GraphModule> capture_small_resnet() {
  auto module = std::make_unique<GraphModule>();
  Tracer tracer(*module);
  const Tracer::Scope scope(&tracer);
  const auto parameter = [&](const std::string& name, Tensor value) {
    tracer.add_attribute(name, value, AttrKind::Parameter);
    return value;
  };
  const Tensor w1 = parameter("conv1.weight", normal_tensor({16, 3, 3, 3}, 1, 0.3F));
  const Tensor gamma = parameter("bn1.weight", Tensor::full({16}, 1.2));
  const Tensor beta = parameter("bn1.bias", Tensor::full({16}, 0.1));
  const Tensor mean = parameter("bn1.running_mean", Tensor::full({16}, 0.05));
  const Tensor var = parameter("bn1.running_var", Tensor::full({16}, 0.9));
  const Tensor w2 = parameter("conv2.weight", normal_tensor({16, 16, 3, 3}, 2, 0.1F));
  const Tensor b2 = parameter("conv2.bias", normal_tensor({16}, 3, 0.1F));
  const Tensor w3 = parameter("fc.weight", normal_tensor({10, 16}, 4, 0.2F));
  const Value::List one = {1, 1};
  Value x =
      tracer.add_input("x", TensorMeta{{SymInt::symbol("s0", 2), 3, 16, 16}, DType::Float32, {}});
  Value y = call("aten.conv2d.default", {x, w1, Value(), one, one});
  y = call("aten.batch_norm.default", {y, gamma, beta, mean, var, false, 0.1, 1e-5, true});
  y = call("aten.relu.default", {y});
  Value z = call("aten.conv2d.default", {y, w2, b2, one, one});
  z = call("aten.relu.default", {call("aten.add.Tensor", {z, y})});
  z = call("aten.max_pool2d.default", {z, Value::List{2, 2}});
  z = call("aten.adaptive_avg_pool2d.default", {z, one});
  z = call("aten.linear.default", {call("aten.flatten.using_ints", {z, 1}), w3});
  tracer.finish(z);
  return module;
}

size_t count_calls(const Graph& graph, const std::string& op) {
  size_t count = 0;
  for (const Node* n : graph.nodes()) count += n->is_call(op) ? 1 : 0;
  return count;
}

TEST(Flow, QuantizeAndReload) {
  auto model = capture_small_resnet();
  const Tensor x = normal_tensor({4, 3, 16, 16}, 5);
  const Tensor expected = run(*model, {x}).as<Tensor>();

  X86InductorQuantizer quantizer;
  quantizer.set_global(get_default_x86_inductor_quantization_config());
  prepare_pt2e(*model, quantizer);
  EXPECT_EQ(count_calls(model->graph(), "aten.batch_norm.default"), 0U);
  EXPECT_LT(relative_error(run(*model, {x}).as<Tensor>(), expected),
            1e-5);  // observers change nothing
  for (unsigned seed = 6; seed < 9; ++seed) run(*model, {normal_tensor({2, 3, 16, 16}, seed)});

  convert_pt2e(*model);
  EXPECT_GT(count_calls(model->graph(), "quantized_decomposed.quantize_per_tensor.default"), 3U);
  EXPECT_EQ(count_calls(model->graph(), "quantized_decomposed.dequantize_per_channel.default"), 3U);
  const Tensor quantized = run(*model, {x}).as<Tensor>();
  EXPECT_LT(relative_error(quantized, expected), 0.05);

  const auto compiled = compile(*model);
  const Tensor fast = (*compiled)({x}).as<Tensor>();
  EXPECT_LT(relative_error(fast, quantized), 0.02);  // rounding steps only
  EXPECT_TRUE(compiled->refused().empty()) << compiled->explain();
  // Integer arithmetic: neither threads nor batch splits change a bit.
  const int threads = num_threads();
  set_num_threads(1);
  const Tensor single = (*compiled)({x}).as<Tensor>();
  set_num_threads(threads);
  for (int64_t i = 0; i < 4; ++i) {
    const Tensor row = (*compiled)({x.slice(0, i, i + 1)}).as<Tensor>();
    for (int64_t j = 0; j < 10; ++j) {
      ASSERT_EQ(row.data<float>()[j], fast.data<float>()[i * 10 + j]);
      ASSERT_EQ(single.data<float>()[i * 10 + j], fast.data<float>()[i * 10 + j]);
    }
  }

  const auto path = std::filesystem::temp_directory_path() / "pt2q_flow_test.pt2";
  save_pt2(*model, path.string());
  const auto again = load_pt2(path.string());
  std::filesystem::remove(path);
  const Tensor reloaded = run(*again, {x}).as<Tensor>();
  ASSERT_EQ(reloaded.sizes(), quantized.sizes());
  for (int64_t i = 0; i < quantized.numel(); ++i) {
    ASSERT_EQ(reloaded.data<float>()[i], quantized.data<float>()[i]) << i;
  }
}

TEST(Flow, PrepareTwiceAndConvertFirstAreErrors) {
  auto model = capture_small_resnet();
  EXPECT_THROW(convert_pt2e(*model), Error);
  X86InductorQuantizer quantizer;
  quantizer.set_global(get_default_x86_inductor_quantization_config());
  prepare_pt2e(*model, quantizer);
  EXPECT_THROW(prepare_pt2e(*model, quantizer), ValueError);
}

}  // namespace
}  // namespace pt2q
