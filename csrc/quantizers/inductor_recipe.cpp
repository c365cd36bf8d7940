#include "quantizers/inductor_recipe.h"

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"

namespace pt2q {
namespace {

const std::vector<std::string> kConv2d = {"aten.conv2d.default", "aten.conv2d.padding"};
const std::vector<std::string> kConv1d = {"aten.conv1d.default", "aten.conv1d.padding"};
const std::vector<std::string> kLinear = {"aten.linear.default"};
const std::string kRelu = "aten.relu.default";
const std::string kMaxPool = "aten.max_pool2d.default";
const std::string kFlatten = "aten.flatten.using_ints";
const std::string kCat = "aten.cat.default";

using Fusion = InductorRecipe::Fusion;

Fusion row(std::vector<std::string> roots, bool binary, std::vector<std::string> unary,
           bool batch_norm = false) {
  Fusion f;
  f.roots = std::move(roots);
  f.binary = binary;
  f.unary = std::move(unary);
  f.batch_norm = batch_norm;
  return f;
}

InductorRecipe make_x86() {
  InductorRecipe r;
  const std::vector<std::string> conv_unary = {kRelu, "aten.hardtanh.default",
                                               "aten.hardswish.default", "aten.relu6.default",
                                               "aten.silu.default"};
  r.fusions.push_back(row(kConv2d, true, {kRelu}, true));
  r.fusions.push_back(row(kConv2d, true, {}, true));
  for (const std::string& unary : conv_unary)
    r.fusions.push_back(row(kConv2d, false, {unary}, true));
  r.fusions.push_back(row(kConv2d, false, {}, true));
  r.fusions.push_back(row(kConv2d, true, {kRelu}));
  r.fusions.push_back(row(kConv2d, true, {}));
  for (const std::string& unary : conv_unary) r.fusions.push_back(row(kConv2d, false, {unary}));
  r.fusions.push_back(row(kConv1d, false, {kRelu}));
  r.fusions.push_back(row(kConv2d, false, {}));
  for (const bool relu : {true, false}) {  // the residual of a linear stays in float
    Fusion add =
        row(kLinear, true, relu ? std::vector<std::string>{kRelu} : std::vector<std::string>{});
    add.quantize_extra = false;
    r.fusions.push_back(add);
  }
  for (const char* unary :
       {"aten.relu.default", "aten.leaky_relu.default", "aten.tanh.default", "aten.gelu.default"})
    r.fusions.push_back(row(kLinear, false, {unary}));
  r.fusions.push_back(row(kLinear, false, {}));
  r.all_inputs = {"aten.matmul.default", "aten.mul.Tensor"};
  r.propagation = {kMaxPool, kCat, "aten.avg_pool2d.default", "aten.adaptive_avg_pool2d.default",
                   kFlatten};
  r.shares_output = r.propagation;
  r.default_ops = r.propagation;
  for (const char* op : {"aten.conv1d.default", "aten.conv1d.padding", "aten.conv2d.default",
                         "aten.conv2d.padding", "aten.linear.default", "aten.mul.Tensor"})
    r.default_ops.push_back(op);
  r.quantizable = r.default_ops;
  r.quantizable.push_back("aten.matmul.default");
  r.functions = {{"conv1d", "aten.conv1d.default"},
                 {"conv2d", "aten.conv2d.default"},
                 {"linear", "aten.linear.default"},
                 {"max_pool2d", kMaxPool},
                 {"cat", kCat},
                 {"avg_pool2d", "aten.avg_pool2d.default"},
                 {"adaptive_avg_pool2d", "aten.adaptive_avg_pool2d.default"},
                 {"flatten", kFlatten},
                 {"matmul", "aten.matmul.default"},
                 {"mul", "aten.mul.Tensor"},
                 {"scaled_dot_product_attention", kAttentionOp}};
  r.modules = {{"Conv2d", "aten.conv2d.default"},
               {"Linear", "aten.linear.default"},
               {"MaxPool2d", kMaxPool},
               {"AvgPool2d", "aten.avg_pool2d.default"},
               {"AdaptiveAvgPool2d", "aten.adaptive_avg_pool2d.default"}};
  return r;
}

void erase(std::vector<std::string>& names, const std::string& name) {
  names.erase(std::remove(names.begin(), names.end(), name), names.end());
}

InductorRecipe make_xpu() {
  InductorRecipe r = make_x86();
  r.fusions.erase(std::remove_if(r.fusions.begin(), r.fusions.end(),
                                 [](const Fusion& f) { return f.batch_norm; }),
                  r.fusions.end());
  erase(r.propagation, kMaxPool);
  erase(r.shares_output, kMaxPool);
  return r;
}

InductorRecipe make_arm() {
  InductorRecipe r;
  const InductorRecipe x86 = make_x86();
  for (const Fusion& f : x86.fusions) {
    const bool conv = f.roots == kConv2d;
    const bool linear = f.roots == kLinear;
    if ((conv && f.unary.empty()) || (linear && !f.binary)) r.fusions.push_back(f);
  }
  r.all_inputs = {"aten.matmul.default"};
  r.default_ops = {"aten.conv2d.default", "aten.conv2d.padding", "aten.linear.default"};
  r.quantizable = r.default_ops;
  r.quantizable.push_back("aten.matmul.default");
  r.functions = {{"conv2d", "aten.conv2d.default"},
                 {"linear", "aten.linear.default"},
                 {"matmul", "aten.matmul.default"}};
  r.modules = {{"Conv2d", "aten.conv2d.default"}, {"Linear", "aten.linear.default"}};
  return r;
}

}  // namespace

const InductorRecipe& x86_inductor_recipe() {
  static const InductorRecipe recipe = make_x86();
  return recipe;
}
const InductorRecipe& xpu_inductor_recipe() {
  static const InductorRecipe recipe = make_xpu();
  return recipe;
}
const InductorRecipe& arm_inductor_recipe() {
  static const InductorRecipe recipe = make_arm();
  return recipe;
}

// --- the walk ------------------------------------------------------------------------------------

namespace {

class RecipeAnnotator {
 public:
  RecipeAnnotator(GraphModule& model, const InductorRecipe& recipe, const ConfigPtr& config,
                  const PatternFilter& filter)
      : recipe_(recipe), config_(config.get()), filter_(filter), nodes_(model.graph().nodes()) {}

  void run() {
    for (const Fusion& fusion : recipe_.fusions) {
      // Before QAT the batch norms stay in the graph; prepare_pt2e has folded them.
      if (fusion.batch_norm && config_ != nullptr && !config_->is_qat) continue;
      annotate_fusion(fusion);
    }
    for (const std::string& op : recipe_.all_inputs) annotate_all_inputs(op);
    annotate_propagation();
  }

 private:
  bool skip(const std::vector<Node*>& nodes) const {
    return is_any_annotated(nodes) || !filter_(nodes);
  }

  void annotate_fusion(const Fusion& fusion) {
    ChainRow chain_row;
    chain_row.roots = op_set(fusion.roots);
    if (fusion.batch_norm) chain_row.batch_norm = op_set({"aten.batch_norm.default"});
    if (fusion.binary) chain_row.binary = op_set({"aten.add.Tensor"});
    chain_row.unary = op_set(fusion.unary);
    for_each_chain(nodes_, chain_row, [&](const Chain& chain) {
      const Node* before_add = chain.batch_norm != nullptr ? chain.batch_norm : chain.root;
      if (fusion.binary && before_add->users().size() != 1) return;
      if (skip(chain.nodes())) return;
      if (config_ == nullptr) {
        for (Node* n : chain.nodes()) annotate_not_quantized(n);
      } else {
        annotate_chain(fusion, chain);
      }
    });
  }

  void annotate_chain(const Fusion& fusion, const Chain& chain) {
    annotate_root(chain.root);
    for (Node* n : {chain.batch_norm, chain.binary, chain.unary}) {
      if (n != nullptr) new_annotation(n);
    }
    if (chain.binary != nullptr && fusion.quantize_extra && is_float_tensor(chain.extra)) {
      chain.binary->meta.quantization_annotation->set_input(chain.extra,
                                                            get_input_act_qspec(config_));
    }
    QuantizationAnnotation& last = *chain.last()->meta.quantization_annotation;
    last.is_output_of_quantized_pattern = true;
    if (fusion.batch_norm) last.output_qspec = get_output_act_qspec(config_);
  }

  // Input, weight and bias of a convolution or linear.
  void annotate_root(Node* root) {
    QuantizationAnnotation& annotation = new_annotation(root);
    const SpecPtr specs[] = {get_input_act_qspec(config_), get_weight_qspec(config_),
                             get_bias_qspec(config_)};
    for (size_t i = 0; i < 3; ++i) {
      if (Node* input = root->arg_node(i)) annotation.set_input(input, specs[i]);
    }
  }

  void annotate_all_inputs(const std::string& op) {
    const OpDef* def = op_table().find(op);
    const bool same_shape = op == "aten.mul.Tensor";  // no broadcasting multiplication
    for (Node* node : nodes_) {
      if (def == nullptr || node->op_or_null() != def || skip({node})) continue;
      if (config_ == nullptr) {
        annotate_not_quantized(node);
        continue;
      }
      Node* a = node->arg_node(0);
      Node* b = node->arg_node(1);
      if (a == nullptr || b == nullptr || !is_float_tensor(a) || !is_float_tensor(b)) continue;
      if (same_shape && !equal_shapes(a, b)) continue;
      QuantizationAnnotation& annotation = new_annotation(node);
      annotation.set_input(a, get_input_act_qspec(config_));
      annotation.set_input(b, get_input_act_qspec(config_));
      annotation.is_output_of_quantized_pattern = true;
    }
  }

  static bool equal_shapes(const Node* a, const Node* b) {
    const Value& x = a->meta.val;
    const Value& y = b->meta.val;
    return x.is<TensorMeta>() && y.is<TensorMeta>() &&
           x.as<TensorMeta>().sizes == y.as<TensorMeta>().sizes;
  }

  static bool is_quantized_output(const Node* node) {
    return is_annotated(node) && node->meta.quantization_annotation->is_output_of_quantized_pattern;
  }

  void annotate_propagation() {
    const OpSet ops = op_set(recipe_.propagation);
    const OpSet quantizable = op_set(recipe_.quantizable);
    for (Node* node : nodes_) {
      if (!is_in(node, ops) || skip({node})) continue;
      if (config_ == nullptr) {
        annotate_not_quantized(node);
        continue;
      }
      const std::vector<Node*> inputs = node->input_nodes();
      if (inputs.empty()) continue;
      const bool is_cat = node->is_call(kCat);
      if (node->is_call(kFlatten) && !node->users().empty() &&
          std::none_of(node->users().begin(), node->users().end(),
                       [&](const Node* user) { return is_in(user, quantizable); })) {
        continue;
      }
      const auto end = is_cat ? inputs.end() : inputs.begin() + 1;
      if (!std::all_of(inputs.begin(), end, is_quantized_output)) {
        if (node->is_call(kMaxPool)) {
          warn(cat("The input of maxpool2d is not quantized, skip annotate maxpool2d '",
                   node->name(), "'."));
        }
        continue;
      }
      QuantizationAnnotation& annotation = new_annotation(node);
      annotation.is_output_of_quantized_pattern = true;
      annotation.set_input(inputs[0], get_input_act_qspec(config_));
      if (!is_cat) continue;
      const SpecPtr shared = shared_with({inputs[0], node});
      for (size_t i = 1; i < inputs.size(); ++i) annotation.set_input(inputs[i], shared);
    }
  }

  const InductorRecipe& recipe_;
  const QuantizationConfig* config_;
  const PatternFilter& filter_;
  const std::vector<Node*> nodes_;
};

}  // namespace

void annotate_with_recipe(GraphModule& model, const InductorRecipe& recipe, const ConfigPtr& config,
                          const PatternFilter& filter) {
  RecipeAnnotator(model, recipe, config, filter).run();
}

void share_outputs(GraphModule& model, const InductorRecipe& recipe) {
  const OpSet ops = op_set(recipe.shares_output);
  for (Node* node : model.graph().nodes()) {
    if (!is_in(node, ops) || !is_annotated(node)) continue;
    QuantizationAnnotation& annotation = *node->meta.quantization_annotation;
    const std::vector<Node*> inputs = node->input_nodes();
    if (annotation.is_output_of_quantized_pattern && !inputs.empty()) {
      annotation.output_qspec = shared_with({inputs[0], node});
    }
  }
}

}  // namespace pt2q
