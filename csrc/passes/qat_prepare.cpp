// conv → batch_norm in the form that trains with the weight as it will be after folding (SPEC 4.6):
//   std = sqrt(running_var + eps);  sf = gamma / std
//   y = conv(x, W * sf, zeros_like(bias)) / sf + bias;  batch_norm(y)
// The fake-quantize of the weight sits on W * sf. eps, momentum and the training flag are those of
// the model.
#include <algorithm>
#include <unordered_map>

#include "base/strings.h"
#include "passes/conv_bn.h"
#include "passes/pt2e_passes.h"

namespace pt2q {
namespace {

class QatRewriter {
 public:
  explicit QatRewriter(GraphModule& module) : graph_(module.graph()) {}

  bool run() {
    // PyTorch's order, which names and observer numbers follow: by kind, with bias first.
    for (const char* kind : {"conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "conv3d",
                             "conv_transpose3d"}) {
      for (const bool has_bias : {true, false}) {
        for (Node* node : graph_.nodes()) {
          if (!node->erased()) try_rewrite(node, kind, has_bias);
        }
      }
    }
    if (conv_of_.empty()) return false;
    for (Node* node : graph_.nodes()) redirect_annotation(node);
    return true;
  }

 private:
  void try_rewrite(Node* node, const std::string& kind, bool has_bias) {
    BatchNorm bn;
    if (!node->is_call("aten.batch_norm.default") || !read_batch_norm(node, &bn)) return;
    Node* conv = node->arg_node(0);
    if (conv == nullptr || conv->op_or_null() == nullptr || conv->op().base_name() != kind) return;
    Node* weight = conv->arg_node(1);
    Node* bias = conv->arg_node(2);
    if ((bias != nullptr) != has_bias || conv->users().size() != 1 || weight == nullptr ||
        weight->opcode() != OpCode::GetAttr || !is_get_attr_or_none(bias))
      return;
    const bool transposed = is_conv_transpose(kind);
    // The weight of a grouped transposed convolution is not ordered by output channel.
    const int groups_at = conv->op().schema.index_of("groups");
    if (transposed && conv->arg(static_cast<size_t>(groups_at)).to_int() != 1) return;
    if (!node->users().empty()) rewrite(conv, bn, transposed);
  }

  void rewrite(Node* conv, const BatchNorm& bn, bool transposed) {
    const auto point = graph_.inserting_before(first_user(bn.node));
    Node* weight = conv->arg_node(1);
    Node* bias = conv->arg_node(2);
    const size_t rank = weight->meta.val.as<TensorMeta>().sizes.size();
    const auto shape = [rank](size_t axis) {
      Value::List sizes(rank, Value(1));
      sizes[axis] = Value(-1);
      return Value(std::move(sizes));
    };
    source_ = conv;
    Node* sum = make("aten.add.Tensor", {bn.var, Value(bn.eps)});
    Node* deviation = make("aten.sqrt.default", {sum});
    Node* factor = bn.weight != nullptr ? make("aten.div.Tensor", {bn.weight, deviation})
                                        : make("aten.reciprocal.default", {deviation});
    Node* scaled =
        make("aten.mul.Tensor",
             {weight, make("aten.reshape.default", {factor, shape(transposed ? 1 : 0)})});
    Node* no_bias = nullptr;
    if (bias != nullptr) no_bias = zeros_like(bias, conv->arg_node(0));
    Node* new_conv = copy(conv, {conv->arg_node(0), scaled, no_bias});
    Node* y = make("aten.div.Tensor", {new_conv, make("aten.reshape.default", {factor, shape(1)})});
    if (bias != nullptr) {
      y = make("aten.add.Tensor", {y, make("aten.reshape.default", {bias, shape(1)})});
    }
    Node* new_bn = copy(bn.node, {y});
    bn.node->replace_all_uses_with(new_bn);
    graph_.erase_node(bn.node);
    graph_.erase_node(conv);
    node_of_[bn.node] = new_bn;
    node_of_[conv] = new_conv;
    conv_of_[new_conv] = {weight, scaled, bias, no_bias};
    if (weight->users().size() == 1) {  // what was said of the weight holds for the scaled one
      scaled->meta.quantization_annotation = weight->meta.quantization_annotation;
      weight->meta.quantization_annotation = nullptr;
      node_of_[weight] = scaled;
    }
  }

  static Node* first_user(const Node* node) {
    Node* n = node->next();
    const auto& users = node->users();
    while (std::find(users.begin(), users.end(), n) == users.end()) n = n->next();
    return n;
  }

  Node* make(const std::string& op, std::vector<Value> args,
             const std::map<std::string, Value>& kwargs = {}) {
    const std::string name = split(op, '.')[1];  // "add": named as in a captured graph
    Node* node = graph_.call_function(op, std::move(args), kwargs, name);
    node->meta.val = infer_node(*node);
    // No module path: PyTorch's nodes have none here, and names of scale buffers come from it.
    node->meta.stack_trace = source_->meta.stack_trace;
    return node;
  }

  Node* zeros_like(Node* bias, const Node* input) {
    std::map<std::string, Value> kwargs;
    if (input->meta.val.is<TensorMeta>()) {
      kwargs["dtype"] = Value(input->meta.val.as<TensorMeta>().dtype);
    }
    return make("aten.zeros_like.default", {bias}, kwargs);
  }

  // The same operator on other leading arguments; null stands for None.
  Node* copy(const Node* node, const std::vector<Node*>& leading) {
    std::vector<Value> args = node->args();
    for (size_t i = 0; i < leading.size(); ++i) {
      args[i] = leading[i] != nullptr ? Value(leading[i]) : Value();
    }
    Node* out = graph_.call_function(node->target(), std::move(args), {}, node->op().base_name());
    out->meta = node->meta;
    return out;
  }

  // --- annotations that mention replaced nodes ---

  Node* moved(Node* node) const {
    const auto it = node_of_.find(node);
    return it == node_of_.end() ? node : it->second;
  }

  // What `consumer`, a rewritten convolution, reads now instead of `input`.
  Node* moved_input(Node* input, Node* consumer) const {
    const auto conv = conv_of_.find(consumer);
    if (conv == conv_of_.end()) return moved(input);
    const auto& [weight, scaled, bias, no_bias] = conv->second;
    if (input == weight) return scaled;
    return input == bias ? no_bias : moved(input);
  }

  EdgeOrNode moved(const EdgeOrNode& e) const {
    if (!e.is_edge()) return {moved(e.producer)};
    Node* consumer = moved(e.consumer);
    return {moved_input(e.producer, consumer), consumer};
  }

  SpecPtr moved(const SpecPtr& spec) const {
    if (const auto* shared = dynamic_cast<const SharedQuantizationSpec*>(spec.get())) {
      auto out = std::make_shared<SharedQuantizationSpec>(*shared);
      out->edge_or_node = moved(shared->edge_or_node);
      return out;
    }
    if (const auto* derived = dynamic_cast<const DerivedQuantizationSpec*>(spec.get())) {
      auto out = std::make_shared<DerivedQuantizationSpec>(*derived);
      for (EdgeOrNode& e : out->derived_from) e = moved(e);
      return out;
    }
    return spec;
  }

  void redirect_annotation(Node* node) const {
    if (!node->meta.quantization_annotation) return;
    QuantizationAnnotation& annotation = *node->meta.quantization_annotation;
    for (auto& [input, spec] : annotation.input_qspec_map) {
      input = moved_input(input, node);
      spec = moved(spec);
    }
    annotation.output_qspec = moved(annotation.output_qspec);
  }

  struct Inputs {
    Node* weight;
    Node* scaled;
    Node* bias;     // null: none
    Node* no_bias;  // zeros in place of the bias
  };

  Graph& graph_;
  const Node* source_ = nullptr;
  std::unordered_map<const Node*, Node*> node_of_;   // replaced node → its replacement
  std::unordered_map<const Node*, Inputs> conv_of_;  // by new convolution
};

}  // namespace

bool qat_conv_bn(GraphModule& module) { return QatRewriter(module).run(); }

}  // namespace pt2q
