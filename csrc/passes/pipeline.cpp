// The orders in which passes run, and why.
#include "passes/pt2e_passes.h"

namespace pt2q {

// prepare: weights must have their final values before they are observed (fold); a quantizer may
// rewrite the graph before it annotates it (transform); observers come last, from all annotations.
std::vector<Pass> prepare_passes(Quantizer& quantizer, bool is_qat) {
  std::vector<Pass> passes;
  if (!is_qat) {
    passes.push_back(
        {"fold_conv_bn", "Folds batch norms into the operator in front of them.", fold_conv_bn});
  }
  passes.push_back({"transform_for_annotation", "The quantizer prepares the graph for annotation.",
                    [&quantizer](GraphModule& m) {
                      quantizer.transform_for_annotation(m);
                      return true;
                    }});
  passes.push_back({"annotate", "The quantizer says which tensors are quantized, and how.",
                    [&quantizer](GraphModule& m) {
                      quantizer.annotate(m);
                      quantizer.validate(m);
                      return false;
                    }});
  if (is_qat) {  // after annotation, which is written for plain convolutions and batch norms
    passes.push_back(
        {"qat_conv_bn", "Batch norms are trained on top of the folded weight.", qat_conv_bn});
  }
  passes.push_back({"insert_observers", "Observers are made from the annotations and inserted.",
                    [&quantizer, is_qat](GraphModule& m) {
                      insert_observers(m, quantizer, is_qat);
                      return true;
                    }});
  return passes;
}

// convert: observers become quantize/dequantize pairs first; every annotated user gets its own
// dequantize before metadata is handed on, because that goes by user; constants are folded when all
// quantize operators stand; the reference representation replaces quantize operators, so it follows
// folding; annotations are retired last, because the passes before read them.
std::vector<Pass> convert_passes(bool fold, bool reference_representation) {
  std::vector<Pass> passes = {
      {"replace_observers", "Observers become quantize and dequantize operators.",
       replace_observers},
      {"fold_qat_conv_bn", "Batch norms trained with a quantized weight are folded into it.",
       fold_qat_conv_bn},
      {"duplicate_dq", "Every annotated user gets its own dequantize.", duplicate_dq},
      {"port_metadata", "New nodes take module path and tags of what they belong to.",
       port_metadata}};
  if (fold) {
    passes.push_back({"fold_quantize", "Weights are stored as integers.", fold_quantize});
  }
  if (reference_representation) passes.push_back(reference_representation_pass());
  passes.push_back(
      {"retire_annotations", "Annotations that were carried out are emptied.", retire_annotations});
  return passes;
}

}  // namespace pt2q
