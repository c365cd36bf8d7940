// Sharing of observers, hand-written quantizers and errors of prepare and convert.
#include <gtest/gtest.h>

#include <cmath>

#include "ir/text.h"
#include "pt2q/error.h"
#include "pt2q/log.h"
#include "pt2q/pt2e.h"
#include "pt2q/quantizers.h"
#include "pt2q/runtime.h"

namespace pt2q {
namespace {

class LambdaQuantizer : public Quantizer {
 public:
  using Fn = std::function<void(GraphModule&)>;
  explicit LambdaQuantizer(Fn fn) : fn_(std::move(fn)) {}
  void annotate(GraphModule& model) override { fn_(model); }
  std::string class_name() const override { return "LambdaQuantizer"; }

 private:
  Fn fn_;
};

std::shared_ptr<QuantizationSpec> act_spec(int64_t quant_max = 127) {
  auto spec = std::make_shared<QuantizationSpec>();
  spec->dtype = DType::Int8;
  spec->quant_min = -128;
  spec->quant_max = quant_max;
  spec->qscheme = QScheme::PerTensorAffine;
  spec->observer_or_fake_quant_ctr = observer_class("MinMaxObserver");
  return spec;
}

SpecPtr shared(const EdgeOrNode& e) {
  auto spec = std::make_shared<SharedQuantizationSpec>();
  spec->edge_or_node = e;
  return spec;
}

std::unique_ptr<GraphModule> load(const std::string& text) {
  auto module = std::make_unique<GraphModule>();
  parse_graph(text, module->graph());
  return module;
}

// The observer that the call_module node in front of argument `i` of `node` calls.
const Module* observer_at(const GraphModule& m, const std::string& node, size_t i) {
  const Value& arg = m.graph().find(node)->arg(0);
  const Node* observer = arg.is<Value::List>() ? arg.list().at(i).as<Node*>()
                                               : m.graph().find(node)->arg(i).as<Node*>();
  return observer->opcode() == OpCode::CallModule ? m.module(observer->target()).get() : nullptr;
}

const char* kTwoCats = R"(
    %x1 : float32[1, 2] = placeholder[x1]
    %x2 : float32[1, 2] = placeholder[x2]
    %x3 : float32[1, 2] = placeholder[x3]
    %cat1 : float32[1, 4] = aten.cat.default([%x1, %x2], 1)
    %cat2 : float32[1, 6] = aten.cat.default([%x3, %cat1], 1)
    return %cat2
)";

TEST(Sharing, IsTransitiveThroughImplicitSharing) {
  for (const bool reversed : {false, true}) {
    auto m = load(kTwoCats);
    LambdaQuantizer quantizer([&](GraphModule& model) {
      for (const char* name : {"cat1", "cat2"}) {
        Node* cat = model.graph().find(name);
        const std::vector<Node*> inputs = cat->input_nodes();
        Node* first = inputs[reversed ? 1 : 0];
        Node* second = inputs[reversed ? 0 : 1];
        for (Node* input : inputs) {
          annotate_input_qspec_map(cat, input,
                                   input == first ? SpecPtr(act_spec()) : shared({first, cat}));
        }
        ASSERT_NE(second, nullptr);
        annotate_output_qspec(cat, shared({first, cat}));
      }
    });
    prepare_pt2e(*m, quantizer);
    const Module* one = observer_at(*m, "cat1", 0);
    ASSERT_NE(one, nullptr);
    EXPECT_EQ(observer_at(*m, "cat1", 1), one);
    EXPECT_EQ(observer_at(*m, "cat2", 0), one);
    EXPECT_EQ(observer_at(*m, "cat2", 1), one);
  }
}

const char* kChain = R"(
    %x : float32[1, 2] = placeholder[x]
    %a : float32[1, 2] = aten.add.Tensor(%x, %x)
    %b : float32[1, 2] = aten.mul.Tensor(%a, %a)
    return %b
)";

TEST(Sharing, ImplicitSharingCanBeRefused) {
  for (const bool allow : {true, false}) {
    auto m = load(kChain);
    LambdaQuantizer quantizer([&](GraphModule& model) {
      Node* a = model.graph().find("a");
      Node* b = model.graph().find("b");
      annotate_output_qspec(a, act_spec());
      annotate_input_qspec_map(b, a, act_spec());
      a->meta.quantization_annotation->allow_implicit_sharing = allow;
      b->meta.quantization_annotation->allow_implicit_sharing = allow;
    });
    prepare_pt2e(*m, quantizer);
    EXPECT_EQ(m->modules().size(), allow ? 1U : 2U);
  }
}

TEST(Sharing, DifferentRangesAreNotShared) {
  auto m = load(kChain);
  LambdaQuantizer quantizer([&](GraphModule& model) {
    annotate_output_qspec(model.graph().find("a"), act_spec(127));
    annotate_input_qspec_map(model.graph().find("b"), model.graph().find("a"), act_spec(63));
  });
  prepare_pt2e(*m, quantizer);
  EXPECT_EQ(m->modules().size(), 2U);
}

TEST(Sharing, OutputSharedWithItsOwnConsumerDoesNotLoop) {
  auto m = load(kChain);
  LambdaQuantizer quantizer([&](GraphModule& model) {
    Node* a = model.graph().find("a");
    Node* b = model.graph().find("b");
    annotate_output_qspec(a, shared({a, b}));
    annotate_input_qspec_map(b, a, act_spec());
  });
  prepare_pt2e(*m, quantizer);
  EXPECT_EQ(m->modules().size(), 1U);
}

TEST(Sharing, MistakesAreNamed) {
  auto unknown = load(kChain);
  LambdaQuantizer refers_to_nothing([](GraphModule& model) {
    Node* b = model.graph().find("b");
    annotate_input_qspec_map(b, model.graph().find("a"), shared({model.graph().find("x"), b}));
  });
  EXPECT_THROW(prepare_pt2e(*unknown, refers_to_nothing), AssertionError);

  auto circle = load(kChain);
  LambdaQuantizer circular([](GraphModule& model) {
    Node* a = model.graph().find("a");
    Node* b = model.graph().find("b");
    annotate_output_qspec(a, shared(b));
    annotate_output_qspec(b, shared(a));
    annotate_input_qspec_map(b, a, shared(b));
  });
  EXPECT_ANY_THROW(prepare_pt2e(*circle, circular));
}

TEST(Prepare, DerivedSpecComputesFromOtherObservers) {
  auto m = load(R"(
    %x : float32[1, 2] = placeholder[x]
    %w : float32[3, 2] = get_attr[w]
    %b : float32[3] = get_attr[b]
    %linear : float32[1, 3] = aten.linear.default(%x, %w, %b)
    return %linear
)");
  m->set_attr("w", Tensor::full({3, 2}, 2.0), AttrKind::Parameter);
  m->set_attr("b", Tensor::full({3}, 0.5), AttrKind::Parameter);
  LambdaQuantizer quantizer([](GraphModule& model) {
    Node* linear = model.graph().find("linear");
    Node* x = model.graph().find("x");
    Node* w = model.graph().find("w");
    annotate_input_qspec_map(linear, x, act_spec());
    annotate_input_qspec_map(linear, w, act_spec());
    auto bias = std::make_shared<DerivedQuantizationSpec>();
    bias->derived_from = {{x, linear}, {w, linear}};
    bias->dtype = DType::Int32;
    bias->quant_min = -(int64_t{1} << 31);
    bias->quant_max = (int64_t{1} << 31) - 1;
    bias->qscheme = QScheme::PerTensorSymmetric;
    bias->derive_qparams_fn = [](const std::vector<std::shared_ptr<Observer>>& from) {
      const float scale = static_cast<float>(from.at(0)->calculate_qparams().scale.item()) *
                          static_cast<float>(from.at(1)->calculate_qparams().scale.item());
      return QParams{Tensor::full({1}, scale), Tensor::scalar_int(0).reshape({1})};
    };
    annotate_input_qspec_map(linear, model.graph().find("b"), bias);
  });
  prepare_pt2e(*m, quantizer);
  run(*m, {Tensor::full({1, 2}, 1.0)});
  convert_pt2e(*m);
  const Node* linear = m->graph().find("linear");
  const Node* bias = linear->arg(2).as<Node*>();
  const double sx = linear->arg(0).as<Node*>()->arg(1).to_double();
  const double sw = linear->arg(1).as<Node*>()->arg(1).to_double();
  EXPECT_EQ(bias->arg(1).to_double(),
            static_cast<double>(static_cast<float>(sx) * static_cast<float>(sw)));
  const Tensor stored = m->attr_of(*bias->arg(0).as<Node*>());
  EXPECT_EQ(stored.dtype(), DType::Int32);
  EXPECT_EQ(stored.data<int32_t>()[0],
            static_cast<int32_t>(std::nearbyint(0.5F * (1.0F / static_cast<float>(sx * sw)))));
}

TEST(Prepare, FixedQParamsAreUsedAsGiven) {
  auto m = load(R"(
    %x : float32[1, 2] = placeholder[x]
    %s : float32[1, 2] = aten.sigmoid.default(%x)
    %t : float32[1, 2] = aten.mul.Tensor(%s, %x)
    return %t
)");
  LambdaQuantizer quantizer([](GraphModule& model) {
    auto spec = std::make_shared<FixedQParamsQuantizationSpec>();
    spec->dtype = DType::UInt8;
    spec->scale = 1.0 / 256;
    spec->zero_point = 0;
    spec->quant_min = 0;
    spec->quant_max = 255;
    spec->qscheme = QScheme::PerTensorAffine;
    annotate_output_qspec(model.graph().find("s"), spec);
    annotate_input_qspec_map(model.graph().find("t"), model.graph().find("s"), spec);
  });
  prepare_pt2e(*m, quantizer);
  EXPECT_EQ(m->modules().size(), 1U);  // equal fixed parameters: one observer
  convert_pt2e(*m);
  const Node* dq = m->graph().find("t")->arg(0).as<Node*>();
  EXPECT_EQ(dq->arg(1).to_double(), 1.0 / 256);
  EXPECT_EQ(dq->arg(2).to_int(), 0);
}

// PyTorch has no tensors of two values in a byte either: such observers only observe.
TEST(Convert, ObserversOfQuint4x2LeaveNoTrace) {
  auto m = load(kChain);
  LambdaQuantizer quantizer([](GraphModule& model) {
    auto spec = std::make_shared<QuantizationSpec>();
    spec->dtype = DType::QUInt4x2;
    spec->qscheme = QScheme::PerTensorAffine;
    spec->observer_or_fake_quant_ctr = observer_class("MinMaxObserver");
    annotate_output_qspec(model.graph().find("a"), spec);
  });
  prepare_pt2e(*m, quantizer);
  EXPECT_EQ(m->modules().size(), 1U);
  run(*m, {Tensor::full({1, 2}, 3.0)});
  convert_pt2e(*m);
  EXPECT_EQ(m->graph().to_string(), load(kChain)->graph().to_string());
}

TEST(Prepare, RefusesPreparedModelsAndConvertOthers) {
  auto m = load(kChain);
  LambdaQuantizer quantizer(
      [](GraphModule& model) { annotate_output_qspec(model.graph().find("a"), act_spec()); });
  EXPECT_THROW(convert_pt2e(*m), AssertionError);
  prepare_pt2e(*m, quantizer);
  EXPECT_THROW(prepare_pt2e(*m, quantizer), ValueError);
  convert_pt2e(*m);
  EXPECT_THROW(convert_pt2e(*m), AssertionError);
}

TEST(Prepare, AgainAfterConvertLeavesEarlierPairsAlone) {
  auto m = load(kChain);
  LambdaQuantizer first([](GraphModule& model) {
    Node* a = model.graph().find("a");
    annotate_output_qspec(a, act_spec());
    a->meta.quantization_annotation->annotated = true;
  });
  prepare_pt2e(*m, first);
  convert_pt2e(*m);
  const std::string once = m->graph().to_string();
  LambdaQuantizer second(
      [](GraphModule& model) { annotate_output_qspec(model.graph().find("b"), act_spec()); });
  prepare_pt2e(*m, second);
  convert_pt2e(*m);
  // The first pair is as it was; one more pair stands behind b.
  EXPECT_EQ(m->graph().to_string().substr(0, once.find("    return")),
            once.substr(0, once.find("    return")));
  EXPECT_EQ(m->graph().output_node()->arg(0).as<Node*>()->name(),
            "dequantize_per_tensor_default_1");
}

TEST(Convert, WithoutCalibrationWarnsAndGivesOneAndZero) {
  auto m = load(kChain);
  LambdaQuantizer quantizer(
      [](GraphModule& model) { annotate_output_qspec(model.graph().find("a"), act_spec()); });
  prepare_pt2e(*m, quantizer);
  std::vector<std::string> warnings;
  const auto old = set_warning_handler([&](const std::string& text) { warnings.push_back(text); });
  convert_pt2e(*m);
  set_warning_handler(old);
  ASSERT_FALSE(warnings.empty());
  EXPECT_NE(warnings[0].find("must run observer before calling calculate_qparams"),
            std::string::npos);
  const Node* q = m->graph().find("quantize_per_tensor_default");
  EXPECT_EQ(q->arg(1).to_double(), 1.0);
  EXPECT_EQ(q->arg(2).to_int(), 0);
}

TEST(Composable, LaterQuantizersMayNotTouchEarlierAnnotations) {
  const auto annotate_a = [](GraphModule& model) {
    Node* a = model.graph().find("a");
    a->meta.quantization_annotation = std::make_shared<QuantizationAnnotation>();
    a->meta.quantization_annotation->output_qspec = act_spec();
  };
  const auto remove_a = [](GraphModule& model) {
    model.graph().find("a")->meta.quantization_annotation.reset();
  };
  for (const auto& second : std::vector<LambdaQuantizer::Fn>{annotate_a, remove_a}) {
    auto m = load(kChain);
    ComposableQuantizer quantizer(
        {std::make_shared<LambdaQuantizer>(annotate_a), std::make_shared<LambdaQuantizer>(second)});
    EXPECT_THROW(prepare_pt2e(*m, quantizer), RuntimeError);
  }
  auto m = load(kChain);
  ComposableQuantizer quantizer(
      {std::make_shared<LambdaQuantizer>(annotate_a), std::make_shared<EmbeddingQuantizer>()});
  prepare_pt2e(*m, quantizer);
  EXPECT_EQ(m->modules().size(), 1U);
}

TEST(X86, ConfigurationsByNameAndTypeWinOverGlobal) {
  const char* text = R"(
    %x : float32[1, 4] = placeholder[x]
    %w : float32[4, 4] = get_attr[w]
    %l1 : float32[1, 4] = aten.linear.default(%x, %w)
    %l2 : float32[1, 4] = aten.linear.default(%l1, %w)
    return %l2
)";
  const auto quantized = [&](X86InductorQuantizer& quantizer) {
    auto m = load(text);
    m->graph().find("l1")->meta.nn_module_stack = {{"sub", "Sub"}, {"sub.l1", "Linear"}};
    m->graph().find("l2")->meta.nn_module_stack = {{"l2", "Linear"}};
    quantizer.annotate(*m);
    std::string out;
    for (const char* name : {"l1", "l2"}) {
      if (is_valid_annotation(m->graph().find(name)->meta.quantization_annotation.get()))
        out += std::string(name) + " ";
    }
    return out;
  };
  const ConfigPtr config = get_default_x86_inductor_quantization_config();
  X86InductorQuantizer by_name;
  by_name.set_global(config).set_module_name_qconfig("sub", nullptr);
  EXPECT_EQ(quantized(by_name), "l2 ");
  X86InductorQuantizer only_name;
  only_name.set_module_name_qconfig("sub.l1", config);
  EXPECT_EQ(quantized(only_name), "l1 ");
  X86InductorQuantizer by_type;
  by_type.set_global(config).set_module_type_qconfig("Linear", nullptr);
  EXPECT_EQ(quantized(by_type), "");
  X86InductorQuantizer mixed;
  mixed.set_global(config).set_function_type_qconfig(
      "linear", get_default_x86_inductor_quantization_config(false, true));  // dynamic: skipped
  EXPECT_EQ(quantized(mixed), "l1 l2 ");
}

TEST(Configs, EqualArgumentsGiveTheSameObject) {
  EXPECT_EQ(get_default_x86_inductor_quantization_config(),
            get_default_x86_inductor_quantization_config());
  EXPECT_NE(get_default_x86_inductor_quantization_config(),
            get_default_x86_inductor_quantization_config(false, false, true));
  EXPECT_TRUE(*get_symmetric_quantization_config(true) == *get_symmetric_quantization_config(true));
  EXPECT_FALSE(*get_symmetric_quantization_config() == *get_symmetric_quantization_config(true));
}

TEST(Specs, AreChecked) {
  QuantizationSpec spec = *act_spec();
  spec.quant_min = 5;
  spec.quant_max = 3;
  EXPECT_THROW(spec.check(), ValueError);
  spec = *act_spec();
  spec.ch_axis = -1;
  EXPECT_THROW(spec.check(), ValueError);
}

}  // namespace
}  // namespace pt2q
