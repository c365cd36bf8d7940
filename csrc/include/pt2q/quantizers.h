// The built-in quantizers (SPEC section 6), not thread-safe, and their configurations, immutable.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pt2q/quantizer.h"

namespace pt2q {

// Configurations are made once: equal arguments return the same object.
ConfigPtr get_default_x86_inductor_quantization_config(bool is_qat = false, bool is_dynamic = false,
                                                       bool reduce_range = false);
// Linear weights rounded to float16, computed in float32.
ConfigPtr get_x86_inductor_linear_dynamic_fp16_config();
ConfigPtr get_default_xpu_inductor_quantization_config();
ConfigPtr get_default_arm_inductor_quantization_config(bool is_qat = false,
                                                       bool is_dynamic = false);
ConfigPtr get_symmetric_quantization_config(bool is_per_channel = false, bool is_qat = false,
                                            bool is_dynamic = false, int64_t act_qmin = -128,
                                            int64_t act_qmax = 127, int64_t weight_qmin = -127,
                                            int64_t weight_qmax = 127);
// Per-channel uint8 weights with float zero points, for aten.embedding.
ConfigPtr get_embedding_operators_config();

// What a quantizer can do: a configuration and the operator patterns it applies to. A pattern is a
// chain of operators, e.g. {"aten.conv2d.default", "aten.relu.default"}.
struct OperatorConfig {
  ConfigPtr config;
  std::vector<std::vector<std::string>> operators;
};

// One line per pattern: mode, operators, and dtype, range and scheme of input, output, weight,
// bias.
std::string capabilities_table(const std::vector<OperatorConfig>& capabilities);

// Removes the specs of every tensor that operators inside the named module (a path or a pattern as
// for get_module_name_filter) produce, and of what shares them; weights keep theirs. Warns when no
// operator lies inside. Meant for the end of annotate().
void leave_activations_float(GraphModule& model, const std::string& module_name);

struct InductorRecipe;  // which patterns are annotated (internal)

// A quantizer that annotates for oneDNN-style int8 kernels: convolution and linear with what can be
// fused behind them, then operators that keep int8 data as it is. Configurations by module name win
// over those by operator, and those over the global one; a null configuration means "leave in
// float".
class X86InductorQuantizer : public Quantizer {
 public:
  X86InductorQuantizer& set_global(ConfigPtr config);
  // Warns when none is set.
  ConfigPtr get_global_quantization_config() const;
  // "conv2d", "linear", "matmul", "mul", "cat" ...; an unknown name warns and changes nothing.
  // "scaled_dot_product_attention": written out, so that both products have quantized operands.
  X86InductorQuantizer& set_function_type_qconfig(const std::string& function, ConfigPtr config);
  // "Conv2d", "Linear", "MaxPool2d" ...
  X86InductorQuantizer& set_module_type_qconfig(const std::string& type, ConfigPtr config);
  // A path, or a pattern ("layer*.conv1"). With `activation_only` and a null configuration the
  // tensors made inside stay in float while weights are quantized as the other settings say.
  X86InductorQuantizer& set_module_name_qconfig(const std::string& path, ConfigPtr config,
                                                bool activation_only = false);

  void transform_for_annotation(GraphModule& model) override;
  void annotate(GraphModule& model) override;
  std::vector<OperatorConfig> quantization_capabilities() const;
  std::string class_name() const override { return "X86InductorQuantizer"; }

 protected:
  virtual const InductorRecipe& recipe() const;
  virtual std::vector<ConfigPtr> default_configs() const;

 private:
  bool must_skip(const ConfigPtr& config) const;
  void set_type_qconfig(const char* kind, const std::string& name, ConfigPtr config);

  ConfigPtr global_;
  std::vector<std::pair<std::string, ConfigPtr>> operator_type_;  // overload name, in order set
  std::vector<std::pair<std::string, ConfigPtr>> module_name_;
  std::vector<std::string> float_activations_;  // module names
};

class XPUInductorQuantizer : public X86InductorQuantizer {
 public:
  std::string class_name() const override { return "XPUInductorQuantizer"; }

 protected:
  const InductorRecipe& recipe() const override;
  std::vector<ConfigPtr> default_configs() const override;
};

class ArmInductorQuantizer : public X86InductorQuantizer {
 public:
  std::string class_name() const override { return "ArmInductorQuantizer"; }

 protected:
  const InductorRecipe& recipe() const override;
  std::vector<ConfigPtr> default_configs() const override;
};

// Symmetric int8 for XNNPACK-like backends: inputs and outputs of every supported operator.
class XNNPACKQuantizer : public Quantizer {
 public:
  XNNPACKQuantizer& set_global(ConfigPtr config);
  // An overload or packet name: "aten.conv2d.default", "aten.linear". Only patterns that hold this
  // operator are annotated with `config`.
  XNNPACKQuantizer& set_operator_type(const std::string& op, ConfigPtr config);
  // A module type: full name "pkg.mod.Sub", or its last part.
  XNNPACKQuantizer& set_module_type(const std::string& type, ConfigPtr config);
  // A path, or a pattern ("layer*.conv1"). With `activation_only` and a null configuration the
  // tensors made inside stay in float while weights are quantized as the other settings say; any
  // other null configuration is an AssertionError.
  XNNPACKQuantizer& set_module_name(const std::string& path, ConfigPtr config,
                                    bool activation_only = false);
  // Only nodes for which it holds are annotated.
  XNNPACKQuantizer& set_filter_function(std::function<bool(const Node*)> filter);

  void transform_for_annotation(GraphModule& model) override;
  void annotate(GraphModule& model) override;
  std::string class_name() const override { return "XNNPACKQuantizer"; }

  static std::vector<ConfigPtr> get_supported_quantization_configs();
  static std::vector<std::vector<std::string>> get_supported_operator_for_quantization_config(
      const ConfigPtr& config);
  static std::vector<OperatorConfig> get_supported_operators();
  std::vector<OperatorConfig> quantization_capabilities() const {
    return get_supported_operators();
  }

 private:
  ConfigPtr global_;
  std::vector<std::pair<std::string, ConfigPtr>> operator_type_;
  std::vector<std::pair<std::string, ConfigPtr>> module_type_;
  std::vector<std::pair<std::string, ConfigPtr>> module_name_;
  std::vector<std::string> float_activations_;  // module names
  std::function<bool(const Node*)> filter_;
};

// Per-channel uint8 weights of aten.embedding.
class EmbeddingQuantizer : public Quantizer {
 public:
  void annotate(GraphModule& model) override;
  std::string class_name() const override { return "EmbeddingQuantizer"; }
  static std::vector<ConfigPtr> get_supported_quantization_configs();
  static std::vector<std::vector<std::string>> get_supported_operator_for_quantization_config(
      const ConfigPtr& config);
  static std::vector<OperatorConfig> get_supported_operators();
  std::vector<OperatorConfig> quantization_capabilities() const {
    return get_supported_operators();
  }
};

// Runs several quantizers in order; none may change or remove annotations of an earlier one
// (RuntimeError).
class ComposableQuantizer : public Quantizer {
 public:
  explicit ComposableQuantizer(std::vector<std::shared_ptr<Quantizer>> quantizers)
      : quantizers_(std::move(quantizers)) {}
  const std::vector<std::shared_ptr<Quantizer>>& quantizers() const { return quantizers_; }

  void transform_for_annotation(GraphModule& model) override;
  void annotate(GraphModule& model) override;
  void validate(GraphModule& model) override;
  void prepare_obs_or_fq_callback(GraphModule& model, ObserverMap& map) override;
  std::string class_name() const override { return "ComposableQuantizer"; }

 private:
  std::vector<std::shared_ptr<Quantizer>> quantizers_;
};

}  // namespace pt2q
