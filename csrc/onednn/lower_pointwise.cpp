// Pooling, add, mul and concatenation between dequantize and quantize work on integers.
#include "base/strings.h"
#include "onednn/lower.h"

namespace pt2q {
namespace {

// The quantize that is the only user of `n`, if it is one.
std::optional<TensorQuant> only_quantize(const GraphModule& module, Node* n, Node** last) {
  *last = n;
  if (n->users().size() != 1) return std::nullopt;
  auto q = read_quantize(module, n->users()[0]);
  if (q) *last = n->users()[0];
  return q;
}

void set_output(std::map<std::string, Value>* kwargs, const std::optional<TensorQuant>& out) {
  if (!out) return;
  (*kwargs)["out_scale"] = out->scale;
  (*kwargs)["out_zero_point"] = out->zero_point;
  (*kwargs)["out_min"] = out->quant_min;
  (*kwargs)["out_max"] = out->quant_max;
  (*kwargs)["out_dtype"] = out->dtype;
}

Node* replace(Graph& graph, Node* node, Node* last, const std::string& op, std::vector<Value> args,
              const std::map<std::string, Value>& kwargs) {
  const auto point = graph.inserting_before(last);
  Node* fused = graph.call_function(op, std::move(args), kwargs);
  fused->meta = node->meta;
  fused->meta.val = infer_node(*fused);
  gives_value_of(fused, last);
  last->replace_all_uses_with(fused);
  return fused;
}

// [N, C, 1, 1] to [N, C] for all users of `n`.
void drop_spatial(Graph& graph, Node* n) {
  const auto point = graph.inserting_after(n);
  Node* view = graph.call_function("aten.squeeze.dims", {n, Value(Value::List{2, 3})});
  view->meta = n->meta;
  view->meta.val = infer_node(*view);
  n->replace_all_uses_with(view, {view});
}

// Kept or not; in the input's dtype.
bool is_spatial_mean(const Node* n) {
  if (!n->is_call("aten.mean.dim") || !n->arg(1).is<Value::List>() || !n->arg(3).is_none())
    return false;
  const Value dims = n->arg(1);
  return dims == Value(Value::List{2, 3}) || dims == Value(Value::List{-1, -2}) ||
         dims == Value(Value::List{-2, -1}) || dims == Value(Value::List{3, 2});
}

bool fuse_pool(GraphModule& module, Node* n) {
  const bool average = n->is_call("aten.avg_pool2d.default");
  const bool adaptive = n->is_call("aten.adaptive_avg_pool2d.default") ||
                        n->is_call("aten._adaptive_avg_pool2d.default");
  const bool mean = is_spatial_mean(n);
  if (!average && !adaptive && !mean) return false;
  const auto x = read_dequantize(module, n->arg_node(0));
  const auto shape = shape_of(n->arg_node(0));
  if (!x || !shape || shape->size() != 4) return false;
  Node* last = nullptr;
  const auto out = only_quantize(module, n, &last);
  std::map<std::string, Value> kwargs{{"x_scale", x->scale}, {"x_zero_point", x->zero_point}};
  set_output(&kwargs, out);
  std::vector<Value> args{x->input};
  if (mean) {
    args.push_back(Value(Value::List{1, 1}));
  } else {
    args.insert(args.end(), n->args().begin() + 1, n->args().end());
  }
  const char* op = average ? "pt2q.qavg_pool2d.default" : "pt2q.qadaptive_avg_pool2d.default";
  Node* fused = replace(module.graph(), n, last, op, std::move(args), kwargs);
  if (mean && n->arg(2) != Value(true)) drop_spatial(module.graph(), fused);
  return true;
}

// relu between `n` and what follows it.
Node* skip_relu(Node* n, bool* relu) {
  *relu = n->users().size() == 1 && n->users()[0]->is_call("aten.relu.default");
  return *relu ? n->users()[0] : n;
}

// add and mul of two quantized tensors of one shape, with relu, when a quantize follows: in float
// nothing would be gained.
bool fuse_binary(GraphModule& module, Node* n) {
  const bool add = n->is_call("aten.add.Tensor");
  if (!add && !n->is_call("aten.mul.Tensor")) return false;
  if (add && n->arg(2) != Value(1)) return false;
  const auto a = read_dequantize(module, n->arg_node(0));
  const auto b = read_dequantize(module, n->arg_node(1));
  if (!a || !b) return false;
  const auto x = shape_of(n->arg_node(0)), y = shape_of(n->arg_node(1));
  if (!x || !y || *x != *y) return false;
  bool relu = false;
  Node* last = nullptr;
  const auto out = only_quantize(module, skip_relu(n, &relu), &last);
  if (!out) return false;
  std::map<std::string, Value> kwargs{{"relu", relu}};
  set_output(&kwargs, out);
  replace(module.graph(), n, last, add ? "pt2q.qadd.default" : "pt2q.qmul.default",
          {a->input, a->scale, a->zero_point, b->input, b->scale, b->zero_point}, kwargs);
  return true;
}

bool fuse_cat(GraphModule& module, Node* n) {
  if (!n->is_call("aten.cat.default") || !n->arg(0).is<Value::List>()) return false;
  Value::List tensors, scales, zero_points;
  for (const Value& item : n->arg(0).list()) {
    const auto q = item.is<Node*>() ? read_dequantize(module, item.as<Node*>()) : std::nullopt;
    if (!q || !shape_of(item.as<Node*>())) return false;
    tensors.push_back(q->input);
    scales.push_back(q->scale);
    zero_points.push_back(q->zero_point);
  }
  Node* last = nullptr;
  const auto out = only_quantize(module, n, &last);
  if (!out || tensors.empty()) return false;
  std::map<std::string, Value> kwargs;
  set_output(&kwargs, out);
  replace(module.graph(), n, last, "pt2q.qcat.default",
          {Value(std::move(tensors)), n->arg(1), Value(std::move(scales)),
           Value(std::move(zero_points))},
          kwargs);
  return true;
}

// quantize(dequantize(x)) with other parameters.
bool fuse_requantize(GraphModule& module, Node* n) {
  const auto to = read_quantize(module, n);
  if (!to) return false;
  const auto from = read_dequantize(module, to->input);
  if (!from) return false;
  std::map<std::string, Value> kwargs;
  set_output(&kwargs, to);
  replace(module.graph(), n, n, "pt2q.requantize.default",
          {from->input, from->scale, from->zero_point}, kwargs);
  return true;
}

}  // namespace

bool fuse_int8_pointwise(GraphModule& module) {
  bool changed = false;
  for (Node* n : module.graph().nodes()) {
    if (n->opcode() != OpCode::CallFunction || n->users().empty()) continue;
    changed = fuse_pool(module, n) || fuse_binary(module, n) || fuse_cat(module, n) ||
              fuse_requantize(module, n) || changed;
  }
  return module.graph().eliminate_dead_code() || changed;
}

}  // namespace pt2q
