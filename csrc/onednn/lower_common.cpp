#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "onednn/lower.h"
#include "ops/support/epilogue_args.h"
#include "passes/qdq.h"

namespace pt2q {
namespace {

// A literal, or a one-element tensor kept by the module.
std::optional<double> number_of(const GraphModule& module, const Value& v) {
  if (v.is<double>() || v.is<int64_t>()) return v.to_double();
  if (!v.is<Node*>() || v.as<Node*>()->opcode() != OpCode::GetAttr) return std::nullopt;
  const Tensor t = module.attr_of(*v.as<Node*>());
  if (t.numel() != 1) return std::nullopt;
  return t.item();
}

std::optional<TensorQuant> read(const GraphModule& module, const Node* node, const char* packet) {
  if (node == nullptr || node->op_or_null() == nullptr || !starts_with(node->target(), packet)) {
    return std::nullopt;
  }
  const auto scale = number_of(module, node->arg(1));
  const auto zero_point = number_of(module, node->arg(2));
  const auto low = number_of(module, node->arg(3));
  const auto high = number_of(module, node->arg(4));
  if (!scale || !zero_point || !low || !high || !node->arg(5).is<DType>() ||
      node->arg_node(0) == nullptr) {
    return std::nullopt;
  }
  TensorQuant q;
  q.input = node->arg_node(0);
  q.scale = *scale;
  q.zero_point = static_cast<int64_t>(*zero_point);
  q.quant_min = static_cast<int64_t>(*low);
  q.quant_max = static_cast<int64_t>(*high);
  q.dtype = node->arg(5).as<DType>();
  if (q.dtype != DType::UInt8 && q.dtype != DType::Int8) return std::nullopt;
  return q;
}

std::string call_text(const char* name, double a) {
  return cat(name, "(", double_to_string(a), ")");
}

bool same_shape(const Node* a, const Node* b) {
  const auto x = shape_of(a), y = shape_of(b);
  return x && y && *x == *y;
}

}  // namespace

std::optional<TensorQuant> read_quantize(const GraphModule& module, const Node* node) {
  return read(module, node, "quantized_decomposed.quantize_per_tensor.");
}

std::optional<TensorQuant> read_dequantize(const GraphModule& module, const Node* node) {
  auto q = read(module, node, "quantized_decomposed.dequantize_per_tensor.");
  if (!q) return std::nullopt;
  const int out = node->op().schema.index_of("out_dtype");
  if (out >= 0) {
    const Value& v = node->arg(static_cast<size_t>(out));
    if (v.is<DType>() && v.as<DType>() != DType::Float32) return std::nullopt;
  }
  return q;
}

bool same_parameters(const TensorQuant& a, const TensorQuant& b) {
  return a.scale == b.scale && a.zero_point == b.zero_point && a.dtype == b.dtype &&
         a.quant_min == b.quant_min && a.quant_max == b.quant_max;
}

std::optional<std::string> post_op_of(const Node* node) {
  if (node->op_or_null() == nullptr) return std::nullopt;
  const std::string& name = node->target();
  if (name == "aten.relu.default") return "relu";
  if (const auto range = clip_range_of(node)) {
    if (!std::isfinite(range->low) || !std::isfinite(range->high)) return std::nullopt;
    return cat("clip(", double_to_string(range->low), ", ", double_to_string(range->high), ")");
  }
  if (name == "aten.leaky_relu.default") return call_text("leaky_relu", node->arg(1).to_double());
  if (name == "aten.hardswish.default") return "hardswish";
  if (name == "aten.silu.default") return "silu";
  if (name == "aten.sigmoid.default") return "sigmoid";
  if (name == "aten.tanh.default") return "tanh";
  if (name == "aten.gelu.default")
    return node->arg(1).as<std::string>() == "tanh" ? "gelu_tanh" : "gelu";
  return std::nullopt;
}

namespace {

// "clip" of "clip(0.0, 6.0)". oneDNN computes relu and leaky_relu by one algorithm.
std::string algorithm_of(const std::string& post_op) {
  const std::string name = post_op.substr(0, post_op.find('('));
  return name == "leaky_relu" ? "relu" : name;
}

// oneDNN takes an algorithm once per chain (PostOps::repeats_algorithm).
bool repeats_algorithm(const Chain& chain, const std::string& post_op) {
  return std::any_of(chain.post_ops.begin(), chain.post_ops.end(), [&](const std::string& op) {
    return algorithm_of(op) == algorithm_of(post_op);
  });
}

}  // namespace

Chain walk_chain(Node* root, bool promote) {
  constexpr size_t kMaxOps = 8;
  const DType dtype = dtype_of(root);
  const auto fits = [&](const Node* n) {
    return dtype_of(n) == dtype || (promote && dtype_of(n) == DType::Float32);
  };
  Chain chain;
  chain.last = root;
  while (chain.last->users().size() == 1 && chain.post_ops.size() < kMaxOps) {
    Node* user = chain.last->users()[0];
    if (const auto op = post_op_of(user)) {
      if (!fits(user) || (!promote && repeats_algorithm(chain, *op))) break;
      chain.post_ops.push_back(*op);
      chain.last = user;
      continue;
    }
    if (!user->is_call("aten.add.Tensor") || chain.other != nullptr) break;
    Node* a = user->arg_node(0);
    Node* b = user->arg_node(1);
    if (a == nullptr || b == nullptr || a == b || user->arg(2) != Value(1)) break;
    Node* other = a == chain.last ? b : a;
    if (!same_shape(other, user) || !same_shape(chain.last, user) || !fits(user) ||
        !(fits(other) || (promote && dtype_of(other) == DType::BFloat16))) {
      break;
    }
    chain.other = other;
    chain.post_ops.push_back("add");
    chain.last = user;
  }
  return chain;
}

Node* constant_node(GraphModule& module, const std::string& stem, const Tensor& t) {
  const std::string name = module.unique_attr(stem);
  module.set_attr(name, t, AttrKind::Constant);
  Node* n = module.graph().get_attr(name);
  n->meta.val = TensorMeta{to_sym(t.sizes()), t.dtype(), t.device()};
  return n;
}

void gives_value_of(Node* fused, const Node* last) {
  if (is_quantize(last) && last->arg_node(0) != nullptr) last = last->arg_node(0);
  stands_for(fused, *last);
}

std::optional<SymShape> shape_of(const Node* node) {
  if (!node->meta.val.is<TensorMeta>()) return std::nullopt;
  return node->meta.val.as<TensorMeta>().sizes;
}

DType dtype_of(const Node* node) {
  return node->meta.val.is<TensorMeta>() ? node->meta.val.as<TensorMeta>().dtype : DType::Float64;
}

void refuse(Node* node, const std::string& why) { node->meta.custom[kRefusedKey] = Value(why); }

}  // namespace pt2q
