// What happens to an int32 convolution or matmul accumulator before it is stored, fused into the
// compute kernels. Every instruction set computes bit-identical results:
//
//   acc       int32, exact: sum of (xq - zx) * wq
//   y         = fma(float(acc), scale[oc], bias[oc])                 one rounding
//   post-ops  in order, on y in real units (PostOp below)
//   float32   y as it is
//   bfloat16  y rounded to nearest even
//   u8 / s8   q = clamp(rint(y * inv_scale) + zero_point, qmin, qmax), rint half to even,
//             inv_scale = float(1.0 / double(out_scale)); NaN gives 0, as quantize_per_tensor does
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/shared_array.h"

namespace pt2q::kernels {

struct ActivationCurve;

enum class ElemType { f32, u8, s8, bf16 };  // bf16: outputs only
constexpr int elem_bytes(ElemType type) {
  return type == ElemType::f32 ? 4 : type == ElemType::bf16 ? 2 : 1;
}
constexpr bool is_real(ElemType type) { return elem_bytes(type) > 1; }

enum class PostOpKind {
  relu,
  clip,        // min(max(y, alpha), beta); relu6, hardtanh
  leaky_relu,  // y < 0 ? alpha * y : y
  hardswish,   // y * min(max(y + 3, 0), 6) / 6
  sigmoid,
  silu,
  tanh,
  gelu_erf,
  gelu_tanh,
  add,  // residual: fma(float(r - residual_zero_point), residual_scale, y), or y + r for f32
};

struct PostOp {
  PostOpKind kind = PostOpKind::relu;
  float alpha = 0;
  float beta = 0;
  ElemType residual_type = ElemType::u8;  // add only
  float residual_scale = 1;
  int32_t residual_zero_point = 0;
};

struct EpilogueSpec {
  std::vector<float> scale;  // [OC] or [1]: scale_x * scale_w[oc]
  std::vector<float> bias;   // [OC], real units; empty = 0
  std::vector<PostOp> ops;   // at most one `add`
  ElemType out = ElemType::u8;
  float out_scale = 1;
  int32_t out_zero_point = 0;
  int32_t qmin = 0;
  int32_t qmax = 255;
};

// A checked EpilogueSpec in the form kernels read: arrays padded to 16 channels per group, relu and
// clip folded into the integer bounds where that is exact. Copies share the arrays.
struct Epilogue {
  static constexpr int kMaxOps = 8;

  SharedArray<float> scale;
  SharedArray<float> bias;
  PostOp ops[kMaxOps];
  int op_count = 0;
  ElemType out = ElemType::u8;
  float inv_scale = 1;
  int32_t zero_point = 0;
  int32_t qmin = 0;
  int32_t qmax = 255;
  bool has_add = false;
  PostOp add;
  // True when the ops are [add] or nothing (relu/clip folded into qmin, qmax) and no value can be
  // NaN or leave the int32 range, so that saturating integer packing is exact.
  bool fast = false;
  // True for float32 results without ops but an added float32 residual, and for bfloat16 results
  // without ops.
  bool real = false;
  // Not null: the only op is an activation, the result u8 or s8, and this is its shortcut.
  std::shared_ptr<const ActivationCurve> curve;

  // u8 with zero point 0 and the whole range: saturating packs clamp.
  bool lean() const { return out == ElemType::u8 && zero_point == 0 && qmin == 0 && qmax == 255; }
};

// `channels` = OC; `groups` splits it; `max_abs_acc` bounds |acc| (it decides `fast`).
// Throws ValueError for wrong lengths, ranges or more than kMaxOps ops.
Epilogue make_epilogue(const EpilogueSpec& spec, int64_t channels, int64_t groups,
                       double max_abs_acc);

// Quantization parameters of input rows (pixels) that are known only when a run starts: acc is then
// sum of xq * wq, and y = fma(float(acc - zero[row] * sum of wq), scale[row] * scale[oc],
// bias[oc]).
struct RowScales {
  const float* scale = nullptr;
  const int32_t* zero = nullptr;
  ptrdiff_t step = 0;  // 1: one per row, 0: one for all

  RowScales from(ptrdiff_t row) const {
    return scale == nullptr ? *this : RowScales{scale + row * step, zero + row * step, step};
  }
};

// Where a block of results goes. Row i of the block is output pixel i.
struct EpilogueBlock {
  const int32_t* acc = nullptr;  // [rows, acc_stride], acc_stride a multiple of 16
  // Instead of acc, for float32 results: y = real_acc + bias.
  const float* real_acc = nullptr;
  ptrdiff_t acc_stride = 0;
  int rows = 0;
  int channels = 0;              // valid channels in this block
  const float* scale = nullptr;  // this block's first channel
  const float* bias = nullptr;
  void* dst = nullptr;       // first pixel, first channel of the block
  ptrdiff_t dst_stride = 0;  // elements between pixels
  const void* residual = nullptr;
  ptrdiff_t residual_stride = 0;
  RowScales rows_scaled;          // of row 0; null scale: none
  const int32_t* sums = nullptr;  // of the weights, this block's first channel
};
using EpilogueFn = void (*)(const Epilogue&, const EpilogueBlock&);

// The scalar reference: one accumulator to its real value before output conversion, and to its
// quantized value. `residual` points at one element of op.residual_type (null without `add`).
float epilogue_value(const EpilogueSpec& spec, int32_t acc, int64_t oc, const void* residual,
                     float row_scale = 1.0F);
int32_t epilogue_quantize(const EpilogueSpec& spec, float y);

// One float through a non-residual post-op: unary_value of elementwise.h, so that a fused
// activation has the bits of the separate one.
float post_op_scalar(const PostOp& op, float y);
// n floats in place, the same bits.
void post_op_block(const PostOp& op, float* values, int64_t n);

}  // namespace pt2q::kernels
