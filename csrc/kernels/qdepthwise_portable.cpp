// Depthwise tiles in plain C++, one tap at a time.
#include "kernels/qconv_kernel.h"
#include "kernels/qdepthwise_kernel.h"

namespace pt2q::kernels {
namespace {

void accumulate_pixel(const DepthwiseTile& t, int64_t output, int32_t* acc) {
  for (int c = 0; c < t.channels; ++c) acc[c] = t.init[c];
  for (int64_t kw = 0; kw < t.kernel_w; ++kw) {
    const int64_t column = t.first_column + output * t.stride_w + kw * t.dilation_w;
    const bool inside = column >= 0 && column < t.width;
    for (int64_t row = 0; row < t.groups; ++row) {
      const auto* w =
          reinterpret_cast<const int8_t*>(t.weights) + (kw * t.groups + row) * kDepthwiseBlock;
      if (!inside) {
        for (int c = 0; c < t.channels; ++c) acc[c] += int32_t{t.pad} * w[c];
        continue;
      }
      const uint8_t* x = t.rows[row] + column * t.column_stride;
      for (int c = 0; c < t.channels; ++c) acc[c] += (x[c] ^ t.flip) * w[c];
    }
  }
}

}  // namespace

void depthwise_portable(const DepthwiseTile& t) {
  for (int64_t output = 0; output < t.outputs; ++output) {
    alignas(64) int32_t acc[kDepthwiseBlock];
    accumulate_pixel(t, output, acc);
    EpilogueBlock block;
    block.acc = acc;
    block.acc_stride = kDepthwiseBlock;
    block.rows = 1;
    block.channels = t.channels;
    block.scale = t.scale;
    block.bias = t.bias;
    block.dst = t.dst + output * t.dst_stride * t.element_bytes;
    block.dst_stride = t.dst_stride;
    if (t.residual != nullptr) {
      block.residual = t.residual + output * t.residual_stride * t.residual_element_bytes;
      block.residual_stride = t.residual_stride;
    }
    epilogue_portable(*t.epilogue, block);
  }
}

}  // namespace pt2q::kernels
