// Lowering of what the whole flow makes: capture → prepare → calibrate → convert → compile.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/strings.h"
#include "error_message.h"
#include "graph_builder.h"
#include "ir/text.h"
#include "pt2q/pt2e.h"
#include "pt2q/quantizers.h"

namespace pt2q::testing {
namespace {

std::map<std::string, int> op_counts(GraphModule& m) {
  std::map<std::string, int> out;
  for (const Node* n : m.graph().nodes()) {
    if (n->opcode() == OpCode::CallFunction) ++out[n->target()];
  }
  return out;
}

void quantize(GraphModule& m, Quantizer& quantizer, const Tensor& sample) {
  m.exported = true;
  prepare_pt2e(m, quantizer);
  run(m, {sample});
  convert_pt2e(m);
}

void quantize_x86(GraphModule& m, const Tensor& sample) {
  X86InductorQuantizer quantizer;
  quantizer.set_global(get_default_x86_inductor_quantization_config());
  quantize(m, quantizer, sample);
}

// Compiles strictly and checks the result against the integer reference and the float model.
std::unique_ptr<CompiledModel> check(const GraphModule& m, GraphModule& original, const Tensor& x,
                                     double tolerance) {
  const Tensor want = first(run(original, {x}));
  CompileOptions options;
  options.strict = true;
  auto c = compile(m, options);
  const Tensor got = first((*c)({x}));
  EXPECT_TRUE(same_bits(got, first(run_reference(c->module(), {x}))));
  EXPECT_LT(relative_error(got, want), tolerance);
  return c;
}

TEST(Lower, ResNetFromTheX86Quantizer) {
  for (const bool bottleneck : {false, true}) {
    auto m = make_resnet(2, {2, 2}, bottleneck, true, 32, 8);
    auto original = m->deep_copy();
    const Tensor x = random_tensor({2, 3, 32, 32}, 4);
    quantize_x86(*m, x);
    auto c = check(*m, *original, x, 0.1);
    const auto counts = op_counts(c->module());
    EXPECT_EQ(counts.count("aten.conv2d.default"), 0U);
    EXPECT_EQ(counts.count("aten.add.Tensor"), 0U);
    EXPECT_EQ(counts.count("aten.relu.default"), 0U) << c->module().graph().to_string();
    EXPECT_EQ(counts.at("quantized_decomposed.quantize_per_tensor.default"), 1)
        << c->module().graph().to_string();
  }
}

Node* inverted_residual(NetBuilder& b, Node* x, int64_t in, int64_t out, int64_t stride) {
  const auto clip = [&](Node* n) { return b.op("aten.hardtanh.default", {n, 0.0, 6.0}); };
  const int64_t hidden = in * 4;
  Node* y = clip(b.batch_norm(b.conv2d(x, in, hidden, 1, 1, 0, 1, false), hidden));
  y = clip(b.batch_norm(b.conv2d(y, hidden, hidden, 3, stride, 1, hidden, false), hidden));
  y = b.batch_norm(b.conv2d(y, hidden, out, 1, 1, 0, 1, false), out);
  return stride == 1 && in == out ? b.add(x, y) : y;
}

std::unique_ptr<GraphModule> make_mobilenet() {
  NetBuilder b;
  Node* x = b.input("x", {1, 3, 32, 32});
  Node* y = b.op("aten.hardtanh.default",
                 {b.batch_norm(b.conv2d(x, 3, 8, 3, 2, 1, 1, false), 8), 0.0, 6.0});
  y = inverted_residual(b, y, 8, 8, 1);
  y = inverted_residual(b, y, 8, 16, 2);
  y = inverted_residual(b, y, 16, 16, 1);
  y = b.linear(b.flatten(b.global_pool(y)), 16, 10);
  return b.finish(Value::List{y});
}

TEST(Lower, MobileNetFromTheX86Quantizer) {
  auto m = make_mobilenet();
  auto original = m->deep_copy();
  const Tensor in = random_tensor({1, 3, 32, 32}, 4);
  quantize_x86(*m, in);
  auto c = check(*m, *original, in, 0.15);
  const auto counts = op_counts(c->module());
  EXPECT_EQ(counts.at("pt2q.qconv.default"), 10);
  EXPECT_EQ(counts.count("aten.hardtanh.default"), 0U);
}

// 7-bit activations keep u8 x s8 pairs within 16 bits.
TEST(Lower, ReducedRangeIsKnownToTheKernels) {
  auto m = make_resnet(1, {1}, false, true, 32, 8);
  auto original = m->deep_copy();
  const Tensor x = random_tensor({1, 3, 32, 32}, 4);
  X86InductorQuantizer quantizer;
  quantizer.set_global(get_default_x86_inductor_quantization_config(false, false, true));
  quantize(*m, quantizer, x);
  auto c = check(*m, *original, x, 0.15);
  for (const Node* n : c->module().graph().nodes()) {
    if (!n->is_call("pt2q.qconv.default") && !n->is_call("pt2q.qlinear.default")) continue;
    const auto at = static_cast<size_t>(n->op().schema.index_of("x_max"));
    EXPECT_EQ(n->arg(at), Value(127)) << n->name();
  }
}

// Signed activations, per-tensor weights.
// What comes from outside may be above the range that a quantize would have clamped to.
TEST(Lower, ReluOfRawIntegersKeepsWhatIsAboveTheReducedRange) {
  for (const DType dtype : {DType::UInt8, DType::Int8}) {
    GraphModule m;
    const std::string type = dtype == DType::UInt8 ? "uint8" : "int8";
    const std::string range = dtype == DType::UInt8 ? "0, 127, uint8" : "-64, 63, int8";
    parse_graph(
        cat("graph():\n    %q : ", type, "[6] = placeholder[q]\n",
            "    %dq : float32[6] = quantized_decomposed.dequantize_per_tensor.default(%q, "
            "0.5, 3, ",
            range, ")\n", "    %relu : float32[6] = aten.relu.default(%dq)\n    return [%relu]\n"),
        m.graph());
    m.propagate_shapes();
    const Tensor q = Tensor::from_vector<int32_t>({0, 3, 63, 64, 126, 127}, {6}).to(dtype);
    const Tensor want = first(run(m, {q}));
    EXPECT_TRUE(same_bits(first((*compile(m))({q})), want));
  }
}

TEST(Lower, SymmetricSignedActivationsFromTheXnnpackQuantizer) {
  auto m = make_resnet(1, {1}, false, true, 32, 8);
  auto original = m->deep_copy();
  const Tensor x = random_tensor({1, 3, 32, 32}, 4);
  XNNPACKQuantizer quantizer;
  quantizer.set_global(get_symmetric_quantization_config(true));
  quantize(*m, quantizer, x);
  auto c = check(*m, *original, x, 0.15);
  EXPECT_EQ(op_counts(c->module()).at("pt2q.qconv.default"), 3);
}

// XNNPACK annotates a layer and its hardtanh one by one, with shared parameters and signed
// integers.
TEST(Lower, UnsignedAndClippedQuantizesGiveTheSameBits) {
  auto m = make_mobilenet();
  auto original = m->deep_copy();
  const Tensor x = random_tensor({1, 3, 32, 32}, 4);
  XNNPACKQuantizer quantizer;
  quantizer.set_global(get_symmetric_quantization_config(true));
  quantize(*m, quantizer, x);
  auto c = check(*m, *original, x, 0.2);
  EXPECT_EQ(op_counts(c->module()).count("aten.hardtanh.default"), 0U);
  for (const StepReport& step : c->steps({x})) {
    EXPECT_NE(step.dtype.substr(0, 4), "int8") << step.node;
    if (starts_with(step.op, "pt2q.q")) {
      EXPECT_EQ(step.dtype, "uint8 -> uint8") << step.node;
    }
  }

  CompileOptions options;
  options.disabled_passes = {"int8_to_uint8", "clip_in_quantize"};
  auto plain = compile(*m, options);
  EXPECT_EQ(op_counts(plain->module()).at("aten.hardtanh.default"), 7);
  EXPECT_TRUE(same_bits(first((*c)({x})), first((*plain)({x}))));
}

TEST(Lower, SaveForLaterQuantizeNodesInsideTheGraphAreUnderstood) {
  // fold_quantize=False: weights stay float behind quantize nodes, which freeze folds.
  auto m = make_resnet(1, {1}, false, true, 32, 8);
  auto original = m->deep_copy();
  const Tensor x = random_tensor({1, 3, 32, 32}, 4);
  X86InductorQuantizer quantizer;
  quantizer.set_global(get_default_x86_inductor_quantization_config());
  m->exported = true;
  prepare_pt2e(*m, quantizer);
  run(*m, {x});
  convert_pt2e(*m, false, false);
  check(*m, *original, x, 0.1);
}

// Two layers of one input, a GELU and a residual sum, as in a transformer.
std::unique_ptr<GraphModule> encoder_part() {
  NetBuilder b;
  Node* x = b.input("x", {2, 5, 24});
  Node* q = b.linear(x, 24, 40);
  Node* k = b.op("aten.gelu.default", {b.linear(x, 24, 40)});
  return b.finish(Value::List{b.add(x, b.linear(b.add(q, k), 40, 24, false))});
}

void expect_dynamic(Quantizer& quantizer, const std::string& kernel) {
  auto original = encoder_part(), m = encoder_part();
  const Tensor x = random_tensor({2, 5, 24}, 4, -2, 3);
  quantize(*m, quantizer, x);
  auto c = check(*m, *original, x, 0.05);
  auto counts = op_counts(c->module());
  EXPECT_EQ(counts["pt2q.quantize_dynamic.default"], 2);
  EXPECT_EQ(counts["pt2q.qlinear_dynamic.default"], 3);
  int quantizes = 0;
  for (const StepReport& step : c->steps({x})) {
    EXPECT_NE(step.kernel, "reference") << step.op;
    quantizes += step.kernel == kernel ? 1 : 0;
  }
  EXPECT_EQ(quantizes, 2);
  // Another range gives other parameters, with the same plan.
  const Tensor y = random_tensor({2, 5, 24}, 5, 0, 0.01F);
  EXPECT_TRUE(same_bits(first((*c)({y})), first(run_reference(c->module(), {y}))));
}

TEST(Lower, DynamicLinearFromTheX86Quantizer) {
  X86InductorQuantizer quantizer;
  quantizer.set_global(get_default_x86_inductor_quantization_config(false, true));
  expect_dynamic(quantizer, "pt2q quantize, range at run time");
}

TEST(Lower, DynamicLinearFromTheXnnpackQuantizer) {
  XNNPACKQuantizer quantizer;
  quantizer.set_global(get_symmetric_quantization_config(true, false, true));
  expect_dynamic(quantizer, "pt2q quantize, range at run time");
}

// One scale and zero point per row; what no int8 layer takes is dequantized.
TEST(Lower, DynamicQuantizationPerToken) {
  for (const bool symmetric : {true, false}) {
    NetBuilder b;
    Node* x = b.input("x", {3, 4, 24});
    const std::string choose =
        symmetric ? "choose_qparams_per_token" : "choose_qparams_per_token_asymmetric";
    Node* p = b.op(cat("quantized_decomposed.", choose, ".default"), {x, DType::Int8});
    Node* s = b.op("_operator.getitem", {p, 0});
    Node* z = b.op("_operator.getitem", {p, 1});
    Node* q =
        b.op("quantized_decomposed.quantize_per_token.default", {x, s, z, -128, 127, DType::Int8});
    Node* d = b.op("quantized_decomposed.dequantize_per_token.default",
                   {q, s, z, -128, 127, DType::Int8, DType::Float32});
    Tensor codes = Tensor::empty({7, 24}, DType::Int8);
    for (int64_t i = 0; i < codes.numel(); ++i)
      codes.mutable_data<int8_t>()[i] = static_cast<int8_t>(i * 37 % 255 - 127);
    Node* w = b.op("quantized_decomposed.dequantize_per_tensor.default",
                   {b.parameter(codes), 0.01, 0, -127, 127, DType::Int8});
    Node* y = b.op("aten.linear.default", {d, w});
    auto m = b.finish(Value::List{y, b.op("aten.relu.default", {d})});
    const Tensor in = random_tensor({3, 4, 24}, 6, -1, 2);
    const Value want = run_reference(*m, {in});
    auto c = compile(*m);
    auto counts = op_counts(c->module());
    EXPECT_EQ(counts["pt2q.quantize_dynamic.default"], 1);
    EXPECT_EQ(counts["pt2q.qlinear_dynamic.default"], 1);
    const Value got = (*c)({in}), exact = run_reference(c->module(), {in});
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_TRUE(same_bits(got.list()[i].as<Tensor>(), exact.list()[i].as<Tensor>()));
      EXPECT_LT(relative_error(got.list()[i].as<Tensor>(), want.list()[i].as<Tensor>()), 1e-6);
    }
    // The codes are those of the graph before: dequantized, the same bits.
    EXPECT_TRUE(same_bits(got.list()[1].as<Tensor>(), want.list()[1].as<Tensor>()));
    // Rows that have no parameters give no numbers, as before; the others are left alone.
    Tensor odd = in.clone();
    odd.mutable_data<float>()[24] = std::numeric_limits<float>::infinity();
    odd.mutable_data<float>()[50] = std::numeric_limits<float>::quiet_NaN();
    const Tensor plain = run_reference(*m, {odd}).list()[0].as<Tensor>();
    const Tensor first_of[] = {(*c)({odd}).list()[0].as<Tensor>(),
                               run_reference(c->module(), {odd}).list()[0].as<Tensor>()};
    for (const Tensor& t : first_of) {
      for (int64_t i = 0; i < t.numel(); ++i)
        ASSERT_EQ(std::isnan(t.data<float>()[i]), std::isnan(plain.data<float>()[i])) << i;
    }
  }
}

// The mask, the mean over tokens and the unit length of a sentence encoder's end.
TEST(Lower, PoolingOfASentenceEncoderHasKernels) {
  NetBuilder b;
  Node* x = b.input("x", {3, 5, 24});
  Node* mask = b.input("mask", {3, 5}, DType::Int32);
  Node* m = b.op("aten.to.dtype", {mask, DType::Float32});
  Node* away = b.op("aten.mul.Scalar", {b.op("aten.rsub.Scalar", {m, 1.0}), -100.0});
  Node* wide = b.op("aten.unsqueeze.default", {m, 2});
  Node* sum = b.op("aten.sum.dim_IntList", {b.op("aten.mul.Tensor", {x, wide}), Value::List{1}});
  Node* count = b.op("aten.sum.dim_IntList", {m, Value::List{1}, true});
  Node* mean = b.op("aten.div.Tensor", {sum, count});
  Node* norm = b.op("aten.linalg_vector_norm.default", {mean, 2.0, Value::List{1}, true});
  Node* least = b.op("aten.clamp_min.default", {norm, 1e-12});
  Node* unit = b.op("aten.div.Tensor", {mean, b.op("aten.expand_as.default", {least, mean})});
  auto module = b.finish(Value::List{unit, away});
  Tensor on = Tensor::zeros({3, 5}, DType::Int32);
  for (int64_t i = 0; i < 15; ++i) on.mutable_data<int32_t>()[i] = i % 4 != 3 ? 1 : 0;
  const Tensor in = random_tensor({3, 5, 24}, 6, -1, 2);
  auto c = compile(*module);
  for (const StepReport& step : c->steps({in, on})) EXPECT_NE(step.kernel, "reference") << step.op;
  const Value got = (*c)({in, on}), want = run_reference(c->module(), {in, on});
  EXPECT_LT(relative_error(first(got), first(want)), 1e-6);
  EXPECT_TRUE(same_bits(got.list()[1].as<Tensor>(), want.list()[1].as<Tensor>()));
}

TEST(LoweredConvolution, RefusesNumbersThatFitNoImage) {
  const Tensor x = Tensor::zeros({1, 4, 5, 5}, DType::UInt8);
  const Tensor w = Tensor::zeros({4, 4, 3, 3}, DType::Int8);
  const auto error = [&](const Value::List& stride, const Value::List& padding,
                         const Value::List& dilation) {
    return error_message<ValueError>([&] {
      call("pt2q.qconv.default",
           {x, w, Tensor::full({4}, 1), Value(), 0.1, 0, stride, padding, dilation, 1});
    });
  };
  EXPECT_EQ(error({1, 1}, {0, 0}, {1, 1}), "no error");
  EXPECT_EQ(error({1, 0}, {0, 0}, {1, 1}),
            "stride [1, 0] and dilation [1, 1] must be positive, padding [0, 0] not negative");
  EXPECT_EQ(error({1, 1}, {-1, 0}, {1, 1}),
            "stride [1, 1] and dilation [1, 1] must be positive, padding [-1, 0] not negative");
  EXPECT_EQ(error({}, {0, 0}, {1, 1}), "expected one number or 2 for 2-D images, got []");
  EXPECT_EQ(error({1, 1}, {0, 0}, {3, 1}),
            "a kernel of 3x3 with dilation [3, 1] is larger than the padded input [1, 4, 5, 5]");
}

}  // namespace
}  // namespace pt2q::testing
