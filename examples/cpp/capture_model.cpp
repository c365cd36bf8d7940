// capture_model <model.pt2> <samples.npy>
// Writes a small convolutional network as a .pt2 file, and samples for it. The network is captured:
// while a Tracer is active, pt2q::call records operators in place of running them. Real models
// come from torch.export.save.
#include <random>

#include "batches.h"

namespace {

using namespace pt2q;

Tensor random_tensor(const Shape& sizes, float scale, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0F, scale);
  Tensor out = Tensor::empty(sizes);
  for (int64_t i = 0; i < out.numel(); ++i) out.mutable_data<float>()[i] = normal(engine);
  return out;
}

std::unique_ptr<GraphModule> capture() {
  auto model = std::make_unique<GraphModule>();
  Tracer tracer(*model);
  const Tracer::Scope active(&tracer);
  const auto parameter = [&](const std::string& path, const Tensor& value) {
    tracer.add_attribute(path, value, AttrKind::Parameter);
    return value;
  };
  const Value::List one = {1, 1}, two = {2, 2};
  // "s0" makes the batch dimension dynamic; 8 is only an example.
  const SymInt batch = SymInt::symbol("s0", 8);
  Value x = tracer.add_input("image", {{batch, 3, 32, 32}, DType::Float32, {}});
  int64_t channels = 3;
  for (const int64_t width : {16, 32, 64}) {
    const std::string path = "conv" + std::to_string(width);
    const float scale = std::sqrt(2.0F / static_cast<float>(channels * 9));
    const auto seed = static_cast<unsigned>(width);
    const Tensor weight =
        parameter(path + ".weight", random_tensor({width, channels, 3, 3}, scale, seed));
    const Tensor bias = parameter(path + ".bias", random_tensor({width}, 0.1F, seed + 1));
    x = call("aten.conv2d.default", {x, weight, bias, one, one});
    x = call("aten.relu.default", {x});
    x = call("aten.max_pool2d.default", {x, two});
    channels = width;
  }
  x = call("aten.flatten.using_ints", {call("aten.adaptive_avg_pool2d.default", {x, one}), 1});
  const Tensor weight = parameter("fc.weight", random_tensor({10, channels}, 0.2F, 1));
  tracer.finish(call("aten.linear.default", {x, weight}));
  return model;
}

}  // namespace

int main(int argc, char** argv) {
  return guarded([&] {
    if (argc != 3) throw ValueError("usage: capture_model <model.pt2> <samples.npy>");
    const auto model = capture();
    std::cout << model->graph().to_string();
    save_pt2(*model, argv[1]);
    save_npy(random_tensor({32, 3, 32, 32}, 1.0F, 7), argv[2]);
    return 0;
  });
}
