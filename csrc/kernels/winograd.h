// 3x3 convolution of stride 1, quantized or float32, by Winograd's minimal filtering F(4x4, 3x3)
// (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015): a quarter of the
// products. Quantized, these have 16 bits and results are bit-identical to qconv_reference
// (qconv.h).
//
//   auto packed = pack_winograd(weight_shape(spec.shape), w, best_isa());  // null: not provable
//   WinogradConv conv(spec, packed);       // plan: once per input shape; packed is shared
//   AlignedBuffer scratch(conv.scratch_bytes());
//   conv.run(src, dst, scratch.data());    // re-entrant with separate scratch
//
// Why integers are exact: the method's fractions are multiplied out. With d a 6x6 patch of the
// input, g a filter, B and C the integer matrices of winograd_transform-inl.h,
//   576 * (d convolved with g) = A' [(C g C') * (B' d B)] A      (* by element, ' transposed),
// and everything on the right is sums and products of integers. B' d B fits 16 bits for any u8
// patch (|x| <= 50 * 255), C g C' for any s8 filter (|x| <= 144 * 128). The rest is computed modulo
// 2^32, where additions and products may wrap: the result is 576 r modulo 2^32, times the inverse
// of 9 it is 64 r, and an arithmetic shift by 6 gives r, as long as -2^25 <= r < 2^25.
// pack_winograd proves that for every input from the weights of each channel.
//
// float32 takes other points, with which rounding errors stay near those of summing product by
// product. Its results, too, are the same bits on every instruction set, for any thread count and
// any batch split. An infinity or NaN in a patch reaches all 16 results of the tile.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/isa.h"
#include "kernels/qconv.h"

namespace pt2q::kernels {

// Filters after their transform: eight times the bytes of s8 weights, four times those of float32.
struct PackedWinograd {
  WeightShape shape;
  Isa isa = Isa::portable;
  bool real = false;          // float32
  int64_t panels = 0;         // of 16 output channels
  std::vector<int32_t> sums;  // [16 * panels]: sum of the s8 weights per channel; not of float32
  AlignedBuffer data;         // s16 [36 points][panels][in_c / 2][16 channels][2], or
                              // float32 [36 points][panels][in_c][16 channels]
};

// Whether WinogradConv can compute it: 3x3, stride and dilation 1, one group, input channels in
// whole sixteens.
bool winograd_fits(const ConvShape& shape);
// Whether it fits and is expected to be faster than QConv or, with `real`, oneDNN's direct float32
// kernel on `isa` (a cost model). Never with PT2Q_WINOGRAD=0 in the environment.
bool winograd_pays(const ConvShape& shape, Isa isa, bool real = false);

// weights: s8 [OC, IC, 3, 3]. Null when the sum of some channel may leave [-2^25, 2^25). Throws
// ValueError for a shape that is not 3x3 with input channels in whole sixteens. isa above
// avx512_vnni is taken as avx512_vnni.
std::shared_ptr<const PackedWinograd> pack_winograd(const WeightShape& shape, const int8_t* weights,
                                                    Isa isa);
// weights: float32 [OC, IC, 3, 3]; never null.
std::shared_ptr<const PackedWinograd> pack_winograd(const WeightShape& shape, const float* weights,
                                                    Isa isa);

class WinogradConv {
 public:
  // Throws ValueError for a spec that does not fit or has scaled_rows. With float32 weights source,
  // destination and residual are float32, and of the epilogue only bias and post-ops count.
  WinogradConv(const QConvSpec& spec, std::shared_ptr<const PackedWinograd> weights);
  ~WinogradConv();
  WinogradConv(WinogradConv&&) noexcept;
  WinogradConv& operator=(WinogradConv&&) noexcept;

  // As of QConv.
  WinogradConv resized(int64_t batch, int64_t in_h, int64_t in_w) const;
  size_t scratch_bytes() const;
  void run(const void* src, void* dst, void* scratch, const void* residual = nullptr) const;
  void set_dst_stride(int64_t elements);
  std::string describe() const;  // "avx512_vnni winograd 3x3 64->64 @56x56"
  Saturation saturation() const;

 private:
  struct Plan;
  explicit WinogradConv(std::unique_ptr<Plan> plan);
  std::unique_ptr<Plan> plan_;
};

}  // namespace pt2q::kernels
