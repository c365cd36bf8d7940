// XNNPACKQuantizer (SPEC 6.4): operators matched by what they are, inputs and outputs quantized.
#include <algorithm>
#include <cmath>
#include <map>

#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/quantizers.h"
#include "quantizers/annotate.h"

namespace pt2q {
namespace {

const std::vector<std::string> kConv = {"aten.conv1d.default", "aten.conv1d.padding",
                                        "aten.conv2d.default", "aten.conv2d.padding",
                                        "aten.conv3d.default", "aten.conv3d.padding"};
const std::vector<std::string> kConvTranspose = {
    "aten.conv_transpose1d.default", "aten.conv_transpose2d.input", "aten.conv_transpose3d.input"};
const std::vector<std::string> kLinear = {"aten.linear.default"};
const std::vector<std::string> kAdd = {"aten.add.Tensor"};
const std::vector<std::string> kMul = {"aten.mul.Tensor"};

using NodeFilter = std::function<bool(const Node*)>;

// Annotates with one configuration the nodes a filter accepts. The `owner` restricts the patterns
// to those of one operator ("conv2d"); empty: all.
class Annotator {
 public:
  Annotator(GraphModule& model, ConfigPtr config, NodeFilter filter, std::string owner)
      : model_(model),
        config_(std::move(config)),
        filter_(std::move(filter)),
        owner_(std::move(owner)),
        nodes_(model.graph().nodes()) {}

  void run() {
    const auto* input = dynamic_cast<const QuantizationSpec*>(config_->input_activation.get());
    if (input != nullptr && input->is_dynamic) {
      run_dynamic();
    } else {
      run_static();
    }
  }

 private:
  // Fusions come before the single operators, so that a producer is not annotated alone.
  void run_static() {
    if (config_->is_qat) {
      for (const bool relu : {true, false}) weighted(kConv, true, relu);
      for (const bool relu : {true, false}) weighted(kConvTranspose, true, relu);
    }
    weighted(kLinear, false, true);
    weighted(kLinear, false, false);
    weighted(kConv, false, true);
    weighted(kConv, false, false);
    weighted(kConvTranspose, false, true);
    weighted(kConvTranspose, false, false);
    adaptive_avg_pool();
    for (const auto* ops : {&kAdd, &kMul}) {
      for (const bool relu : {true, false}) binary(*ops, relu);
    }
    cat_inputs();
  }

  void run_dynamic() {
    weighted(kLinear, false, false);
    dynamic_conv_ = true;
    weighted({"aten.conv2d.default", "aten.conv2d.padding"}, false, false);
    weighted({"aten.conv_transpose2d.input"}, false, false);
  }

  bool accepts(const std::vector<Node*>& calls) const {
    return std::all_of(calls.begin(), calls.end(), filter_) &&
           (owner_.empty() || calls.back()->op().base_name() == owner_);
  }

  // Convolution or linear, with batch norm (QAT) and relu behind it.
  void weighted(const std::vector<std::string>& roots, bool batch_norm, bool relu) {
    ChainRow row;
    row.roots = op_set(roots);
    if (batch_norm) row.batch_norm = op_set({"aten.batch_norm.default"});
    if (relu) row.unary = op_set({"aten.relu.default"});
    for_each_chain(nodes_, row, [&](const Chain& chain) {
      // What is inside the pattern must not be needed outside.
      for (const Node* n : {chain.root, chain.batch_norm}) {
        if (n != nullptr && n != chain.last() && n->users().size() != 1) return;
      }
      if (is_any_annotated(constants_and(chain)) || !accepts(chain.nodes())) return;
      if (!weight_is_supported(chain.root)) return;
      annotate_weighted(chain);
    });
  }

  // The nodes of the chain plus weight and bias: a weight that another pattern quantizes already is
  // not quantized again. Linear layers may share weights.
  static std::vector<Node*> constants_and(const Chain& chain) {
    std::vector<Node*> out = chain.nodes();
    if (chain.root->op().base_name() == "linear" && chain.unary == nullptr) return out;
    for (const size_t i : {1U, 2U}) {
      if (Node* n = chain.root->arg_node(i)) out.push_back(n);
    }
    return out;
  }

  bool weight_is_supported(const Node* root) const {
    if (root->arg_node(0) == nullptr || root->arg_node(1) == nullptr) return false;
    const int groups_at = root->op().schema.index_of("groups");
    const int64_t groups = groups_at < 0 ? 1 : root->arg(static_cast<size_t>(groups_at)).to_int();
    if (is_transposed(root)) return groups == 1;
    if (!dynamic_conv_) return true;
    return dims_of(root->arg_node(1)) == 4 && groups == 1;
  }

  static bool is_transposed(const Node* root) {
    return starts_with(root->op().base_name(), "conv_transpose");
  }

  SpecPtr weight_spec(const Node* root) const {
    const SpecPtr spec = get_weight_qspec(config_.get());
    const auto* q = dynamic_cast<const QuantizationSpec*>(spec.get());
    if (q == nullptr || !is_transposed(root) || q->qscheme != QScheme::PerChannelSymmetric)
      return spec;
    auto transposed = std::make_shared<QuantizationSpec>(*q);
    transposed->ch_axis = 1;  // weights of transposed convolutions are [in, out, ...]
    return transposed;
  }

  void annotate_weighted(const Chain& chain) {
    QuantizationAnnotation& annotation = new_annotation(chain.root);
    const SpecPtr specs[] = {get_input_act_qspec(config_.get()), weight_spec(chain.root),
                             get_bias_qspec(config_.get())};
    for (size_t i = 0; i < 3; ++i) {
      Node* input = chain.root->arg_node(i);
      if (input == nullptr) continue;
      annotation.set_input(input, specs[i]);
      if (i > 0) mark_annotated(input);
    }
    if (chain.last() != chain.root) new_annotation(chain.last());
    chain.last()->meta.quantization_annotation->output_qspec = get_output_act_qspec(config_.get());
  }

  void adaptive_avg_pool() {
    const OpSet ops = op_set({"aten.adaptive_avg_pool2d.default"});
    for (Node* pool : nodes_) {
      if (!is_in(pool, ops) || is_annotated(pool) || !accepts({pool})) continue;
      Node* input = pool->arg_node(0);
      const bool producer_observed =
          is_annotated(input) && input->meta.quantization_annotation->output_qspec != nullptr;
      QuantizationAnnotation& annotation = new_annotation(pool);
      annotation.set_input(
          input, producer_observed ? shared_with(input) : get_input_act_qspec(config_.get()));
      annotation.output_qspec = shared_with({input, pool});
    }
  }

  void binary(const std::vector<std::string>& ops, bool relu) {
    ChainRow row;
    row.roots = op_set(ops);
    if (relu) row.unary = op_set({"aten.relu.default"});
    for_each_chain(nodes_, row, [&](const Chain& chain) {
      if (chain.unary != nullptr && chain.root->users().size() != 1) return;
      if (is_any_annotated(chain.nodes()) || !accepts(chain.nodes())) return;
      for (const size_t i : {0U, 1U}) {
        const Node* input = chain.root->arg_node(i);
        if (input != nullptr && (!is_float32_tensor(input) || is_large_scalar(input))) return;
      }
      QuantizationAnnotation& annotation = new_annotation(chain.root);
      for (const size_t i : {0U, 1U}) {
        if (Node* input = chain.root->arg_node(i)) {
          annotation.set_input(input, get_input_act_qspec(config_.get()));
        }
      }
      if (chain.unary != nullptr) new_annotation(chain.unary);
      chain.last()->meta.quantization_annotation->output_qspec =
          get_output_act_qspec(config_.get());
    });
  }

  // A constant such as -FLT_MAX of a mask: no useful 8-bit scale exists for it.
  bool is_large_scalar(const Node* node) const {
    constexpr double kLargest = 3.4028235e15;
    if (node->opcode() != OpCode::GetAttr || !model_.has_attr(node->target())) return false;
    const Tensor& value = model_.attr(node->target()).tensor;
    return value.numel() == 1 && std::abs(value.item()) > kLargest;
  }

  void cat_inputs() {
    const OpSet ops = op_set({"aten.cat.default"});
    for (Node* node : nodes_) {
      if (!is_in(node, ops) || is_annotated(node) || !accepts({node})) continue;
      const std::vector<Node*> inputs = node->input_nodes();
      if (inputs.empty() || !std::all_of(inputs.begin(), inputs.end(), is_float_tensor)) continue;
      QuantizationAnnotation& annotation = new_annotation(node);
      annotation.set_input(inputs[0], get_input_act_qspec(config_.get()));
      const SpecPtr shared = shared_with({inputs[0], node});
      for (size_t i = 1; i < inputs.size(); ++i) annotation.set_input(inputs[i], shared);
      annotation.output_qspec = shared;
    }
  }

  GraphModule& model_;
  const ConfigPtr config_;
  const NodeFilter filter_;
  const std::string owner_;
  const std::vector<Node*> nodes_;
  bool dynamic_conv_ = false;
};

// Operators that hand quantized data on as it is.
void propagate(GraphModule& model) {
  const OpSet ops =
      op_set({"aten.relu.default", "aten.hardtanh.default", "aten.max_pool2d.default",
              "aten.mean.default", "aten.mean.dim", "aten.permute.default",
              "aten.permute_copy.default", "aten.squeeze.dim", "aten.squeeze_copy.dim",
              "aten.adaptive_avg_pool2d.default", "aten.view.default", "aten.view_copy.default",
              "aten.slice_copy.Tensor", "aten.slice.Tensor", "aten.flatten.using_ints",
              "aten.transpose.int", "aten.reshape.default", "aten.dropout.default"});
  for (Node* n : model.graph().nodes()) {
    Node* previous = is_in(n, ops) ? n->arg_node(0) : nullptr;
    if (previous == nullptr || is_annotated(n)) continue;
    const auto& annotation = previous->meta.quantization_annotation;
    if (!annotation || !annotation->output_qspec) continue;
    const SpecPtr shared = shared_with(previous);
    QuantizationAnnotation& own = new_annotation(n);
    own.set_input(previous, shared);
    own.output_qspec = shared;
  }
}

// "pt2q.nn.modules.linear.Linear" and "torch.nn.modules.linear.Linear" are the same type here; a
// name without dots is compared with the last part.
std::string type_key(const std::string& type, bool last_part_only) {
  if (last_part_only) return type.substr(type.rfind('.') + 1);
  for (const std::string root : {"torch.", "pt2q."}) {
    if (starts_with(type, root)) return type.substr(root.size());
  }
  return type;
}

NodeFilter module_type_filter(const std::string& type) {
  const bool short_name = type.find('.') == std::string::npos;
  return [short_name, wanted = type_key(type, short_name)](const Node* n) {
    const auto& stack = n->meta.nn_module_stack;
    return std::any_of(stack.begin(), stack.end(), [&](const ModuleStackEntry& entry) {
      return type_key(entry.type, short_name) == wanted;
    });
  };
}

std::string owner_of(const std::string& op) {
  const auto parts = split(op, '.');
  if (parts.size() > 1) return parts[1];
  return op;
}

void set_entry(std::vector<std::pair<std::string, ConfigPtr>>& entries, const std::string& key,
               ConfigPtr config) {
  for (auto& entry : entries) {
    if (entry.first == key) {
      entry.second = std::move(config);
      return;
    }
  }
  entries.emplace_back(key, std::move(config));
}

}  // namespace

XNNPACKQuantizer& XNNPACKQuantizer::set_global(ConfigPtr config) {
  global_ = std::move(config);
  return *this;
}

XNNPACKQuantizer& XNNPACKQuantizer::set_operator_type(const std::string& op, ConfigPtr config) {
  static const std::vector<std::string> kOwners = {"conv1d",
                                                   "conv2d",
                                                   "conv3d",
                                                   "convolution",
                                                   "conv_transpose1d",
                                                   "conv_transpose2d",
                                                   "conv_transpose3d",
                                                   "linear",
                                                   "adaptive_avg_pool2d",
                                                   "add",
                                                   "mul",
                                                   "cat"};
  std::string owner = owner_of(op);
  if (std::find(kOwners.begin(), kOwners.end(), owner) == kOwners.end()) {
    throw ValueError(cat("XNNPACKQuantizer has no pattern for operator ", op),
                     cat("supported operators: ", join(kOwners, ", ")));
  }
  if (owner == "convolution") owner = "conv2d";
  set_entry(operator_type_, owner, std::move(config));
  return *this;
}

XNNPACKQuantizer& XNNPACKQuantizer::set_module_type(const std::string& type, ConfigPtr config) {
  set_entry(module_type_, type, std::move(config));
  return *this;
}

XNNPACKQuantizer& XNNPACKQuantizer::set_module_name(const std::string& path, ConfigPtr config,
                                                    bool activation_only) {
  if (activation_only) {
    check_activation_only(config);
    float_activations_.push_back(path);
    return *this;
  }
  if (!config) throw AssertionError(" quantization_config == None is not supported yet");
  set_entry(module_name_, path, std::move(config));
  return *this;
}

XNNPACKQuantizer& XNNPACKQuantizer::set_filter_function(std::function<bool(const Node*)> filter) {
  filter_ = std::move(filter);
  return *this;
}

void XNNPACKQuantizer::transform_for_annotation(GraphModule& model) {
  const OpSet ops = op_set({"aten.add.Tensor", "aten.mul.Tensor"});
  Graph& graph = model.graph();
  for (Node* n : graph.nodes()) {
    if (!is_in(n, ops)) continue;
    for (const size_t i : {0U, 1U}) {
      const Value& v = n->arg(i);
      const bool number = v.is<int64_t>() || v.is<double>() || v.is<bool>();
      Node* other = n->arg_node(1 - i);
      // With an integer tensor a float constant would change the result's type.
      if (!number || other == nullptr || !is_float_tensor(other)) continue;
      const std::string name = model.unique_attr("_tensor_constant_");
      model.set_attr(name, Tensor::scalar(v.to_double()), AttrKind::Buffer);
      const auto point = graph.inserting_before(n);
      Node* constant = graph.get_attr(name);
      constant->meta.val = TensorMeta{};
      n->set_arg(i, constant);
    }
  }
}

void XNNPACKQuantizer::annotate(GraphModule& model) {
  const NodeFilter user_filter = filter_ ? filter_ : [](const Node*) { return true; };
  std::vector<NodeFilter> named;
  for (const auto& entry : module_name_) named.push_back(get_module_name_filter(entry.first));
  for (const auto& entry : module_type_) named.push_back(module_type_filter(entry.first));

  size_t i = 0;
  for (const auto* entries : {&module_name_, &module_type_}) {
    for (const auto& entry : *entries) {
      const NodeFilter& own = named[i++];
      if (!entry.second) continue;
      Annotator(
          model, entry.second, [&](const Node* n) { return own(n) && user_filter(n); }, "")
          .run();
    }
  }
  const NodeFilter rest = [&](const Node* n) {
    return user_filter(n) &&
           std::none_of(named.begin(), named.end(), [&](const NodeFilter& f) { return f(n); });
  };
  for (const auto& [op, config] : operator_type_) {
    if (config) Annotator(model, config, rest, op).run();
  }
  if (global_) Annotator(model, global_, rest, "").run();
  propagate(model);
  for (const std::string& name : float_activations_) leave_activations_float(model, name);
}

std::vector<OperatorConfig> XNNPACKQuantizer::get_supported_operators() {
  const std::vector<std::vector<std::string>> patterns = {
      {"aten.conv2d.default", "aten.relu.default"},
      {"aten.conv2d.default"},
      {"aten.conv1d.default", "aten.relu.default"},
      {"aten.conv1d.default"},
      {"aten.conv_transpose2d.input", "aten.relu.default"},
      {"aten.conv_transpose2d.input"},
      {"aten.linear.default", "aten.relu.default"},
      {"aten.linear.default"},
      {"aten.add.Tensor", "aten.relu.default"},
      {"aten.add.Tensor"},
      {"aten.mul.Tensor", "aten.relu.default"},
      {"aten.mul.Tensor"},
      {"aten.adaptive_avg_pool2d.default"},
      {"aten.cat.default"}};
  std::vector<OperatorConfig> out;
  for (const ConfigPtr& config : get_supported_quantization_configs()) {
    const auto& input = dynamic_cast<const QuantizationSpec&>(*config->input_activation);
    if (input.is_dynamic) {
      out.push_back({config, {{"aten.linear.default"}, {"aten.conv2d.default"}}});
    } else {
      out.push_back({config, patterns});
    }
  }
  return out;
}

std::vector<ConfigPtr> XNNPACKQuantizer::get_supported_quantization_configs() {
  std::vector<ConfigPtr> out;
  for (const bool per_channel : {false, true}) {
    for (const bool qat : {false, true}) {
      out.push_back(get_symmetric_quantization_config(per_channel, qat));
    }
    out.push_back(get_symmetric_quantization_config(per_channel, false, true));
  }
  return out;
}

std::vector<std::vector<std::string>>
XNNPACKQuantizer::get_supported_operator_for_quantization_config(const ConfigPtr& config) {
  std::vector<std::vector<std::string>> all;
  for (const OperatorConfig& entry : get_supported_operators()) {
    if (config && *entry.config == *config) return entry.operators;
    if (!config) all.insert(all.end(), entry.operators.begin(), entry.operators.end());
  }
  return all;
}

}  // namespace pt2q
