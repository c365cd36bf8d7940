// From a .pt2 file's graph and tensors to a GraphModule.
#pragma once

#include <memory>

#include "io/pt2_archive.h"
#include "io/pt2_graph.h"
#include "pt2q/graph_module.h"

namespace pt2q {

std::unique_ptr<GraphModule> build_module(Pt2Archive archive, const LoadLimits& limits);

}  // namespace pt2q
