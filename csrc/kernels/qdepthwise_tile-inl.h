// One tile of a depthwise convolution over a vector layer `Ops`. Included by the
// per-instruction-set files inside their target region and an anonymous namespace, so that no two
// share a function.
//
// Ops: kBytes (of a vector), kRows (taps of one dot product), kPixels (output pixels at a time, as
// registers allow), V, load(p, n), load_full(p), xor_bits, set_byte, interleave(rows, parts),
// dot(acc, x, w), load_parts / store_parts (aligned vectors), and the epilogue's quantize_store.
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

  const DepthwiseTile& tile;
  const int first_channel;  // within the block: 0, or 32 for the upper half
  const int channels;       // valid ones from there, at most Ops::kBytes
  const ptrdiff_t column_bytes;
  const ptrdiff_t half_bytes;  // offset of this half in packed vectors

  DepthwiseTileKernel(const DepthwiseTile& t, int first)
      : tile(t),
        first_channel(first),
        channels(t.channels - first < Ops::kBytes ? t.channels - first : Ops::kBytes),
        column_bytes(t.groups * kParts * Ops::kBytes),
        half_bytes(first) {}

  // Fills the scratch: [column][group][part].
  template <bool kFull>
  void interleave_columns() const {
    const V flip = Ops::set_byte(tile.flip);
    const int64_t begin = tile.first_column < 0 ? -tile.first_column : 0;
    const int64_t left = tile.width - tile.first_column;
    const int64_t end = left < tile.columns ? left : tile.columns;
    V rows[Ops::kRows], parts[kParts];
    for (int64_t g = 0; g < tile.groups; ++g) {
      uint8_t* out = tile.scratch + g * kParts * Ops::kBytes;
      for (V& row : rows) row = Ops::set_byte(tile.pad);
      Ops::interleave(rows, parts);
      for (int64_t c = 0; c < begin; ++c) store_column(out + c * column_bytes, parts);
      for (int64_t c = end; c < tile.columns; ++c) store_column(out + c * column_bytes, parts);
      const uint8_t* in[Ops::kRows];
      ptrdiff_t steps[Ops::kRows];
      for (int r = 0; r < Ops::kRows; ++r) {
        const int64_t row = g * Ops::kRows + r;
        steps[r] = tile.column_strides[row];
        in[r] = tile.rows[row] + (tile.first_column + begin) * steps[r] + first_channel;
      }
      out += begin * column_bytes;
      for (int64_t c = begin; c < end; ++c, out += column_bytes) {
#pragma GCC unroll 4
        for (int r = 0; r < Ops::kRows; ++r) {
          rows[r] = Ops::xor_bits(kFull ? Ops::load_full(in[r]) : Ops::load(in[r], channels), flip);
          in[r] += steps[r];
        }
        Ops::interleave(rows, parts);
        store_column(out, parts);
      }
    }
  }

  static void store_column(uint8_t* out, const V* parts) {
#pragma GCC unroll 4
    for (int j = 0; j < kParts; ++j) Ops::store_parts(out + j * Ops::kBytes, parts[j]);
  }

  // Accumulators of kPixels output pixels from `output` on, in output row `row`.
  template <int kPixels>
  void accumulate(int row, int64_t output, V (&acc)[kPixels][kParts]) const {
    const uint8_t* init = reinterpret_cast<const uint8_t*>(tile.init) + half_bytes;
#pragma GCC unroll 4
    for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 4
      for (int j = 0; j < kParts; ++j) acc[p][j] = Ops::load_parts(init + j * kPacked);
    }
    const uint8_t* w =
        tile.weights + row * tile.kernel_w * tile.groups * kParts * kPacked + half_bytes;
    const uint8_t* x = tile.scratch + output * tile.stride_w * column_bytes;
    const ptrdiff_t pixel_bytes = tile.stride_w * column_bytes;
    for (int64_t kw = 0; kw < tile.kernel_w; ++kw, x += tile.dilation_w * column_bytes) {
      const uint8_t* tap = x;
      for (int64_t g = 0; g < tile.groups; ++g) {
#pragma GCC unroll 4
        for (int j = 0; j < kParts; ++j) {
          const V weight = Ops::load_parts(w);
#pragma GCC unroll 4
          for (int p = 0; p < kPixels; ++p) {
            acc[p][j] = Ops::dot(acc[p][j], Ops::load_parts(tap + p * pixel_bytes), weight);
          }
          w += kPacked;
          tap += Ops::kBytes;
        }
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

  template <int kPixels, bool kFast, bool kS8>
  void pixels(int row, int64_t output, const typename Ops::Quantizer& quantizer) const {
    V acc[kPixels][kParts];
    accumulate(row, output, acc);
    if (!kFast) {
      store_general(row, output, acc);
      return;
    }
    const ptrdiff_t at = row * tile.dst_row_stride + output * tile.dst_stride + first_channel;
#pragma GCC unroll 4
    for (int p = 0; p < kPixels; ++p) {
      Ops::template quantize_store<kS8>(acc[p], tile.packed_scale, tile.packed_bias, half_bytes,
                                        quantizer, tile.dst + at + p * tile.dst_stride, channels);
    }
  }

  template <bool kFast, bool kS8>
  void rows() const {
    const typename Ops::Quantizer quantizer(*tile.epilogue);
    for (int row = 0; row < tile.out_rows; ++row) {
      int64_t o = 0;
      for (; o + Ops::kPixels <= tile.outputs; o += Ops::kPixels) {
        pixels<Ops::kPixels, kFast, kS8>(row, o, quantizer);
      }
      for (; o < tile.outputs; ++o) pixels<1, kFast, kS8>(row, o, quantizer);
    }
  }

  void run() const {
    if (channels == Ops::kBytes) {
      interleave_columns<true>();
    } else {
      interleave_columns<false>();
    }
    const Epilogue& e = *tile.epilogue;
    if (!e.fast || e.has_add) {
      rows<false, false>();
    } else if (e.out == ElemType::s8) {
      rows<true, true>();
    } else {
      rows<true, false>();
    }
  }
};
