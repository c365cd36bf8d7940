// Attention written out whose products a quantizer has quantized:
//   softmax(dequantize(q) dequantize(k^T) * scale + mask), quantized and dequantized, times
//   dequantize(v)
// becomes one operator on the integers, with the quantize behind it.
#include "base/strings.h"
#include "kernels/attention_int8.h"
#include "onednn/lower.h"
#include "onednn/lower_attention.h"

namespace pt2q {
namespace {

bool is_product(const Node* n) {
  return n->is_call("aten.matmul.default") || n->is_call("aten.bmm.default");
}

bool used_once(const Node* n) { return n->users().size() == 1; }

std::optional<TensorQuant> read_bytes(const GraphModule& module, const Node* n) {
  auto q = n == nullptr ? std::nullopt : read_dequantize(module, n);
  if (q && q->dtype != DType::UInt8) q.reset();
  return q;
}

// All that the operator is made of.
struct Found {
  TensorQuant q, k, v, p;  // inputs: codes; of k turned, of p unused
  Node* mask = nullptr;
  double scale = 1.0;
};

// softmax over the last dimension, kept in float32.
Node* softmax_input(Node* n) {
  if (!n->is_call("aten.softmax.int") && !n->is_call("aten._softmax.default")) return nullptr;
  const auto shape = shape_of(n);
  if (!shape || !n->arg(1).is<int64_t>() || dtype_of(n) != DType::Float32) return nullptr;
  const auto rank = static_cast<int64_t>(shape->size());
  return wrap_dim(n->arg(1).to_int(), rank) + 1 == rank ? n->arg_node(0) : nullptr;
}

bool is_number(const Value& v) { return v.is<double>() || v.is<int64_t>(); }

// The product behind scale and mask, which go to `found`.
Node* read_scores(Node* n, Found* found) {
  if (n->is_call("aten.add.Tensor") && n->arg(2) == Value(1)) {
    Node *a = n->arg_node(0), *b = n->arg_node(1);
    if (a == nullptr || b == nullptr) return nullptr;
    const auto is_score = [](const Node* x) {
      return is_product(x) || ((x->is_call("aten.mul.Tensor") || x->is_call("aten.div.Tensor")) &&
                               x->arg_node(0) != nullptr && is_product(x->arg_node(0)));
    };
    if (!is_score(a)) std::swap(a, b);
    const auto scores = shape_of(a);
    if (!scores || !mask_fits(b, *scores)) return nullptr;
    found->mask = b;
    n = a;
    if (!used_once(n)) return nullptr;
  }
  const bool divided = n->is_call("aten.div.Tensor");
  if (divided || n->is_call("aten.mul.Tensor")) {
    if (!is_number(n->arg(1)) || n->arg_node(0) == nullptr) return nullptr;
    found->scale = divided ? 1.0 / n->arg(1).to_double() : n->arg(1).to_double();
    n = n->arg_node(0);
    if (!used_once(n)) return nullptr;
  }
  return is_product(n) ? n : nullptr;
}

// Whether the kernel takes it; any number of keys may come.
bool suits(const SymShape& q, const SymShape& v) {
  if (!q.back().is_constant() || !v.back().is_constant()) return false;
  AttentionShape shape;
  shape.source = 1;
  shape.depth = q.back().hint();
  shape.value_depth = v.back().hint();
  return kernels::attention_int8_fits(shape);
}

bool shapes_fit(const Found& f) {
  const auto q = shape_of(f.q.input), kt = shape_of(f.k.input), v = shape_of(f.v.input);
  return q && kt && v && (q->size() == 3 || q->size() == 4) && kt->size() == q->size() &&
         v->size() == q->size() && same_batch(*q, *kt) && same_batch(*q, *v) && suits(*q, *v);
}

std::optional<Found> read_attention(const GraphModule& module, Node* n) {
  Found found;
  if (!is_product(n) || n->arg_node(0) == nullptr) return std::nullopt;
  Node* last = n->arg_node(0);  // the probabilities, dequantized
  const auto p = read_bytes(module, last), v = read_bytes(module, n->arg_node(1));
  if (!p || !v || !used_once(last) || !used_once(p->input)) return std::nullopt;
  const auto quantize = read_quantize(module, p->input);
  if (!quantize || !same_parameters(*quantize, *p) || !used_once(quantize->input))
    return std::nullopt;
  Node* scores = softmax_input(quantize->input);
  if (scores == nullptr || !used_once(scores)) return std::nullopt;
  Node* product = read_scores(scores, &found);
  if (product == nullptr || !used_once(product)) return std::nullopt;
  const auto q = read_bytes(module, product->arg_node(0));
  const auto k = read_bytes(module, product->arg_node(1));
  // Codes of probabilities up to 1 are within int32.
  if (!q || !k || !(p->scale > 1e-6)) return std::nullopt;
  found.q = *q;
  found.k = *k;
  found.v = *v;
  found.p = *quantize;
  return shapes_fit(found) ? std::optional(found) : std::nullopt;
}

Node* call(Graph& graph, const std::string& op, std::vector<Value> args,
           const std::map<std::string, Value>& kwargs = {}) {
  Node* n = graph.call_function(op, std::move(args), kwargs);
  n->meta.val = infer_node(*n);
  return n;
}

// What follows: the heads turned side by side, perhaps, and a quantize.
struct Tail {
  Node* turned = nullptr;
  Node* rows = nullptr;
  Node* last = nullptr;
  std::optional<TensorQuant> out;
};

Tail read_tail(const GraphModule& module, Node* n) {
  Tail tail;
  tail.last = n;
  const auto next = [](Node* x) { return used_once(x) ? x->users()[0] : nullptr; };
  Node* user = next(n);
  if (user != nullptr && user->is_call("aten.transpose.int")) {
    Node* rows = next(user);
    if (rows == nullptr ||
        !(rows->is_call("aten.reshape.default") || rows->is_call("aten.view.default"))) {
      return tail;
    }
    tail.turned = user;
    tail.rows = rows;
    user = next(rows);
  }
  if (user != nullptr) tail.out = read_quantize(module, user);
  if (tail.out) tail.last = user;
  return tail;
}

void replace(GraphModule& module, Node* n, const Found& f) {
  Graph& graph = module.graph();
  const Tail tail = read_tail(module, n);
  const auto point = graph.inserting_before(tail.last);
  Node* key = call(graph, "aten.transpose.int", {f.k.input, -2, -1});
  std::map<std::string, Value> kwargs;
  if (tail.out) {
    kwargs = {{"out_scale", tail.out->scale},
              {"out_zero_point", tail.out->zero_point},
              {"out_min", tail.out->quant_min},
              {"out_max", tail.out->quant_max},
              {"out_dtype", tail.out->dtype}};
  }
  Node* fused = call(graph, "pt2q.attention_int8.default",
                     {f.q.input, key, f.v.input, f.mask == nullptr ? Value() : Value(f.mask),
                      f.scale, f.q.scale, f.q.zero_point, f.k.scale, f.k.zero_point, f.v.scale,
                      f.v.zero_point, f.p.scale, f.p.zero_point, f.p.quant_min, f.p.quant_max},
                     kwargs);
  Node* result = fused;
  if (tail.out && tail.rows != nullptr) {
    result = call(graph, "aten.transpose.int", {fused, tail.turned->arg(1), tail.turned->arg(2)});
    result = call(graph, tail.rows->target(), {result, tail.rows->arg(1)});
  }
  gives_value_of(result, tail.last);
  tail.last->replace_all_uses_with(result);
}

}  // namespace

bool fuse_int8_attention(GraphModule& module) {
  bool changed = false;
  for (Node* n : module.graph().nodes()) {
    if (n->erased() || n->op_or_null() == nullptr) continue;
    const auto found = read_attention(module, n);
    if (!found) continue;
    replace(module, n, *found);
    changed = true;
  }
  return module.graph().eliminate_dead_code() || changed;
}

}  // namespace pt2q
