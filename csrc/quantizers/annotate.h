// What quantizers share: marks on nodes and a walker over "root, what may be fused behind it".
#pragma once

#include <functional>
#include <string>
#include <unordered_set>
#include <vector>

#include "pt2q/quantizer.h"

namespace pt2q {

using OpSet = std::unordered_set<const OpDef*>;
// Operators by overload name; names the table lacks are left out.
OpSet op_set(const std::vector<std::string>& names);
inline bool is_in(const Node* node, const OpSet& ops) { return ops.count(node->op_or_null()) > 0; }

bool is_annotated(const Node* node);
bool is_any_annotated(const std::vector<Node*>& nodes);
void mark_annotated(Node* node);
// Replaces the annotation by an empty one that is marked: "leave this node in float".
void annotate_not_quantized(Node* node);
// A fresh marked annotation.
QuantizationAnnotation& new_annotation(Node* node);
SpecPtr shared_with(const EdgeOrNode& edge_or_node);

// ValueError unless `config` is null: "activation only" leaves activations in float.
void check_activation_only(const ConfigPtr& config);

// The value of the node is a floating-point tensor, or unknown.
bool is_float_tensor(const Node* node);
bool is_float32_tensor(const Node* node);  // known to be float32
int64_t dims_of(const Node* node);         // -1 when unknown

// One chain: root → [batch norm] → [binary] → [unary].
struct ChainRow {
  OpSet roots;
  OpSet batch_norm;  // empty: none in the chain
  OpSet binary;
  OpSet unary;
};

struct Chain {
  Node* root = nullptr;
  Node* batch_norm = nullptr;
  Node* binary = nullptr;
  Node* unary = nullptr;
  Node* extra = nullptr;  // the binary operator's other input

  Node* last() const;
  std::vector<Node*> nodes() const;  // last first
};

// Calls fn for every chain, roots in graph order, users in order of use. Binary operators need two
// node inputs. The walk sees the graph as it is: fn must not edit it.
void for_each_chain(const std::vector<Node*>& roots, const ChainRow& row,
                    const std::function<void(const Chain&)>& fn);

}  // namespace pt2q
