// Graphs as text for people: Python source and tables.
#pragma once

#include <string>

#include "pt2q/graph.h"

namespace pt2q::python {

// "def forward(self, x): ..." calling pt2q.ops.*.
std::string python_code(const Graph& graph, const std::string& root = "self");
// opcode, name, target, args, kwargs in aligned columns.
std::string tabular(const Graph& graph);

}  // namespace pt2q::python
