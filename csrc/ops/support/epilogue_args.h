// The arguments all lowered int8 operators end with, and their text forms.
#pragma once

#include <string>
#include <vector>

#include "kernels/epilogue.h"
#include "pt2q/op.h"

namespace pt2q::ops {

// Schema text of the shared tail. `other` is the residual of the "add" post-op; out_dtype None
// means a float32 result (out_scale to out_max are not used then). x_max: no input value is larger
// (of int8 inputs: plus 128); less than 255 may allow a faster exact kernel.
inline constexpr const char* kEpilogueSchema =
    "*, Tensor? other=None, float other_scale=1.0, int other_zero_point=0, str post_ops=\"\", "
    "float out_scale=1.0, int out_zero_point=0, int out_min=0, int out_max=255, "
    "ScalarType? out_dtype=None, int x_max=255";
constexpr size_t kEpilogueArgs = 10;

// "add, clip(0.0, 6.0)": post-ops in order, applied in real units. Throws ValueError for bad text.
std::vector<kernels::PostOp> parse_post_ops(const std::string& text);
std::string post_op_text(const kernels::PostOp& op);

kernels::ElemType elem_type(DType dtype);  // float32, uint8, int8; else TypeError

// The tail of `args` (from position `first`), without scale and bias. `args` may hold tensors or
// their descriptions.
kernels::EpilogueSpec read_epilogue(const std::vector<Value>& args, size_t first);
int32_t read_x_max(const std::vector<Value>& args, size_t first);
// Result dtype: out_dtype, or float32.
DType epilogue_dtype(const std::vector<Value>& args, size_t first);
// scale[c] = x_scale * w_scale[c], bias[c]: as the kernels take them.
void set_scale_and_bias(kernels::EpilogueSpec& spec, double x_scale, const Tensor& w_scale,
                        const Tensor& bias);

}  // namespace pt2q::ops
