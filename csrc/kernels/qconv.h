// Quantized convolution and linear: u8 (or s8) NHWC activations, s8 weights, exact int32
// accumulation, fused epilogue (epilogue.h). Results are bit-identical on every instruction set,
// for any thread count and any batch split.
//
//   ConvShape shape;                        // 56x56x64 -> 64, 3x3, padding 1
//   shape.in_h = shape.in_w = 56; shape.in_c = shape.out_c = 64;
//   shape.kernel_h = shape.kernel_w = 3;
//   shape.pad_top = shape.pad_left = shape.pad_bottom = shape.pad_right = 1;
//   auto packed = pack_weights(weight_shape(shape), w /* s8 [OC, IC/groups, KH, KW] */);
//   QConvSpec spec;
//   spec.shape = shape; spec.src_zero_point = 3;
//   spec.epilogue.scale = {...}; spec.epilogue.out_scale = 0.1F;
//   QConv conv(spec, packed);               // plan: once per input shape; packed is shared
//   AlignedBuffer scratch(conv.scratch_bytes());
//   conv.run(src, dst, scratch.data());     // no allocation; re-entrant with separate scratch
//
// Linear [M, K] x [N, K]: linear_shape(M, K, N) gives the 1x1 convolution that computes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/epilogue.h"
#include "kernels/isa.h"
#include "kernels/qconv_kernel.h"
#include "kernels/saturation.h"

namespace pt2q::kernels {

struct ConvShape {
  int64_t batch = 1;
  int64_t in_h = 1, in_w = 1, in_c = 1;
  int64_t out_c = 1;
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t groups = 1;

  int64_t out_h() const {
    return (in_h + pad_top + pad_bottom - dilation_h * (kernel_h - 1) - 1) / stride_h + 1;
  }
  int64_t out_w() const {
    return (in_w + pad_left + pad_right - dilation_w * (kernel_w - 1) - 1) / stride_w + 1;
  }
};

// [m, k] x [n, k]^T as a 1x1 convolution over m pixels.
ConvShape linear_shape(int64_t m, int64_t k, int64_t n);

// The part of a convolution that packing depends on.
struct WeightShape {
  int64_t out_c = 1;
  int64_t in_c = 1;  // per group
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t groups = 1;
  int64_t dilation_w = 1;
};
WeightShape weight_shape(const ConvShape& shape);

// 64-byte aligned memory.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes);
  uint8_t* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(uint8_t* p) const;
  };
  std::unique_ptr<uint8_t[], Free> data_;
  size_t size_ = 0;
};

// How a convolution computes: the instruction set, the dot product used below AMX, and whether the
// instructions are emulated in plain C++ (tests).
struct Route {
  Isa isa = Isa::portable;
  DotKind dot = DotKind::vnni;
  bool emulated = false;

  bool tiles() const { return isa == Isa::amx; }
  std::string name() const;  // "amx", "avx512_vnni", "avx512/mixed", ...
};

// Weights in the order of one route. K is a list of runs (contiguous input bytes: a kernel row, or
// one tap when grouped or dilated, or the whole window for few channels), cut into pieces.
struct PackedWeights {
  struct Piece {
    int run = 0;
    int byte = 0;  // first byte within the run
    int quads = 0;
  };
  struct Run {
    int kh = 0;
    int kw = 0;
  };

  WeightShape shape;
  Route route;
  bool im2col = false;  // one run: the whole window, gathered per pixel
  int64_t run_bytes = 0;
  std::vector<Run> runs;
  std::vector<Piece> pieces;
  int64_t panels_per_group = 0;
  int64_t panel_bytes = 0;  // one byte per weight; not of mixed panels
  std::vector<int64_t>
      tap_quads;                  // first quad of each tap (of each piece if that is less), and end
  std::vector<int32_t> tap_sums;  // [taps][groups][16 * panels_per_group]
  std::vector<int32_t> sums;      // [groups][16 * panels_per_group]: sum of weights per channel
  // Route mixed:
  int64_t max_pair_sum = -1;  // the largest magnitude of a sum of two products; see saturation.h
  int64_t block = 1;          // panels that share steps; the last block of a group may hold fewer
  std::vector<DotTap> taps;   // [groups][blocks][taps + 1]
  std::vector<DotRun> dot_runs;
  std::vector<uint16_t> dot_quads;
  std::vector<int64_t> block_at;  // first byte of each block
  AlignedBuffer data;
  AlignedBuffer narrow;  // of few channels: see qconv_narrow.h
  int32_t src_max = 255;
};

// The exact route on `isa`: VNNI or tiles where it has them, else mixed.
Route choose_route(Isa isa);

// weights: s8 [OC, IC/groups, KH, KW]; no input exceeds src_max (u8 domain). Throws ValueError for
// a non-positive size.
std::shared_ptr<const PackedWeights> pack_weights(const WeightShape& shape, const int8_t* weights,
                                                  const Route& route, int32_t src_max = 255);
std::shared_ptr<const PackedWeights> pack_weights(const WeightShape& shape, const int8_t* weights,
                                                  int32_t src_max = 255);

// How a convolution is cut up; results do not depend on it. Defaults are the cost model's choice,
// and what a shape does not allow is not done.
struct QConvChoice {
  // Of `mode`, for those who choose between QConv and WinogradConv (winograd.h); QConv ignores it.
  static constexpr int kWinograd = 5;

  int mode = -1;            // a FrameMode
  int64_t frame_bytes = 0;  // input bytes of one task
  int64_t pixel_ways = 0;   // threads that divide pixels; the others divide channels

  bool operator==(const QConvChoice& other) const {
    return mode == other.mode && frame_bytes == other.frame_bytes && pixel_ways == other.pixel_ways;
  }
};

struct QConvSpec {
  ConvShape shape;
  bool src_is_s8 = false;       // s8 input is shifted by 128 while it is copied (costs the copy)
  int32_t src_zero_point = 0;   // in the type of the source
  int64_t src_stride = 0;       // elements between pixels; 0 = in_c
  int64_t dst_stride = 0;       // elements between pixels; 0 = out_c
  int64_t residual_stride = 0;  // elements between pixels; 0 = out_c
  EpilogueSpec epilogue;
  bool scaled_rows = false;  // runs bring RowScales; src_zero_point is 0 then, and no padding
  int threads = 0;           // the most threads a run uses; 0 = num_threads() at planning
  QConvChoice choice;
};

class QConv {
 public:
  QConv(const QConvSpec& spec, std::shared_ptr<const PackedWeights> weights);
  ~QConv();
  QConv(QConv&&) noexcept;
  QConv& operator=(QConv&&) noexcept;

  // The same convolution of an input of another size; weights and epilogue are shared.
  QConv resized(int64_t batch, int64_t in_h, int64_t in_w) const;

  // Scratch memory a run needs (64-byte aligned).
  size_t scratch_bytes() const;
  // src: NHWC; dst: NHWC, pointing at the first channel to write (a slice of a wider buffer is
  // fine); residual: null without an `add` post-op, may be dst.
  // `rows`: exactly when the spec says so.
  void run(const void* src, void* dst, void* scratch, const void* residual = nullptr,
           const RowScales& rows = {}) const;
  // Elements between output pixels of later runs. Throws ValueError when less than the channels.
  void set_dst_stride(int64_t elements);
  // For reports: "amx expanded 3x3 64->64".
  std::string describe() const;
  Saturation saturation() const;

 private:
  struct Plan;
  explicit QConv(std::unique_ptr<Plan> plan);
  std::unique_ptr<Plan> plan_;
};

// Choices that differ from `from` (as far as the shape allows) in one respect: how input reaches
// the kernel, how much of it a task takes, or what threads divide.
enum class QConvAspect { mode, frame_bytes, pixel_ways };
std::vector<QConvChoice> qconv_choices(const QConvSpec& spec, const PackedWeights& weights,
                                       const QConvChoice& from, QConvAspect aspect);

// The plain loops that define the result. dst in the epilogue's output type.
void qconv_reference(const QConvSpec& spec, const int8_t* weights, const void* src, void* dst,
                     const void* residual = nullptr, const RowScales& rows = {});

}  // namespace pt2q::kernels
