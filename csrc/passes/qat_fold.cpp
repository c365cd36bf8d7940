// The training form that qat_conv_bn made becomes one convolution with folded weight and bias
// (SPEC 5.3). The weight keeps the scale that was learnt on the scaled weight.
#include <algorithm>
#include <array>
#include <optional>

#include "base/strings.h"
#include "passes/conv_bn.h"
#include "passes/pt2e_passes.h"
#include "passes/qdq.h"

namespace pt2q {
namespace {

bool changes_dtype(const Node* n) {
  return is_quantize(n) || is_dequantize(n) ||
         n->is_call("quantized_decomposed.convert_element_type.no_fuse");
}

// The use of a value through quantize/dequantize: `user` reads it as argument `index`, and
// `steps` are the conversions on the way, last first.
struct Use {
  Node* user = nullptr;
  size_t index = 0;
  std::vector<Node*> steps;

  Node* value() const { return user->arg_node(index); }
};

Use use_of(Node* user, size_t index) {
  Use use{user, index, {}};
  for (Node* n = use.value(); n != nullptr && changes_dtype(n); n = use.value()) {
    use.steps.push_back(n);
    use.user = n;
    use.index = 0;
  }
  return use;
}

struct QatConv {
  Node* conv = nullptr;
  Use weight;                       // the scaled weight
  Use bias;                         // the zeros that stand for the bias
  const Node* bias_term = nullptr;  // the reshaped bias that is added afterwards
  ConvParameters parameters;
  BatchNorm bn;

  // PyTorch's order of rewriting, which names follow: by kind, per channel first, with bias first,
  // with quantized bias first, in training form first.
  std::array<bool, 6> rank() const {
    const std::string base = conv->op().base_name();
    const bool per_channel = !weight.steps.empty() && weight.steps.front()->target().find(
                                                          "per_channel") != std::string::npos;
    const int training = bn.node->op().schema.index_of("training");
    const bool trains = training >= 0 && bn.node->arg(static_cast<size_t>(training)).to_bool();
    return {is_conv_transpose(base),
            base.find("1d") == std::string::npos,
            !per_channel,
            parameters.bias == nullptr,
            bias.steps.empty(),
            !trains};
  }
};

bool single_use(const Node* n, const char* op) {
  return n != nullptr && n->is_call(op) && n->users().size() == 1;
}

// The attribute that reshape(attribute) reads; null for anything else.
Node* reshaped(const Node* n) {
  return n != nullptr && n->is_call("aten.reshape.default") ? n->arg_node(0) : nullptr;
}

bool same_attr(const Node* a, const Node* b) {
  return a == b || (a != nullptr && b != nullptr && a->opcode() == OpCode::GetAttr &&
                    b->opcode() == OpCode::GetAttr && a->target() == b->target());
}

// gamma / sqrt(var + eps), or 1 / sqrt(var + eps) for a batch norm without gamma.
bool is_factor_of(const Node* factor, const BatchNorm& bn) {
  if (factor == nullptr) return false;
  const bool has_gamma = factor->is_call("aten.div.Tensor");
  if (!has_gamma && !factor->is_call("aten.reciprocal.default")) return false;
  if (!same_attr(has_gamma ? factor->arg_node(0) : nullptr, bn.weight)) return false;
  const Node* root = factor->arg_node(has_gamma ? 1 : 0);
  if (root == nullptr || !root->is_call("aten.sqrt.default")) return false;
  const Node* sum = root->arg_node(0);
  return sum != nullptr && sum->is_call("aten.add.Tensor") && same_attr(sum->arg_node(0), bn.var);
}

// conv(x, scaled weight, zeros): what stands in front of the division.
bool read_conv(Node* conv, const BatchNorm& bn, QatConv* out) {
  if (conv == nullptr || conv->op_or_null() == nullptr || conv->users().size() != 1) return false;
  const std::string base = conv->op().base_name();
  if (!is_conv(base) && !is_conv_transpose(base)) return false;
  out->conv = conv;
  out->parameters.transposed = is_conv_transpose(base);
  out->weight = use_of(conv, 1);
  const Node* scaled = out->weight.value();
  if (scaled == nullptr || !scaled->is_call("aten.mul.Tensor")) return false;
  if (!is_factor_of(reshaped(scaled->arg_node(1)), bn)) return false;
  out->parameters.weight = scaled->arg_node(0);
  return out->parameters.weight != nullptr && out->parameters.weight->opcode() == OpCode::GetAttr;
}

std::optional<QatConv> match(Node* node) {
  QatConv out;
  if (!node->is_call("aten.batch_norm.default") || !read_batch_norm(node, &out.bn))
    return std::nullopt;  // qat_conv_bn makes no other
  Node* y = node->arg_node(0);
  const Node* bias = nullptr;
  if (single_use(y, "aten.add.Tensor")) {
    out.bias_term = y->arg_node(1);
    bias = reshaped(out.bias_term);
    y = y->arg_node(0);
  }
  if (!single_use(y, "aten.div.Tensor") || !is_factor_of(reshaped(y->arg_node(1)), out.bn) ||
      !read_conv(y->arg_node(0), out.bn, &out))
    return std::nullopt;
  out.bias = use_of(out.conv, 2);
  const Node* zeros = out.bias.value();
  const Node* zeros_of =
      zeros != nullptr && zeros->is_call("aten.zeros_like.default") ? zeros->arg_node(0) : nullptr;
  if (!same_attr(zeros_of, bias) || !is_get_attr_or_none(bias)) return std::nullopt;
  out.parameters.bias = bias;
  return out;
}

class QatFolder {
 public:
  explicit QatFolder(GraphModule& module) : module_(module), graph_(module.graph()) {}

  bool run() {
    std::vector<QatConv> all;
    for (Node* node : graph_.nodes()) {
      if (auto found = match(node)) all.push_back(std::move(*found));
    }
    std::stable_sort(all.begin(), all.end(),
                     [](const QatConv& a, const QatConv& b) { return a.rank() < b.rank(); });
    for (const QatConv& found : all) fold(found);
    if (!all.empty()) graph_.eliminate_dead_code();
    return !all.empty();
  }

 private:
  void fold(const QatConv& found) {
    const Folded values = folded_values(module_, found.parameters, found.bn);
    const std::string weight = found.parameters.weight->target();
    const bool has_bias = found.parameters.bias != nullptr;
    const std::string bias = has_bias ? found.parameters.bias->target() : weight + "_bias";
    const bool fresh_bias = has_bias ? is_shared(bias, found) : module_.has_attr(bias);
    // Get_attr nodes that stand already keep their place, as in PyTorch.
    set_input(found.weight, weight, values.weight, is_shared(weight, found),
              found.parameters.weight);
    set_input(found.bias, bias, values.bias, fresh_bias, found.parameters.bias);
    rename(found);
    found.bn.node->replace_all_uses_with(found.conv);
    graph_.erase_node(found.bn.node);
  }

  // Read by something that is not part of this convolution.
  bool is_shared(const std::string& attr, const QatConv& found) const {
    for (const Node* n : graph_.nodes()) {
      if (n->opcode() != OpCode::GetAttr || n->target() != attr) continue;
      for (const Node* user : n->users()) {
        if (user != found.weight.value() && user != found.bias.value() && user != found.bias_term)
          return true;
      }
    }
    return false;
  }

  void set_input(const Use& use, const std::string& wanted, const Tensor& value, bool fresh,
                 const Node* existing) {
    const std::string name = fresh ? module_.unique_attr(wanted + "_folded") : wanted;
    module_.set_attr(name, value, AttrKind::Parameter);
    Node* node = fresh ? nullptr : const_cast<Node*>(existing);
    if (node == nullptr) {
      const auto point = graph_.inserting_before(use.user);
      node = graph_.get_attr(name);
      node->meta.val = TensorMeta{to_sym(value.sizes()), value.dtype(), value.device()};
    }
    use.user->set_arg(use.index, node);
  }

  // PyTorch makes these nodes anew.
  void rename(const QatConv& found) {
    for (const Use* use : {&found.weight, &found.bias}) {
      for (auto step = use->steps.rbegin(); step != use->steps.rend(); ++step) {
        graph_.rename(*step, graph_.unique_name((*step)->op().base_name()));
      }
    }
    graph_.rename(found.conv, graph_.unique_name(found.conv->op().base_name()));
  }

  GraphModule& module_;
  Graph& graph_;
};

}  // namespace

bool fold_qat_conv_bn(GraphModule& module) { return QatFolder(module).run(); }

}  // namespace pt2q
