// Batch norms behind convolutions and linears: recognising them and folding them into numbers.
#pragma once

#include <string>

#include "pt2q/graph_module.h"

namespace pt2q {

bool is_conv(const std::string& base_name);            // conv1d, conv2d, conv3d
bool is_conv_transpose(const std::string& base_name);  // conv_transpose1d ...
bool is_get_attr_or_none(const Node* n);

struct BatchNorm {
  Node* node = nullptr;
  Node* weight = nullptr;  // gamma, null: ones
  Node* bias = nullptr;    // beta, null: zeros
  Node* mean = nullptr;
  Node* var = nullptr;
  double eps = 0.0;

  // Batch norms of equal key scale alike.
  std::string key() const;
};

// Fills `bn` from a batch_norm node; false for other nodes or computed statistics.
bool read_batch_norm(Node* node, BatchNorm* bn);

struct Folded {
  Tensor weight;
  Tensor bias;
};
struct ConvParameters {
  const Node* weight = nullptr;  // get_attr nodes
  const Node* bias = nullptr;    // null: none
  bool transposed = false;
  bool linear = false;
};
// Weight and bias with the batch norm folded in:
//   r = 1/sqrt(var + eps);  W' = W * (gamma * r) per output channel;  b' = (b - mean) * r * gamma +
//   beta
// in float32 and in this order, so that the result has PyTorch's bits.
Folded folded_values(const GraphModule& module, const ConvParameters& conv, const BatchNorm& bn);

}  // namespace pt2q
