// Small networks as graphs, for tests and benchmarks of execution.
#pragma once

#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "pt2q/graph_module.h"
#include "pt2q/runtime.h"

namespace pt2q::testing {

inline Tensor random_tensor(const Shape& sizes, unsigned seed, float low = -1.0F,
                            float high = 1.0F) {
  std::mt19937 rng(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  Tensor t = Tensor::empty(sizes);
  float* p = t.mutable_data<float>();
  for (int64_t i = 0; i < t.numel(); ++i) p[i] = uniform(rng);
  return t;
}

// Adds layers with random parameters to a GraphModule.
class NetBuilder {
 public:
  explicit NetBuilder(unsigned seed = 1) : seed_(seed), module_(std::make_unique<GraphModule>()) {}

  Graph& graph() { return module_->graph(); }
  GraphModule& module() { return *module_; }

  Node* input(const std::string& name, const SymShape& sizes, DType dtype = DType::Float32) {
    Node* n = graph().placeholder(name);
    n->meta.val = TensorMeta{sizes, dtype, Device{}};
    module_->input_names.push_back(n->name());
    return n;
  }
  Node* parameter(const Tensor& t) {
    const std::string name = module_->unique_attr("p_");
    module_->set_attr(name, t, AttrKind::Parameter);
    return graph().get_attr(name);
  }
  Node* op(const std::string& name, std::vector<Value> args,
           const std::map<std::string, Value>& kwargs = {}) {
    return graph().call_function(name, std::move(args), kwargs);
  }
  // Weights scaled so that activations keep their size.
  Node* conv2d(Node* x, int64_t in, int64_t out, int64_t kernel, int64_t stride = 1,
               int64_t padding = 0, int64_t groups = 1, bool bias = true) {
    const float bound = std::sqrt(6.0F / static_cast<float>(in / groups * kernel * kernel));
    Node* w = parameter(random_tensor({out, in / groups, kernel, kernel}, seed_++, -bound, bound));
    Value b;
    if (bias) b = parameter(random_tensor({out}, seed_++, -0.1F, 0.1F));
    return op("aten.conv2d.default",
              {x, w, b, std::vector<int64_t>{stride, stride},
               std::vector<int64_t>{padding, padding}, std::vector<int64_t>{1, 1}, groups});
  }
  Node* linear(Node* x, int64_t in, int64_t out, bool bias = true) {
    const float bound = std::sqrt(3.0F / static_cast<float>(in));
    Node* w = parameter(random_tensor({out, in}, seed_++, -bound, bound));
    Value b;
    if (bias) b = parameter(random_tensor({out}, seed_++, -0.1F, 0.1F));
    return op("aten.linear.default", {x, w, b});
  }
  Node* batch_norm(Node* x, int64_t channels) {
    return op("aten.batch_norm.default",
              {x, parameter(random_tensor({channels}, seed_++, 0.7F, 1.3F)),
               parameter(random_tensor({channels}, seed_++, -0.2F, 0.2F)),
               parameter(random_tensor({channels}, seed_++, -0.2F, 0.2F)),
               parameter(random_tensor({channels}, seed_++, 0.8F, 1.2F)), false, 0.1, 1e-5, false});
  }
  Node* relu(Node* x) { return op("aten.relu.default", {x}); }
  Node* add(Node* a, Node* b) { return op("aten.add.Tensor", {a, b}); }
  Node* max_pool(Node* x, int64_t kernel, int64_t stride, int64_t padding) {
    return op("aten.max_pool2d.default",
              {x, std::vector<int64_t>{kernel, kernel}, std::vector<int64_t>{stride, stride},
               std::vector<int64_t>{padding, padding}});
  }
  Node* global_pool(Node* x) {
    return op("aten.adaptive_avg_pool2d.default", {x, std::vector<int64_t>{1, 1}});
  }
  Node* flatten(Node* x) { return op("aten.flatten.using_ints", {x, 1}); }

  std::unique_ptr<GraphModule> finish(Value result) {
    graph().output(std::move(result));
    module_->propagate_shapes();
    return std::move(module_);
  }

 private:
  unsigned seed_;
  std::unique_ptr<GraphModule> module_;
};

// ResNet with basic blocks (layers {2,2,2,2} is ResNet-18) or bottlenecks ({3,4,6,3}: ResNet-50).
std::unique_ptr<GraphModule> make_resnet(int64_t batch, const std::vector<int>& layers,
                                         bool bottleneck, bool batch_norm, int64_t size = 224,
                                         int64_t width = 64);

// [batch, 8, 12, 12] -> [batch, 10]: conv, relu, max pool, conv + residual, relu, average, linear.
std::unique_ptr<GraphModule> small_net(const SymInt& batch = SymInt(2));

// A copy with quantize/dequantize as convert_pt2e with the x86 recipe leaves them: uint8 per-tensor
// activations calibrated on `sample`, int8 per-channel weights stored as constants. Batch norms
// must have been folded.
std::unique_ptr<GraphModule> quantize_graph(const GraphModule& model, const Value& sample);

// Every node by its reference kernel, in order.
Value run_reference(GraphModule& model, const std::vector<Value>& inputs);

// A result that is a tensor, or a list that begins with one.
inline Tensor first(const Value& v) {
  return v.is<Tensor>() ? v.as<Tensor>() : v.list().at(0).as<Tensor>();
}

// max |a - b| of float32 tensors; infinite for different shapes and for NaN.
double max_difference(const Tensor& a, const Tensor& b);
// The norm of got - wanted divided by that of wanted; infinite for different shapes.
double relative_error(const Tensor& got, const Tensor& wanted);
bool same_bits(const Tensor& a, const Tensor& b);

}  // namespace pt2q::testing
