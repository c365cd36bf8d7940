// Builds a Plan: evaluates shapes, folds constants, turns views into aliases, and asks the step
// makers for fast steps; a node nobody makes a step for runs its reference kernel.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "onednn/model_cache.h"
#include "onednn/plan.h"
#include "onednn/tuning.h"
#include "pt2q/graph_module.h"

namespace pt2q {

class PlanBuilder {
 public:
  // `inputs`: one per placeholder; tensors are dense (contiguous or channels_last).
  PlanBuilder(GraphModule& model, const std::vector<Value>& inputs, ModelCache& cache);

  std::shared_ptr<const Plan> build();

  // --- For step makers. Arguments are addressed by schema position. ------------------------------
  const PlanValue& value(int id) const { return plan_->values[static_cast<size_t>(id)]; }
  // Value id of a tensor argument; -1 when it is None, no tensor, or of unknown shape.
  int tensor_arg(const Node& node, size_t i) const;
  // The same for an item of a list argument.
  int value_of(const Value& item) const;
  // The argument with all graph integers evaluated; tensors appear as TensorMeta.
  Value plain_arg(const Node& node, size_t i) const;
  // All of them; valid until another node's are asked for.
  const std::vector<Value>& plain_args(const Node& node);
  // Shape and dtype of the (single tensor) result.
  const TensorMeta& result_meta(const Node& node) const;
  Shape result_sizes(const Node& node) const;
  // The tensor behind a value known at plan time; undefined for others.
  Tensor constant(int id) const;

  // The same tensor with the given strides: itself, or the output of a layout step added now.
  int as_layout(int id, const Shape& strides);
  int as_contiguous(int id);
  // Some dense layout: itself when it already has one.
  int as_dense(int id);
  // The same values as float32 or bfloat16, dense: itself, or the output of a conversion added now.
  int as_dtype(int id, DType dtype);
  int new_value(const Shape& sizes, const Shape& strides, DType dtype);
  int new_constant(const Tensor& tensor);

  Step& add(std::unique_ptr<Step> step, std::vector<int> inputs, std::vector<int> outputs);
  void bind(const Node& node, int id);
  void bind_list(const Node& node, const std::vector<int>& ids);
  // Common head of a step's report line.
  StepInfo describe(const Node& node, const std::string& kernel, int output) const;

  ModelCache& cache() { return cache_; }
  // Null: variants are chosen by the cost model.
  Tuner* tuner() { return tuner_ ? &*tuner_ : nullptr; }
  Plan& plan() { return *plan_; }
  const GraphModule& model() const { return model_; }

 private:
  void visit(const Node& node, const std::vector<Value>& inputs, size_t* next_input);
  void visit_call(const Node& node);
  void visit_module(const Node& node);
  void visit_output(const Node& node);
  bool try_plain(const Node& node);
  bool try_fold(const Node& node);
  bool try_alias(const Node& node);
  bool try_view(const Node& node, const std::vector<Value>& args, int base);
  bool try_empty(const Node& node);
  bool try_widened(const Node& node, std::string* why);
  bool make_step(const Node& node, std::string* why);
  bool infer_result(const Node& node);
  void add_reference_step(const Node& node, const std::string& why);
  Bound make_held(const Value& meta);
  Bound bound_of(const Value& arg) const;
  Bound output_of(const Bound& bound);
  int make_view(int base, const Tensor& view, const void* origin);
  int make_output(int id);
  Value meta_of(const Bound& bound) const;
  Value plain_of(const Value& arg) const;
  void finish();

  GraphModule& model_;
  const std::vector<Value>& inputs_;
  ModelCache& cache_;
  std::shared_ptr<Plan> plan_;
  std::optional<Tuner> tuner_;
  std::unordered_map<const Node*, Bound> bound_;
  std::unordered_map<const Node*, Value> metas_;  // inferred results, None when unknown
  std::vector<Value> plain_args_;                 // of the node visited now
  const Node* plain_args_of_ = nullptr;
  std::unordered_map<std::string, int> relaid_;    // "id:strides" -> value
  std::unordered_set<std::string> written_attrs_;  // buffers that this graph updates ...
  std::unordered_set<int> written_;                // ... and their values: not to be folded
};

// A tensor, or a list that holds one, as an inferred result.
bool holds_tensor(const Value& v);
bool holds_node(const Value& v);

// Attributes that running the graph changes: statistics of batch norms in training form.
std::unordered_set<std::string> written_attrs(const Graph& graph);

// Adds a fast step for `node` and binds its result; false: not applicable (the reason, when worth
// reporting, goes to `why`).
using StepMaker = bool (*)(PlanBuilder& builder, const Node& node, std::string* why);
const std::unordered_map<std::string, StepMaker>& step_makers();

}  // namespace pt2q
