// prepare_qat_pt2e and convert_pt2e, running statistics in training form, and the numeric debugger.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "error_message.h"
#include "graph_builder.h"
#include "passes/pt2e_passes.h"
#include "pt2q/debug.h"
#include "pt2q/error.h"
#include "pt2q/quantizers.h"
#include "tensor/compare.h"

namespace pt2q {
namespace {

using testing::NetBuilder;
using testing::random_tensor;

// conv → batch norm → relu → conv → batch norm, in training or evaluation form.
std::unique_ptr<GraphModule> conv_bn_net(bool training, bool bias = true, double eps = 1e-5) {
  NetBuilder net(3);
  Node* y = net.input("x", {SymInt(2), SymInt(3), SymInt(8), SymInt(8)});
  for (const int64_t in : {3, 4}) {
    y = net.batch_norm(net.conv2d(y, in, 4, 3, 1, 1, 1, bias), 4);
    y->set_arg(5, Value(training));
    y->set_arg(7, Value(eps));
    if (in == 3) y = net.relu(y);
  }
  auto model = net.finish(y);
  model->graph().record_origins();
  return model;
}

std::unique_ptr<GraphModule> qat_prepared(bool training, bool bias = true, double eps = 1e-5) {
  auto model = conv_bn_net(training, bias, eps);
  X86InductorQuantizer quantizer;
  quantizer.set_global(get_default_x86_inductor_quantization_config(true));
  prepare_qat_pt2e(*model, quantizer);
  return model;
}

void switch_fake_quants_off(GraphModule& model) {
  for (const auto& [name, module] : model.modules()) {
    auto state = module->state_dict();
    for (const char* flag : {"fake_quant_enabled", "observer_enabled"}) {
      state[flag] = Tensor::full({1}, 0).to(state.at(flag).dtype());
    }
    module->load_state_dict(state);
  }
}

Tensor run_one(GraphModule& model, const Tensor& x) {
  const Value out = run(model, {x});
  return out.is<Tensor>() ? out.as<Tensor>() : out.list().at(0).as<Tensor>();
}

TEST(Qat, WithoutFakeQuantizeTheRewrittenModelIsTheOriginal) {
  const Tensor x = random_tensor({2, 3, 8, 8}, 1);
  for (const bool training : {false, true}) {
    for (const bool bias : {false, true}) {
      auto original = conv_bn_net(training, bias, 0.01);
      auto prepared = qat_prepared(training, bias, 0.01);
      switch_fake_quants_off(*prepared);
      EXPECT_LT(testing::max_difference(run_one(*original, x), run_one(*prepared, x)), 1e-4)
          << training << bias;
    }
  }
}

TEST(Qat, ConvertFoldsEveryBatchNormIntoIntegerWeights) {
  const Tensor x = random_tensor({2, 3, 8, 8}, 1);
  for (const bool bias : {false, true}) {
    auto model = qat_prepared(false, bias);
    const Tensor expected = run_one(*model, x);
    convert_pt2e(*model);
    for (const Node* n : model->graph().nodes())
      EXPECT_FALSE(n->is_call("aten.batch_norm.default"));
    EXPECT_FALSE(model->has_attr("p_3"));  // of the batch norm
    const Difference d = difference(run_one(*model, x), expected);
    // Training and conversion choose slightly different scales: one rounding of weights apart.
    EXPECT_GT(d.sqnr(), 25.0);
    CompileOptions strict;
    strict.strict = true;
    auto compiled = compile(*model, strict);
    EXPECT_GT(difference(run_one(compiled->module(), x), expected).sqnr(), 25.0);
  }
}

TEST(Qat, AModelCannotBePreparedTwice) {
  auto model = qat_prepared(true);
  X86InductorQuantizer quantizer;
  EXPECT_EQ(testing::error_message<ValueError>([&] { prepare_qat_pt2e(*model, quantizer); }),
            "the model is already prepared: it holds observers");
}

TEST(Plan, ReadsStatisticsThatTheSameGraphUpdates) {
  auto model = qat_prepared(true);
  switch_fake_quants_off(*model);
  auto evaluated = conv_bn_net(true);
  for (unsigned seed = 1; seed < 4;
       ++seed) {  // one plan, three runs: every run sees the last one's
    const Tensor x = random_tensor({2, 3, 8, 8}, seed);
    const Tensor expected = run_one(*evaluated, x);
    EXPECT_LT(testing::max_difference(run_one(*model, x), expected), 1e-4) << seed;
  }
  for (const std::string& name : evaluated->attr_names()) {
    if (!model->has_attr(name)) continue;
    EXPECT_LT(testing::max_difference(model->attr(name).tensor, evaluated->attr(name).tensor), 1e-5)
        << name;
  }
}

TEST(Plan, ConvolvesWithComputedWeights) {
  NetBuilder net(5);
  Node* x = net.input("x", {SymInt(2), SymInt(4), SymInt(9), SymInt(9)});
  Node* scale = net.input("scale", {SymInt(6), SymInt(1), SymInt(1), SymInt(1)});
  Node* w = net.parameter(random_tensor({6, 2, 3, 3}, 8));
  Node* scaled = net.op("aten.mul.Tensor", {w, scale});
  auto model = net.finish(
      net.op("aten.conv2d.default",
             {x, scaled, net.parameter(random_tensor({6}, 9)), std::vector<int64_t>{2, 2},
              std::vector<int64_t>{1, 1}, std::vector<int64_t>{1, 1}, int64_t{2}}));
  for (unsigned seed = 0; seed < 3; ++seed) {
    const std::vector<Value> inputs = {random_tensor({2, 4, 9, 9}, seed),
                                       random_tensor({6, 1, 1, 1}, seed + 20)};
    const Tensor expected = testing::run_reference(*model, inputs).as<Tensor>();
    EXPECT_LT(testing::max_difference(run(*model, inputs).as<Tensor>(), expected), 1e-5);
  }
}

// --- numeric debugger ----------------------------------------------------------------------------

TEST(NumericDebugger, HandlesContinueAfterTheLargest) {
  auto model = conv_bn_net(false);
  Node* relu = model->graph().find("relu_default");
  ASSERT_NE(relu, nullptr);
  relu->meta.custom["numeric_debug_handle"] = Value(7);
  generate_numeric_debug_handle(*model);
  std::vector<int64_t> handles;
  for (const Node* n : model->graph().nodes()) {
    if (n->meta.custom.count("numeric_debug_handle") > 0)
      handles.push_back(n->meta.custom.at("numeric_debug_handle").to_int());
  }
  EXPECT_THAT(handles, ::testing::ElementsAre(8, 9, 7, 10, 11));
}

TEST(NumericDebugger, LoggersSeeEveryStage) {
  const Tensor x = random_tensor({2, 3, 8, 8}, 1);
  auto model = conv_bn_net(false);
  fold_conv_bn(*model);
  auto reference = prepare_for_propagation_comparison(*model);
  const Tensor expected = run_one(*model, x);
  EXPECT_TRUE(testing::same_bits(run_one(*reference, x), expected));

  X86InductorQuantizer quantizer;
  quantizer.set_global(get_default_x86_inductor_quantization_config());
  prepare_pt2e(*model, quantizer);
  run(*model, {x});
  auto prepared = prepare_for_propagation_comparison(*model);
  run(*prepared, {x});
  convert_pt2e(*model);
  auto converted = prepare_for_propagation_comparison(*model);
  run(*converted, {x});
  auto lowered = compile(*model);
  auto compiled = prepare_for_propagation_comparison(lowered->module());
  run(*compiled, {x});

  const auto references = output_loggers(*reference);
  ASSERT_EQ(references.size(), 3U);  // conv, relu, conv
  const auto check = [&](const GraphModule& stage, double least, size_t count) {
    size_t found = 0;
    for (const auto& logger : output_loggers(stage)) {
      for (const auto& r : references) {
        if (logger->debug_info().name != r->debug_info().name) continue;
        ++found;
        EXPECT_GE(difference(logger->stats().at(0), r->stats().at(0)).sqnr(), least)
            << logger->node_name();
      }
    }
    EXPECT_EQ(found, count);
  };
  check(*prepared, std::numeric_limits<double>::infinity(), 3);
  check(*converted, 30.0, 3);
  check(*compiled, 30.0, 2);  // conv+relu in integers, conv in float: named after the last operator
  EXPECT_EQ(output_loggers(*compiled).front()->debug_info().name, "relu_default");
  EXPECT_EQ(output_loggers(*compiled).front()->stats().at(0).dtype(), DType::Float32);
}

TEST(NumericDebugger, DifferencesAddUpAndNameTheirShapes) {
  const Tensor a = Tensor::from_vector<float>({3, 4}, {2});
  const Tensor b = Tensor::from_vector<float>({3, 3}, {2});
  Difference d = difference(a, b);
  EXPECT_DOUBLE_EQ(d.mse(), 0.5);
  EXPECT_DOUBLE_EQ(d.sqnr(), 20 * std::log10(5.0));
  d.add(difference(a, a));
  EXPECT_DOUBLE_EQ(d.mse(), 0.25);
  EXPECT_DOUBLE_EQ(d.max_abs, 1.0);
  EXPECT_TRUE(std::isinf(difference(a, a).sqnr()));
  EXPECT_EQ(testing::error_message<ValueError>([&] { difference(a, Tensor::full({3}, 1)); }),
            "Cannot compare tensors with different shapes: ref=float32[3] vs actual=float32[2]");
}

TEST(NumericDebugger, ANanIsTheLargestDifference) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor a = Tensor::from_vector<float>({3, nan, 4}, {3});
  Difference d = difference(a, Tensor::from_vector<float>({3, 3, 3}, {3}));
  EXPECT_TRUE(std::isnan(d.max_abs));
  d.add(difference(Tensor::full({1}, 9), Tensor::full({1}, 1)));
  EXPECT_TRUE(std::isnan(d.max_abs));
}

TEST(NumericDebugger, SharedObserversStayShared) {
  NetBuilder net;
  Node* x = net.input("x", {SymInt(2), SymInt(4)});
  Node* relu = net.relu(x);
  auto model = net.finish(net.add(x, relu));
  const auto observer = observer_class("MinMaxObserver")({});
  for (Node* n : {x, relu}) {
    const std::string name = "observer_of_" + n->name();
    model->set_module(name, observer);
    const auto point = model->graph().inserting_after(n);
    Node* call = model->graph().call_module(name, {n});
    call->meta.val = n->meta.val;
    n->replace_all_uses_with(call, {call});
  }
  const auto copy = prepare_for_propagation_comparison(*model);
  EXPECT_EQ(copy->module("observer_of_x"), copy->module("observer_of_" + relu->name()));
  EXPECT_NE(copy->module("observer_of_x"), observer);
}

TEST(Qat, ABatchNormThatDoesNotFitItsWeightIsNamed) {
  auto model = conv_bn_net(false);
  for (const char* name : {"p_0", "p_1"}) ASSERT_TRUE(model->has_attr(name)) << name;
  model->set_attr("p_0", Tensor::zeros({5, 3, 3, 3}), AttrKind::Parameter);
  EXPECT_EQ(
      testing::error_message<ValueError>([&] { fold_conv_bn(*model); }),
      "a batch norm of 4 channels does not fit the weight float32[5, 3, 3, 3] in front of it");
}

}  // namespace
}  // namespace pt2q
