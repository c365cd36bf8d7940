// Comparing a model with a transformed copy of it, operator by operator (SPEC section 1.6): the
// float model with the prepared, converted or compiled one.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "pt2q/graph_module.h"

namespace pt2q {

// Keeps a copy of every tensor that passes. Calls may come from several threads.
class OutputLogger : public Module {
 public:
  OutputLogger(NodeSource debug_info, std::string node_name, std::vector<ModuleStackEntry> stack);

  Tensor forward(const Tensor& input) override;
  bool passes_through() const override { return true; }
  std::string type_name() const override { return "OutputLogger"; }
  std::string repr() const override;

  const NodeSource& debug_info() const { return debug_info_; }
  const std::string& node_name() const { return node_name_; }
  const std::vector<ModuleStackEntry>& module_stack() const { return module_stack_; }
  std::vector<Tensor> stats() const;
  void clear();

 private:
  NodeSource debug_info_;
  std::string node_name_;
  std::vector<ModuleStackEntry> module_stack_;
  mutable std::mutex mutex_;
  std::vector<Tensor> stats_;
};

// Gives every operator without one the next meta.custom["numeric_debug_handle"]; numbers start
// after the largest that exists.
void generate_numeric_debug_handle(GraphModule& model);

// Puts an OutputLogger named "<node>_logger<i>" behind every operator of the exported program that
// `model` was made from (any operator, when `model` was not exported). Users read the logger's
// output. Integers of a lowered graph are dequantized for the logger alone.
void insert_output_loggers(GraphModule& model);
// The same on a copy, with observers of its own.
std::unique_ptr<GraphModule> prepare_for_propagation_comparison(const GraphModule& model);

// The loggers of a model in graph order.
std::vector<std::shared_ptr<OutputLogger>> output_loggers(const GraphModule& model);

}  // namespace pt2q
