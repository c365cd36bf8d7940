// Which attributes of a model go into a .pt2 file.
#pragma once

#include <string>
#include <vector>

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

}  // namespace pt2q
