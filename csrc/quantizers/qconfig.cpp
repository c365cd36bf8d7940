#include "pt2q/qconfig.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <unordered_set>

#include "base/strings.h"
#include "pt2q/error.h"
#include "quantizers/annotate.h"
#include "tensor/affine.h"

namespace pt2q {
namespace {

bool is_base(const Node* n, const std::vector<std::string>& names) {
  if (n->op_or_null() == nullptr || n->op().namespace_name() != "aten") return false;
  const std::string base = n->op().base_name();
  for (const std::string& name : names) {
    if (base == name) return true;
  }
  return false;
}

bool is_weighted(const Node* n) {
  return is_base(n, {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
                     "conv_transpose3d", "linear"});
}
bool has_own_range(const Node* n) {
  return is_base(n,
                 {"hardswish", "elu", "batch_norm", "layer_norm", "group_norm", "instance_norm"});
}
bool is_binary(const Node* n) {
  return is_base(n, {"add", "mul"}) && n->arg_node(0) != nullptr && n->arg_node(1) != nullptr;
}
bool is_relu(const Node* n) { return is_base(n, {"relu"}); }

// The relu that is fused behind `n`: its only user.
Node* relu_behind(const Node* n) {
  if (n->users().size() != 1 || !is_relu(n->users()[0])) return nullptr;
  return n->users()[0];
}
bool takes_relu(const Node* n) {
  return is_weighted(n) || is_binary(n) || is_base(n, {"batch_norm"});
}

// Operators whose result keeps their input's scale.
bool keeps_scale(const Node* n) {
  return n->op().namespace_name() == "aten" &&
         (n->op().quant.output == QuantFacts::Output::SharesInput || is_base(n, {"leaky_relu"}));
}

// The recipe makes its observer as it is: prepare adds no arguments of the spec.
SpecPtr spec_of(const ObserverCtr& recipe) {
  const auto observer = recipe();
  auto spec = std::make_shared<QuantizationSpec>();
  spec->dtype = observer->dtype();
  spec->observer_or_fake_quant_ctr = recipe;
  spec->observer_or_fake_quant_ctr.create = [recipe](const ObserverCtr&) { return recipe(); };
  spec->qscheme = observer->qscheme();
  spec->ch_axis = observer->ch_axis();
  spec->is_dynamic = observer->is_dynamic();
  return spec;
}

SpecPtr fixed_spec(const QuantFacts& facts, DType dtype) {
  auto spec = std::make_shared<FixedQParamsQuantizationSpec>();
  const bool is_signed = dtype == DType::QInt8 || dtype == DType::Int8;
  spec->dtype = is_signed ? DType::Int8 : DType::UInt8;
  spec->scale = facts.fixed_scale;
  spec->zero_point = facts.fixed_zero_point - (is_signed ? 128 : 0);
  spec->quant_min = is_signed ? -128 : 0;
  spec->quant_max = is_signed ? 127 : 255;
  spec->qscheme = QScheme::PerTensorAffine;
  return spec;
}

// The parameters of another value, without observing this one.
SpecPtr passed_on(const EdgeOrNode& from, DType dtype) {
  auto spec = std::make_shared<DerivedQuantizationSpec>();
  spec->derived_from = {from};
  spec->dtype = dtype;
  spec->qscheme = QScheme::PerTensorAffine;
  spec->derive_qparams_fn = [](const std::vector<std::shared_ptr<Observer>>& observers) {
    return observers.at(0)->calculate_qparams();
  };
  return spec;
}

// x + number and x * number: the integers stay as they are (or are mirrored) and the parameters
// change; where the zero point would leave the range, the scale grows.
QParams with_number(const QParams& x, bool add, double number, const QuantRange& range) {
  double scale = x.scale.to(DType::Float64).item();
  int64_t zero_point = x.zero_point.to(DType::Int64).item_int();
  if (add) {
    const auto moved = zero_point - static_cast<int64_t>(std::nearbyint(number / scale));
    const auto steps = static_cast<double>(range.max - range.min);
    zero_point = std::min(std::max(moved, range.min), range.max);
    if (moved < range.min) scale *= static_cast<double>(range.max - moved) / steps;
    if (moved > range.max) scale *= static_cast<double>(moved - range.min) / steps;
  } else if (number == 0) {
    scale = 1.0;
    zero_point = 0;
  } else {
    scale *= std::abs(number);
    if (number < 0) zero_point = range.max - (zero_point - range.min);
  }
  return {Tensor::full({1}, scale, DType::Float64),
          Tensor::full({1}, static_cast<double>(zero_point), DType::Int64)};
}

SpecPtr number_spec(Node* n, DType dtype) {
  auto spec = std::make_shared<DerivedQuantizationSpec>();
  spec->derived_from = {EdgeOrNode(n->arg_node(0))};
  spec->dtype = dtype;
  spec->qscheme = QScheme::PerTensorAffine;
  const bool is_signed = dtype == DType::QInt8 || dtype == DType::Int8;
  const QuantRange range = quant_bounds(is_signed ? DType::Int8 : DType::UInt8);
  const bool add = is_base(n, {"add"});
  const double number = n->arg(1).to_double();
  spec->derive_qparams_fn = [=](const std::vector<std::shared_ptr<Observer>>& observers) {
    return with_number(observers.at(0)->calculate_qparams(), add, number, range);
  };
  return spec;
}

bool takes_number(const Node* n) {
  if (!is_base(n, {"add", "mul"}) || n->arg_node(0) == nullptr) return false;
  const Value& other = n->arg(1);
  const bool scaled = is_base(n, {"add"}) && n->arg(2) != Value(1);
  return (other.is<double>() || other.is<int64_t>()) && !scaled;
}

}  // namespace

JitQuantizer::JitQuantizer(QConfigByPath configs, bool is_dynamic)
    : configs_(std::move(configs)), is_dynamic_(is_dynamic) {}

class JitQuantizer::Walk {
 public:
  Walk(GraphModule& model, const QConfigByPath& configs, bool is_dynamic)
      : model_(model), configs_(configs), is_dynamic_(is_dynamic) {}

  void run() {
    for (Node* n : model_.graph().nodes()) {
      if (n->op_or_null() == nullptr || !is_float_tensor(n)) continue;
      if (is_dynamic_) {
        annotate_dynamic(n);
      } else {
        annotate_static(n);
      }
    }
  }

 private:
  const QConfig* config_of(const Node* n) const {
    const std::string path =
        n->meta.nn_module_stack.empty() ? "" : n->meta.nn_module_stack.back().path;
    const std::optional<QConfig>* found = nullptr;
    size_t best = 0;
    for (const auto& [prefix, config] : configs_) {
      const bool inside = prefix.empty() || path == prefix || starts_with(path, prefix + ".");
      if (inside && (found == nullptr || prefix.size() >= best)) {
        found = &config;
        best = prefix.size();
      }
    }
    return found == nullptr || !found->has_value() ? nullptr : &**found;
  }

  void annotate_weight(Node* n, const QConfig& config) {
    Node* weight = n->arg_node(1);
    if (weight == nullptr) return;
    if (!n->meta.quantization_annotation) new_annotation(n);
    const auto known = weight_users_.find(weight);
    SpecPtr spec;
    if (known == weight_users_.end()) {
      spec = spec_of(config.weight);
      weight_users_[weight] = n;
    } else {
      spec = shared_with(EdgeOrNode(weight, known->second));
    }
    n->meta.quantization_annotation->set_input(weight, spec);
  }

  void annotate_dynamic(Node* n) {
    const QConfig* config = config_of(n);
    if (config == nullptr || !is_base(n, {"linear"})) return;
    new_annotation(n);
    n->meta.quantization_annotation->set_input(n->arg_node(0), spec_of(config->activation));
    annotate_weight(n, *config);
  }

  // `value` is observed where it is made, once.
  void observe(Node* value, const QConfig& config) {
    if (!quantized_.insert(value).second) return;
    const SpecPtr spec = spec_of(config.activation);
    dtypes_[value] = dynamic_cast<const QuantizationSpec&>(*spec).dtype;
    annotate_output_qspec(value, spec);
    mark_annotated(value);
  }

  void observe_result(Node* n, const QConfig& config) {
    Node* relu = takes_relu(n) ? relu_behind(n) : nullptr;
    observe(relu != nullptr ? relu : n, config);
    mark_annotated(n);
  }

  void annotate_static(Node* n) {
    if (quantized_.count(n) > 0) return;  // a relu behind another operator
    const QConfig* config = config_of(n);
    if (is_weighted(n) || has_own_range(n)) {
      if (config == nullptr || n->arg_node(0) == nullptr) return;
      observe(n->arg_node(0), *config);
      if (is_weighted(n)) annotate_weight(n, *config);
      observe_result(n, *config);
    } else if (is_binary(n)) {
      const bool both =
          quantized_.count(n->arg_node(0)) > 0 && quantized_.count(n->arg_node(1)) > 0;
      if (both && config != nullptr) observe_result(n, *config);
    } else if (is_base(n, {"cat"})) {
      if (config != nullptr && all_quantized(n->arg(0))) observe(n, *config);
    } else {
      pass_on(n);
    }
  }

  bool all_quantized(const Value& list) const {
    bool all = true;
    for_each_node(list, [&](const Node* item) {
      all = all && quantized_.count(const_cast<Node*>(item)) > 0;
    });
    return all;
  }

  void pass_on(Node* n) {
    Node* input = n->arg_node(0);
    if (input == nullptr || quantized_.count(input) == 0) return;
    const DType dtype = dtypes_[input];
    if (n->op().quant.output == QuantFacts::Output::Fixed) {
      annotate_output_qspec(n, fixed_spec(n->op().quant, dtype));
    } else if (takes_number(n)) {
      annotate_output_qspec(n, number_spec(n, dtype));
    } else if (keeps_scale(n)) {
      annotate_output_qspec(n, passed_on(input, dtype));
    } else {
      return;
    }
    mark_annotated(n);
    quantized_.insert(n);
    dtypes_[n] = dtype;
  }

  GraphModule& model_;
  const QConfigByPath& configs_;
  const bool is_dynamic_;
  std::unordered_set<Node*> quantized_;
  std::unordered_map<const Node*, DType> dtypes_;
  std::unordered_map<const Node*, Node*> weight_users_;
};

void JitQuantizer::annotate(GraphModule& model) { Walk(model, configs_, is_dynamic_).run(); }

}  // namespace pt2q
