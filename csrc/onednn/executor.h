// Inside view of run(): used by compile, profile and explain.
#pragma once

#include <memory>
#include <vector>

#include "onednn/model_cache.h"
#include "pt2q/graph_module.h"

namespace pt2q {

// Throws for inputs the model does not take; returns them in layouts that plans accept.
std::vector<Value> checked_inputs(GraphModule& model, const std::vector<Value>& inputs);

// Where the model runs: the device it was captured on, or that of its inputs.
Device device_of(const GraphModule& model, const std::vector<Value>& inputs);

// The plan for these (checked) inputs, built on first use.
std::shared_ptr<PlanEntry> plan_for(GraphModule& model, const std::vector<Value>& inputs);

// As run(); adds the time of each step to `seconds` unless null.
Value run_timed(GraphModule& model, const std::vector<Value>& inputs, std::vector<double>* seconds);

}  // namespace pt2q
