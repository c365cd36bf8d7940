// Conversion by a QuantConf: annotations from its entries for the one prepare and convert.
#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "passes/pt2e_passes.h"
#include "pt2q/error.h"
#include "pt2q/pt2e.h"
#include "pt2q/quantconf.h"
#include "quantizers/annotate.h"
#include "quantizers/quantconf.h"
#include "tensor/affine.h"

namespace pt2q {
namespace {

constexpr const char* kEntryKey = "quantconf_entry";

std::string entry_text(const QuantConfEntry& e) {
  return cat("configuration entry ", e.id, " ('", e.name, "')");
}

std::string called_name(const Node* n) {
  const std::string base = n->op().base_name();
  const std::string& source = n->meta.source_fn;
  return source == base + "_" ? source : base;
}

bool is_recorded(const Node* n) {
  if (n->op_or_null() == nullptr || !is_recorded_name(called_name(n)) || !is_float_tensor(n)) {
    return false;
  }
  const auto inputs = recorded_inputs(n->op());
  return std::all_of(inputs.begin(), inputs.end(), [&](size_t i) {
    return n->arg_node(i) != nullptr && is_float_tensor(n->arg_node(i));
  });
}

// Marks every recorded operator with the position of its entry.
void match_entries(GraphModule& model, const QuantConf& conf) {
  const auto& entries = conf.entries();
  size_t next = 0;
  for (Node* n : model.graph().nodes()) {
    if (!is_recorded(n)) continue;
    const std::string name = called_name(n);
    if (next == entries.size()) {
      throw ValueError(cat("the configuration has ", entries.size(),
                           " entries, but the model goes on with '", name, "'"),
                       "calibrate this model again")
          .at_node(n->name());
    }
    if (entries[next].name != name) {
      throw ValueError(cat(entry_text(entries[next]), ": the model calls '", name, "' there"),
                       "calibrate this model again")
          .at_node(n->name());
    }
    n->meta.custom[kEntryKey] = Value(static_cast<int64_t>(next++));
  }
  if (next < entries.size()) {
    throw ValueError(cat(entry_text(entries[next]), ": the model has no such call; it has only ",
                         next, " recorded operators"),
                     "calibrate this model again");
  }
}

const QuantConfEntry* entry_of(const Node* n, const QuantConf& conf) {
  const auto it = n->meta.custom.find(kEntryKey);
  return it == n->meta.custom.end()
             ? nullptr
             : &conf.entries()[static_cast<size_t>(it->second.as<int64_t>())];
}

SpecPtr activation_spec(const std::string& dtype, double scale, int64_t zero_point) {
  auto spec = std::make_shared<FixedQParamsQuantizationSpec>();
  spec->dtype = dtype == "int8" ? DType::Int8 : DType::UInt8;
  const QuantRange range = quant_bounds(spec->dtype);
  spec->scale = scale;
  spec->zero_point = zero_point;
  spec->quant_min = range.min;
  spec->quant_max = range.max;
  spec->qscheme = QScheme::PerTensorAffine;
  return spec;
}

// int8 with the scales of the file.
SpecPtr weight_spec(const std::vector<double>& scales, bool per_channel, int64_t axis) {
  auto spec = std::make_shared<DerivedQuantizationSpec>();
  spec->dtype = DType::Int8;
  spec->quant_min = -128;
  spec->quant_max = 127;
  spec->qscheme = per_channel ? QScheme::PerChannelSymmetric : QScheme::PerTensorSymmetric;
  if (per_channel) spec->ch_axis = axis;
  std::vector<float> values(scales.begin(), scales.end());
  const auto n = static_cast<int64_t>(values.size());
  const QParams qparams = {Tensor::from_vector(values, {n}), Tensor::zeros({n}, DType::Int64)};
  spec->derive_qparams_fn = [qparams](const std::vector<std::shared_ptr<Observer>>&) {
    return qparams;
  };
  return spec;
}

class QuantConfQuantizer : public Quantizer {
 public:
  QuantConfQuantizer(const QuantConf& conf, std::map<const Node*, std::vector<double>> factors)
      : conf_(conf), factors_(std::move(factors)) {}

  void annotate(GraphModule& model) override {
    for (Node* n : model.graph().nodes()) {
      if (const QuantConfEntry* e = entry_of(n, conf_)) annotate_entry(model, n, *e);
    }
  }
  std::string class_name() const override { return "QuantConfQuantizer"; }

 private:
  void annotate_entry(const GraphModule& model, Node* n, const QuantConfEntry& e) const {
    auto& annotation = new_annotation(n);
    const auto inputs = recorded_inputs(n->op());
    if (inputs.size() != e.input_scales.size() || e.output_scales.size() != 1) {
      throw ValueError(cat(entry_text(e), ": the operator has ", inputs.size(),
                           " activation inputs and one output, the entry ", e.input_scales.size(),
                           " and ", e.output_scales.size()));
    }
    bool any = false;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!e.inputs_quantized[i]) continue;
      any = true;
      annotation.set_input(
          n->arg_node(inputs[i]),
          activation_spec(e.input_quantized_dtypes[i], e.input_scales[i], e.input_zero_points[i]));
    }
    const int weight = n->op().quant.weight;
    if (any && weight >= 0) annotate_weight(model, n, e, n->arg_node(static_cast<size_t>(weight)));
    if (e.outputs_quantized[0]) {
      annotation.output_qspec = activation_spec(e.output_quantized_dtypes[0], e.output_scales[0],
                                                e.output_zero_points[0]);
    }
  }

  void annotate_weight(const GraphModule& model, Node* n, const QuantConfEntry& e,
                       Node* weight) const {
    const int64_t axis = n->op().quant.weight_channel_axis;
    if (weight == nullptr || weight->opcode() != OpCode::GetAttr) return;
    const int64_t channels = model.attr_of(*weight).size(axis);
    if (e.weight_scales.size() != 1 ||
        (e.weight_scales[0].size() != static_cast<size_t>(channels) &&
         (e.weight_granularity == "per_channel" || e.weight_scales[0].empty()))) {
      throw ValueError(cat(entry_text(e), ": 'weight_scales' must hold one list of ", channels,
                           " numbers, one per output channel"));
    }
    std::vector<double> scales = e.weight_scales[0];
    const auto folded = factors_.find(n);
    for (size_t c = 0; folded != factors_.end() && c < scales.size(); ++c) {
      scales[c] *= folded->second[std::min(c, folded->second.size() - 1)];
    }
    const bool per_channel = e.weight_granularity == "per_channel";
    if (!per_channel) scales = {*std::max_element(scales.begin(), scales.end())};
    n->meta.quantization_annotation->set_input(weight, weight_spec(scales, per_channel, axis));
  }

  const QuantConf& conf_;
  const std::map<const Node*, std::vector<double>> factors_;
};

std::vector<double> largest_per_channel(const Tensor& weight, int64_t axis) {
  std::vector<double> out;
  for (int64_t c = 0; c < weight.size(axis); ++c) {
    const Tensor w = weight.select(axis, c).to(DType::Float32).contiguous();
    double m = 0;
    for (int64_t i = 0; i < w.numel(); ++i) {
      m = std::max(m, static_cast<double>(std::abs(w.data<float>()[i])));
    }
    out.push_back(m);
  }
  return out;
}

// Folds batch norms and returns, per operator, by how much each channel's weights grew: the scales
// of the file are those of the weights before.
std::map<const Node*, std::vector<double>> fold_batch_norms(GraphModule& model) {
  std::map<const Node*, std::vector<double>> largest;
  const auto weight_of = [&](const Node* n) -> const Node* {
    const int at = n->op_or_null() == nullptr || n->meta.custom.count(kEntryKey) == 0
                       ? -1
                       : n->op().quant.weight;
    const Node* w = at < 0 ? nullptr : n->arg_node(static_cast<size_t>(at));
    return w != nullptr && w->opcode() == OpCode::GetAttr ? w : nullptr;
  };
  const auto measure = [&](const Node* n) {
    return largest_per_channel(model.attr_of(*weight_of(n)), n->op().quant.weight_channel_axis);
  };
  for (const Node* n : model.graph().nodes()) {
    if (weight_of(n) != nullptr) largest[n] = measure(n);
  }
  if (!fold_conv_bn(model)) return {};
  for (auto& [n, before] : largest) {
    const std::vector<double> after = measure(n);
    for (size_t c = 0; c < before.size(); ++c) {
      before[c] = before[c] > 0 && after[c] > 0 ? after[c] / before[c] : 1.0;
    }
  }
  return largest;
}

}  // namespace

void quantize_with(GraphModule& model, const QuantConf& conf) {
  if (conf.entries().empty()) {
    throw AssertionError("the configuration has no entries: calibrate the model first",
                         "run it inside `with calibrate(conf):`, or load a saved file");
  }
  conf.check("configuration");
  match_entries(model, conf);
  QuantConfQuantizer quantizer(conf, fold_batch_norms(model));
  prepare_pt2e(model, quantizer);
  convert_pt2e(model);
}

}  // namespace pt2q
