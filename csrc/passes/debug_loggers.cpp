// Output loggers: see pt2q/debug.h.
#include <algorithm>
#include <map>
#include <optional>

#include "base/strings.h"
#include "passes/qdq.h"
#include "pt2q/debug.h"
#include "pt2q/observer.h"

namespace pt2q {

OutputLogger::OutputLogger(NodeSource debug_info, std::string node_name,
                           std::vector<ModuleStackEntry> stack)
    : debug_info_(std::move(debug_info)),
      node_name_(std::move(node_name)),
      module_stack_(std::move(stack)) {}

Tensor OutputLogger::forward(const Tensor& input) {
  Tensor copy = input.contiguous().clone();
  const std::lock_guard<std::mutex> lock(mutex_);
  stats_.push_back(std::move(copy));
  return input;
}

std::vector<Tensor> OutputLogger::stats() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return stats_;
}

void OutputLogger::clear() {
  const std::lock_guard<std::mutex> lock(mutex_);
  stats_.clear();
}

std::string OutputLogger::repr() const {
  return cat("OutputLogger(debug_info=(name='", debug_info_.name,
             "', graph_id=", debug_info_.graph_id, "), node_name=", node_name_,
             ", num_stats=", stats().size(), ")");
}

namespace {

struct AffineParameters {
  Value scale;
  Value zero_point;
};

bool is_byte_tensor(const Node* n) {
  if (!n->meta.val.is<TensorMeta>()) return false;
  const DType dtype = n->meta.val.as<TensorMeta>().dtype;
  return dtype == DType::UInt8 || dtype == DType::Int8;
}

const Node* first_tensor(const Node* n) {
  const Node* found = nullptr;
  for (const Value& arg : n->args()) {
    for_each_node(arg, [&](const Node* input) {
      if (found == nullptr) found = input;
    });
  }
  return found;
}

// How the bytes that `n` yields are to be read: as its own output arguments say, or, for operators
// that only move values, as those it takes its values from.
std::optional<AffineParameters> parameters_of(const Node* n) {
  while (n != nullptr && n->op_or_null() != nullptr && is_byte_tensor(n)) {
    if (starts_with(n->target(), "quantized_decomposed.quantize_per_tensor.")) {
      return AffineParameters{n->arg(1), n->arg(2)};
    }
    const int scale = n->op().schema.index_of("out_scale");
    const int zero_point = n->op().schema.index_of("out_zero_point");
    if (scale >= 0 && zero_point >= 0) {
      return AffineParameters{n->arg(static_cast<size_t>(scale)),
                              n->arg(static_cast<size_t>(zero_point))};
    }
    n = first_tensor(n);
  }
  return std::nullopt;
}

// What a logger shall see in place of the bytes of `n`; null when that cannot be told.
Node* dequantized(Graph& graph, Node* n) {
  const auto parameters = parameters_of(n);
  if (!parameters) return nullptr;
  const DType dtype = n->meta.val.as<TensorMeta>().dtype;
  const bool tensors = parameters->scale.is<Node*>();
  Node* out =
      graph.call_function(tensors ? "quantized_decomposed.dequantize_per_tensor.tensor"
                                  : "quantized_decomposed.dequantize_per_tensor.default",
                          {n, parameters->scale, parameters->zero_point,
                           Value(int64_t{dtype == DType::UInt8 ? 0 : -128}),
                           Value(int64_t{dtype == DType::UInt8 ? 255 : 127}), Value(dtype)});
  out->meta.val = infer_node(*out);
  return out;
}

void insert_logger(GraphModule& model, Node* node) {
  Graph& graph = model.graph();
  const auto point = graph.inserting_after(node);
  // Quantize operators of the program itself yield integers, and integers are compared.
  const bool tap = is_byte_tensor(node) && node->op().namespace_name() != "quantized_decomposed";
  Node* seen = tap ? dequantized(graph, node) : node;
  if (seen == nullptr) return;
  NodeSource source = node->meta.origin;
  if (source.name.empty()) source.name = node->name();
  const std::string name = model.unique_attr(node->name() + "_logger");
  model.set_module(name, std::make_shared<OutputLogger>(std::move(source), node->name(),
                                                        node->meta.nn_module_stack));
  Node* logger = graph.call_module(name, {seen});
  logger->meta.val = seen->meta.val;
  if (!tap) node->replace_all_uses_with(logger, {logger});
}

}  // namespace

void insert_output_loggers(GraphModule& model) {
  const std::vector<Node*> nodes = model.graph().nodes();
  const bool exported = std::any_of(
      nodes.begin(), nodes.end(), [](const Node* n) { return static_cast<bool>(n->meta.origin); });
  for (Node* n : nodes) {
    if (n->opcode() != OpCode::CallFunction || !n->meta.val.is<TensorMeta>()) continue;
    if (n->meta.origin || !exported) insert_logger(model, n);
  }
}

std::unique_ptr<GraphModule> prepare_for_propagation_comparison(const GraphModule& model) {
  auto copy = model.deep_copy();
  std::map<const Observer*, std::shared_ptr<Observer>> clones;  // what is shared stays shared
  for (const auto& [name, module] : model.modules()) {
    const auto* observer = dynamic_cast<const Observer*>(module.get());
    if (observer == nullptr) continue;
    std::shared_ptr<Observer>& clone = clones[observer];
    if (clone == nullptr) clone = observer->clone();
    copy->set_module(name, clone);
  }
  insert_output_loggers(*copy);
  return copy;
}

std::vector<std::shared_ptr<OutputLogger>> output_loggers(const GraphModule& model) {
  std::vector<std::shared_ptr<OutputLogger>> out;
  for (const Node* n : model.graph().nodes()) {
    if (n->opcode() != OpCode::CallModule) continue;
    if (auto logger = std::dynamic_pointer_cast<OutputLogger>(model.module(n->target()))) {
      out.push_back(std::move(logger));
    }
  }
  return out;
}

}  // namespace pt2q
