// Device "xpu": what happens without a GPU, and the GPU's steps with another engine in its place.
#include "pt2q/xpu.h"

#include <gtest/gtest.h>

#include "graph_builder.h"
#include "onednn/compat.h"
#include "pt2q/error.h"
#include "pt2q/runtime.h"

namespace pt2q::testing {
namespace {

class Fallback {
 public:
  Fallback() : saved_(xpu::allow_cpu_fallback()) {}
  ~Fallback() { xpu::allow_cpu_fallback(saved_); }
  Fallback(const Fallback&) = delete;
  Fallback& operator=(const Fallback&) = delete;

 private:
  bool saved_;
};

// oneDNN's CPU engine with memory of its own, in the GPU's place: transfers, streams and int8
// primitives run as on a GPU.
class OtherEngine {
 public:
  OtherEngine() : engine_(dnnl::engine::kind::cpu, 0) {
    onednn::set_gpu_engine_for_testing(&engine_);
  }
  ~OtherEngine() { onednn::set_gpu_engine_for_testing(nullptr); }
  OtherEngine(const OtherEngine&) = delete;
  OtherEngine& operator=(const OtherEngine&) = delete;

 private:
  dnnl::engine engine_;
};

Tensor on_xpu(const Tensor& t) {
  Tensor out = t.clone();
  out.set_device({DeviceType::XPU, -1});
  return out;
}

int gpu_steps(CompiledModel& model, const Tensor& x) {
  int count = 0;
  for (const StepReport& s : model.steps({x})) count += s.kernel.find("onednn gpu") == 0 ? 1 : 0;
  return count;
}

TEST(Xpu, WithoutAGpuTheErrorSaysHowToOptIn) {
  if (xpu::is_available()) GTEST_SKIP() << "there is an Intel GPU";
  try {
    on_xpu(Tensor::zeros({1}));
    ADD_FAILURE() << "no error";
  } catch (const RuntimeError& e) {
    EXPECT_NE(e.message().find("no Intel GPU"), std::string::npos);
    EXPECT_NE(e.hint().find("allow_cpu_fallback"), std::string::npos);
  }
  const Fallback fallback;
  EXPECT_EQ(on_xpu(Tensor::zeros({1})).device().type, DeviceType::XPU);
}

TEST(Xpu, FallbackGivesTheNumbersOfTheCpu) {
  if (xpu::is_available()) GTEST_SKIP() << "there is an Intel GPU";
  const Fallback fallback;
  const Tensor x = random_tensor({2, 8, 12, 12}, 3);
  const auto compiled = compile(*quantize_graph(*small_net(), x));
  const Tensor expected = (*compiled)({x}).as<Tensor>();
  const Tensor got = (*compiled)({on_xpu(x)}).as<Tensor>();
  EXPECT_TRUE(same_bits(expected, got));
  EXPECT_EQ(got.device().type, DeviceType::XPU);
}

TEST(Xpu, GpuStepsComputeAFloatModel) {
  const auto net = small_net();
  const Tensor x = random_tensor({2, 8, 12, 12}, 3);
  const Tensor expected = run(*net, {x}).as<Tensor>();
  const OtherEngine engine;
  EXPECT_TRUE(xpu::is_available());
  const auto compiled = compile(*net);
  EXPECT_EQ(gpu_steps(*compiled, on_xpu(x)), 3) << compiled->explain({on_xpu(x)});
  for (int i = 0; i < 2; ++i) {  // a second run reuses the memory of the first
    const Tensor got = (*compiled)({on_xpu(x)}).as<Tensor>();
    EXPECT_LT(max_difference(got, expected), 1e-5);
  }
}

// Everything behind the integer sums is float32 arithmetic in another order: a quantized value may
// differ by one step, where a rounding tie falls the other way.
TEST(Xpu, GpuStepsComputeAnInt8Model) {
  if (isa_name() != "AMX" && isa_name() != "AVX512_VNNI")
    GTEST_SKIP() << "oneDNN's CPU engine saturates 16-bit sums here, so it cannot play the GPU";
  const Tensor x = random_tensor({2, 8, 12, 12}, 3);
  const auto quantized = quantize_graph(*small_net(), x);
  const Tensor expected = (*compile(*quantized))({x}).as<Tensor>();
  const OtherEngine engine;
  const auto compiled = compile(*quantized);
  const Tensor device_x = on_xpu(x);
  EXPECT_EQ(gpu_steps(*compiled, device_x), 3) << compiled->explain({device_x});
  for (int i = 0; i < 2; ++i) {
    const Tensor got = (*compiled)({device_x}).as<Tensor>();
    EXPECT_LT(max_difference(got, expected), 0.05);
    EXPECT_EQ(got.device().type, DeviceType::XPU);
  }
}

}  // namespace
}  // namespace pt2q::testing
