#include <unordered_map>

#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/quantizers.h"
#include "quantizers/annotate.h"

namespace pt2q {

void ComposableQuantizer::transform_for_annotation(GraphModule& model) {
  for (const auto& quantizer : quantizers_) quantizer->transform_for_annotation(model);
}

void ComposableQuantizer::annotate(GraphModule& model) {
  // The annotations themselves, not their addresses: an address could be used again.
  std::unordered_map<const Node*, std::shared_ptr<QuantizationAnnotation>> known;
  for (const auto& quantizer : quantizers_) {
    quantizer->annotate(model);
    for (const Node* n : model.graph().nodes()) {
      const auto& now = n->meta.quantization_annotation;
      const auto it = known.find(n);
      if (it != known.end() && it->second != now) {
        throw RuntimeError(
            cat("Quantizer ", quantizer->class_name(),
                now ? " has changed annotations on node " : " has removed annotations on node ",
                n->name()),
            "put the quantizer that owns the node last, or make the others leave annotated nodes");
      }
      if (now) known[n] = now;
    }
  }
}

void ComposableQuantizer::validate(GraphModule& model) {
  for (const auto& quantizer : quantizers_) quantizer->validate(model);
}

void ComposableQuantizer::prepare_obs_or_fq_callback(GraphModule& model, ObserverMap& map) {
  for (const auto& quantizer : quantizers_) quantizer->prepare_obs_or_fq_callback(model, map);
}

// --- embedding -----------------------------------------------------------------------------------

void EmbeddingQuantizer::annotate(GraphModule& model) {
  const ConfigPtr config = get_embedding_operators_config();
  const OpSet ops = op_set({"aten.embedding.default"});
  for (Node* n : model.graph().nodes()) {
    Node* weight = is_in(n, ops) ? n->arg_node(0) : nullptr;
    if (weight == nullptr) continue;
    n->meta.quantization_annotation = std::make_shared<QuantizationAnnotation>();
    n->meta.quantization_annotation->set_input(weight, config->weight);
  }
}

std::vector<OperatorConfig> EmbeddingQuantizer::get_supported_operators() {
  return {{get_embedding_operators_config(), {{"aten.embedding.default"}}}};
}

std::vector<ConfigPtr> EmbeddingQuantizer::get_supported_quantization_configs() {
  return {get_embedding_operators_config()};
}

std::vector<std::vector<std::string>>
EmbeddingQuantizer::get_supported_operator_for_quantization_config(const ConfigPtr& config) {
  for (const OperatorConfig& entry : get_supported_operators()) {
    if (!config || *entry.config == *config) return entry.operators;
  }
  return {};
}

}  // namespace pt2q
