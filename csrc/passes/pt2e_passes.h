// The steps of prepare and convert. The orders they run in stand in pipeline.cpp.
#pragma once

#include <memory>
#include <vector>

#include "passes/pass.h"
#include "pt2q/pt2e.h"
#include "pt2q/quantizer.h"

namespace pt2q {

// --- prepare ---
// Folds a batch norm (in eval form) into the convolution, transposed convolution or linear in front
// of it (SPEC 4.1). Returns true when it changed something.
bool fold_conv_bn(GraphModule& module);
// Rewrites convolution → batch norm for training with the folded weight quantized (SPEC 4.6).
bool qat_conv_bn(GraphModule& module);
// Creates observers from the annotations and inserts them (SPEC 4.2 to 4.4).
void insert_observers(GraphModule& module, Quantizer& quantizer, bool is_qat);

// --- convert ---
// Replaces observers by quantize/dequantize operators (SPEC 5.1).
bool replace_observers(GraphModule& module);
// Folds what qat_conv_bn has rewritten into one convolution (SPEC 5.3).
bool fold_qat_conv_bn(GraphModule& module);
// Gives every annotated user of a dequantize its own copy (SPEC 5.4).
bool duplicate_dq(GraphModule& module);
// Hands stack trace, module stack and quantization tag on to the new nodes (SPEC 5.5).
bool port_metadata(GraphModule& module);
// Evaluates quantize operators of constants: weights become integers (SPEC 5.6).
bool fold_quantize(GraphModule& module);
// int8 operators between quantize and dequantize become integer arithmetic (SPEC 5.8).
Pass reference_representation_pass();
// What was annotated has been carried out; the nodes stay marked.
bool retire_annotations(GraphModule& module);

// TorchScript mode: the result of a convolution or linear operator that is only added to another
// quantized tensor is not rounded in between, so that the sum joins the operator (conv_sum_relu).
bool fuse_sums(GraphModule& module);

std::vector<Pass> prepare_passes(Quantizer& quantizer, bool is_qat);
std::vector<Pass> convert_passes(bool fold_quantize, bool reference_representation = false);

}  // namespace pt2q
