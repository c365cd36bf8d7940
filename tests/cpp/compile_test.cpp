#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "graph_builder.h"
#include "onednn/model_cache.h"
#include "pt2q/error.h"

namespace pt2q::testing {
namespace {

std::vector<std::string> targets(GraphModule& m) {
  std::vector<std::string> out;
  for (const Node* n : m.graph().nodes()) {
    if (n->opcode() == OpCode::CallFunction) out.push_back(n->target());
  }
  return out;
}

size_t count(GraphModule& m, const std::string& target) {
  const auto all = targets(m);
  return static_cast<size_t>(std::count(all.begin(), all.end(), target));
}

std::unique_ptr<GraphModule> quantized_resnet(int64_t batch, bool bottleneck = false) {
  auto m = make_resnet(batch, {1, 1}, bottleneck, false, 32, 16);
  return quantize_graph(*m, random_tensor({batch, 3, 32, 32}, 11));
}

TEST(Compile, ResNetBecomesIntegerFromQuantizeToTheEnd) {
  auto q = quantized_resnet(1);
  auto c = compile(*q);
  EXPECT_EQ(count(c->module(), "pt2q.qconv.default"), 6U);
  EXPECT_EQ(count(c->module(), "pt2q.qlinear.default"), 1U);
  EXPECT_EQ(count(c->module(), "quantized_decomposed.quantize_per_tensor.default"), 1U);
  EXPECT_EQ(count(c->module(), "quantized_decomposed.dequantize_per_tensor.default"), 0U);
  EXPECT_TRUE(c->refused().empty());
  for (const StepReport& s : c->steps({random_tensor({1, 3, 32, 32}, 1)}))
    EXPECT_NE(s.kernel, "reference") << s.node;
}

TEST(Compile, EqualsTheIntegerReferenceBitForBit) {
  for (const bool bottleneck : {false, true}) {
    auto c = compile(*quantized_resnet(2, bottleneck));
    const Tensor x = random_tensor({2, 3, 32, 32}, 12);
    EXPECT_TRUE(same_bits(first((*c)({x})), first(run_reference(c->module(), {x}))));
  }
}

TEST(Compile, StaysCloseToTheQuantizedGraphInFloat) {
  auto q = quantized_resnet(2);
  const Tensor x = random_tensor({2, 3, 32, 32}, 13);
  const Tensor want = first(run_reference(*q, {x}));
  // Sums in another order tip single activations over by one step of at most 1/100 of the range.
  EXPECT_LT(max_difference(first((*compile(*q))({x})), want), 0.05);
}

TEST(Compile, DoesNotDependOnThreadsOrBatchSplit) {
  auto q = quantized_resnet(8);
  q->graph().placeholders()[0]->meta.val =
      TensorMeta{{SymInt::symbol("s0", 8), 3, 32, 32}, DType::Float32, Device{}};
  auto c = compile(*q);
  const Tensor x = random_tensor({8, 3, 32, 32}, 14);
  const int threads = num_threads();
  set_num_threads(1);
  const Tensor one = first((*c)({x}));
  set_num_threads(2);
  const Tensor two = first((*c)({x}));
  for (int64_t i = 0; i < 8; ++i) {
    const Tensor row = first((*c)({x.slice(0, i, i + 1)}));
    EXPECT_TRUE(same_bits(row, two.slice(0, i, i + 1)));
  }
  set_num_threads(threads);
  EXPECT_TRUE(same_bits(one, two));
}

TEST(Compile, ManyThreadsShareOneModel) {
  auto c = compile(*quantized_resnet(1));
  const Tensor x = random_tensor({1, 3, 32, 32}, 7);
  const Tensor expected = first((*c)({x}));
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) wrong += same_bits(first((*c)({x})), expected) ? 0 : 1;
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong.load(), 0);
}

TEST(Compile, FloatModelsAreFusedAndFolded) {
  auto m = make_resnet(2, {1, 1}, false, true, 32, 8);
  const Tensor x = random_tensor({2, 3, 32, 32}, 7);
  auto c = compile(*m);
  EXPECT_EQ(count(c->module(), "aten.batch_norm.default"), 0U);
  EXPECT_EQ(count(c->module(), "aten.relu.default"), 0U);
  EXPECT_EQ(count(c->module(), "aten.add.Tensor"), 0U);
  EXPECT_LT(max_difference(first((*c)({x})), first(run_reference(*m, {x}))), 2e-4);
  EXPECT_EQ(count(*m, "aten.batch_norm.default"), 6U) << "the model itself must not change";
}

// What one convolution with its neighbours becomes.
struct Layer {
  std::string name;
  std::function<Node*(NetBuilder&, Node*)> after;
};

TEST(Compile, PostOpsEqualTheReference) {
  const std::vector<Layer> layers = {
      {"none", [](NetBuilder&, Node* y) { return y; }},
      {"relu", [](NetBuilder& b, Node* y) { return b.relu(y); }},
      {"relu6", [](NetBuilder& b, Node* y) { return b.op("aten.relu6.default", {y}); }},
      {"hardtanh",
       [](NetBuilder& b, Node* y) {
         return b.op("aten.hardtanh.default", {y, -0.5, 0.7});
       }},
      {"leaky",
       [](NetBuilder& b, Node* y) {
         return b.op("aten.leaky_relu.default", {y, 0.1});
       }},
      {"hardswish", [](NetBuilder& b, Node* y) { return b.op("aten.hardswish.default", {y}); }},
      {"silu", [](NetBuilder& b, Node* y) { return b.op("aten.silu.default", {y}); }},
      {"tanh", [](NetBuilder& b, Node* y) { return b.op("aten.tanh.default", {y}); }},
      {"gelu", [](NetBuilder& b, Node* y) { return b.op("aten.gelu.default", {y}); }},
  };
  for (size_t i = 0; i < 2 * layers.size(); ++i) {
    const Layer& layer = layers[i / 2];
    NetBuilder b;
    Node* x = b.input("x", {2, 6, 9, 7});
    Node* y = layer.after(b, b.conv2d(x, 6, 10, 3, 2, 1));
    // With a pool behind it the layer's result is quantized, else it is float32.
    auto m = b.finish(Value::List{i % 2 == 0 ? y : b.max_pool(y, 2, 1, 0)});
    const Tensor in = random_tensor({2, 6, 9, 7}, 3);
    auto c = compile(*quantize_graph(*m, in));
    EXPECT_EQ(count(c->module(), "pt2q.qconv.default"), 1U) << layer.name;
    EXPECT_TRUE(same_bits(first((*c)({in})), first(run_reference(c->module(), {in}))))
        << layer.name;
    const Tensor want = first(run_reference(*m, {in}));
    EXPECT_LT(max_difference(first((*c)({in})), want), 0.15) << layer.name;
  }
}

TEST(Compile, DepthwiseGroupedAndDilatedConvolutions) {
  for (const auto& [groups, kernel] :
       {std::pair<int64_t, int64_t>{16, 3}, {16, 5}, {4, 3}, {1, 3}}) {
    NetBuilder b;
    Node* x = b.input("x", {1, 16, 11, 13});
    auto m = b.finish(Value::List{b.relu(b.conv2d(x, 16, 16, kernel, 1, kernel / 2, groups))});
    const Tensor in = random_tensor({1, 16, 11, 13}, 3);
    auto c = compile(*quantize_graph(*m, in));
    EXPECT_TRUE(same_bits(first((*c)({in})), first(run_reference(c->module(), {in}))));
    EXPECT_LT(max_difference(first((*c)({in})), first(run_reference(*m, {in}))), 0.2);
  }
}

TEST(Compile, AddMulAndCatOfQuantizedTensorsAreInteger) {
  NetBuilder b;
  Node* x = b.input("x", {2, 6, 5, 5});
  Node* y = b.max_pool(x, 3, 1, 1);
  Node* sum = b.relu(b.add(y, x));
  Node* product = b.op("aten.mul.Tensor", {sum, y});
  Node* joined = b.op("aten.cat.default", {Value(Value::List{sum, product, x}), 1});
  Node* flat = b.flatten(b.global_pool(joined));
  auto m = b.finish(Value::List{b.linear(flat, 18, 4)});
  const Tensor in = random_tensor({2, 6, 5, 5}, 3);
  auto c = compile(*quantize_graph(*m, in));
  EXPECT_EQ(count(c->module(), "pt2q.qadd.default"), 1U);
  EXPECT_EQ(count(c->module(), "pt2q.qmul.default"), 1U);
  EXPECT_EQ(count(c->module(), "pt2q.qcat.default"), 1U);
  EXPECT_EQ(count(c->module(), "quantized_decomposed.dequantize_per_tensor.default"), 0U)
      << c->module().graph().to_string();
  EXPECT_TRUE(same_bits(first((*c)({in})), first(run_reference(c->module(), {in}))));
  for (const StepReport& s : c->steps({in})) EXPECT_NE(s.kernel, "reference") << s.node;
  EXPECT_LT(max_difference(first((*c)({in})), first(run_reference(*m, {in}))), 0.1);
}

TEST(Compile, LinearFormsAndConv1d) {
  NetBuilder b;
  Node* x = b.input("x", {2, 3, 8});
  Node* w = b.parameter(random_tensor({5, 3, 3}, 21));
  Node* y = b.op("aten.conv1d.default", {x, w, Value(), std::vector<int64_t>{1}});
  Node* z = b.linear(b.relu(y), 6, 7, false);
  auto m = b.finish(Value::List{z});
  const Tensor in = random_tensor({2, 3, 8}, 3);
  auto c = compile(*quantize_graph(*m, in));
  EXPECT_EQ(count(c->module(), "pt2q.qconv.default"), 1U);
  EXPECT_EQ(count(c->module(), "pt2q.qlinear.default"), 1U);
  EXPECT_TRUE(same_bits(first((*c)({in})), first(run_reference(c->module(), {in}))));
  EXPECT_LT(max_difference(first((*c)({in})), first(run_reference(*m, {in}))), 0.1);
}

TEST(Compile, LoweredGraphIsReadable) {
  NetBuilder b;
  Node* x = b.input("x", {1, 4, 6, 6});
  Node* y = b.conv2d(x, 4, 4, 3, 1, 1);
  Node* z = b.relu(b.add(b.conv2d(y, 4, 4, 1), y));
  auto m = b.finish(Value::List{z});
  auto c = compile(*quantize_graph(*m, random_tensor({1, 4, 6, 6}, 3)));
  const std::string text = c->module().graph().to_string();
  EXPECT_NE(text.find("post_ops=\"add, relu\""), std::string::npos) << text;
  EXPECT_EQ(targets(c->module()),
            (std::vector<std::string>{"quantized_decomposed.quantize_per_tensor.default",
                                      "pt2q.qconv.default", "pt2q.qconv.default"}))
      << text;
}

TEST(Compile, StrictNamesTheNodeAndTheReason) {
  NetBuilder b;
  Node* x = b.input("x", {1, 4, 6, 6});
  auto m = b.finish(Value::List{b.conv2d(x, 4, 4, 3, 1, 1)});
  auto q = quantize_graph(*m, random_tensor({1, 4, 6, 6}, 3));
  for (const std::string& name : q->attr_names()) {  // weight zero points that are not zero
    const Tensor t = q->attr(name).tensor;
    if (t.dtype() == DType::Int64)
      q->set_attr(name, Tensor::full({4}, 3, DType::Int64), AttrKind::Buffer);
  }
  auto c = compile(*q);
  ASSERT_EQ(c->refused().size(), 1U);
  EXPECT_EQ(c->refused()[0].note, "the weight has zero points");
  EXPECT_NE(c->explain().find("the weight has zero points"), std::string::npos);
  CompileOptions strict;
  strict.strict = true;
  EXPECT_THROW(compile(*q, strict), RuntimeError);
  EXPECT_NO_THROW(compile(*quantized_resnet(1), strict));
}

TEST(Compile, PlansOfOneModelShareTheirWeights) {
  NetBuilder b;
  const SymInt batch = SymInt::symbol("s0", 2);
  Node* x = b.input("x", {batch, 3, 16, 16});
  Node* y = b.relu(b.conv2d(x, 3, 8, 3, 1, 1));
  y = b.relu(b.conv2d(y, 8, 8, 3, 1, 1, 8));
  auto m = b.finish(Value::List{b.linear(b.flatten(b.global_pool(y)), 8, 4)});
  for (const bool int8 : {true, false}) {
    auto c = compile(int8 ? *quantize_graph(*m, random_tensor({2, 3, 16, 16}, 3)) : *m);
    const auto cache = ModelCache::of(c->module());
    (*c)({random_tensor({2, 3, 16, 16}, 1)});
    const size_t packed = cache->packed.size();
    EXPECT_GE(packed, 3U);
    for (const int64_t n : {1, 3, 4}) (*c)({random_tensor({n, 3, 16, 16}, 1)});
    EXPECT_EQ(cache->packed.size(), packed);
    EXPECT_EQ(ModelCache::of(c->module()), cache);
  }
}

TEST(Compile, ReportsNameKernelsTimesAndPasses) {
  auto c = compile(*quantized_resnet(1));
  const Tensor x = random_tensor({1, 3, 32, 32}, 7);
  double total = 0;
  for (const StepReport& s : c->profile({x}, 2)) total += s.seconds;
  EXPECT_GT(total, 0.0);
  EXPECT_NE(c->profile_text({x}, 2).find("GOP/s"), std::string::npos);
  EXPECT_NE(c->explain().find("pt2q.qconv.default"), std::string::npos);
  EXPECT_NE(c->print_tabular().find("placeholder"), std::string::npos);
  EXPECT_NE(c->graph_for({x}).find("graph("), std::string::npos);
  EXPECT_FALSE(c->passes().empty());
  EXPECT_THROW(c->profile({x}, 0), ValueError);
}

TEST(Compile, DisabledPassesDoNotRun) {
  CompileOptions options;
  options.disabled_passes = {"fuse_int8_compute"};
  auto c = compile(*quantized_resnet(1), options);
  EXPECT_EQ(count(c->module(), "pt2q.qconv.default"), 0U);
}

TEST(Compile, PreparedModelsAreRefused) {
  auto m = make_resnet(1, {1}, false, false, 16, 8);
  m->prepared = true;
  EXPECT_THROW(compile(*m), ValueError);
}

TEST(Compile, EmptyBatch) {
  auto q = quantized_resnet(2);
  q->graph().placeholders()[0]->meta.val =
      TensorMeta{{SymInt::symbol("s0", 2), 3, 32, 32}, DType::Float32, Device{}};
  auto c = compile(*q);
  EXPECT_EQ(first((*c)({Tensor::zeros({0, 3, 32, 32})})).sizes(), (Shape{0, 1000}));
}

}  // namespace
}  // namespace pt2q::testing
