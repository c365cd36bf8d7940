// The saturation verdict of each int8 layer, under every instruction set this machine can cap to.
#include <gtest/gtest.h>

#include "base/cpu.h"
#include "graph_builder.h"
#include "isa_cap.h"

namespace pt2q::testing {
namespace {

using kernels::Isa;

// "sparse" has one weight per output: no pair of products exceeds 127 * 255. "heavy" has pairs of
// 127 + 127, that is 64770. "depthwise" multiplies each channel by itself.
std::unique_ptr<GraphModule> three_layers() {
  NetBuilder b;
  Node* x = b.input("x", {1, 8, 6, 6});
  Tensor sparse = Tensor::zeros({8, 8, 1, 1}, DType::Float32);
  for (int64_t i = 0; i < 8; ++i) sparse.mutable_data<float>()[i * 8 + 7 - i] = 1.0F;
  const auto conv = [&](Node* in, const Tensor& w, int64_t groups) {
    return b.op("aten.conv2d.default",
                {in, b.parameter(w), Value(), std::vector<int64_t>{1, 1},
                 std::vector<int64_t>{0, 0}, std::vector<int64_t>{1, 1}, groups});
  };
  Node* y = conv(x, sparse, 1);
  y = conv(y, Tensor::full({8, 8, 1, 1}, 0.125, DType::Float32), 1);
  y = conv(y, random_tensor({8, 1, 3, 3}, 4), 8);
  auto m = b.finish(Value::List{y});
  return quantize_graph(*m, random_tensor({1, 8, 6, 6}, 3));
}

std::vector<StepReport> int8_layers(const std::vector<StepReport>& steps) {
  std::vector<StepReport> out;
  for (const StepReport& s : steps) {
    if (s.saturation != Saturation::NotInt8) out.push_back(s);
  }
  return out;
}

bool has_16_bit_route(Isa isa) {
  if (isa > kernels::native_isa()) return false;
  return isa == Isa::avx512 || (isa == Isa::avx2 && !cpu_features().avxvnni);
}

TEST(Saturation, VerdictsFollowWeightsInputsAndInstructionSet) {
  auto q = three_layers();
  const Tensor x = random_tensor({1, 8, 6, 6}, 5);
  const Tensor expected = [&] {
    const IsaCap cap(Isa::portable);
    return first((*compile(*q))({x}));
  }();
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_vnni, Isa::amx}) {
    if (isa > kernels::native_isa()) continue;
    SCOPED_TRACE(kernels::isa_label(isa));
    const IsaCap cap(isa);
    auto c = compile(*q);
    const auto layers = int8_layers(c->steps({x}));
    ASSERT_EQ(layers.size(), 3U) << c->explain();
    EXPECT_TRUE(same_bits(first((*c)({x})), expected));
    const SaturationSummary summary = c->saturation({x});
    EXPECT_EQ(summary.layers, 3);
    if (has_16_bit_route(isa)) {
      EXPECT_EQ(layers[0].saturation, Saturation::Bounded);
      EXPECT_EQ(layers[0].max_pair_sum, 127 * 255);
      EXPECT_EQ(layers[1].saturation, Saturation::ExactRoute);
      EXPECT_EQ(layers[1].max_pair_sum, 2 * 127 * 255);
      EXPECT_EQ(layers[2].saturation, Saturation::ExactRoute);  // depthwise is always widened
      EXPECT_EQ(summary.bounded, 1);
      EXPECT_EQ(summary.exact_route, 2);
      EXPECT_NE(c->explain().find("bound proven: 32385 <= 32767 for inputs <= 255"),
                std::string::npos);
      EXPECT_NE(c->explain().find("exact route: 64770 > 32767"), std::string::npos);
    } else if (isa != Isa::avx2) {
      EXPECT_EQ(summary.impossible, 3);
      for (const StepReport& s : layers) EXPECT_EQ(s.verdict, "instruction cannot saturate");
    }
  }
}

TEST(Saturation, IsCountedInEveryReport) {
  auto c = compile(*three_layers());
  const std::string summary = c->saturation().to_string();
  EXPECT_NE(summary.find("int8 layers: 3"), std::string::npos) << summary;
  EXPECT_NE(c->explain().find(summary), std::string::npos) << c->explain();
  const std::string verdict = int8_layers(c->steps({random_tensor({1, 8, 6, 6}, 5)}))[0].verdict;
  EXPECT_FALSE(verdict.empty());
  EXPECT_NE(c->print_tabular().find(verdict), std::string::npos) << c->print_tabular();
}

TEST(Saturation, FloatModelsHaveNoVerdicts) {
  auto c = compile(*make_resnet(1, {1}, false, false, 16, 8));
  EXPECT_EQ(c->saturation().layers, 0);
  EXPECT_TRUE(int8_layers(c->steps({random_tensor({1, 3, 16, 16}, 1)})).empty());
}

}  // namespace
}  // namespace pt2q::testing
