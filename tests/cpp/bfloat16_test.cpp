// int8-mixed-bf16 and bfloat16 models: conversions, dtype flow, closeness to float32.
#include "kernels/bfloat16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "graph_builder.h"
#include "isa_cap.h"
#include "pt2q/autocast.h"
#include "pt2q/log.h"
#include "pt2q/runtime.h"
#include "tensor/half.h"

namespace pt2q::testing {
namespace {

TEST(Bfloat16, BulkConversionsEqualTheScalarOnes) {
  std::vector<float> x;
  for (uint32_t high = 0; high < 65536; ++high) {
    for (const uint32_t low : {0U, 1U, 0x7fffU, 0x8000U, 0x8001U, 0xffffU}) {
      const uint32_t bits = (high << 16) | low;
      float f;
      std::memcpy(&f, &bits, sizeof(f));
      x.push_back(f);
    }
  }
  const auto n = static_cast<int64_t>(x.size());
  std::vector<uint16_t> narrow(x.size());
  kernels::float_to_bfloat16(x.data(), n, narrow.data());
  std::vector<float> wide(x.size());
  kernels::bfloat16_to_float(narrow.data(), n, wide.data());
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(narrow[i], float_to_bfloat16(x[i])) << x[i];
    const float back = bfloat16_to_float(narrow[i]);
    ASSERT_EQ(std::memcmp(&wide[i], &back, sizeof(back)), 0) << x[i];
  }
}

std::string dtype_of_step(CompiledModel& model, const Tensor& x, const std::string& op, int skip) {
  for (const StepReport& s : model.steps({x})) {
    if (s.op == op && skip-- == 0) return s.dtype;
  }
  return "no such step";
}

CompileOptions bfloat16() {
  CompileOptions options;
  options.bfloat16 = true;
  return options;
}

TEST(Bfloat16, FloatModel) {
  const auto net = small_net();
  const Tensor x = random_tensor({2, 8, 12, 12}, 3);
  const Tensor expected = run(*net, {x}).as<Tensor>();
  const auto compiled = compile(*net, bfloat16());
  const Tensor got = (*compiled)({x}).as<Tensor>();
  EXPECT_EQ(got.dtype(), DType::BFloat16);
  // Three layers, each rounded to 8 bits of mantissa: 2^-9 per rounding on average.
  EXPECT_LT(relative_error(got, expected), 0.01);
  EXPECT_GT(relative_error(got, expected), 1e-5);  // it was rounded
  for (const StepReport& s : compiled->steps({x})) EXPECT_NE(s.kernel, "reference") << s.node;
  if (native_bfloat16()) {
    EXPECT_EQ(dtype_of_step(*compiled, x, "onednn.conv.default", 0), "bfloat16");
  }
}

TEST(Bfloat16, WithoutInstructionsTheSameDtypesComeOut) {
  const auto net = small_net();
  const Tensor x = random_tensor({2, 8, 12, 12}, 3);
  const Tensor native = (*compile(*net, bfloat16()))({x}).as<Tensor>();
  // The warning comes once per process: here, unless this machine had it in an earlier test.
  static bool warned = !native_bfloat16();
  const IsaCap cap(kernels::Isa::avx2);
  std::vector<std::string> warnings;
  const auto previous = set_warning_handler([&](const std::string& w) { warnings.push_back(w); });
  const auto compiled = compile(*net, bfloat16());
  compile(*net, bfloat16());
  set_warning_handler(previous);
  const Tensor got = (*compiled)({x}).as<Tensor>();
  EXPECT_EQ(got.dtype(), DType::BFloat16);
  EXPECT_LT(relative_error(got, native.to(DType::Float32)), 0.01);
  EXPECT_EQ(warnings.size(), warned ? 0U : 1U);
  if (!warned) {
    EXPECT_NE(warnings.at(0).find("bfloat16"), std::string::npos);
  }
  warned = true;
  for (const StepReport& s : compiled->steps({x})) EXPECT_NE(s.kernel, "reference") << s.node;
}

TEST(Bfloat16, Int8Mixed) {
  const auto net = small_net();
  const Tensor x = random_tensor({2, 8, 12, 12}, 3);
  const auto quantized = quantize_graph(*net, x);
  const Tensor int8 = (*compile(*quantized))({x}).as<Tensor>();
  const auto compiled = compile(*quantized, bfloat16());
  const Tensor got = (*compiled)({x}).as<Tensor>();
  EXPECT_EQ(got.dtype(), DType::BFloat16);
  EXPECT_TRUE(compiled->refused().empty()) << compiled->explain();
  // Integer layers are the same; the last layer rounds its result to bfloat16 once.
  EXPECT_LT(relative_error(got, int8), 0.004);
  EXPECT_EQ(dtype_of_step(*compiled, x, "pt2q.qconv.default", 0), "uint8 -> uint8");
  EXPECT_EQ(dtype_of_step(*compiled, x, "pt2q.qlinear.default", 0), "uint8 -> bfloat16");
  // The reference kernels of the lowered graph say the same.
  const Tensor reference = run_reference(compiled->module(), {x}).as<Tensor>();
  EXPECT_EQ(reference.dtype(), DType::BFloat16);
  EXPECT_LT(relative_error(reference, got.to(DType::Float32)), 0.004);
}

TEST(Bfloat16, BatchSplitsAndThreadsGiveTheSameBits) {
  const Tensor x = random_tensor({2, 8, 12, 12}, 3);
  const auto quantized = quantize_graph(*small_net(SymInt::symbol("n", 2)), x);
  const auto compiled = compile(*quantized, bfloat16());
  const Tensor expected = (*compiled)({x}).as<Tensor>();
  const int threads = num_threads();
  set_num_threads(threads == 1 ? 2 : 1);
  const Tensor other = (*compiled)({x}).as<Tensor>();
  set_num_threads(threads);
  EXPECT_TRUE(same_bits(expected, other));
  for (int64_t i = 0; i < 2; ++i) {
    const Tensor one = (*compiled)({x.slice(0, i, i + 1).contiguous()}).as<Tensor>();
    EXPECT_TRUE(same_bits(one, expected.slice(0, i, i + 1).contiguous())) << i;
  }
}

// oneDNN 2.6 gives a second activation of one algorithm the parameters of the first.
TEST(FloatChain, EveryActivationKeepsItsParameters) {
  NetBuilder b;
  Node* y = b.conv2d(b.input("x", {1, 8, 6, 6}), 8, 16, 3, 1, 1);
  y = b.op("aten.hardtanh.default", {y, -1.0, 1.0});
  y = b.op("aten.hardtanh.default", {y, -0.5, 0.25});
  y = b.op("aten.leaky_relu.default", {b.relu(b.linear(b.flatten(b.global_pool(y)), 16, 10)), 0.5});
  const auto net = b.finish(b.op("aten.add.Scalar", {y, 1.0}));
  const Tensor x = random_tensor({1, 8, 6, 6}, 3);
  const auto compiled = compile(*net);
  EXPECT_LT(max_difference((*compiled)({x}).as<Tensor>(), run_reference(*net, {x}).as<Tensor>()),
            1e-5);
  for (const StepReport& s : compiled->steps({x})) EXPECT_NE(s.kernel, "reference") << s.node;
}

TEST(Autocast, IsASettingOfTheThreadAndDevice) {
  const Tensor x = random_tensor({1, 4}, 1), w = random_tensor({3, 4}, 2);
  const auto dtype = [&] { return call("aten.linear.default", {x, w}).as<Tensor>().dtype(); };
  EXPECT_EQ(dtype(), DType::Float32);
  {
    const Autocast autocast;
    EXPECT_EQ(dtype(), DType::BFloat16);
    {
      const Autocast off(DeviceType::CPU, false);
      EXPECT_EQ(dtype(), DType::Float32);
    }
    EXPECT_EQ(dtype(), DType::BFloat16);
    const auto net = small_net();
    const Tensor image = random_tensor({2, 8, 12, 12}, 3);
    EXPECT_EQ((*compile(*net))({image}).as<Tensor>().dtype(), DType::BFloat16);
  }
  EXPECT_EQ(dtype(), DType::Float32);
  const Autocast other(DeviceType::XPU);
  EXPECT_EQ(dtype(), DType::Float32);
}

}  // namespace
}  // namespace pt2q::testing
