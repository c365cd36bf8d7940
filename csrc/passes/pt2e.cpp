#include "pt2q/pt2e.h"

#include <map>

#include "base/strings.h"
#include "passes/pt2e_passes.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

bool holds_observers(const GraphModule& model) {
  for (const Node* n = model.graph().first(); n != nullptr; n = n->next()) {
    if (n->opcode() == OpCode::CallModule) return true;
  }
  return false;
}

void prepare(GraphModule& model, Quantizer& quantizer, bool is_qat) {
  if (model.prepared || holds_observers(model)) {
    throw ValueError("the model is already prepared: it holds observers",
                     "calibrate it and call convert_pt2e, or export the float model again");
  }
  run_passes(model, prepare_passes(quantizer, is_qat));
  model.prepared = true;
  model.exported = true;
}

// Sets the flag argument `name` of every operator called `base`.
void set_flag(GraphModule& model, const std::string& base, const std::string& name, bool value) {
  for (Node* n : model.graph().nodes()) {
    if (n->op_or_null() == nullptr || n->op().base_name() != base) continue;
    const int at = n->op().schema.index_of(name);
    if (at >= 0) n->set_arg(static_cast<size_t>(at), Value(value));
  }
}

void set_training(GraphModule& model, bool training) {
  for (const char* dropout : {"dropout", "feature_dropout", "alpha_dropout"}) {
    set_flag(model, dropout, "train", training);
  }
  set_flag(model, "batch_norm", "training", training);
  model.training = training;
}

}  // namespace

void prepare_pt2e(GraphModule& model, Quantizer& quantizer) { prepare(model, quantizer, false); }
void prepare_qat_pt2e(GraphModule& model, Quantizer& quantizer) { prepare(model, quantizer, true); }

void convert_pt2e(GraphModule& model, bool use_reference_representation, bool fold_quantize) {
  if (!model.prepared) {
    throw AssertionError("incoming model must be produced by prepare_pt2e",
                         "call prepare_pt2e(model, quantizer) first");
  }
  run_passes(model, convert_passes(fold_quantize, use_reference_representation));
  model.delete_unused();
  model.prepared = false;
}

void merge_observers(GraphModule& model, const GraphModule& other) {
  std::map<const Observer*, const Observer*> merged;
  for (const auto& [name, module] : model.modules()) {
    auto* ours = dynamic_cast<Observer*>(module.get());
    if (ours == nullptr) continue;
    const auto it = other.modules().find(name);
    const auto* theirs =
        it == other.modules().end() ? nullptr : dynamic_cast<const Observer*>(it->second.get());
    if (theirs == nullptr) {
      throw ValueError(cat("the other model has no observer '", name, "'"),
                       "merge copies of one prepared model");
    }
    if (theirs == ours) {
      throw ValueError(cat("both models use the same observer '", name, "'"),
                       "calibrate deep copies of the prepared model");
    }
    const auto [known, added] = merged.emplace(ours, theirs);
    if (added) {
      ours->merge(*theirs);
    } else if (known->second != theirs) {
      throw ValueError(cat("observer '", name, "' is shared in one model but not in the other"));
    }
  }
  if (merged.empty()) throw ValueError("the model has no observers", "call prepare_pt2e first");
}

void move_exported_model_to_eval(GraphModule& model) { set_training(model, false); }
void move_exported_model_to_train(GraphModule& model) { set_training(model, true); }

}  // namespace pt2q
