// Quantization specs, annotations and the Quantizer interface (SPEC sections 1.4 and 1.5).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "pt2q/graph_module.h"
#include "pt2q/observer.h"

namespace pt2q {

// A node (its output) or an edge (producer, consumer).
struct EdgeOrNode {
  Node* producer = nullptr;
  Node* consumer = nullptr;  // null: the output of `producer`

  EdgeOrNode() = default;
  EdgeOrNode(Node* node) : producer(node) {}  // NOLINT: implicit as in PyTorch
  EdgeOrNode(Node* from, Node* to) : producer(from), consumer(to) {}
  bool is_edge() const { return consumer != nullptr; }
  bool operator==(const EdgeOrNode& o) const {
    return producer == o.producer && consumer == o.consumer;
  }
  bool operator<(const EdgeOrNode& o) const {
    return std::pair(producer, consumer) < std::pair(o.producer, o.consumer);
  }
};
std::string describe(const EdgeOrNode& e);

struct QuantizationSpecBase {
  virtual ~QuantizationSpecBase() = default;
  virtual std::string to_string() const = 0;
};
using SpecPtr = std::shared_ptr<const QuantizationSpecBase>;  // null: "no quantization here"
// Equality by value, as PyTorch's frozen dataclasses: derived specs compare by identity of the
// function, shared ones by the edge or node.
bool specs_equal(const SpecPtr& a, const SpecPtr& b);

struct QuantizationSpec : QuantizationSpecBase {
  DType dtype = DType::Int8;
  ObserverCtr observer_or_fake_quant_ctr;
  std::optional<int64_t> quant_min;
  std::optional<int64_t> quant_max;
  std::optional<QScheme> qscheme;
  std::optional<int64_t> ch_axis;
  bool is_dynamic = false;

  void check() const;  // ValueError "quant_min 5 must be <= quant_max 3.", "Ch_axis is < 0."
  std::string to_string() const override;
};
bool operator==(const QuantizationSpec& a, const QuantizationSpec& b);

struct FixedQParamsQuantizationSpec : QuantizationSpecBase {
  DType dtype = DType::UInt8;
  double scale = 1.0;
  int64_t zero_point = 0;
  std::optional<int64_t> quant_min;
  std::optional<int64_t> quant_max;
  std::optional<QScheme> qscheme;
  bool is_dynamic = false;
  std::string to_string() const override;
};

struct SharedQuantizationSpec : QuantizationSpecBase {
  EdgeOrNode edge_or_node;
  std::string to_string() const override;
};

struct DerivedQuantizationSpec : QuantizationSpecBase {
  std::vector<EdgeOrNode> derived_from;
  std::function<QParams(const std::vector<std::shared_ptr<Observer>>&)> derive_qparams_fn;
  DType dtype = DType::Int32;
  std::optional<int64_t> quant_min;
  std::optional<int64_t> quant_max;
  std::optional<QScheme> qscheme;
  std::optional<int64_t> ch_axis;
  bool is_dynamic = false;
  std::string to_string() const override;
};

struct QuantizationAnnotation {
  // Insertion order matters for sharing; lookups are rare and the lists short.
  std::vector<std::pair<Node*, SpecPtr>> input_qspec_map;
  SpecPtr output_qspec;
  bool allow_implicit_sharing = true;
  bool annotated = false;  // PyTorch's _annotated
  // Set by quantizers: the node's output is meant to stay quantized (X86 propagation, SPEC 6.1).
  bool is_output_of_quantized_pattern = false;

  const SpecPtr* find_input(const Node* node) const;  // null when absent
  void set_input(Node* node, SpecPtr spec);
};

// Activation, weight and bias specs of one configuration.
struct QuantizationConfig {
  SpecPtr input_activation;
  SpecPtr output_activation;
  SpecPtr weight;
  SpecPtr bias;
  bool is_qat = false;
};

// Specs equal by value.
bool operator==(const QuantizationConfig& a, const QuantizationConfig& b);
using ConfigPtr = std::shared_ptr<const QuantizationConfig>;  // null: "do not quantize"

// Not thread-safe: one prepare_pt2e at a time. Specs and configurations are immutable and shared.
class Quantizer {
 public:
  virtual ~Quantizer() = default;
  virtual void transform_for_annotation(GraphModule&) {}
  virtual void annotate(GraphModule& model) = 0;
  virtual void validate(GraphModule&) {}
  using ObserverMap = std::vector<std::pair<EdgeOrNode, std::shared_ptr<Observer>>>;
  // After observers are created and before they are inserted; may replace instances.
  virtual void prepare_obs_or_fq_callback(GraphModule&, ObserverMap&) {}
  virtual std::string class_name() const { return "Quantizer"; }  // for messages
};

// --- helpers for writing quantizers (SPEC 1.4) ---

// Creates the node's annotation when missing; the "annotated" mark is left as it is.
void annotate_input_qspec_map(Node* node, Node* input, SpecPtr spec);
void annotate_output_qspec(Node* node, SpecPtr spec);
// Not null and holds at least one input entry or an output spec.
bool is_valid_annotation(const QuantizationAnnotation* annotation);
// True for nodes captured inside the module of exactly that path ("sub" holds for sub.linear1), or
// of a path that matches a pattern with *, ? or [] ("layer*.conv1"; * also stands for dots).
std::function<bool(const Node*)> get_module_name_filter(const std::string& module_name);
// The specs of a configuration (null-safe) with PyTorch's checks of scheme and dtype.
SpecPtr get_input_act_qspec(const QuantizationConfig* config);
SpecPtr get_output_act_qspec(const QuantizationConfig* config);
SpecPtr get_weight_qspec(const QuantizationConfig* config);
SpecPtr get_bias_qspec(const QuantizationConfig* config);

}  // namespace pt2q
