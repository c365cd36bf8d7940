// Dequantize moves below operators that only move, select or clip values, so that they work on
// bytes: op(dequantize(x)) == dequantize(op(x)) exactly.
#include <set>

#include "base/strings.h"
#include "onednn/lower.h"
#include "passes/qdq.h"
#include "tensor/affine.h"

namespace pt2q {
namespace {

// Operators of one tensor whose result holds the same values, or some of them.
bool moves_values(const Node* n) {
  static const std::set<std::string> kNames = {
      "aten.max_pool2d.default",
      "aten.adaptive_max_pool2d.default",
      "aten.flatten.using_ints",
      "aten.view.default",
      "aten.reshape.default",
      "aten._unsafe_view.default",
      "aten.permute.default",
      "aten.transpose.int",
      "aten.t.default",
      "aten.slice.Tensor",
      "aten.select.int",
      "aten.squeeze.dim",
      "aten.squeeze.dims",
      "aten.squeeze.default",
      "aten.unsqueeze.default",
      "aten.unflatten.int",
      "aten.channel_shuffle.default",
      "aten.pixel_shuffle.default",
      "aten.pixel_unshuffle.default",
  };
  return n->op_or_null() != nullptr && kNames.count(n->target()) > 0;
}

Node* dequantize_like(Graph& graph, Node* input, const Node* dequantize) {
  std::vector<Value> args = dequantize->args();
  args[0] = input;
  return graph.call_function(dequantize->target(), std::move(args));
}

bool is_zero(const Value& v) { return (v.is<int64_t>() || v.is<double>()) && v.to_double() == 0.0; }

// relu on the integers: max(q, zero_point). Integers from outside may be above quant_max.
Node* integer_relu(Graph& graph, Node* input, const TensorQuant& q) {
  return graph.call_function("aten.clamp.default",
                             {input, q.zero_point, quant_bounds(q.dtype).max});
}

// Padding with real zeros: on the integers, with the zero point.
bool pads_with_zeros(const Node* n) {
  if (n->is_call("aten.constant_pad_nd.default")) return is_zero(n->arg(2));
  return n->is_call("aten.pad.default") && n->arg(2).is<std::string>() &&
         n->arg(2).as<std::string>() == "constant" && (n->arg(3).is_none() || is_zero(n->arg(3)));
}

bool push_below(GraphModule& module, Node* n) {
  const bool relu = n->is_call("aten.relu.default"), pad = pads_with_zeros(n);
  if (!relu && !pad && !moves_values(n)) return false;
  Node* dq = n->arg_node(0);
  const auto q = read_dequantize(module, dq);
  if (!q) return false;
  Graph& graph = module.graph();
  const auto point = graph.inserting_before(n);
  Node* integers = nullptr;
  if (relu) {
    integers = integer_relu(graph, q->input, *q);
  } else if (pad) {
    integers =
        graph.call_function("aten.constant_pad_nd.default", {q->input, n->arg(1), q->zero_point});
  } else {
    std::vector<Value> args = n->args();
    args[0] = q->input;
    integers = graph.call_function(n->target(), std::move(args));
  }
  integers->meta = n->meta;
  integers->meta.val = infer_node(*integers);
  Node* result = dequantize_like(graph, integers, dq);
  result->meta = n->meta;
  n->replace_all_uses_with(result);
  graph.erase_node(n);
  return true;
}

// cat of tensors with equal parameters works on the integers.
bool push_below_cat(GraphModule& module, Node* n) {
  if (!n->is_call("aten.cat.default") || !n->arg(0).is<Value::List>()) return false;
  Value::List integers;
  std::optional<TensorQuant> first;
  Node* dq = nullptr;
  for (const Value& item : n->arg(0).list()) {
    if (!item.is<Node*>()) return false;
    const auto q = read_dequantize(module, item.as<Node*>());
    if (!q || (first && !same_parameters(*first, *q))) return false;
    if (!first) dq = item.as<Node*>();
    first = q;
    integers.push_back(q->input);
  }
  if (dq == nullptr) return false;
  Graph& graph = module.graph();
  const auto point = graph.inserting_before(n);
  Node* joined = graph.call_function("aten.cat.default", {Value(std::move(integers)), n->arg(1)});
  joined->meta = n->meta;
  joined->meta.val = infer_node(*joined);
  Node* result = dequantize_like(graph, joined, dq);
  result->meta = n->meta;
  n->replace_all_uses_with(result);
  graph.erase_node(n);
  return true;
}

// Views that keep all values.
bool rearranges(const Node* n) {
  static const std::set<std::string> kNames = {
      "aten.view.default",     "aten.reshape.default",    "aten._unsafe_view.default",
      "aten.permute.default",  "aten.transpose.int",      "aten.t.default",
      "aten.unflatten.int",    "aten.flatten.using_ints", "aten.squeeze.dim",
      "aten.unsqueeze.default"};
  return n->op_or_null() != nullptr && kNames.count(n->target()) > 0;
}

// The layer whose result reaches `n` through views that nothing else reads; null if there is none,
// or no view between.
Node* layer_behind(const GraphModule& module, Node* n) {
  const auto read_once = [](const Node* x) { return x->users().size() == 1; };
  if (!rearranges(n)) return nullptr;
  while (rearranges(n) && read_once(n) && n->arg_node(0) != nullptr) n = n->arg_node(0);
  static const std::set<std::string> kLayers = {"aten.linear.default", "aten.conv1d.default",
                                                "aten.conv2d.default", "aten.addmm.default"};
  const bool layer = n->op_or_null() != nullptr && kLayers.count(n->target()) > 0;
  return layer && read_once(n) && dtype_of(n) == DType::Float32 && n->arg_node(0) != nullptr &&
                 read_dequantize(module, n->arg_node(0)).has_value()
             ? n
             : nullptr;
}

// The quantize that is all that uses `n`.
Node* only_quantize(Node* n) {
  Node* user = n->users().size() == 1 ? n->users()[0] : nullptr;
  return user != nullptr && is_quantize(user) ? user : nullptr;
}

// quantize(cat(a, b)) is cat(quantize(a), quantize(b)): a layer that gives `a` can then store
// integers, and a quarter of the bytes is copied. Not where all parts are integers already:
// fuse_int8_pointwise has one kernel for those.
bool pull_above_cat(GraphModule& module, Node* n) {
  if (!n->is_call("aten.cat.default") || !n->arg(0).is<Value::List>()) return false;
  Node* last = only_quantize(n);
  if (last == nullptr || !read_quantize(module, last)) return false;
  bool real = false;
  for (const Value& item : n->arg(0).list()) {
    if (!item.is<Node*>() || dtype_of(item.as<Node*>()) != DType::Float32) return false;
    real = real || !read_dequantize(module, item.as<Node*>());
  }
  if (!real) return false;
  Graph& graph = module.graph();
  const auto point = graph.inserting_before(last);
  Value::List parts;
  for (const Value& item : n->arg(0).list()) {
    std::vector<Value> args = last->args();
    args[0] = item;
    Node* part = graph.call_function(last->target(), std::move(args));
    part->meta = item.as<Node*>()->meta;
    part->meta.val = infer_node(*part);
    parts.push_back(part);
  }
  Node* joined = graph.call_function("aten.cat.default", {Value(std::move(parts)), n->arg(1)});
  joined->meta = n->meta;
  joined->meta.val = infer_node(*joined);
  last->replace_all_uses_with(joined);
  return true;
}

}  // namespace

bool lift_quantize(GraphModule& module) {
  Graph& graph = module.graph();
  bool changed = false;
  for (Node* n : graph.nodes()) {
    const auto q = n->erased() ? std::nullopt : read_quantize(module, n);
    Node* layer = q ? layer_behind(module, q->input) : nullptr;
    if (layer == nullptr) continue;
    Node* next = layer->users()[0];
    const auto point = graph.inserting_before(next);
    std::vector<Value> args = n->args();
    args[0] = layer;
    Node* codes = graph.call_function(n->target(), std::move(args));
    codes->meta = layer->meta;
    codes->meta.val = infer_node(*codes);
    next->replace_input_with(layer, codes);
    for (Node* view = next; view != n; view = view->users()[0]) view->meta.val = infer_node(*view);
    n->replace_all_uses_with(q->input);
    graph.erase_node(n);
    changed = true;
  }
  return changed;
}

bool quantize_before_cat(GraphModule& module) {
  bool changed = false;
  for (Node* n : module.graph().nodes()) {
    if (n->opcode() != OpCode::CallFunction) continue;
    changed = pull_above_cat(module, n) || changed;
  }
  return module.graph().eliminate_dead_code() || changed;
}

bool propagate_int8(GraphModule& module) {
  bool changed = false;
  for (Node* n : module.graph().nodes()) {
    if (n->opcode() != OpCode::CallFunction) continue;
    changed = push_below(module, n) || push_below_cat(module, n) || changed;
  }
  return module.graph().eliminate_dead_code() || changed;
}

}  // namespace pt2q
