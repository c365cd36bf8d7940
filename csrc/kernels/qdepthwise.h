// Quantized depthwise convolution: u8 (or s8) NHWC activations, s8 weights, one filter per channel,
// exact int32 accumulation, fused epilogue (epilogue.h). Results are bit-identical to
// qconv_reference (qconv.h) with groups = in_c = out_c, on every instruction set, for any thread
// count and any batch split. Padding counts as the source's zero point.
//
//   QConvSpec spec;                         // shape.groups = shape.in_c = shape.out_c
//   auto packed = pack_depthwise(spec.shape, w /* s8 [C, 1, KH, KW] */);
//   QDepthwise conv(spec, packed);          // plan: once per input shape; packed is shared
//   conv.run(src, dst);                     // re-entrant
//
// How: a block of channels lies across the vector; the bytes of 4 (VNNI) or 2 (s16) vertically
// neighbouring rows are interleaved once per column, so that one dot-product instruction takes 4 or
// 2 taps of 16 channels. One interleaved column serves all horizontal taps and, by shifted copies
// of the weights, all output rows whose window lies in the same rows.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/epilogue.h"
#include "kernels/isa.h"
#include "kernels/qconv.h"

namespace pt2q::kernels {

// Weights in the order of one instruction set.
struct PackedDepthwise {
  int64_t channels = 0;
  int64_t kernel_h = 0, kernel_w = 0;
  int64_t stride_h = 1, dilation_h = 1;
  Isa isa = Isa::portable;
  int rows_per_dot = 1;           // taps of one dot product: 4, 2, or 1 (portable)
  int64_t groups = 0;             // interleaved row groups per column
  int64_t shared_rows = 1;        // output rows served by the same interleaved columns
  std::vector<int32_t> sums;      // sum of the weights per channel, padded to blocks
  std::vector<int64_t> abs_sums;  // sum of their magnitudes
  AlignedBuffer data;             // [block][shared row][kw][group][part] vectors
};

// weights: s8 [C, 1, KH, KW]. Throws ValueError if the shape is not depthwise or a size is not
// positive. isa above avx512_vnni is taken as avx512_vnni.
std::shared_ptr<const PackedDepthwise> pack_depthwise(const ConvShape& shape, const int8_t* weights,
                                                      Isa isa);
std::shared_ptr<const PackedDepthwise> pack_depthwise(const ConvShape& shape,
                                                      const int8_t* weights);

class QDepthwise {
 public:
  QDepthwise(const QConvSpec& spec, std::shared_ptr<const PackedDepthwise> weights);
  ~QDepthwise();
  QDepthwise(QDepthwise&&) noexcept;
  QDepthwise& operator=(QDepthwise&&) noexcept;

  // As QConv::resized.
  QDepthwise resized(int64_t batch, int64_t in_h, int64_t in_w) const;

  // src, dst, residual: as QConv::run.
  void run(const void* src, void* dst, const void* residual = nullptr) const;
  // Elements between output pixels of later runs. Throws ValueError when less than the channels.
  void set_dst_stride(int64_t elements);
  // For reports: "avx512_vnni depthwise 3x3 96".
  std::string describe() const;
  Saturation saturation() const;

 private:
  struct Plan;
  explicit QDepthwise(std::unique_ptr<Plan> plan);
  std::unique_ptr<Plan> plan_;
};

}  // namespace pt2q::kernels
