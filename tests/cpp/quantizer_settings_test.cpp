// Patterns of module names, activations left in float, tables of capabilities; dropout in training.
#include <gtest/gtest.h>

#include "ir/text.h"
#include "pt2q/error.h"
#include "pt2q/pt2e.h"
#include "pt2q/quantizers.h"
#include "pt2q/runtime.h"

namespace pt2q {
namespace {

// Two linears in "layer1.fc" and "layer2.fc", relu between in "layer1.act".
std::unique_ptr<GraphModule> two_layers() {
  auto m = std::make_unique<GraphModule>();
  parse_graph(R"(
    %x : float32[1, 4] = placeholder[x]
    %w : float32[4, 4] = get_attr[w]
    %a : float32[1, 4] = aten.linear.default(%x, %w)
    %r : float32[1, 4] = aten.relu.default(%a)
    %b : float32[1, 4] = aten.linear.default(%r, %w)
    return %b
)",
              m->graph());
  m->graph().find("a")->meta.nn_module_stack = {{"layer1", "Block"}, {"layer1.fc", "Linear"}};
  m->graph().find("r")->meta.nn_module_stack = {{"layer1", "Block"}, {"layer1.act", "ReLU"}};
  m->graph().find("b")->meta.nn_module_stack = {{"layer2", "Block"}, {"layer2.fc", "Linear"}};
  return m;
}

const QuantizationAnnotation& annotation(const GraphModule& m, const std::string& name) {
  return *m.graph().find(name)->meta.quantization_annotation;
}

TEST(ModuleNames, PatternsMatchWholePaths) {
  const auto m = two_layers();
  const auto matches = [&](const std::string& pattern) {
    const auto inside = get_module_name_filter(pattern);
    std::string out;
    for (const char* name : {"a", "r", "b"}) {
      if (inside(m->graph().find(name))) out += name;
    }
    return out;
  };
  EXPECT_EQ(matches("layer1"), "ar");
  EXPECT_EQ(matches("layer"), "");
  EXPECT_EQ(matches("layer?"), "arb");
  EXPECT_EQ(matches("layer*.fc"), "ab");
  EXPECT_EQ(matches("layer[2-3].*"), "b");
  EXPECT_EQ(matches("*.act"), "r");
}

TEST(ActivationOnly, LeavesTheTensorsOfASiteInFloat) {
  const ConfigPtr config = get_default_x86_inductor_quantization_config();
  X86InductorQuantizer quantizer;
  quantizer.set_global(config).set_module_name_qconfig("layer1.act", nullptr, true);
  const auto m = two_layers();
  quantizer.annotate(*m);
  Node* x = m->graph().find("x");
  Node* r = m->graph().find("r");
  Node* w = m->graph().find("w");
  EXPECT_NE(*annotation(*m, "a").find_input(x), nullptr);
  EXPECT_EQ(*annotation(*m, "b").find_input(r), nullptr);
  EXPECT_NE(*annotation(*m, "b").find_input(w), nullptr);
  EXPECT_THROW(quantizer.set_module_name_qconfig("layer1", config, true), ValueError);
  EXPECT_THROW(XNNPACKQuantizer().set_module_name("layer1", config, true), ValueError);
}

TEST(Capabilities, PrintAsATable) {
  const std::string arm = capabilities_table(ArmInductorQuantizer().quantization_capabilities());
  EXPECT_NE(arm.find("mode"), std::string::npos);
  EXPECT_NE(arm.find("int8 -128..127 per_tensor_symmetric"), std::string::npos);
  EXPECT_EQ(arm.find("max_pool2d"), std::string::npos);
  const std::string x86 = capabilities_table(X86InductorQuantizer().quantization_capabilities());
  EXPECT_NE(x86.find("max_pool2d"), std::string::npos);
  EXPECT_EQ(capabilities_table({}).find('\n'), capabilities_table({}).size() - 1);  // the head only
}

TEST(TrainingMode, DropoutIsNoIdentity) {
  GraphModule m;
  parse_graph(R"(
    %x : float32[64] = placeholder[x]
    %d : float32[64] = aten.dropout.default(%x, 0.5, False)
    return %d
)",
              m.graph());
  const Tensor x = Tensor::full({64}, 1.0, DType::Float32);
  const auto sum_of_ones = [&] {
    const Tensor y = run(m, {Value(x)}).as<Tensor>();
    int ones = 0;
    for (int64_t i = 0; i < 64; ++i) ones += y.contiguous().data<float>()[i] == 1.0F ? 1 : 0;
    return ones;
  };
  EXPECT_EQ(sum_of_ones(), 64);
  move_exported_model_to_train(m);
  EXPECT_EQ(sum_of_ones(), 0);  // every element is 0 or 2; the plan of before is not used again
  move_exported_model_to_eval(m);
  EXPECT_EQ(sum_of_ones(), 64);
}

}  // namespace
}  // namespace pt2q
