// One tile of a depthwise convolution over a vector layer `Ops`. Included by the
// per-instruction-set files inside their target region and an anonymous namespace, so that no two
// share a function.
//
// Ops: kStreams (32 registers, so that qdepthwise_stream-inl.h pays), kBytes (of a vector), kRows
// (taps of one dot product), kPixels (output pixels at a time, as registers allow), V, load(p, n),
// load_full(p), xor_bits, set_byte, interleave(rows, parts), dot(acc, x, w) and dot_memory(acc, x,
// pointer) in place and by asm (GCC 12 would copy every accumulator), load_parts / store_parts
// (aligned vectors), and the epilogue's quantize_store.
//
// Order of values: a vector of bytes interleaved twice within 128-bit lanes gives four parts; part
// j holds, in lane l, channels 16 l + 4 j .. 16 l + 4 j + 3. Weights, first accumulators, scale and
// bias are packed in that order ([part][lane][4]) for 512-bit vectors; a 256-bit vector takes the
// lower or upper half of each of those.

template <class Ops>
struct DepthwiseTileKernel {
  using V = typename Ops::V;
  static constexpr int kParts = 4;
  static constexpr ptrdiff_t kPacked = 64;  // bytes between packed vectors

  // Copies of what the inner loops need: stores of bytes may alias the tile itself, locals not.
  const DepthwiseTile& tile;
  const int first_channel;  // within the block: 0, or 32 for the upper half
  const int channels;       // valid ones from there, at most Ops::kBytes

  DepthwiseTileKernel(const DepthwiseTile& t, int first)
      : tile(t),
        first_channel(first),
        channels(t.channels - first < Ops::kBytes ? t.channels - first : Ops::kBytes) {}

  struct Columns {
    uint8_t* scratch;
    int64_t groups;
    int64_t width;
    int64_t first_column;
    ptrdiff_t column_stride;
    V flip, pad;
    bool flips;
    const uint8_t* rows[kMaxDepthwiseRows];
  };

  // The parts of one column and group.
  template <bool kFull>
  __attribute__((always_inline)) static void interleave(const Columns& in, int64_t column,
                                                        int64_t group, int channels,
                                                        V (&parts)[kParts]) {
    V rows[Ops::kRows];
#pragma GCC unroll 4
    for (int r = 0; r < Ops::kRows; ++r) rows[r] = in.pad;
    if (column >= 0 && column < in.width) {
      const int64_t offset = column * in.column_stride;
#pragma GCC unroll 4
      for (int r = 0; r < Ops::kRows; ++r) {
        const uint8_t* row = in.rows[group * Ops::kRows + r] + offset;
        rows[r] = kFull ? Ops::load_full(row) : Ops::load(row, channels);
      }
      if (in.flips) {
#pragma GCC unroll 4
        for (int r = 0; r < Ops::kRows; ++r) rows[r] = Ops::xor_bits(rows[r], in.flip);
      }
    }
    Ops::interleave(rows, parts);
  }

  // Fills columns [begin, end) of the scratch: [column][group][part].
  template <int kGroups, bool kFull>
  __attribute__((always_inline)) static void interleave_columns(const Columns& in, int64_t begin,
                                                                int64_t end, int channels) {
    const int64_t groups = kGroups > 0 ? kGroups : in.groups;
    uint8_t* out = in.scratch + begin * groups * kParts * Ops::kBytes;
    for (int64_t c = begin; c < end; ++c) {
      for (int64_t g = 0; g < groups; ++g, out += kParts * Ops::kBytes) {
        V parts[kParts];
        interleave<kFull>(in, in.first_column + c, g, channels, parts);
#pragma GCC unroll 4
        for (int j = 0; j < kParts; ++j) Ops::store_parts(out + j * Ops::kBytes, parts[j]);
      }
    }
  }

  // Where the taps of some output pixels are.
  struct Taps {
    const uint8_t* init;
    const uint8_t* weights;
    const uint8_t* columns;
    int64_t kernel_w;
    int64_t groups;
    ptrdiff_t pixel_bytes;  // between neighbouring output pixels
    ptrdiff_t tap_bytes;    // between neighbouring taps of a pixel
  };

  template <int kGroups, int kPixels>
  __attribute__((always_inline)) static void accumulate(const Taps& t, V (&acc)[kPixels][kParts]) {
#pragma GCC unroll 4
    for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 4
      for (int j = 0; j < kParts; ++j) acc[p][j] = Ops::load_parts(t.init + j * kPacked);
    }
    const int64_t groups = kGroups > 0 ? kGroups : t.groups;
    const uint8_t* w = t.weights;
    const uint8_t* x = t.columns;
    for (int64_t kw = 0; kw < t.kernel_w; ++kw, x += t.tap_bytes) {
      const uint8_t* tap = x;
      for (int64_t g = 0; g < groups; ++g) {
#pragma GCC unroll 4
        for (int j = 0; j < kParts; ++j) {
          const V weight = Ops::load_parts(w + j * kPacked);
#pragma GCC unroll 4
          for (int p = 0; p < kPixels; ++p) {
            Ops::dot(acc[p][j], Ops::load_parts(tap + p * t.pixel_bytes + j * Ops::kBytes), weight);
          }
        }
        w += kParts * kPacked;
        tap += kParts * Ops::kBytes;
      }
    }
  }

  template <int kPixels>
  void store_general(int row, int64_t output, const V (&acc)[kPixels][kParts]) const {
    alignas(64) int32_t lines[kPixels * kDepthwiseBlock];
    for (int p = 0; p < kPixels; ++p) {
      for (int j = 0; j < kParts; ++j) {
        Ops::store_channels(lines + p * kDepthwiseBlock + 4 * j, acc[p][j]);
      }
    }
    EpilogueBlock block;
    block.acc = lines;
    block.acc_stride = kDepthwiseBlock;
    block.rows = kPixels;
    block.channels = channels;
    block.scale = tile.scale + first_channel;
    block.bias = tile.bias + first_channel;
    const ptrdiff_t at = row * tile.dst_row_stride + output * tile.dst_stride + first_channel;
    block.dst = tile.dst + at * tile.element_bytes;
    block.dst_stride = tile.dst_stride;
    if (tile.residual != nullptr) {
      const ptrdiff_t from =
          row * tile.residual_row_stride + output * tile.residual_stride + first_channel;
      block.residual = tile.residual + from * tile.residual_element_bytes;
      block.residual_stride = tile.residual_stride;
    }
    Ops::run_epilogue(*tile.epilogue, block);
  }

  __attribute__((always_inline)) Columns columns_of_tile() const {
    Columns in{tile.scratch,
               tile.groups,
               tile.width,
               tile.first_column,
               tile.column_stride,
               Ops::set_byte(tile.flip),
               Ops::set_byte(tile.pad),
               tile.flip != 0,
               {}};
    for (int64_t r = 0; r < tile.groups * Ops::kRows; ++r) {
      in.rows[r] = tile.rows[r] + first_channel;
    }
    return in;
  }

#include "kernels/qdepthwise_stream-inl.h"

  // A few columns at a time, so that interleaving (shuffles) and the dot products of neighbouring
  // pixels, which use different execution ports, run side by side.
  template <int kGroups, bool kFull, Store kStore>
  void run_tile() const {
    const typename Ops::Quantizer quantizer(*tile.epilogue, tile.packed_scale, tile.packed_bias,
                                            first_channel);
    const int64_t groups = kGroups > 0 ? kGroups : tile.groups;
    const int64_t outputs = tile.outputs, stride_w = tile.stride_w;
    const ptrdiff_t column_bytes = groups * kParts * Ops::kBytes;
    const ptrdiff_t dst_stride = tile.dst_stride, dst_row_stride = tile.dst_row_stride;
    uint8_t* const dst = tile.dst + first_channel;
    const int64_t reach = (tile.kernel_w - 1) * tile.dilation_w + 1;
    const int out_rows = tile.out_rows, valid = channels;
    const Columns in = columns_of_tile();
    Taps taps{reinterpret_cast<const uint8_t*>(tile.init) + first_channel,
              nullptr,
              nullptr,
              tile.kernel_w,
              groups,
              stride_w * column_bytes,
              tile.dilation_w * column_bytes};
    const uint8_t* const weights = tile.weights + first_channel;
    const ptrdiff_t row_weights = taps.kernel_w * groups * kParts * kPacked;
    int64_t columns = 0;
    for (int64_t o = 0; o < outputs; o += Ops::kPixels) {
      const int64_t last = o + Ops::kPixels < outputs ? o + Ops::kPixels : outputs;
      const int64_t needed = (last - 1) * stride_w + reach;
      interleave_columns<kGroups, kFull>(in, columns, needed, valid);
      columns = needed;
      for (int row = 0; row < out_rows; ++row) {
        taps.weights = weights + row * row_weights;
        taps.columns = in.scratch + o * taps.pixel_bytes;
        uint8_t* out = dst + row * dst_row_stride + o * dst_stride;
        if (last - o == Ops::kPixels) {
          V acc[Ops::kPixels][kParts];
          accumulate<kGroups>(taps, acc);
          if (kStore == Store::general) {
            store_general(row, o, acc);
            continue;
          }
#pragma GCC unroll 4
          for (int p = 0; p < Ops::kPixels; ++p, out += dst_stride) {
            Ops::template quantize_store<kStore, kFull>(acc[p], quantizer, out, valid);
          }
          continue;
        }
        for (int64_t i = o; i < last; ++i, out += dst_stride, taps.columns += taps.pixel_bytes) {
          V acc[1][kParts];
          accumulate<kGroups>(taps, acc);
          if (kStore == Store::general) {
            store_general(row, i, acc);
          } else {
            Ops::template quantize_store<kStore, kFull>(acc[0], quantizer, out, valid);
          }
        }
      }
    }
  }

  template <bool kFull, Store kStore>
  void run_stored() const {
    if constexpr (Ops::kStreams && kStore != Store::general) {
      if (try_stream<kFull, kStore>()) return;
    }
    if (tile.groups == 1) {
      run_tile<1, kFull, kStore>();
    } else if (tile.groups == 2) {
      run_tile<2, kFull, kStore>();
    } else {
      run_tile<0, kFull, kStore>();
    }
  }
  template <Store kStore>
  void run_full_or_part() const {
    channels == Ops::kBytes ? run_stored<true, kStore>() : run_stored<false, kStore>();
  }

  void run() const {
    const Epilogue& e = *tile.epilogue;
    if (!e.fast || e.has_add) {
      run_full_or_part<Store::general>();
    } else if (e.out == ElemType::s8) {
      run_full_or_part<Store::s8>();
    } else if (e.zero_point == 0 && e.qmin == 0 && e.qmax == 255) {
      run_full_or_part<Store::plain_u8>();
    } else {
      run_full_or_part<Store::u8>();
    }
  }
};
