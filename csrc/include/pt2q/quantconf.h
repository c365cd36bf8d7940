// Quantization by a configuration file, as Intel Extension for PyTorch's QuantConf: calibrate while
// the model runs as it is, save what was found as JSON, edit it, and convert by it.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pt2q/call_listener.h"
#include "pt2q/graph_module.h"
#include "pt2q/qscheme.h"

namespace pt2q {

// One operator call of the model, in the words of the JSON file. Lists hold one item per activation
// input (or output); weight_scales holds a list of channel scales per weight.
struct QuantConfEntry {
  int64_t id = 0;
  std::string name;  // "conv2d", "relu_"
  std::string algorithm = "min_max";
  std::string weight_granularity = "per_channel";  // or "per_tensor"
  std::vector<double> input_scales;
  std::vector<int64_t> input_zero_points;
  std::vector<double> output_scales;
  std::vector<int64_t> output_zero_points;
  std::vector<std::vector<double>> weight_scales;
  std::vector<std::string> input_quantized_dtypes;  // "uint8" or "int8"
  std::vector<std::string> output_quantized_dtypes;
  std::vector<bool> inputs_quantized;
  std::vector<bool> outputs_quantized;
  std::vector<std::string> inputs_flow;  // "conv2d0.input0", or the output it comes from
  std::vector<std::string> outputs_flow;
  std::string
      unknown;  // members of the file that are not known: JSON text, written back as they are
};

// Not thread-safe; calibration may run on several threads, each with a conf of its own.
class QuantConf {
 public:
  // per_tensor_affine (uint8) or per_tensor_symmetric (int8); AssertionError otherwise.
  explicit QuantConf(QScheme qscheme = QScheme::PerTensorAffine);
  // Reads a file. Throws AssertionError for a missing or empty one, ValueError that names the entry
  // and the member for bad content.
  static QuantConf load(const std::string& path);
  // Writes the entries (the old file stays intact until the new one is complete) and forgets the
  // observed ranges, so that the next calibration starts afresh. RuntimeError without entries.
  void save(const std::string& path);

  QScheme qscheme() const { return qscheme_; }
  const std::vector<QuantConfEntry>& entries() const { return entries_; }
  std::vector<QuantConfEntry>& entries() { return entries_; }
  // Throws ValueError naming the entry for lists that do not fit together or values out of range.
  void check(const std::string& source) const;

 private:
  friend class QuantConfRecorder;
  using Range = std::pair<float, float>;  // smallest and largest value seen
  struct Observed {
    std::vector<Range> inputs;
    std::vector<Range> outputs;
    bool in_place = false;
    std::vector<std::string> producers;  // outputs_flow of the producers, "" where there is none
  };
  QScheme qscheme_;
  std::vector<QuantConfEntry> entries_;
  std::vector<Observed> observed_;  // one per entry while calibrating
};

// While active (CallListener::Scope), records every quantizable operator this thread runs into
// `conf`. The order of calls gives the ids; each forward pass starts again at 0.
class QuantConfRecorder : public CallListener {
 public:
  // default_recipe: afterwards switch off quantization where it would not pay or would cut a
  // fusion.
  explicit QuantConfRecorder(QuantConf& conf, bool default_recipe = true);
  void called(const OpDef& op, const std::vector<Value>& args, const Value& result) override;
  // The next operator is the first of a forward pass again.
  void end_forward();
  // Turns the ranges into scales and flags. Call it when the calibration block ends.
  void finish();

 private:
  struct Producer {
    Tensor tensor;  // kept until the pass ends: a freed tensor's identity could be used again
    std::string flow;
  };
  std::string flow_of(const Tensor& tensor) const;
  void add_entry(const OpDef& op, const std::vector<Tensor>& inputs, const Value& weight);

  QuantConf& conf_;
  const bool default_recipe_;
  size_t next_ = 0;
  std::map<const void*, Producer> producers_;
};

// Quantizes a captured model in place as `conf` says: per recorded operator, inputs and outputs
// marked as quantized, and weights of operators with a quantized input. Throws ValueError naming
// the entry where the model's operators are not those of the configuration.
void quantize_with(GraphModule& model, const QuantConf& conf);

}  // namespace pt2q
