#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "base/parallel.h"
#include "graph_builder.h"
#include "onednn/executor.h"
#include "pt2q/error.h"

namespace pt2q::testing {
namespace {

// Float convolutions sum in another order than the plain loops.
constexpr double kFloatTolerance = 2e-4;

bool uses_reference(GraphModule& m, const std::vector<Value>& inputs) {
  for (const auto& step : plan_for(m, inputs)->plan()->steps) {
    if (step->info.reference) return true;
  }
  return false;
}

TEST(Plan, SmallResNetMatchesTheReferenceKernels) {
  auto m = make_resnet(2, {1, 1}, false, true, 32, 8);
  const Tensor x = random_tensor({2, 3, 32, 32}, 7);
  EXPECT_LT(max_difference(first(run(*m, {x})), first(run_reference(*m, {x}))), kFloatTolerance);
  EXPECT_FALSE(uses_reference(*m, {x}));
}

TEST(Plan, AcceptsAnyInputLayout) {
  auto m = make_resnet(2, {1}, true, true, 16, 8);
  const Tensor x = random_tensor({2, 3, 16, 16}, 8);
  const Tensor expected = first(run(*m, {x}));
  EXPECT_TRUE(same_bits(first(run(*m, {x.contiguous(MemoryFormat::ChannelsLast)})), expected));
  const Tensor strided = random_tensor({16, 2, 3, 16}, 9);
  const Tensor view = strided.permute({1, 2, 0, 3});
  EXPECT_TRUE(same_bits(first(run(*m, {view})), first(run(*m, {view.contiguous()}))));
}

TEST(Plan, AttentionRunsInOnePassOnViews) {
  // q, k, v as views [B, L, H, E] -> [B, H, L, E], the result back to [B, L, H * E].
  for (const bool causal : {false, true}) {
    NetBuilder b;
    Node* x = b.input("x", {2, 7, 12});
    Node* mask = b.input("mask", {2, 1, 1, 7}, DType::Bool);
    const auto heads = [&](Node* n) {
      Node* v = b.op("aten.view.default", {n, std::vector<int64_t>{2, 7, 3, 4}});
      return b.op("aten.transpose.int", {v, 1, 2});
    };
    Node* a = b.op("aten.scaled_dot_product_attention.default",
                   {heads(b.linear(x, 12, 12)), heads(b.linear(x, 12, 12)),
                    heads(b.linear(x, 12, 12)), causal ? Value() : Value(mask), 0.0, causal});
    Node* t = b.op("aten.transpose.int", {a, 1, 2});
    auto m = b.finish(b.op("aten.reshape.default", {t, std::vector<int64_t>{2, 7, 12}}));
    Tensor allowed = Tensor::zeros({2, 1, 1, 7}, DType::Bool);
    for (const int i : {0, 1, 2, 5, 8, 9, 13}) allowed.mutable_data<bool>()[i] = true;
    const std::vector<Value> inputs{random_tensor({2, 7, 12}, 4), allowed};
    EXPECT_LT(max_difference(first(run(*m, inputs)), first(run_reference(*m, inputs))), 1e-5);
    EXPECT_FALSE(uses_reference(*m, inputs));
  }
}

// What depends on constants and the inputs' shapes is computed once per shape, not once.
TEST(Plan, ShapeDependentConstantsFollowTheInput) {
  NetBuilder b;
  const SymInt rows = SymInt::symbol("s0", 3);
  Node* x = b.input("x", {rows, SymInt(2)});
  Node* table = b.parameter(random_tensor({8, 2}, 5));
  Node* n = b.op("aten.sym_size.int", {x, 0});
  Node* part = b.op("aten.slice.Tensor", {table, 0, 0, n});
  Node* range = b.op("aten.arange.default", {n, DType::Float32});
  Node* column = b.op("aten.unsqueeze.default", {range, 1});
  auto m = b.finish(b.op("aten.mul.Tensor", {b.op("aten.add.Tensor", {x, part}), column}));
  for (const int64_t size : {3, 5, 3, 1}) {
    const Tensor in = random_tensor({size, 2}, 6);
    EXPECT_TRUE(same_bits(first(run(*m, {in})), first(run_reference(*m, {in})))) << size;
  }
}

TEST(Plan, ViewsOfConvolutionOutputsKeepLogicalOrder) {
  NetBuilder b;
  Node* x = b.input("x", {2, 3, 6, 5});
  Node* y = b.conv2d(x, 3, 4, 3, 1, 1);
  Node* flat = b.flatten(y);
  Node* moved = b.op("aten.permute.default", {y, std::vector<int64_t>{0, 2, 3, 1}});
  Node* part = b.op("aten.slice.Tensor", {y, 1, 1, 3});
  auto m = b.finish(Value::List{flat, moved, part, b.relu(part), y, x});
  const Tensor in = random_tensor({2, 3, 6, 5}, 3);
  const Value got = run(*m, {in}), want = run_reference(*m, {in});
  for (size_t i = 0; i < want.list().size(); ++i) {
    EXPECT_LT(max_difference(got.list()[i].as<Tensor>(), want.list()[i].as<Tensor>()), 1e-5) << i;
    EXPECT_TRUE(got.list()[i].as<Tensor>().is_contiguous());
  }
}

TEST(Plan, InPlaceStepsDoNotOverwriteWhatIsStillNeeded) {
  NetBuilder b;
  Node* x = b.input("x", {4, 8});
  Node* a = b.linear(x, 8, 8);
  Node* r = b.relu(a);
  auto m = b.finish(Value::List{b.add(r, a), b.op("aten.mul.Tensor", {a, r})});
  const Tensor in = random_tensor({4, 8}, 3);
  const Value got = run(*m, {in}), want = run_reference(*m, {in});
  for (size_t i = 0; i < 2; ++i)
    EXPECT_LT(max_difference(got.list()[i].as<Tensor>(), want.list()[i].as<Tensor>()), 1e-5);
}

TEST(Plan, InPlaceStepsDoNotOverwriteAnotherViewOfTheSameMemory) {
  NetBuilder b;
  Node* x = b.input("x", {1, 4, 8, 8});
  Node* y = b.conv2d(x, 4, 4, 3, 1, 1);
  Node* turned = b.op("aten.permute.default", {y, std::vector<int64_t>{0, 1, 3, 2}});
  auto m = b.finish(Value::List{b.relu(b.add(y, turned))});
  const Tensor in = random_tensor({1, 4, 8, 8}, 3);
  EXPECT_LT(max_difference(first(run(*m, {in})), first(run_reference(*m, {in}))), 1e-5);
}

TEST(Plan, SaysWhyAReferenceKernelRuns) {
  NetBuilder b;
  Node* x = b.input("x", {2, 4});
  auto m = b.finish(b.op("aten.addmm.default", {b.parameter(random_tensor({3}, 1)), x,
                                                b.parameter(random_tensor({4, 3}, 2)), 2.0, 1.0}));
  const auto compiled = compile(*m);
  const std::vector<StepReport> steps = compiled->steps({random_tensor({2, 4}, 3)});
  EXPECT_EQ(steps[0].kernel, "reference");
  EXPECT_EQ(steps[0].note, "a general addmm");
}

// Reference kernels may return views. What a caller gets owns its memory.
TEST(Plan, ResultsAreNoViewsOfInputsOrOfOtherResults) {
  NetBuilder b;
  Node* x = b.input("x", {2, 3});
  Node* like = b.input("like", {3, 2});
  Node* r = b.relu(x);
  const auto turned = [&](Node* n) {
    return b.op("aten.view_as.default",
                {b.op("aten.view.default", {n, std::vector<int64_t>{6}}), like});
  };
  auto m = b.finish(Value::List{turned(x), turned(r), r});
  const Tensor in = random_tensor({2, 3}, 1);
  const Value got = run(*m, {in, random_tensor({3, 2}, 2)});
  std::vector<const void*> places{in.raw_data()};
  for (const Value& v : got.list()) {
    const void* place = v.as<Tensor>().raw_data();
    EXPECT_EQ(std::count(places.begin(), places.end(), place), 0) << places.size();
    places.push_back(place);
  }
}

// x, `op`(x), output: the same number of edits whatever the operator.
void fill_unary(Graph& graph, const std::string& op) {
  Node* x = graph.placeholder("x");
  x->meta.val = TensorMeta{to_sym({4}), DType::Float32, Device{}};
  graph.output(Value(Value::List{graph.call_function(op, {x})}));
}

TEST(Plan, AGraphAtTheAddressOfAnotherGetsItsOwnPlan) {
  alignas(Graph) unsigned char place[sizeof(Graph)];
  const auto graph_here = [&](const std::string& op) {
    std::shared_ptr<Graph> graph(new (place) Graph, [](Graph* g) { g->~Graph(); });
    fill_unary(*graph, op);
    return graph;
  };
  GraphModule m;
  m.set_graph(graph_here("aten.neg.default"));
  const uint64_t version = m.graph().version();
  const Tensor x = random_tensor({4}, 1);
  EXPECT_EQ(max_difference(first(run(m, {x})), first(run_reference(m, {x}))), 0.0);
  m.set_graph(std::make_shared<Graph>());  // frees the first
  m.set_graph(graph_here("aten.abs.default"));
  ASSERT_EQ(m.graph().version(), version);
  EXPECT_EQ(max_difference(first(run(m, {x})), first(run_reference(m, {x}))), 0.0);
}

TEST(Plan, ACopyOfAModelStartsWithoutPlans) {
  auto m = make_resnet(2, {1}, true, true, 16, 8);
  run(*m, {random_tensor({2, 3, 16, 16}, 8)});
  ASSERT_NE(m->run_cache, nullptr);
  EXPECT_EQ(m->deep_copy()->run_cache, nullptr);
}

TEST(Plan, ReadOnlyInputsStayUntouched) {
  NetBuilder b;
  Node* x = b.input("x", {16});
  auto m = b.finish(b.relu(x));
  std::vector<float> data(16, -1.0F);
  const Tensor in = Tensor::from_blob(data.data(), {16}, {1}, DType::Float32, nullptr, true);
  EXPECT_EQ(first(run(*m, {in})).data<float>()[0], 0.0F);
  EXPECT_EQ(data[0], -1.0F);
}

TEST(Plan, DynamicBatchAndIntegerNodes) {
  NetBuilder b;
  Node* x = b.input("x", {SymInt::symbol("s0", 4), 6});
  Node* n = b.op("aten.sym_size.int", {x, 0});
  Node* y = b.op("aten.view.default", {b.linear(x, 6, 6), Value(Value::List{n, 2, 3})});
  auto m = b.finish(y);
  for (const int64_t batch : {1, 4, 9}) {
    const Tensor in = random_tensor({batch, 6}, 5);
    EXPECT_LT(max_difference(first(run(*m, {in})), first(run_reference(*m, {in}))), 1e-5);
  }
  EXPECT_EQ(first(run(*m, {Tensor::zeros({0, 6})})).sizes(), (Shape{0, 2, 3}));
}

// Amounts from the last dimension on; negative ones cut off, and may leave nothing to copy.
TEST(Plan, ConstantPaddingCopiesABlock) {
  const std::vector<std::vector<int64_t>> amounts = {
      {1, 2}, {0, 0, 1, 0}, {2, -1, -2, 3}, {0, 0, 0, 0, 3, 1, 1, 0}, {-9, 12}};
  for (const DType dtype : {DType::Float32, DType::UInt8, DType::Int64}) {
    for (const auto& padding : amounts) {
      for (const auto format : {MemoryFormat::Contiguous, MemoryFormat::ChannelsLast}) {
        NetBuilder b;
        Node* x = b.input("x", {2, 3, 6, 7}, dtype);
        Node* same = b.op("aten.pad.default", {x, padding});
        auto m = b.finish(
            Value::List{same, b.op("aten.constant_pad_nd.default", {x, padding, int64_t{5}})});
        Tensor in = Tensor::empty({2, 3, 6, 7});
        for (int64_t i = 0; i < in.numel(); ++i)
          in.mutable_data<float>()[i] = static_cast<float>(i % 200);
        const std::vector<Value> inputs{in.to(dtype).contiguous(format)};
        const auto got = run(*m, inputs).list(), want = run_reference(*m, inputs).list();
        for (size_t i = 0; i < 2; ++i) {
          EXPECT_EQ(got[i].as<Tensor>().sizes(), want[i].as<Tensor>().sizes());
          EXPECT_TRUE(
              same_bits(got[i].as<Tensor>().contiguous(), want[i].as<Tensor>().contiguous()));
        }
        EXPECT_FALSE(uses_reference(*m, inputs));
      }
    }
  }
}

TEST(Plan, EmptyBatchGivesEmptyOutputs) {
  auto m = make_resnet(2, {1}, false, true, 16, 8);
  m->graph().placeholders()[0]->meta.val =
      TensorMeta{{SymInt::symbol("s0", 2), 3, 16, 16}, DType::Float32, Device{}};
  EXPECT_EQ(first(run(*m, {Tensor::zeros({0, 3, 16, 16})})).sizes(), (Shape{0, 1000}));
}

TEST(Plan, TransformerBlockRunsWithoutReferenceKernels) {
  NetBuilder b;
  Node* x = b.input("x", {2, 5, 16});
  const auto heads = [&](Node* t) {
    Node* v = b.op("aten.view.default", {t, std::vector<int64_t>{2, 5, 4, 4}});
    return b.op("aten.transpose.int", {v, 1, 2});
  };
  Node* norm = b.op("aten.layer_norm.default",
                    {x, std::vector<int64_t>{16}, b.parameter(random_tensor({16}, 31)),
                     b.parameter(random_tensor({16}, 32))});
  Node* q = heads(b.linear(norm, 16, 16));
  Node* k = heads(b.linear(norm, 16, 16));
  Node* v = heads(b.linear(norm, 16, 16));
  Node* scores = b.op("aten.matmul.default", {q, b.op("aten.transpose.int", {k, 2, 3})});
  Node* weights = b.op("aten.softmax.int", {b.op("aten.mul.Scalar", {scores, 0.5}), -1});
  Node* mixed = b.op("aten.transpose.int", {b.op("aten.matmul.default", {weights, v}), 1, 2});
  Node* joined = b.op("aten.reshape.default", {mixed, std::vector<int64_t>{2, 5, 16}});
  Node* out = b.add(b.linear(joined, 16, 16), x);
  auto m = b.finish(b.op("aten.gelu.default", {b.op("aten.sub.Tensor", {out, x})}));
  const Tensor in = random_tensor({2, 5, 16}, 30);
  EXPECT_LT(max_difference(first(run(*m, {in})), first(run_reference(*m, {in}))), 1e-5);
  EXPECT_FALSE(uses_reference(*m, {in}));
}

TEST(Plan, WrongInputsAreNamed) {
  auto m = make_resnet(2, {1}, false, true, 16, 8);
  const auto message = [&](const std::vector<Value>& inputs) -> std::string {
    try {
      run(*m, inputs);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_NE(message({}).find("takes 1 input (x), got 0"), std::string::npos) << message({});
  EXPECT_NE(message({Tensor::zeros({2, 3, 16})}).find("input 'x': expected 4 dimensions"),
            std::string::npos);
  EXPECT_NE(message({Tensor::zeros({2, 4, 16, 16})}).find("expected size 3 in dimension 1"),
            std::string::npos);
  EXPECT_THROW(run(*m, {Tensor::zeros({2, 3, 16, 16}, DType::Float64)}), TypeError);
  EXPECT_THROW(run(*m, {1}), TypeError);
}

TEST(Plan, ThreadsShareOneModel) {
  auto m = make_resnet(1, {1, 1}, false, true, 32, 8);
  const Tensor x = random_tensor({1, 3, 32, 32}, 7);
  const Tensor expected = first(run(*m, {x}));
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) {
        if (!same_bits(first(run(*m, {x})), expected)) ++wrong;
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong.load(), 0);
}

TEST(Plan, ChangingTheGraphOrAWeightTakesEffect) {
  NetBuilder b;
  Node* x = b.input("x", {1, 4});
  auto m = b.finish(b.linear(x, 4, 2));
  const Tensor in = random_tensor({1, 4}, 5);
  const Tensor before = first(run(*m, {in}));
  m->set_attr(m->attr_names()[0], Tensor::zeros({2, 4}), AttrKind::Parameter);
  const Tensor after = first(run(*m, {in}));
  EXPECT_GT(max_difference(before, after), 1e-3);
  EXPECT_LT(max_difference(after, first(run_reference(*m, {in}))), 1e-6);
}

TEST(Plan, QuantizedGraphRunsWithoutLowering) {
  auto m = make_resnet(1, {1}, false, false, 32, 8);
  const Tensor x = random_tensor({1, 3, 32, 32}, 11);
  auto q = quantize_graph(*m, x);
  const Tensor got = first(run(*q, {x})), want = first(run_reference(*q, {x}));
  // One step of a quantized activation may tip over between float summation orders.
  EXPECT_LT(max_difference(got, want), 0.05);
}

class CountingModule : public Module {
 public:
  explicit CountingModule(bool pass) : pass_(pass) {}
  Tensor forward(const Tensor& input) override {
    ++calls;
    sizes = input.sizes();
    sum = 0;
    const Tensor c = input.contiguous();
    for (int64_t i = 0; i < c.numel(); ++i) sum += c.data<float>()[i];
    return pass_ ? input : input.clone();
  }
  std::string type_name() const override { return "CountingModule"; }
  std::string repr() const override { return "CountingModule()"; }
  bool passes_through() const override { return pass_; }
  int calls = 0;
  Shape sizes;
  double sum = 0;

 private:
  bool pass_;
};

TEST(Plan, ObserversAreStepsAndSeeLogicalTensors) {
  for (const bool pass : {true, false}) {
    NetBuilder b;
    Node* x = b.input("x", {1, 3, 6, 5});
    Node* y = b.conv2d(x, 3, 4, 3, 1, 1);
    auto module = std::make_shared<CountingModule>(pass);
    b.module().set_module("obs", module);
    Node* o = b.graph().call_module("obs", {y});
    auto m = b.finish(b.relu(b.conv2d(o, 4, 2, 1)));
    const Tensor in = random_tensor({1, 3, 6, 5}, 3);
    const Tensor want = first(run_reference(*m, {in}));
    const double sum = module->sum;
    EXPECT_LT(max_difference(first(run(*m, {in})), want), 1e-5);
    EXPECT_EQ(module->calls, 2);
    EXPECT_EQ(module->sizes, (Shape{1, 4, 6, 5}));
    EXPECT_NEAR(module->sum, sum, 1e-3);
  }
}

}  // namespace
}  // namespace pt2q::testing
