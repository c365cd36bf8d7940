#include "pt2q/quantconf.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/strings.h"
#include "kernels/observe.h"
#include "pt2q/error.h"
#include "quantizers/quantconf.h"
#include "tensor/qparams.h"

namespace pt2q {

bool is_recorded_name(const std::string& name) {
  static const std::vector<std::string> kNames = {
      "conv1d",  "conv2d",  "conv3d",  "linear",  "matmul", "bmm",        "add",
      "add_",    "relu",    "relu_",   "sigmoid", "gelu",   "max_pool2d", "adaptive_avg_pool2d",
      "flatten", "dropout", "dropout_"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

namespace {

constexpr int kInt8Min = -128;
constexpr int kInt8Max = 127;
constexpr float kInf = std::numeric_limits<float>::infinity();

bool is_float(const Value& v) {
  return v.is<Tensor>() && v.as<Tensor>().defined() && is_floating_point(v.as<Tensor>().dtype());
}

bool is_in_place(const std::string& name) { return name.back() == '_'; }
bool is_dropout(const std::string& name) { return starts_with(name, "dropout"); }
bool is_compute(const std::string& name) {
  return name == "conv1d" || name == "conv2d" || name == "conv3d" || name == "linear";
}
bool is_pool(const std::string& name) {
  return name == "max_pool2d" || name == "adaptive_avg_pool2d";
}

void widen(std::pair<float, float>* range, const Tensor& t) {
  const Tensor x = t.to(DType::Float32).contiguous();
  const float* p = x.data<float>();
  const MinMax seen = min_max(p, x.numel());
  if (!seen.has_nan) {
    range->first = std::min(range->first, seen.min);
    range->second = std::max(range->second, seen.max);
    return;
  }
  for (int64_t i = 0; i < x.numel(); ++i) {  // NaN compares false: the numbers count
    range->first = std::min(range->first, p[i]);
    range->second = std::max(range->second, p[i]);
  }
}

// (-m, m): symmetric ranges give scale m / 127 and zero point 0.
ScaleZeroPoint symmetric(float low, float high) {
  const float m = std::max(std::abs(low), std::abs(high));
  return fbgemm_qparams(-m, m, kInt8Min, kInt8Max, true);
}

ScaleZeroPoint qparams(const std::pair<float, float>& range, QScheme scheme) {
  if (range.first > range.second) return {1.0, 0.0};  // nothing was seen
  if (is_symmetric(scheme)) return symmetric(range.first, range.second);
  return fbgemm_qparams(range.first, range.second, 0, 255, false);
}

double as_float(double v) { return static_cast<double>(static_cast<float>(v)); }

std::vector<double> channel_scales(const Tensor& weight) {
  const Tensor w = weight.to(DType::Float32).contiguous();
  const int64_t channels = w.size(0);
  const int64_t inner = channels == 0 ? 0 : w.numel() / channels;
  std::vector<double> scales;
  for (int64_t c = 0; c < channels; ++c) {
    std::pair<float, float> range = {kInf, -kInf};
    widen(&range, w.select(0, c));
    scales.push_back(inner == 0 ? 1.0 : as_float(symmetric(range.first, range.second).scale));
  }
  return scales;
}

}  // namespace

QuantConf::QuantConf(QScheme qscheme) : qscheme_(qscheme) {
  if (qscheme != QScheme::PerTensorAffine && qscheme != QScheme::PerTensorSymmetric) {
    throw AssertionError(
        cat("qscheme is only support torch.per_tensor_affine and torch.per_tensor_symmetric now, "
            "got ",
            qscheme_name(qscheme)));
  }
}

// --- recording
// -------------------------------------------------------------------------------------

QuantConfRecorder::QuantConfRecorder(QuantConf& conf, bool default_recipe)
    : conf_(conf), default_recipe_(default_recipe) {
  // Entries that were read from a file, or saved, have no ranges: they are found anew.
  if (conf_.observed_.size() != conf_.entries_.size()) conf_.entries_.clear();
  if (conf_.entries_.empty()) conf_.observed_.clear();
}

std::string QuantConfRecorder::flow_of(const Tensor& tensor) const {
  const auto it = producers_.find(tensor.id());
  return it == producers_.end() ? "" : it->second.flow;
}

std::vector<size_t> recorded_inputs(const OpDef& op) {
  if (op.quant.activations.empty()) return {0};  // dropout, flatten
  std::vector<size_t> out;
  for (const int i : op.quant.activations) out.push_back(static_cast<size_t>(i));
  return out;
}

void QuantConfRecorder::add_entry(const OpDef& op, const std::vector<Tensor>& inputs,
                                  const Value& weight) {
  QuantConfEntry e;
  e.id = static_cast<int64_t>(conf_.entries_.size());
  e.name = op.base_name();
  QuantConf::Observed seen;
  seen.in_place = is_in_place(e.name);
  seen.inputs.assign(inputs.size(), {kInf, -kInf});
  seen.outputs.assign(1, {kInf, -kInf});
  for (size_t i = 0; i < inputs.size(); ++i) {
    seen.producers.push_back(flow_of(inputs[i]));
    const std::string& from = seen.producers.back();
    e.inputs_flow.push_back(from.empty() ? cat(e.name, e.id, ".input", i) : from);
  }
  e.outputs_flow = {cat(e.name, e.id, ".output0")};
  if (is_float(weight)) e.weight_scales = {channel_scales(weight.as<Tensor>())};
  conf_.entries_.push_back(std::move(e));
  conf_.observed_.push_back(std::move(seen));
}

void QuantConfRecorder::called(const OpDef& op, const std::vector<Value>& args,
                               const Value& result) {
  const std::string name = op.base_name();
  if (name == "batch_norm" && is_float(result)) {  // folded later: transparent
    const std::string from = flow_of(args[0].as<Tensor>());
    const Tensor& out = result.as<Tensor>();
    if (!from.empty()) producers_[out.id()] = {out, from};
    return;
  }
  if (!is_recorded_name(name) || !is_float(result)) return;
  std::vector<Tensor> inputs;
  for (const size_t i : recorded_inputs(op)) {
    if (!is_float(args.at(i))) return;  // a number: x + 1
    inputs.push_back(args[i].as<Tensor>());
  }
  const bool has_weight = op.quant.weight >= 0 && name != "batch_norm";
  const Value weight = has_weight ? args.at(static_cast<size_t>(op.quant.weight)) : Value();
  if (next_ == conf_.entries_.size()) add_entry(op, inputs, weight);
  const QuantConfEntry& e = conf_.entries_[next_];
  if (e.name != name) {
    throw ValueError(cat("calibration: call ", next_, " of this forward pass is '", name,
                         "', but it was '", e.name, "' in an earlier one"),
                     "the order of operators must not depend on the data");
  }
  auto& seen = conf_.observed_[next_];
  const Tensor& out = result.as<Tensor>();
  if (!seen.in_place) {
    for (size_t i = 0; i < inputs.size(); ++i) widen(&seen.inputs[i], inputs[i]);
    widen(&seen.outputs[0], is_pool(name) ? inputs[0] : out);
  }
  producers_[out.id()] = {out, e.outputs_flow[0]};
  ++next_;
}

void QuantConfRecorder::end_forward() {
  next_ = 0;
  producers_.clear();
}

// --- the default recipe
// ----------------------------------------------------------------------------

namespace {

class Recipe {
 public:
  explicit Recipe(std::vector<QuantConfEntry>& entries) : entries_(entries) {
    for (size_t i = 0; i < entries_.size(); ++i) by_output_[entries_[i].outputs_flow[0]] = i;
  }

  void apply() {
    for (size_t i = 0; i < entries_.size(); ++i) {
      QuantConfEntry& cur = entries_[i];
      release_producers(i);
      if (cur.name == "relu" || cur.name == "sigmoid" || cur.name == "gelu") {
        const QuantConfEntry* from = producer(i, 0);
        if (from != nullptr && (is_compute(from->name) || from->name == "add")) {
          cur.inputs_quantized[0] = false;
        }
      }
      if (cur.name == "add") choose_add_inputs(i);
      if (cur.name == "flatten") copy_pool_parameters(i);
      copy_flatten_parameters(i);
    }
    for (QuantConfEntry& e : entries_) {
      if ((e.name == "add" || e.name == "matmul" || is_compute(e.name)) && e.outputs_quantized[0]) {
        e.outputs_quantized[0] = false;
      }
      if (e.name == "flatten" && e.inputs_quantized[0] && e.outputs_quantized[0]) {
        e.inputs_quantized[0] = e.outputs_quantized[0] = false;
      }
    }
  }

 private:
  QuantConfEntry* producer(size_t i, size_t input) {
    const auto it = by_output_.find(entries_[i].inputs_flow[input]);
    return it == by_output_.end() || it->second >= i ? nullptr : &entries_[it->second];
  }

  // What a later operator quantizes itself need not leave its producer quantized.
  void release_producers(size_t i) {
    const QuantConfEntry& cur = entries_[i];
    for (size_t k = 0; k < cur.inputs_flow.size(); ++k) {
      QuantConfEntry* from = producer(i, k);
      if (from == nullptr || is_in_place(from->name) || is_dropout(from->name)) continue;
      if (is_in_place(cur.name) && !is_compute(from->name)) continue;
      from->outputs_quantized[0] = false;
    }
  }

  // One convolution or linear operand stays float, so that the addition joins it; without any, the
  // addition runs in float.
  void choose_add_inputs(size_t i) {
    QuantConfEntry& cur = entries_[i];
    for (size_t k = 0; k < cur.inputs_flow.size(); ++k) {
      const QuantConfEntry* from = producer(i, k);
      if (from == nullptr || !is_compute(from->name)) continue;
      cur.inputs_quantized[k] = false;
      return;
    }
    std::fill(cur.inputs_quantized.begin(), cur.inputs_quantized.end(), false);
  }

  void copy_pool_parameters(size_t i) {
    QuantConfEntry& cur = entries_[i];
    const QuantConfEntry* pool = producer(i, 0);
    if (pool == nullptr || !is_pool(pool->name)) return;
    cur.input_scales = cur.output_scales = pool->output_scales;
    cur.input_zero_points = cur.output_zero_points = pool->output_zero_points;
  }

  void copy_flatten_parameters(size_t i) {
    QuantConfEntry& cur = entries_[i];
    for (size_t k = 0; k < cur.inputs_flow.size(); ++k) {
      const QuantConfEntry* from = producer(i, k);
      if (from == nullptr || from->name != "flatten") continue;
      cur.input_scales[k] = from->output_scales[0];
      cur.input_zero_points[k] = from->output_zero_points[0];
    }
  }

  std::vector<QuantConfEntry>& entries_;
  std::map<std::string, size_t> by_output_;
};

}  // namespace

void QuantConfRecorder::finish() {
  end_forward();
  const std::string dtype = is_symmetric(conf_.qscheme_) ? "int8" : "uint8";
  for (size_t i = 0; i < conf_.entries_.size(); ++i) {
    QuantConfEntry& e = conf_.entries_[i];
    const auto& seen = conf_.observed_[i];
    const auto fill = [&](const auto& ranges, auto* scales, auto* zero_points, auto* dtypes,
                          std::vector<bool>* quantized) {
      scales->clear();
      zero_points->clear();
      for (const auto& range : ranges) {
        const ScaleZeroPoint q = qparams(range, conf_.qscheme_);
        scales->push_back(as_float(q.scale));
        zero_points->push_back(static_cast<int64_t>(q.zero_point));
      }
      dtypes->assign(ranges.size(), dtype);
      quantized->assign(ranges.size(), !seen.in_place);
    };
    fill(seen.inputs, &e.input_scales, &e.input_zero_points, &e.input_quantized_dtypes,
         &e.inputs_quantized);
    fill(seen.outputs, &e.output_scales, &e.output_zero_points, &e.output_quantized_dtypes,
         &e.outputs_quantized);
    if (is_dropout(e.name)) e.outputs_quantized[0] = e.inputs_quantized[0] = false;
  }
  if (default_recipe_) Recipe(conf_.entries_).apply();
}

// --- checks
// ----------------------------------------------------------------------------------------

namespace {

class EntryCheck {
 public:
  EntryCheck(const QuantConfEntry& entry, const std::string& source)
      : e_(entry), where_(cat(source, ": entry ", entry.id, " ('", entry.name, "'): ")) {}

  void run() const {
    side("input", e_.input_scales, e_.input_zero_points, e_.input_quantized_dtypes,
         e_.inputs_quantized.size(), e_.inputs_flow.size());
    side("output", e_.output_scales, e_.output_zero_points, e_.output_quantized_dtypes,
         e_.outputs_quantized.size(), e_.outputs_flow.size());
    if (e_.algorithm != "min_max")
      fail(cat("'algorithm' must be min_max, got '", e_.algorithm, "'"));
    if (e_.weight_granularity != "per_channel" && e_.weight_granularity != "per_tensor") {
      fail(cat("'weight_granularity' must be per_channel or per_tensor, got '",
               e_.weight_granularity, "'"));
    }
    for (const auto& scales : e_.weight_scales) positive("weight_scales", scales);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw ValueError(where_ + what); }

  void positive(const std::string& member, const std::vector<double>& scales) const {
    for (const double s : scales) {
      if (!(s > 0) || !std::isfinite(s)) {
        fail(cat("'", member, "' must hold positive numbers, got ", double_to_string(s)));
      }
    }
  }

  void side(const std::string& side, const std::vector<double>& scales,
            const std::vector<int64_t>& zero_points, const std::vector<std::string>& dtypes,
            size_t flags, size_t flows) const {
    const size_t n = scales.size();
    if (zero_points.size() != n || dtypes.size() != n || flags != n || flows != n) {
      fail(cat("'", side, "_scales', '", side, "_zero_points', '", side, "_quantized_dtypes', '",
               side, "s_quantized' and '", side, "s_flow' must have the same number of items, got ",
               n, ", ", zero_points.size(), ", ", dtypes.size(), ", ", flags, " and ", flows));
    }
    positive(side + "_scales", scales);
    for (size_t i = 0; i < n; ++i) {
      if (dtypes[i] != "uint8" && dtypes[i] != "int8") {
        fail(cat("'", side, "_quantized_dtypes' must be uint8 or int8, got '", dtypes[i], "'"));
      }
      const int64_t low = dtypes[i] == "uint8" ? 0 : kInt8Min;
      const int64_t high = dtypes[i] == "uint8" ? 255 : kInt8Max;
      if (zero_points[i] < low || zero_points[i] > high) {
        fail(cat("'", side, "_zero_points' of ", dtypes[i], " must be from ", low, " to ", high,
                 ", got ", zero_points[i]));
      }
    }
  }

  const QuantConfEntry& e_;
  const std::string where_;
};

}  // namespace

void QuantConf::check(const std::string& source) const {
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].id != static_cast<int64_t>(i)) {
      throw ValueError(cat(source, ": entry ", i, " ('", entries_[i].name, "'): 'id' must be ", i,
                           ", got ", entries_[i].id),
                       "entries stand in the order of the model's calls");
    }
    EntryCheck(entries_[i], source).run();
  }
}

}  // namespace pt2q
