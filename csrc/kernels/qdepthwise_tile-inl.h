// One tile of a depthwise convolution over a vector layer `Ops`. Included by the
// per-instruction-set files inside their target region and an anonymous namespace, so that no two
// share a function.
//
// Ops: kBytes (of a vector), kRows (taps of one dot product), kPixels (output pixels at a time, as
// registers allow), V, load(p, n), load_full(p), xor_bits, set_byte, interleave(rows, parts),
// dot(acc, x, w) in place and by asm (GCC 12 would copy every accumulator), load_parts /
// store_parts (aligned vectors), and the epilogue's quantize_store.
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

  // Fills columns [begin, end) of the scratch: [column][group][part].
  template <bool kFull>
  void interleave_columns(int64_t begin, int64_t end) const {
    uint8_t* out = tile.scratch + begin * column_bytes;
    for (int64_t c = begin; c < end; ++c) {
      const int64_t column = tile.first_column + c;
      const bool inside = column >= 0 && column < tile.width;
      for (int64_t g = 0; g < tile.groups; ++g, out += kParts * Ops::kBytes) {
        V rows[Ops::kRows], parts[kParts];
#pragma GCC unroll 4
        for (int r = 0; r < Ops::kRows; ++r) {
          if (inside) {
            const int64_t row = g * Ops::kRows + r;
            const uint8_t* in = tile.rows[row] + column * tile.column_strides[row] + first_channel;
            rows[r] = kFull ? Ops::load_full(in) : Ops::load(in, channels);
            if (tile.flip != 0) rows[r] = Ops::xor_bits(rows[r], Ops::set_byte(tile.flip));
          } else {
            rows[r] = Ops::set_byte(tile.pad);
          }
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
            Ops::dot(acc[p][j], Ops::load_parts(tap + p * pixel_bytes), weight);
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

  template <int kPixels, Store kStore>
  void pixels(int row, int64_t output, const typename Ops::Quantizer& quantizer) const {
    V acc[kPixels][kParts];
    accumulate(row, output, acc);
    if (kStore == Store::general) {
      store_general(row, output, acc);
      return;
    }
    const ptrdiff_t at = row * tile.dst_row_stride + output * tile.dst_stride + first_channel;
#pragma GCC unroll 4
    for (int p = 0; p < kPixels; ++p) {
      Ops::template quantize_store<kStore>(acc[p], tile.packed_scale, tile.packed_bias, half_bytes,
                                           quantizer, tile.dst + at + p * tile.dst_stride,
                                           channels);
    }
  }

  // A few columns at a time, so that interleaving (shuffles) and dot products of neighbouring
  // pixels, which use different execution ports, run side by side.
  template <bool kFull, Store kStore>
  void run_tile() const {
    const typename Ops::Quantizer quantizer(*tile.epilogue);
    const int64_t reach = (tile.kernel_w - 1) * tile.dilation_w + 1;
    int64_t columns = 0;
    for (int64_t o = 0; o < tile.outputs; o += Ops::kPixels) {
      const int64_t last = o + Ops::kPixels < tile.outputs ? o + Ops::kPixels : tile.outputs;
      const int64_t needed = (last - 1) * tile.stride_w + reach;
      interleave_columns<kFull>(columns, needed);
      columns = needed;
      for (int row = 0; row < tile.out_rows; ++row) {
        if (last - o == Ops::kPixels) {
          pixels<Ops::kPixels, kStore>(row, o, quantizer);
        } else {
          for (int64_t i = o; i < last; ++i) pixels<1, kStore>(row, i, quantizer);
        }
      }
    }
  }

  template <Store kStore>
  void run_stored() const {
    if (channels == Ops::kBytes) {
      run_tile<true, kStore>();
    } else {
      run_tile<false, kStore>();
    }
  }

  void run() const {
    const Epilogue& e = *tile.epilogue;
    if (!e.fast || e.has_add) {
      run_stored<Store::general>();
    } else if (e.out == ElemType::s8) {
      run_stored<Store::s8>();
    } else if (e.zero_point == 0 && e.qmin == 0 && e.qmax == 255) {
      run_stored<Store::plain_u8>();
    } else {
      run_stored<Store::u8>();
    }
  }
};
