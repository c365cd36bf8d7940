// The passes of compile(): from a captured or converted graph to one of fused operators
// (ops/lowered.cpp). Orders stand in lower_pipeline.cpp.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "passes/pass.h"
#include "pt2q/graph_module.h"

namespace pt2q {

// Constant subgraphs become attributes; dequantized weights stay integers.
bool freeze(GraphModule& module);
// Drops dropout, alias, contiguous and other identities, and merges equal quantize nodes.
bool remove_identities(GraphModule& module);
// Sizes of intermediate tensors are read of the inputs they come from, so that nothing but values
// hangs on a layer's result.
bool read_sizes_of_inputs(GraphModule& module);
// int8 activations become uint8: the same real values, every integer and zero point 128 higher.
bool int8_to_uint8(GraphModule& module);
// quantize, dequantize, clip and an equal quantize are one quantize with narrower bounds.
bool clip_in_quantize(GraphModule& module);
// quantize(dequantize(x)) with equal parameters is x.
bool cancel_qdq(GraphModule& module);
// Moves dequantize below operators that only move, select or clip values.
bool propagate_int8(GraphModule& module);
// A quantize behind views of a layer's result moves to the layer.
bool lift_quantize(GraphModule& module);
// A quantize below a concatenation of floats moves to the parts.
bool quantize_before_cat(GraphModule& module);
// quantize(x, choose_qparams(x)) and the dequantize behind it become one operator each.
Pass fuse_dynamic_quantize();
// Layer norm finds the range of its result and quantizes it.
bool fuse_dynamic_norms(GraphModule& module);
// Convolution and linear absorb dequantize, bias, post-ops, residual and quantize.
bool fuse_int8_compute(GraphModule& module);
// Pooling, add, mul and concatenation between dequantize and quantize.
bool fuse_int8_pointwise(GraphModule& module);
// softmax(q k^T * scale + mask) v in float is one attention operator, which runs in one pass. A row
// whose mask is -inf everywhere gives zeros, as PyTorch's attention does, not NaN.
Pass fuse_attention();
// The same with quantized operands and probabilities works on the integers.
bool fuse_int8_attention(GraphModule& module);
// A quantize behind layer norm or attention moves into it.
Pass fuse_quantized_results();
// int8 linear layers of one input that feed one attention become one.
bool merge_linears(GraphModule& module);
// Float convolution and linear absorb activations and residual additions.
bool fuse_float_compute(GraphModule& module);
// Dead nodes and attributes nobody uses go.
bool remove_dead(GraphModule& module);

// Convolutions and matrix products take bfloat16 operands (autocast).
bool cast_to_bfloat16(GraphModule& module);

// `bfloat16`: with the pass of that name. Int8 activations stay int8 on a GPU.
std::vector<Pass> lowering_passes(bool bfloat16 = false, DeviceType device = DeviceType::CPU);

// --- shared by the passes ------------------------------------------------------------------------

// A per-tensor quantize or dequantize with static parameters.
struct TensorQuant {
  Node* input = nullptr;  // what is (de)quantized
  double scale = 1.0;
  int64_t zero_point = 0;
  int64_t quant_min = 0;
  int64_t quant_max = 255;
  DType dtype = DType::UInt8;
};
// Only for uint8 and int8 with parameters that are literals or constants.
std::optional<TensorQuant> read_quantize(const GraphModule& module, const Node* node);
std::optional<TensorQuant> read_dequantize(const GraphModule& module, const Node* node);
bool same_parameters(const TensorQuant& a, const TensorQuant& b);

// What relu, relu6, hardtanh and clamp to numbers clip to; none for other operators.
struct ClipRange {
  double low = 0, high = 0;
};
std::optional<ClipRange> clip_range_of(const Node* node);
// The post-op a unary activation becomes ("relu", "clip(0.0, 6.0)"); empty when it is none.
std::optional<std::string> post_op_of(const Node* node);

// What follows a compute node and can be done in its epilogue.
struct Chain {
  Node* last = nullptr;  // the node whose value the fused node gives
  std::vector<std::string> post_ops;
  Node* other = nullptr;  // residual operand, null without
};
// The float32 node in front of a cast to bfloat16; `node` itself when it is none.
Node* behind_cast(Node* node);

// Walks from `root` over single users: activations, and one addition of a tensor of the same shape.
// All have the root's dtype, float32 or bfloat16; `promote`, for our own kernels: a bfloat16
// chain may go on in float32, and an activation may come twice.
Chain walk_chain(Node* root, bool promote = false);

// A get_attr node of a new constant, inserted where the graph inserts now.
Node* constant_node(GraphModule& module, const std::string& stem, const Tensor& t);

// `fused` gives the value of `last`, or of what `last` quantizes: its debug handle is that one's.
void gives_value_of(Node* fused, const Node* last);

// Dimensions of a node's value, empty when unknown.
std::optional<SymShape> shape_of(const Node* node);
DType dtype_of(const Node* node);  // Float64 when unknown (which no kernel takes)

// `node` keeps running in float although its input is quantized: why.
inline constexpr const char* kRefusedKey = "int8_refused";
void refuse(Node* node, const std::string& why);

}  // namespace pt2q
