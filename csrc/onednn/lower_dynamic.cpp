// choose_qparams → quantize → dequantize becomes pt2q.quantize_dynamic, a step that finds the range
// and quantizes, and pt2q.dequantize_dynamic, which linear layers absorb (lower_compute.cpp).
#include "base/strings.h"
#include "onednn/lower.h"

namespace pt2q {
namespace {

std::string tensor_pattern(const char* choose) {
  return cat(
      "%p = quantized_decomposed.", choose,
      ".tensor(%x, $lo, $hi, $eps, $t)\n"
      "%s = _operator.getitem(%p, 0)\n"
      "%z = _operator.getitem(%p, 1)\n"
      "%q = quantized_decomposed.quantize_per_tensor.tensor(%x, %s, %z, $lo, $hi, $t)\n"
      "%d = quantized_decomposed.dequantize_per_tensor.tensor(%q, %s, %z, $lo, $hi, $t, ...)\n"
      "return %d\n");
}

std::string token_pattern(const char* choose) {
  return cat(
      "%p = quantized_decomposed.", choose,
      ".default(%x, $t)\n"
      "%s = _operator.getitem(%p, 0)\n"
      "%z = _operator.getitem(%p, 1)\n"
      "%q = quantized_decomposed.quantize_per_token.default(%x, %s, %z, $lo, $hi, $t)\n"
      "%d = quantized_decomposed.dequantize_per_token.default(%q, %s, %z, $lo, $hi, $t, ...)\n"
      "return %d\n");
}

bool is_plain(const GraphModule&, const Match& m) {
  const DType dtype = m.value("t").as<DType>();
  return dtype_of(m.node("x")) == DType::Float32 && dtype_of(m.root()) == DType::Float32 &&
         (dtype == DType::UInt8 || dtype == DType::Int8);
}

std::function<void(GraphModule&, const Match&)> to_lowered(const std::string& rule) {
  return [rule](GraphModule& module, const Match& m) {
    Graph& graph = module.graph();
    Node* root = m.root();
    const auto point = graph.inserting_before(root);
    const auto call = [&](const char* op, std::vector<Value> args) {
      Node* n = graph.call_function(op, std::move(args));
      n->meta.val = infer_node(*n);
      return n;
    };
    const Value eps = m.values.count("eps") != 0 ? m.value("eps") : Value(0.0);
    Node* all = call("pt2q.quantize_dynamic.default",
                     {m.node("x"), m.value("lo"), m.value("hi"), eps, m.value("t"), rule});
    Node* q = call("_operator.getitem", {all, 0});
    Node* scale = call("_operator.getitem", {all, 1});
    Node* zero = call("_operator.getitem", {all, 2});
    Node* real = call("pt2q.dequantize_dynamic.default", {q, scale, zero});
    gives_value_of(real, root);
    root->replace_all_uses_with(real);
    graph.eliminate_dead_code();
  };
}

// Over the last dimension alone, in float32.
bool is_row_norm(const Node* n) {
  return n->is_call("aten.layer_norm.default") && dtype_of(n) == DType::Float32 &&
         n->arg(1).is<Value::List>() && n->arg(1).list().size() == 1;
}

void join(Graph& graph, Node* norm, Node* quantize) {
  const auto point = graph.inserting_before(norm);
  std::vector<Value> args(norm->args().begin(), norm->args().begin() + 5);
  for (size_t i = 1; i < 6; ++i) args.push_back(quantize->arg(i));
  const auto call = [&](const char* op, std::vector<Value> values) {
    Node* n = graph.call_function(op, std::move(values));
    n->meta.val = infer_node(*n);
    return n;
  };
  Node* all = call("pt2q.layer_norm_dynamic.default", std::move(args));
  Node* real = call("_operator.getitem", {all, 0});
  gives_value_of(real, norm);
  const std::vector<Node*> items(quantize->users().begin(), quantize->users().end());
  for (Node* item : items) {
    Node* moved = call("_operator.getitem", {all, item->arg(1).to_int() + 1});
    stands_for(moved, *item);
    item->replace_all_uses_with(moved);
  }
  norm->replace_all_uses_with(real);
}

}  // namespace

bool fuse_dynamic_norms(GraphModule& module) {
  Graph& graph = module.graph();
  bool changed = false;
  for (Node* n : graph.nodes()) {
    if (n->erased() || !n->is_call("pt2q.quantize_dynamic.default")) continue;
    Node* norm = n->arg_node(0);
    if (norm == nullptr || !is_row_norm(norm)) continue;
    join(graph, norm, n);
    changed = true;
  }
  return graph.eliminate_dead_code() || changed;
}

Pass fuse_dynamic_quantize() {
  std::vector<Rule> rules;
  rules.push_back(
      {"tensor", Pattern(tensor_pattern("choose_qparams")), is_plain, to_lowered("tensor")});
  rules.push_back({"tensor_symmetric", Pattern(tensor_pattern("choose_qparams_symmetric")),
                   is_plain, to_lowered("tensor_symmetric")});
  rules.push_back({"token_symmetric", Pattern(token_pattern("choose_qparams_per_token")), is_plain,
                   to_lowered("token_symmetric")});
  rules.push_back({"token_asymmetric",
                   Pattern(token_pattern("choose_qparams_per_token_asymmetric")), is_plain,
                   to_lowered("token_asymmetric")});
  return rules_pass("fuse_dynamic_quantize",
                    "Quantization with parameters chosen at run time becomes one step.",
                    std::move(rules));
}

}  // namespace pt2q
