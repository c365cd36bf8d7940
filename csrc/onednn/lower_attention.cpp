// Attention written out, softmax(q k^T * scale + mask) v, becomes one scaled_dot_product_attention.
#include "onednn/lower_attention.h"

#include "base/strings.h"
#include "onednn/lower.h"

namespace pt2q {
namespace {

constexpr const char* kProduct = "aten.{matmul,bmm}.default";

// Pattern text of one spelling: with or without scale and mask.
std::string pattern_text(bool scaled, bool masked) {
  std::string text = cat("%scores = ", kProduct, "(%q, %kt)\n");
  std::string last = "%scores";
  if (scaled) {
    text += cat("%scaled = aten.{mul,div}.Tensor(", last, ", $scale)\n");
    last = "%scaled";
  }
  if (masked) {
    text += cat("%masked = aten.add.Tensor(", last, ", %mask)\n");
    last = "%masked";
  }
  return cat(text, "%p = aten.{softmax.int,_softmax.default}(", last,
             ", $dim, ...)\n%out = ", kProduct, "(%p, %v)\nreturn %out\n");
}

bool float32_of_rank(const Node* n, size_t rank) {
  const auto shape = shape_of(n);
  return shape && shape->size() == rank && dtype_of(n) == DType::Float32;
}

bool is_attention(const GraphModule&, const Match& m) {
  const Node *q = m.node("q"), *kt = m.node("kt"), *v = m.node("v");
  const auto scores = shape_of(m.node("scores"));
  if (!scores || (scores->size() != 3 && scores->size() != 4)) return false;
  const size_t rank = scores->size();
  if (!float32_of_rank(q, rank) || !float32_of_rank(kt, rank) || !float32_of_rank(v, rank) ||
      !same_batch(*shape_of(q), *shape_of(kt)) || !same_batch(*shape_of(q), *shape_of(v))) {
    return false;
  }
  const Value& dim = m.value("dim");
  if (!dim.is<int64_t>() ||
      wrap_dim(dim.to_int(), static_cast<int64_t>(rank)) + 1 != static_cast<int64_t>(rank) ||
      dtype_of(m.node("p")) != DType::Float32) {
    return false;
  }
  if (m.values.count("scale") != 0 && !m.value("scale").is<double>() &&
      !m.value("scale").is<int64_t>()) {
    return false;
  }
  const auto masked = m.nodes.find("masked");
  return masked == m.nodes.end() ||
         (masked->second->arg(2) == Value(1) && mask_fits(m.node("mask"), *scores));
}

void to_attention(GraphModule& module, const Match& m) {
  Graph& graph = module.graph();
  Node* root = m.root();
  const auto point = graph.inserting_before(root);
  Node* k = graph.call_function("aten.transpose.int", {m.node("kt"), -2, -1});
  k->meta.val = infer_node(*k);
  double scale = 1.0;
  if (m.values.count("scale") != 0) {
    scale = m.value("scale").to_double();
    if (starts_with(m.node("scaled")->target(), "aten.div")) scale = 1.0 / scale;
  }
  std::map<std::string, Value> kwargs{{"scale", scale}};
  if (m.nodes.count("mask") != 0) kwargs["attn_mask"] = Value(m.node("mask"));
  Node* fused = graph.call_function("aten.scaled_dot_product_attention.default",
                                    {m.node("q"), k, m.node("v")}, kwargs);
  fused->meta = root->meta;
  fused->meta.val = infer_node(*fused);
  root->replace_all_uses_with(fused);
  graph.eliminate_dead_code();
}

}  // namespace

bool same_batch(const SymShape& a, const SymShape& b) {
  return SymShape(a.begin(), a.end() - 2) == SymShape(b.begin(), b.end() - 2);
}

bool mask_fits(const Node* mask, const SymShape& scores) {
  const auto shape = shape_of(mask);
  if (!shape || dtype_of(mask) != DType::Float32 || shape->size() > scores.size()) return false;
  const size_t missing = scores.size() - shape->size();
  for (size_t d = 0; d < shape->size(); ++d) {
    if (!((*shape)[d] == SymInt(1)) && !((*shape)[d] == scores[missing + d])) return false;
  }
  return true;
}

Pass fuse_attention() {
  std::vector<Rule> rules;
  for (const bool scaled : {true, false}) {
    for (const bool masked : {true, false}) {
      rules.push_back({cat("attention", scaled ? "_scaled" : "", masked ? "_masked" : ""),
                       Pattern(pattern_text(scaled, masked)), is_attention, to_attention});
    }
  }
  return rules_pass("fuse_attention", "Attention written out becomes one operator.",
                    std::move(rules));
}

}  // namespace pt2q
