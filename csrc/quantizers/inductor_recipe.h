// Recipes of the Inductor-style quantizers as data: rows of "root, what is fused behind it".
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "quantizers/annotate.h"

namespace pt2q {

struct InductorRecipe {
  struct Fusion {
    std::vector<std::string> roots;
    std::vector<std::string> unary;  // {}: none in the pattern
    bool binary = false;             // aten.add.Tensor behind the root
    bool quantize_extra = true;      // annotate the other input of the addition
    bool batch_norm = false;         // QAT only: the batch norm is not folded yet
  };
  std::vector<Fusion> fusions;             // tried in this order
  std::vector<std::string> all_inputs;     // operators of which all inputs are quantized
  std::vector<std::string> propagation;    // keep int8 data int8 when their inputs are quantized
  std::vector<std::string> shares_output;  // of these, the output shares the input's observer
  std::vector<std::string> default_ops;    // what a global configuration may touch
  std::vector<std::string> quantizable;    // what may be configured by type
  // Names users write → overload, of functions and of module types.
  std::vector<std::pair<std::string, std::string>> functions;
  std::vector<std::pair<std::string, std::string>> modules;
};

const InductorRecipe& x86_inductor_recipe();
const InductorRecipe& xpu_inductor_recipe();
const InductorRecipe& arm_inductor_recipe();

// Annotates with one configuration (null: "leave in float") where `filter` accepts the nodes of a
// pattern.
using PatternFilter = std::function<bool(const std::vector<Node*>&)>;
void annotate_with_recipe(GraphModule& model, const InductorRecipe& recipe, const ConfigPtr& config,
                          const PatternFilter& filter);
// Attention operators written out, for their products to be annotated: these nodes are marked.
inline constexpr const char* kAttentionOp = "aten.scaled_dot_product_attention.default";
void write_out_attention(GraphModule& model);
bool is_of_attention(const Node* node);
// Output sharing of the operators that keep int8 data int8; after all configurations.
void share_outputs(GraphModule& model, const InductorRecipe& recipe);

}  // namespace pt2q
