// The order of compile()'s passes, and why.
#include <algorithm>

#include "onednn/lower.h"
#include "passes/pt2e_passes.h"

namespace pt2q {

// Constants first, because everything else asks whether a weight is constant. Identities go before
// patterns are looked for. Integers move down before fusion, so that a pool or flatten between two
// layers does not hide the quantize at its end, and pairs that cancel go then. Integer fusion comes
// before float fusion, which takes what is left; attention goes first, because its products would
// be taken one by one, and then a quantize behind it moves in. Casts to bfloat16 come when batch
// norms are gone, and before patterns look through them; attention of integers comes before them,
// because there is nothing in it to cast.
std::vector<Pass> lowering_passes(bool bfloat16, DeviceType device) {
  std::vector<Pass> passes = {
      {"freeze", "Constant subgraphs become attributes; weights stay integers.", freeze},
      {"remove_identities", "Dropout, aliases and other identities go.", remove_identities},
      {"read_sizes_of_inputs", "Sizes are read of the inputs they come from.",
       read_sizes_of_inputs},
      {"fold_conv_bn", "Batch norms are folded into the operator in front of them.", fold_conv_bn},
      {"int8_to_uint8", "Activations are unsigned, as the CPU's instructions want them.",
       int8_to_uint8},
      {"fuse_int8_attention", "Attention of quantized operands works on the integers.",
       fuse_int8_attention},
      {"lift_quantize", "A quantize behind views of a layer's result moves to the layer.",
       lift_quantize},
      {"cast_to_bfloat16", "Convolutions and matrix products take bfloat16.", cast_to_bfloat16},
      {"clip_in_quantize", "Clipping of quantized values narrows the quantize in front of it.",
       clip_in_quantize},
      {"propagate_int8", "Operators that only move values work on integers.", propagate_int8},
      {"quantize_before_cat", "Parts of a quantized concatenation are quantized one by one.",
       quantize_before_cat},
      {"cancel_qdq", "Quantize after an equal dequantize goes.", cancel_qdq},
      fuse_dynamic_quantize(),
      {"fuse_int8_compute", "Convolution and linear take in their neighbours.", fuse_int8_compute},
      {"fuse_int8_pointwise", "Pooling between dequantize and quantize works on integers.",
       fuse_int8_pointwise},
      fuse_attention(),
      fuse_quantized_results(),
      {"fuse_dynamic_norms", "Layer norm finds the range of its result and quantizes it.",
       fuse_dynamic_norms},
      {"merge_linears", "Queries, keys and values come of one linear layer.", merge_linears},
      {"fuse_float_compute", "Float convolution and linear take in what follows.",
       fuse_float_compute},
      {"remove_dead", "Unused nodes and attributes go.", remove_dead},
  };
  const auto leave_out = [&](const char* name) {
    passes.erase(
        std::find_if(passes.begin(), passes.end(), [&](const Pass& p) { return p.name == name; }));
  };
  if (!bfloat16) leave_out("cast_to_bfloat16");
  if (device != DeviceType::CPU) leave_out("int8_to_uint8");
  return passes;
}

}  // namespace pt2q
