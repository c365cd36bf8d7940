// Part of DepthwiseTileKernel (included in its body): kernels three wide with horizontal stride 1
// or 2 and no dilation, with every accumulator in registers. A column is interleaved, feeds the
// outputs it belongs to and is forgotten; nothing goes through the scratch.

__attribute__((always_inline)) static void start(V (&acc)[kParts], const uint8_t* init) {
#pragma GCC unroll 4
  for (int j = 0; j < kParts; ++j) acc[j] = Ops::load_parts(init + j * kPacked);
}

__attribute__((always_inline)) static void add_taps(V (&acc)[kParts], const V (&parts)[kParts],
                                                    const uint8_t* weights) {
#pragma GCC unroll 4
  for (int j = 0; j < kParts; ++j) Ops::dot_memory(acc[j], parts[j], weights + j * kPacked);
}

struct Stream {
  const uint8_t* init;
  const uint8_t* weights;  // [row][kw][group][part]
  uint8_t* dst;
  ptrdiff_t dst_stride;
  ptrdiff_t dst_row_stride;
  int channels;
};

Stream stream_of_tile() const {
  return {reinterpret_cast<const uint8_t*>(tile.init) + first_channel,
          tile.weights + first_channel,
          tile.dst + first_channel,
          tile.dst_stride,
          tile.dst_row_stride,
          channels};
}

// Column c = kPhase (mod 3) at stride 1: third tap of output c - 2, which is then complete, second
// of c - 1, first of c. The accumulators of output o are in slot o mod 3.
template <int kPhase, int kRowsOut, int kGroups, bool kFull, Store kStore>
__attribute__((always_inline)) static void stream_column(const Columns& in, const Stream& s,
                                                         const typename Ops::Quantizer& quantizer,
                                                         int64_t c, V (&acc)[kRowsOut][3][kParts]) {
  constexpr int kDone = (kPhase + 1) % 3, kNext = (kPhase + 2) % 3;
  constexpr ptrdiff_t kTap = kGroups * kParts * kPacked;
#pragma GCC unroll 2
  for (int g = 0; g < kGroups; ++g) {
    V parts[kParts];
    interleave<kFull>(in, in.first_column + c, g, s.channels, parts);
#pragma GCC unroll 2
    for (int row = 0; row < kRowsOut; ++row) {
      const uint8_t* w = s.weights + row * 3 * kTap + g * kParts * kPacked;
      if (g == 0) start(acc[row][kPhase], s.init);
      add_taps(acc[row][kDone], parts, w + 2 * kTap);
      add_taps(acc[row][kNext], parts, w + kTap);
      add_taps(acc[row][kPhase], parts, w);
    }
  }
  if (c < 2) return;
#pragma GCC unroll 2
  for (int row = 0; row < kRowsOut; ++row) {
    Ops::template quantize_store<kStore, kFull>(
        acc[row][kDone], quantizer, s.dst + row * s.dst_row_stride + (c - 2) * s.dst_stride,
        s.channels);
  }
}

template <int kRowsOut, int kGroups, bool kFull, Store kStore>
void stream_stride1() const {
  const typename Ops::Quantizer quantizer(*tile.epilogue, tile.packed_scale, tile.packed_bias,
                                          first_channel);
  const Columns in = columns_of_tile();
  const Stream s = stream_of_tile();
  const int64_t columns = tile.outputs + 2;
  V acc[kRowsOut][3][kParts];
#pragma GCC unroll 2
  for (int row = 0; row < kRowsOut; ++row) {
#pragma GCC unroll 3
    for (int slot = 0; slot < 3; ++slot) start(acc[row][slot], s.init);
  }
  for (int64_t c = 0; c < columns; c += 3) {
    stream_column<0, kRowsOut, kGroups, kFull, kStore>(in, s, quantizer, c, acc);
    if (c + 1 == columns) break;
    stream_column<1, kRowsOut, kGroups, kFull, kStore>(in, s, quantizer, c + 1, acc);
    if (c + 2 == columns) break;
    stream_column<2, kRowsOut, kGroups, kFull, kStore>(in, s, quantizer, c + 2, acc);
  }
}

// Columns 2 o, 2 o + 1 and 2 o + 2 make output o; the last one is also the first of output o + 1.
template <int kGroups, bool kFull, Store kStore>
void stream_stride2() const {
  const typename Ops::Quantizer quantizer(*tile.epilogue, tile.packed_scale, tile.packed_bias,
                                          first_channel);
  const Columns in = columns_of_tile();
  const Stream s = stream_of_tile();
  constexpr ptrdiff_t kTap = kGroups * kParts * kPacked;
  const int64_t outputs = tile.outputs;
  V acc[kParts], next[kParts];
  start(acc, s.init);
#pragma GCC unroll 2
  for (int g = 0; g < kGroups; ++g) {
    V parts[kParts];
    interleave<kFull>(in, in.first_column, g, s.channels, parts);
    add_taps(acc, parts, s.weights + g * kParts * kPacked);
  }
  for (int64_t o = 0; o < outputs; ++o) {
    start(next, s.init);
#pragma GCC unroll 2
    for (int g = 0; g < kGroups; ++g) {
      const uint8_t* w = s.weights + g * kParts * kPacked;
      V parts[kParts];
      interleave<kFull>(in, in.first_column + 2 * o + 1, g, s.channels, parts);
      add_taps(acc, parts, w + kTap);
      interleave<kFull>(in, in.first_column + 2 * o + 2, g, s.channels, parts);
      add_taps(acc, parts, w + 2 * kTap);
      add_taps(next, parts, w);
    }
    Ops::template quantize_store<kStore, kFull>(acc, quantizer, s.dst + o * s.dst_stride,
                                                s.channels);
#pragma GCC unroll 4
    for (int j = 0; j < kParts; ++j) acc[j] = next[j];
  }
}

template <int kGroups, bool kFull, Store kStore>
void stream() const {
  if (tile.stride_w == 2) {
    stream_stride2<kGroups, kFull, kStore>();
  } else if (tile.out_rows == 2) {
    stream_stride1<2, kGroups, kFull, kStore>();
  } else {
    stream_stride1<1, kGroups, kFull, kStore>();
  }
}

// Returns false where the shape is another, the accumulators would not fit, or (stride 1) the row
// is too short for the two columns of lead-in to pay.
template <bool kFull, Store kStore>
bool try_stream() const {
  const bool rows_fit = tile.stride_w == 1 ? tile.out_rows <= 2 : tile.out_rows == 1;
  if (tile.kernel_w != 3 || tile.dilation_w != 1 || tile.stride_w > 2 || tile.groups > 2 ||
      !rows_fit || (tile.stride_w == 1 && tile.outputs < 16)) {
    return false;
  }
  tile.groups == 1 ? stream<1, kFull, kStore>() : stream<2, kFull, kStore>();
  return true;
}
