// Recognising quantize, dequantize and choose_qparams operators.
#pragma once

#include "base/strings.h"
#include "pt2q/graph.h"

namespace pt2q {

inline bool is_quantize(const Node* n) {
  return n->op_or_null() != nullptr &&
         (starts_with(n->target(), "quantized_decomposed.quantize_per_tensor.") ||
          starts_with(n->target(), "quantized_decomposed.quantize_per_channel.") ||
          starts_with(n->target(), "torchao.quantize_affine."));
}
inline bool is_dequantize(const Node* n) {
  return n->op_or_null() != nullptr &&
         (starts_with(n->target(), "quantized_decomposed.dequantize_per_tensor.") ||
          starts_with(n->target(), "quantized_decomposed.dequantize_per_channel.") ||
          starts_with(n->target(), "torchao.dequantize_affine."));
}
inline bool is_choose_qparams(const Node* n) {
  return n->op_or_null() != nullptr &&
         (starts_with(n->target(), "quantized_decomposed.choose_qparams") ||
          starts_with(n->target(), "torchao.choose_qparams_affine."));
}
// Reads only the shape, not the data.
inline bool is_size_query(const Node* n) {
  return n->op_or_null() != nullptr && (starts_with(n->target(), "aten.sym_size.") ||
                                        starts_with(n->target(), "aten.sym_numel."));
}

}  // namespace pt2q
