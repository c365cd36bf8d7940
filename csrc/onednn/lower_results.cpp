// A quantize behind layer norm or attention moves into it: the rows are written as integers while
// they are at hand.
#include "base/strings.h"
#include "kernels/attention_bf16.h"
#include "onednn/lower.h"

namespace pt2q {
namespace {

std::string quantize_of(const char* name) {
  return cat("%q = quantized_decomposed.quantize_per_tensor.default(", name,
             ", $s, $z, $lo, $hi, $t)\n");
}

// The float result may have other users.
std::string norm_text() {
  return cat("%n = aten.layer_norm.default(%x, $shape, %w?, %b?, $eps, ...)\n", quantize_of("%n"),
             "return %q, %n\n");
}

// As models put the heads side by side: transposed, then reshaped.
std::string attention_text(bool merged) {
  std::string text =
      "%a = aten.scaled_dot_product_attention.default(%query, %key, %value, %mask?, 0.0, $causal, "
      "scale=$scale, enable_gqa=$groups)\n";
  if (merged) {
    text +=
        "%turned = aten.transpose.int(%a, $first, $second)\n"
        "%rows = aten.{reshape,view}.default(%turned, ...)\n";
  }
  return cat(text, quantize_of(merged ? "%rows" : "%a"), "return %q\n");
}

bool is_byte(const Value& dtype) {
  return dtype == Value(DType::UInt8) || dtype == Value(DType::Int8);
}

bool is_plain(const Match& m) {
  return m.value("s").is<double>() && m.value("z").is<int64_t>() && is_byte(m.value("t"));
}

std::map<std::string, Value> tail_of(const Match& m) {
  return {{"out_scale", m.value("s")},
          {"out_zero_point", m.value("z")},
          {"out_min", m.value("lo")},
          {"out_max", m.value("hi")},
          {"out_dtype", m.value("t")}};
}

Node* call(Graph& graph, const std::string& op, std::vector<Value> args,
           const std::map<std::string, Value>& kwargs = {}) {
  Node* n = graph.call_function(op, std::move(args), kwargs);
  n->meta.val = infer_node(*n);
  return n;
}

Value or_none(Node* n) { return n == nullptr ? Value() : Value(n); }

bool is_norm(const GraphModule&, const Match& m) {
  return is_plain(m) && dtype_of(m.node("n")) == DType::Float32 &&
         dtype_of(m.node("x")) == DType::Float32;
}

void to_norm(GraphModule& module, const Match& m) {
  Graph& graph = module.graph();
  Node* norm = m.node("n");
  const auto point = graph.inserting_before(norm);
  Node* both = call(graph, "pt2q.qlayer_norm.default",
                    {m.node("x"), m.value("shape"), or_none(m.node_or_null("w")),
                     or_none(m.node_or_null("b")), m.value("eps")},
                    tail_of(m));
  Node* real = call(graph, "_operator.getitem", {both, 0});
  Node* codes = call(graph, "_operator.getitem", {both, 1});
  gives_value_of(real, norm);
  gives_value_of(codes, m.root());
  m.root()->replace_all_uses_with(codes);
  norm->replace_all_uses_with(real);
  graph.eliminate_dead_code();
}

// Rounded to bfloat16 before the quantize, as where the kernel for bfloat16 runs; one that runs in
// float32 keeps its own quantize.
bool runs_in_bfloat16(const Match& m) {
  const auto q = shape_of(m.node("query")), v = shape_of(m.node("value"));
  if (!q || !v || q->empty() || v->empty()) return false;
  const SymInt &depth = q->back(), &value_depth = v->back();
  if (!depth.is_constant() || !value_depth.is_constant()) return false;
  AttentionShape shape;
  shape.source = 1;
  shape.depth = depth.hint();
  shape.value_depth = value_depth.hint();
  return kernels::attention_bf16_fits(shape);
}

bool is_attention(const GraphModule&, const Match& m) {
  const DType dtype = dtype_of(m.node("a"));
  return is_plain(m) &&
         (dtype == DType::Float32 || (dtype == DType::BFloat16 && runs_in_bfloat16(m)));
}

void to_attention(GraphModule& module, const Match& m) {
  Graph& graph = module.graph();
  Node* root = m.root();
  const auto point = graph.inserting_before(root);
  std::map<std::string, Value> kwargs = tail_of(m);
  kwargs["scale"] = m.value("scale");
  kwargs["enable_gqa"] = m.value("groups");
  Node* codes = call(graph, "pt2q.qattention.default",
                     {m.node("query"), m.node("key"), m.node("value"),
                      or_none(m.node_or_null("mask")), 0.0, m.value("causal")},
                     kwargs);
  if (m.nodes.count("rows") != 0) {
    Node* rows = m.node("rows");
    codes = call(graph, "aten.transpose.int", {codes, m.value("first"), m.value("second")});
    codes = call(graph, rows->target(), {codes, rows->arg(1)});
  }
  gives_value_of(codes, root);
  root->replace_all_uses_with(codes);
  graph.eliminate_dead_code();
}

}  // namespace

Pass fuse_quantized_results() {
  std::vector<Rule> rules;
  rules.push_back({"layer_norm", Pattern(norm_text()), is_norm, to_norm});
  rules.push_back({"attention", Pattern(attention_text(false)), is_attention, to_attention});
  rules.push_back({"attention_merged", Pattern(attention_text(true)), is_attention, to_attention});
  return rules_pass("fuse_quantized_results", "Layer norm and attention write their integers.",
                    std::move(rules));
}

}  // namespace pt2q
