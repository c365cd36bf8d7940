// Running graphs: every GraphModule runs through a plan built per input signature; compile() lowers
// first, so that the plan consists of fused int8 and float kernels.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "pt2q/graph_module.h"

namespace pt2q {

// Runs `model` on `inputs` (one Value per placeholder) and returns what its output node returns.
// Plans are cached on the model per input signature. Throws ValueError/TypeError naming the input
// for a wrong number, dtype, rank or shape. May be called from several threads unless the model
// holds observers.
Value run(GraphModule& model, const std::vector<Value>& inputs);

}  // namespace pt2q
