// Running a graph through `call`: with values it computes, under a Tracer it records the same
// operators again. This is how a GraphModule is captured again or used inside another model.
#pragma once

#include <vector>

#include "pt2q/graph_module.h"
#include "pt2q/trace.h"

namespace pt2q {

// What the output node returns for `inputs` (one per placeholder). Under a Tracer, attributes keep
// their paths (with `prefix` in front) and observers are recorded as call_module nodes.
Value replay(GraphModule& model, const std::vector<Value>& inputs, const std::string& prefix = "");

}  // namespace pt2q
