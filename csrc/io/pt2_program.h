// The JSON program of a .pt2 file from a GraphModule.
#pragma once

#include <vector>

#include "io/json_reader.h"
#include "io/pt2_attributes.h"
#include "pt2q/graph_module.h"

namespace pt2q {

// models/model.json. Throws ValueError for graphs that PyTorch has no operators for (observers,
// compiled operators).
Json make_program(const GraphModule& model, const std::vector<SavedAttr>& attributes);

}  // namespace pt2q
