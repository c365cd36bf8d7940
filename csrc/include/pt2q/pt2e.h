// The PT2E flow: prepare → calibrate (run the model) → convert. One model, one thread at a time.
#pragma once

#include <memory>

#include "pt2q/graph_module.h"
#include "pt2q/quantizer.h"

namespace pt2q {

// Folds batch norms, annotates with `quantizer` and inserts observers; changes `model` in place
// (SPEC sections 1.2 and 4). Throws ValueError for a model that is already prepared.
void prepare_pt2e(GraphModule& model, Quantizer& quantizer);

// The same for quantization-aware training: fake-quantizes are inserted, and convolutions with
// batch norm are rewritten so that the weight is quantized as it will be after folding (SPEC 4.6).
// Train the model elsewhere (pt2q.interop.torch in Python), load its state, then call convert_pt2e.
void prepare_qat_pt2e(GraphModule& model, Quantizer& quantizer);

// Replaces observers by quantize/dequantize operators and folds weights to integers; changes
// `model` in place (SPEC section 5). With use_reference_representation, int8 operators become
// integer arithmetic in ATen operators. Throws AssertionError for a model that was not prepared.
void convert_pt2e(GraphModule& model, bool use_reference_representation = false,
                  bool fold_quantize = true);

// Adds the statistics of `other`, a copy of the prepared `model` that was calibrated on other data,
// as if `model` had seen that data after its own: calibration split over workers. Observers go by
// name; an instance that stands at several places is merged once. Throws ValueError when the two
// models have different observers, and what Observer::merge throws.
void merge_observers(GraphModule& model, const GraphModule& other);

// Switches dropout and batch norm of a captured model; every other argument is kept. Idempotent.
void move_exported_model_to_eval(GraphModule& model);
void move_exported_model_to_train(GraphModule& model);

}  // namespace pt2q
