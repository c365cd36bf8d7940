// X86InductorQuantizer and its XPU and Arm variants: configuration by module name, operator type
// and globally (SPEC 6.1 to 6.3).
#include <algorithm>
#include <optional>

#include "base/log.h"
#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/quantizers.h"
#include "quantizers/inductor_recipe.h"

namespace pt2q {
namespace {

const QuantizationSpec* activation_spec(const ConfigPtr& config) {
  return config ? dynamic_cast<const QuantizationSpec*>(config->input_activation.get()) : nullptr;
}

// Later settings of the same key replace earlier ones but keep their place, as in a Python dict.
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

PatternFilter module_name_filter(const std::string& path) {
  return [filter = get_module_name_filter(path)](const std::vector<Node*>& nodes) {
    return std::all_of(nodes.begin(), nodes.end(), filter);
  };
}

// "aten.conv2d.default" also stands for its .padding form.
OpSet with_padding_form(const std::string& op) {
  std::vector<std::string> names = {op};
  if (op == "aten.conv2d.default" || op == "aten.conv1d.default") {
    names.push_back(op.substr(0, op.rfind('.')) + ".padding");
  }
  return op_set(names);
}

PatternFilter count_filter(OpSet ops, std::string what) {
  return [ops = std::move(ops), what = std::move(what)](const std::vector<Node*>& nodes) {
    const auto count =
        std::count_if(nodes.begin(), nodes.end(), [&](const Node* n) { return is_in(n, ops); });
    if (count > 1) {
      throw NotImplementedError(cat("Several nodes within a single pattern are ", what, "."))
          .at_node(nodes.front()->name());
    }
    return count == 1;
  };
}

bool products_of_attention(const std::vector<Node*>& nodes) {
  return std::all_of(nodes.begin(), nodes.end(), is_of_attention);
}

}  // namespace

bool X86InductorQuantizer::must_skip(const ConfigPtr& config) const {
  if (!config) return false;
  std::optional<bool> is_qat;
  std::optional<bool> is_dynamic;
  const auto look = [&](const ConfigPtr& known) {
    if (!known) return;
    if (!is_qat) is_qat = known->is_qat;
    const QuantizationSpec* spec = activation_spec(known);
    if (spec != nullptr && !is_dynamic) is_dynamic = spec->is_dynamic;
  };
  for (const auto& entry : module_name_) look(entry.second);
  for (const auto& entry : operator_type_) look(entry.second);
  look(global_);
  bool skip = false;
  if (is_qat && *is_qat != config->is_qat) {
    warn("Mixed QAT and Non-QAT quantization config is not supported.");
    skip = true;
  }
  const QuantizationSpec* spec = activation_spec(config);
  if (is_dynamic && spec != nullptr && *is_dynamic != spec->is_dynamic) {
    warn("Mixed dynamic and static quantization config is not supported.");
    skip = true;
  }
  return skip;
}

X86InductorQuantizer& X86InductorQuantizer::set_global(ConfigPtr config) {
  if (must_skip(config)) {
    warn("Skip the global quantization config.");
  } else {
    global_ = std::move(config);
  }
  return *this;
}

ConfigPtr X86InductorQuantizer::get_global_quantization_config() const {
  if (!global_) {
    warn(cat("The global_config for ", class_name(),
             " is currently invalid. Please ensure that you use set_global to establish the global "
             "quantization configuration."));
  }
  return global_;
}

void X86InductorQuantizer::set_type_qconfig(const char* kind, const std::string& name,
                                            ConfigPtr config) {
  if (must_skip(config)) {
    warn(cat("Skip the quantization config for ", name, "."));
    return;
  }
  const bool function = std::string(kind) == "function";
  const auto& names = function ? recipe().functions : recipe().modules;
  const auto it = std::find_if(names.begin(), names.end(), [&](const auto& entry) {
    return entry.first == name || (function && entry.second == name);
  });
  if (it == names.end()) {
    warn(cat(kind, ": Unable to customize quantization config for ", name, " by ", class_name(),
             "."));
    return;
  }
  set_entry(operator_type_, it->second, std::move(config));
}

X86InductorQuantizer& X86InductorQuantizer::set_function_type_qconfig(const std::string& function,
                                                                      ConfigPtr config) {
  set_type_qconfig("function", function, std::move(config));
  return *this;
}

X86InductorQuantizer& X86InductorQuantizer::set_module_type_qconfig(const std::string& type,
                                                                    ConfigPtr config) {
  set_type_qconfig("Module", type, std::move(config));
  return *this;
}

X86InductorQuantizer& X86InductorQuantizer::set_module_name_qconfig(const std::string& path,
                                                                    ConfigPtr config,
                                                                    bool activation_only) {
  if (activation_only) {
    check_activation_only(config);
    float_activations_.push_back(path);
  } else if (must_skip(config)) {
    warn(cat("Skip the quantization config for ", path, "."));
  } else {
    set_entry(module_name_, path, std::move(config));
  }
  return *this;
}

void X86InductorQuantizer::transform_for_annotation(GraphModule& model) {
  for (const auto& [op, config] : operator_type_) {
    const QuantizationSpec* spec = activation_spec(config);
    if (op == kAttentionOp && spec != nullptr && !spec->is_dynamic) write_out_attention(model);
  }
}

void X86InductorQuantizer::annotate(GraphModule& model) {
  const InductorRecipe& r = recipe();
  for (const auto& [path, config] : module_name_) {
    annotate_with_recipe(model, r, config, module_name_filter(path));
  }
  for (const auto& [op, config] : operator_type_) {
    annotate_with_recipe(model, r, config,
                         op == kAttentionOp ? PatternFilter(products_of_attention)
                                            : count_filter(with_padding_form(op), op));
  }
  if (global_) {
    annotate_with_recipe(model, r, global_,
                         count_filter(op_set(r.default_ops), "default quantizable operations"));
  }
  share_outputs(model, r);
  for (const std::string& name : float_activations_) leave_activations_float(model, name);
}

const InductorRecipe& X86InductorQuantizer::recipe() const { return x86_inductor_recipe(); }
const InductorRecipe& XPUInductorQuantizer::recipe() const { return xpu_inductor_recipe(); }
const InductorRecipe& ArmInductorQuantizer::recipe() const { return arm_inductor_recipe(); }

std::vector<ConfigPtr> X86InductorQuantizer::default_configs() const {
  return {get_default_x86_inductor_quantization_config(),
          get_default_x86_inductor_quantization_config(false, true),
          get_default_x86_inductor_quantization_config(true),
          get_default_x86_inductor_quantization_config(true, true),
          get_default_x86_inductor_quantization_config(false, false, true),
          get_x86_inductor_linear_dynamic_fp16_config()};
}
std::vector<ConfigPtr> XPUInductorQuantizer::default_configs() const {
  return {get_default_xpu_inductor_quantization_config()};
}
std::vector<ConfigPtr> ArmInductorQuantizer::default_configs() const {
  return {get_default_arm_inductor_quantization_config(),
          get_default_arm_inductor_quantization_config(false, true),
          get_default_arm_inductor_quantization_config(true),
          get_default_arm_inductor_quantization_config(true, true)};
}

std::vector<OperatorConfig> X86InductorQuantizer::quantization_capabilities() const {
  std::vector<OperatorConfig> out;
  for (const ConfigPtr& config : default_configs()) {
    OperatorConfig entry{config, {}};
    const bool weights_only = config->input_activation == nullptr;
    for (const InductorRecipe::Fusion& f : recipe().fusions) {
      if (f.batch_norm && !config->is_qat) continue;
      if (weights_only && f.roots.front() != "aten.linear.default") continue;
      std::vector<std::string> pattern = {f.roots.front()};
      if (f.batch_norm) pattern.push_back("aten.batch_norm.default");
      if (f.binary) pattern.push_back("aten.add.Tensor");
      for (const std::string& unary : f.unary) pattern.push_back(unary);
      entry.operators.push_back(std::move(pattern));
    }
    for (const auto* ops : {&recipe().all_inputs, &recipe().propagation}) {
      for (const std::string& op : *ops) {
        if (!weights_only) entry.operators.push_back({op});
      }
    }
    out.push_back(std::move(entry));
  }
  return out;
}

}  // namespace pt2q
