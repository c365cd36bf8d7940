#include "graph_builder.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <unordered_map>

namespace pt2q::testing {
namespace {

class ResNet {
 public:
  ResNet(NetBuilder* b, bool bottleneck, bool bn) : b_(b), bottleneck_(bottleneck), bn_(bn) {}

  Node* conv(Node* x, int64_t in, int64_t out, int64_t kernel, int64_t stride) {
    Node* y = b_->conv2d(x, in, out, kernel, stride, kernel / 2, 1, !bn_);
    return bn_ ? b_->batch_norm(y, out) : y;
  }
  Node* block(Node* x, int64_t in, int64_t width, int64_t stride) {
    const int64_t out = bottleneck_ ? width * 4 : width;
    Node* shortcut = stride != 1 || in != out ? conv(x, in, out, 1, stride) : x;
    Node* y = nullptr;
    if (bottleneck_) {
      y = b_->relu(conv(x, in, width, 1, 1));
      y = b_->relu(conv(y, width, width, 3, stride));
      y = conv(y, width, out, 1, 1);
    } else {
      y = b_->relu(conv(x, in, width, 3, stride));
      y = conv(y, width, width, 3, 1);
    }
    return b_->relu(b_->add(y, shortcut));
  }

 private:
  NetBuilder* b_;
  bool bottleneck_, bn_;
};

struct QParams {
  double scale;
  int64_t zero_point;
};

QParams params_of(const Tensor& t) {
  const Tensor c = t.contiguous();
  const float* p = c.data<float>();
  float low = 0.0F, high = 0.0F;
  for (int64_t i = 0; i < c.numel(); ++i) {
    low = std::min(low, p[i]);
    high = std::max(high, p[i]);
  }
  const double scale = std::max(1e-6, static_cast<double>(high - low) / 255.0);
  return {static_cast<double>(static_cast<float>(scale)),
          std::clamp<int64_t>(std::llrint(-low / scale), 0, 255)};
}

bool is_activation(const Node* n) {
  for (const char* name : {"relu", "relu6", "hardtanh", "leaky_relu", "hardswish", "silu", "tanh",
                           "gelu", "sigmoid"}) {
    if (n->is_call(std::string("aten.") + name + ".default")) return true;
  }
  return false;
}

}  // namespace

std::unique_ptr<GraphModule> make_resnet(int64_t batch, const std::vector<int>& layers,
                                         bool bottleneck, bool batch_norm, int64_t size,
                                         int64_t width) {
  NetBuilder b;
  ResNet net(&b, bottleneck, batch_norm);
  Node* x = b.input("x", {batch, 3, size, size});
  Node* y = b.max_pool(b.relu(net.conv(x, 3, width, 7, 2)), 3, 2, 1);
  int64_t in = width;
  for (size_t stage = 0; stage < layers.size(); ++stage) {
    const int64_t stage_width = width << stage;
    for (int i = 0; i < layers[stage]; ++i) {
      y = net.block(y, in, stage_width, stage > 0 && i == 0 ? 2 : 1);
      in = bottleneck ? stage_width * 4 : stage_width;
    }
  }
  y = b.linear(b.flatten(b.global_pool(y)), in, 1000);
  return b.finish(Value::List{y});
}

Value run_reference(GraphModule& model, const std::vector<Value>& inputs) {
  std::unordered_map<const Node*, Value> env;
  const std::function<Value(const Value&)> fill = [&](const Value& v) -> Value {
    if (v.is<Node*>()) return env.at(v.as<Node*>());
    if (!v.is<Value::List>()) return v;
    Value::List items;
    for (const Value& item : v.list()) items.push_back(fill(item));
    return Value(std::move(items));
  };
  size_t next = 0;
  for (const Node* n : model.graph().nodes()) {
    if (n->opcode() == OpCode::Placeholder) env[n] = inputs[next++];
    if (n->opcode() == OpCode::GetAttr) env[n] = model.attr_of(*n);
    if (n->opcode() == OpCode::CallModule)
      env[n] = model.module(n->target())->forward(fill(n->arg(0)).as<Tensor>());
    if (n->opcode() == OpCode::Output) return fill(n->arg(0));
    if (n->opcode() != OpCode::CallFunction) continue;
    std::vector<Value> args;
    for (const Value& a : n->args()) args.push_back(fill(a));
    env[n] = n->op().reference(Args(n->op(), args));
  }
  return Value();
}

std::unique_ptr<GraphModule> quantize_graph(const GraphModule& model, const Value& sample) {
  auto m = model.deep_copy();
  Graph& g = m->graph();
  // Ranges: run once with every tensor as an output.
  auto probe = model.deep_copy();
  Value::List all;
  std::vector<std::string> names;
  for (Node* n : probe->graph().nodes()) {
    if (n->opcode() == OpCode::CallFunction || n->opcode() == OpCode::Placeholder) {
      all.push_back(n);
      names.push_back(n->name());
    }
  }
  probe->graph().output_node()->set_arg(0, all);
  const Value values = run(*probe, {sample});
  std::unordered_map<std::string, QParams> ranges;
  for (size_t i = 0; i < names.size(); ++i)
    ranges[names[i]] = params_of(values.list()[i].as<Tensor>());

  const auto quantized = [&](Node* n) {
    const QParams& p = ranges.at(n->name());
    const auto point = g.inserting_after(n);
    Node* q = g.call_function("quantized_decomposed.quantize_per_tensor.default",
                              {n, p.scale, p.zero_point, 0, 255, DType::UInt8});
    Node* dq = g.call_function("quantized_decomposed.dequantize_per_tensor.default",
                               {q, p.scale, p.zero_point, 0, 255, DType::UInt8});
    n->replace_all_uses_with(dq, {q});
  };
  const auto weight = [&](Node* conv) {
    Node* w = conv->arg_node(1);
    const Tensor t = m->attr_of(*w);
    const int64_t channels = t.size(0), inner = t.numel() / channels;
    Tensor scale = Tensor::empty({channels});
    Tensor q = Tensor::empty(t.sizes(), DType::Int8);
    for (int64_t c = 0; c < channels; ++c) {
      float top = 1e-6F;
      for (int64_t i = 0; i < inner; ++i)
        top = std::max(top, std::abs(t.data<float>()[c * inner + i]));
      scale.mutable_data<float>()[c] = top / 127.0F;
      for (int64_t i = 0; i < inner; ++i) {
        q.mutable_data<int8_t>()[c * inner + i] =
            static_cast<int8_t>(std::lrint(t.data<float>()[c * inner + i] / (top / 127.0F)));
      }
    }
    const auto constant = [&](const Tensor& v) {
      const std::string name = m->unique_attr("_frozen_param");
      m->set_attr(name, v, AttrKind::Buffer);
      return g.get_attr(name);
    };
    const auto point = g.inserting_before(conv);
    Node* dq = g.call_function(
        "quantized_decomposed.dequantize_per_channel.default",
        {constant(q), constant(scale), constant(Tensor::zeros({channels}, DType::Int64)), 0, -128,
         127, DType::Int8});
    conv->set_arg(1, dq);
  };
  for (Node* n : g.nodes()) {
    const bool compute = n->is_call("aten.conv2d.default") || n->is_call("aten.linear.default") ||
                         n->is_call("aten.conv1d.default");
    if (compute) weight(n);
    const bool feeds_relu = n->users().size() == 1 && is_activation(n->users()[0]);
    const bool feeds_add = n->users().size() == 1 && n->users()[0]->is_call("aten.add.Tensor") &&
                           n->users()[0]->arg_node(0) == n;
    const bool inner = compute && (feeds_relu || feeds_add);
    const bool output = n->users().size() == 1 && n->users()[0]->opcode() == OpCode::Output;
    const bool shape_only = n->is_call("aten.flatten.using_ints");
    const bool add_then_relu = n->is_call("aten.add.Tensor") && feeds_relu;
    if (n->opcode() == OpCode::Placeholder ||
        (n->opcode() == OpCode::CallFunction && n->op().namespace_name() == "aten" && !inner &&
         !output && !shape_only && !add_then_relu)) {
      quantized(n);
    }
  }
  m->propagate_shapes();
  m->delete_unused();
  return m;
}

std::unique_ptr<GraphModule> small_net(const SymInt& batch) {
  NetBuilder b;
  Node* y = b.max_pool(b.relu(b.conv2d(b.input("x", {batch, 8, 12, 12}), 8, 16, 3, 1, 1)), 2, 2, 0);
  y = b.relu(b.add(b.conv2d(y, 16, 16, 3, 1, 1), y));
  return b.finish(b.linear(b.flatten(b.global_pool(y)), 16, 10));
}

double max_difference(const Tensor& a, const Tensor& b) {
  const Tensor x = a.contiguous(), y = b.contiguous();
  double worst = a.sizes() == b.sizes() ? 0.0 : INFINITY;
  for (int64_t i = 0; i < x.numel() && worst < INFINITY; ++i) {
    const double d = std::abs(static_cast<double>(x.data<float>()[i]) - y.data<float>()[i]);
    worst = std::isnan(d) ? INFINITY : std::max(worst, d);
  }
  return worst;
}

double relative_error(const Tensor& got, const Tensor& wanted) {
  if (got.sizes() != wanted.sizes()) return INFINITY;
  const Tensor a = got.to(DType::Float32).contiguous();
  const Tensor b = wanted.to(DType::Float32).contiguous();
  double noise = 0.0, signal = 0.0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double x = a.data<float>()[i], y = b.data<float>()[i];
    noise += (x - y) * (x - y);
    signal += y * y;
  }
  return std::sqrt(noise / signal);
}

bool same_bits(const Tensor& a, const Tensor& b) {
  const Tensor x = a.contiguous(), y = b.contiguous();
  return a.sizes() == b.sizes() && a.dtype() == b.dtype() &&
         std::memcmp(x.raw_data(), y.raw_data(), static_cast<size_t>(x.nbytes())) == 0;
}

}  // namespace pt2q::testing
