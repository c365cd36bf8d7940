// The JSON program of a .pt2 file from a GraphModule.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "io/json_reader.h"
#include "pt2q/graph_module.h"

namespace pt2q {

// An attribute that goes into the file and the graph input that stands for it there.
struct SavedAttr {
  std::string name;   // "conv.weight"
  std::string input;  // "p_conv_weight"
  AttrKind kind = AttrKind::Parameter;
  Tensor tensor;
};

// Attributes to be saved, parameters first, then buffers, then constants. In a quantized model only
// those the graph uses: the float weights that integers have replaced are not worth the space.
std::vector<SavedAttr> attributes_to_save(const GraphModule& model);

// models/model.json. Throws ValueError for graphs that PyTorch has no operators for (observers,
// compiled operators).
Json make_program(const GraphModule& model, const std::vector<SavedAttr>& attributes);

// A schema TensorMeta; strides in elements.
Json tensor_meta_json(const SymShape& sizes, const SymShape& strides, int64_t offset, DType dtype,
                      bool requires_grad);

}  // namespace pt2q
