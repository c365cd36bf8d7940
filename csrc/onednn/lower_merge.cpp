// Linear layers that read one input and feed one attention (queries, keys, values) become one over
// the concatenated weights; each result is a slice of its rows. No bit changes: every channel keeps
// its weights, scale and bias.
#include <algorithm>
#include <cstring>

#include "onednn/lower.h"
#include "ops/support/lowered.h"
#include "passes/qdq.h"

namespace pt2q {
namespace {

// Positions behind ops::kQLinearTail (kEpilogueSchema).
constexpr size_t kOther = ops::kQLinearTail, kPostOps = kOther + 3, kOutDtype = kOther + 8,
                 kLargest = kOther + 9;

bool is_attention(const Node* n) {
  return n->is_call("aten.scaled_dot_product_attention.default") ||
         n->is_call("pt2q.qattention.default");
}

// The only user that reads more than the shape; null if there is none or are several.
const Node* reader_of(const Node* n) {
  const Node* reader = nullptr;
  for (const Node* user : n->users()) {
    if (is_size_query(user)) continue;
    if (reader != nullptr) return nullptr;
    reader = user;
  }
  return reader;
}

// The attention that `n` reaches through nothing but views; null if none.
const Node* attention_behind(const Node* n) {
  while ((n = reader_of(n)) != nullptr) {
    if (is_attention(n)) return n;
    if (n->op_or_null() == nullptr || !n->op().traits.view) return nullptr;
  }
  return nullptr;
}

Tensor constant_of(const GraphModule& module, const Node* n, size_t arg) {
  const Node* attr = n->arg_node(arg);
  return attr == nullptr || attr->opcode() != OpCode::GetAttr ? Tensor() : module.attr_of(*attr);
}

class Merger {
 public:
  explicit Merger(GraphModule& module) : module_(module) {}

  bool run() {
    bool changed = false;
    for (Node* n : module_.graph().nodes()) {
      if (n->erased()) continue;
      const std::vector<Node*> users = n->users();
      for (Node* first : users) changed = merge(first, siblings_of(first, users)) || changed;
    }
    return module_.graph().eliminate_dead_code() || changed;
  }

 private:
  bool is_candidate(const Node* n, const Node* x) const {
    if (n->erased() ||
        !(n->is_call("pt2q.qlinear.default") || n->is_call("pt2q.qlinear_dynamic.default")) ||
        n->arg_node(0) != x || !n->arg(kOther).is_none() ||
        !(n->arg(kOutDtype).is_none() || n->arg(kOutDtype) == Value(DType::BFloat16)) ||
        !n->arg(kPostOps).as<std::string>().empty() || attention_behind(n) == nullptr) {
      return false;
    }
    return constant_of(module_, n, 1).defined() && constant_of(module_, n, 2).defined() &&
           (n->arg(3).is_none() || constant_of(module_, n, 3).defined());
  }

  // The candidates among `users` that read `first`'s input alike, `first` included, when it comes
  // first.
  std::vector<Node*> siblings_of(const Node* first, const std::vector<Node*>& users) const {
    std::vector<Node*> found;
    if (first->erased()) return found;
    const Node* x = first->args().empty() ? nullptr : first->arg_node(0);
    if (x == nullptr || !is_candidate(first, x)) return found;
    for (Node* n : users) {
      if (is_candidate(n, x) && n->target() == first->target() && n->arg(4) == first->arg(4) &&
          n->arg(5) == first->arg(5) && n->arg(kLargest) == first->arg(kLargest) &&
          n->arg(kOutDtype) == first->arg(kOutDtype) &&
          attention_behind(n) == attention_behind(first) &&
          std::find(found.begin(), found.end(), n) == found.end()) {
        found.push_back(n);
      }
    }
    return found;
  }

  bool merge(Node* first, const std::vector<Node*>& parts) {
    if (parts.size() < 2 || parts[0] != first) return false;
    Graph& graph = module_.graph();
    Node* earliest = first->arg_node(0);  // users are in no order
    while (std::find(parts.begin(), parts.end(), earliest) == parts.end())
      earliest = earliest->next();
    const auto point = graph.inserting_before(earliest);
    int64_t channels = 0;
    for (const Node* n : parts) channels += constant_of(module_, n, 1).size(0);
    Node* weight = constant_node(module_, "_weight", concat(parts, channels));
    Node* scale = constant_node(module_, "_weight_scale", concat_floats(parts, 2, channels));
    const bool biased =
        std::any_of(parts.begin(), parts.end(), [](const Node* n) { return !n->arg(3).is_none(); });
    const Value bias =
        biased ? Value(constant_node(module_, "_bias", concat_floats(parts, 3, channels)))
               : Value();
    Node* all = graph.call_function(
        first->target(), {first->arg(0), weight, scale, bias, first->arg(4), first->arg(5)},
        {{"x_max", first->arg(kLargest)}, {"out_dtype", first->arg(kOutDtype)}});
    all->meta = first->meta;
    all->meta.val = infer_node(*all);
    const auto last = static_cast<int64_t>(shape_of(all)->size()) - 1;
    int64_t from = 0;
    for (Node* n : parts) {
      const int64_t to = from + constant_of(module_, n, 1).size(0);
      Node* slice = graph.call_function("aten.slice.Tensor", {all, last, from, to});
      slice->meta.val = infer_node(*slice);
      gives_value_of(slice, n);
      n->replace_all_uses_with(slice);
      from = to;
    }
    return true;
  }

  // Weights [OC, K] below each other.
  Tensor concat(const std::vector<Node*>& parts, int64_t channels) const {
    const int64_t depth = constant_of(module_, parts[0], 1).size(1);
    Tensor out = Tensor::empty({channels, depth}, DType::Int8);
    int8_t* to = out.mutable_data<int8_t>();
    for (const Node* n : parts) {
      const Tensor w = constant_of(module_, n, 1).contiguous();
      std::memcpy(to, w.raw_data(), static_cast<size_t>(w.numel()));
      to += w.numel();
    }
    return out;
  }

  // Scales or biases of all channels: one of each, one for all of a layer, or none (0).
  Tensor concat_floats(const std::vector<Node*>& parts, size_t arg, int64_t channels) const {
    Tensor out = Tensor::empty({channels}, DType::Float32);
    float* to = out.mutable_data<float>();
    for (const Node* n : parts) {
      const int64_t count = constant_of(module_, n, 1).size(0);
      Tensor t = constant_of(module_, n, arg);
      if (t.defined()) t = t.contiguous();
      for (int64_t i = 0; i < count; ++i)
        *to++ = !t.defined() ? 0.0F : t.data<float>()[t.numel() == 1 ? 0 : i];
    }
    return out;
  }

  GraphModule& module_;
};

}  // namespace

bool merge_linears(GraphModule& module) { return Merger(module).run(); }

}  // namespace pt2q
