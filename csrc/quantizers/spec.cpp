// Specs, annotations and the helpers quantizers are written with.
#include <fnmatch.h>

#include <algorithm>
#include <typeinfo>

#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/quantizer.h"

namespace pt2q {
namespace {

template <typename T>
std::string optional_text(const std::optional<T>& v) {
  return v ? cat(*v) : "None";
}

std::string scheme_text(const std::optional<QScheme>& scheme) {
  return scheme ? qscheme_name(*scheme) : "None";
}

const char* bool_text(bool v) { return v ? "True" : "False"; }

template <typename Spec>
std::string range_text(const Spec& s) {
  return cat("quant_min=", optional_text(s.quant_min), ", quant_max=", optional_text(s.quant_max),
             ", qscheme=", scheme_text(s.qscheme));
}

}  // namespace

std::string describe(const EdgeOrNode& e) {
  const auto name = [](const Node* n) { return n == nullptr ? std::string("None") : n->name(); };
  return e.is_edge() ? "(" + name(e.producer) + ", " + name(e.consumer) + ")" : name(e.producer);
}

void QuantizationSpec::check() const {
  if (quant_min && quant_max && *quant_min > *quant_max) {
    throw ValueError(cat("quant_min ", *quant_min, " must be <= quant_max ", *quant_max, "."));
  }
  if (ch_axis && *ch_axis < 0) throw ValueError("Ch_axis is < 0.");
}

std::string QuantizationSpec::to_string() const {
  return cat("QuantizationSpec(dtype=", dtype_name(dtype),
             ", observer_or_fake_quant_ctr=", observer_or_fake_quant_ctr.to_string(), ", ",
             range_text(*this), ", ch_axis=", optional_text(ch_axis),
             ", is_dynamic=", bool_text(is_dynamic), ")");
}

std::string FixedQParamsQuantizationSpec::to_string() const {
  return cat("FixedQParamsQuantizationSpec(dtype=", dtype_name(dtype),
             ", scale=", double_to_string(scale), ", zero_point=", zero_point, ", ",
             range_text(*this), ", is_dynamic=", bool_text(is_dynamic), ")");
}

std::string SharedQuantizationSpec::to_string() const {
  return cat("SharedQuantizationSpec(edge_or_node=", describe(edge_or_node), ")");
}

std::string DerivedQuantizationSpec::to_string() const {
  std::vector<std::string> from;
  for (const EdgeOrNode& e : derived_from) from.push_back(describe(e));
  return cat("DerivedQuantizationSpec(derived_from=[", join(from, ", "),
             "], dtype=", dtype_name(dtype), ", ", range_text(*this),
             ", ch_axis=", optional_text(ch_axis), ", is_dynamic=", bool_text(is_dynamic), ")");
}

bool operator==(const QuantizationSpec& a, const QuantizationSpec& b) {
  return a.dtype == b.dtype && a.observer_or_fake_quant_ctr == b.observer_or_fake_quant_ctr &&
         a.quant_min == b.quant_min && a.quant_max == b.quant_max && a.qscheme == b.qscheme &&
         a.ch_axis == b.ch_axis && a.is_dynamic == b.is_dynamic;
}

bool specs_equal(const SpecPtr& a, const SpecPtr& b) {
  if (a == b) return true;
  if (!a || !b || typeid(*a) != typeid(*b)) return false;
  if (const auto* x = dynamic_cast<const QuantizationSpec*>(a.get())) {
    return *x == dynamic_cast<const QuantizationSpec&>(*b);
  }
  if (const auto* x = dynamic_cast<const FixedQParamsQuantizationSpec*>(a.get())) {
    const auto& y = dynamic_cast<const FixedQParamsQuantizationSpec&>(*b);
    return x->dtype == y.dtype && x->scale == y.scale && x->zero_point == y.zero_point &&
           x->quant_min == y.quant_min && x->quant_max == y.quant_max && x->qscheme == y.qscheme &&
           x->is_dynamic == y.is_dynamic;
  }
  if (const auto* x = dynamic_cast<const SharedQuantizationSpec*>(a.get())) {
    return x->edge_or_node == dynamic_cast<const SharedQuantizationSpec&>(*b).edge_or_node;
  }
  return false;
}

bool operator==(const QuantizationConfig& a, const QuantizationConfig& b) {
  return specs_equal(a.input_activation, b.input_activation) &&
         specs_equal(a.output_activation, b.output_activation) && specs_equal(a.weight, b.weight) &&
         specs_equal(a.bias, b.bias) && a.is_qat == b.is_qat;
}

// --- annotations ---------------------------------------------------------------------------------

const SpecPtr* QuantizationAnnotation::find_input(const Node* node) const {
  for (const auto& [key, spec] : input_qspec_map) {
    if (key == node) return &spec;
  }
  return nullptr;
}

void QuantizationAnnotation::set_input(Node* node, SpecPtr spec) {
  for (auto& entry : input_qspec_map) {
    if (entry.first == node) {
      entry.second = std::move(spec);
      return;
    }
  }
  input_qspec_map.emplace_back(node, std::move(spec));
}

namespace {
QuantizationAnnotation& annotation_of(Node* node) {
  auto& annotation = node->meta.quantization_annotation;
  if (!annotation) annotation = std::make_shared<QuantizationAnnotation>();
  return *annotation;
}
}  // namespace

void annotate_input_qspec_map(Node* node, Node* input, SpecPtr spec) {
  annotation_of(node).set_input(input, std::move(spec));
}

void annotate_output_qspec(Node* node, SpecPtr spec) {
  annotation_of(node).output_qspec = std::move(spec);
}

bool is_valid_annotation(const QuantizationAnnotation* annotation) {
  return annotation != nullptr &&
         (!annotation->input_qspec_map.empty() || annotation->output_qspec != nullptr);
}

std::function<bool(const Node*)> get_module_name_filter(const std::string& module_name) {
  const bool pattern = module_name.find_first_of("*?[") != std::string::npos;
  return [module_name, pattern](const Node* node) {
    const auto& stack = node->meta.nn_module_stack;
    return std::any_of(stack.begin(), stack.end(), [&](const ModuleStackEntry& entry) {
      static const std::string kOldPrefix = "L['self'].";
      const std::string path =
          starts_with(entry.path, kOldPrefix) ? entry.path.substr(kOldPrefix.size()) : entry.path;
      if (path == module_name || entry.path == module_name) return true;
      return pattern && !path.empty() && fnmatch(module_name.c_str(), path.c_str(), 0) == 0;
    });
  };
}

// --- configurations ------------------------------------------------------------------------------

namespace {

SpecPtr checked_activation(const SpecPtr& spec) {
  const auto* q = dynamic_cast<const QuantizationSpec*>(spec.get());
  if (q != nullptr && q->qscheme != QScheme::PerTensorAffine &&
      q->qscheme != QScheme::PerTensorSymmetric) {
    throw AssertionError(cat("activations need a per-tensor scheme, got ", q->to_string()),
                         "use per_tensor_affine or per_tensor_symmetric");
  }
  return spec;
}

}  // namespace

SpecPtr get_input_act_qspec(const QuantizationConfig* config) {
  return config == nullptr ? nullptr : checked_activation(config->input_activation);
}

SpecPtr get_output_act_qspec(const QuantizationConfig* config) {
  return config == nullptr ? nullptr : checked_activation(config->output_activation);
}

SpecPtr get_weight_qspec(const QuantizationConfig* config) {
  if (config == nullptr) return nullptr;
  const auto* q = dynamic_cast<const QuantizationSpec*>(config->weight.get());
  if (q != nullptr && q->qscheme && q->qscheme != QScheme::PerTensorSymmetric &&
      q->qscheme != QScheme::PerChannelSymmetric) {
    throw ValueError(cat("Unsupported quantization_spec ", q->to_string(), " for weight"),
                     "weights are quantized symmetrically, per tensor or per channel");
  }
  return config->weight;
}

SpecPtr get_bias_qspec(const QuantizationConfig* config) {
  if (config == nullptr) return nullptr;
  const auto* q = dynamic_cast<const QuantizationSpec*>(config->bias.get());
  if (q != nullptr && q->dtype != DType::Float32) {
    throw AssertionError("Only float dtype for bias is supported for bias right now");
  }
  return config->bias;
}

}  // namespace pt2q
