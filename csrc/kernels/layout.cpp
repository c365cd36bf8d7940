#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/layout.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include <algorithm>

#include "base/parallel.h"
#include "hwy/highway.h"
#include "kernels/affine-inl.h"
#include "kernels/layout.h"

HWY_BEFORE_NAMESPACE();
namespace pt2q {
namespace HWY_NAMESPACE {

// Square blocks that fit 128-bit registers: 16x16 bytes, 4x4 floats.
template <typename T>
constexpr int64_t kBlock = 16 / static_cast<int64_t>(sizeof(T));

#if HWY_TARGET == HWY_SCALAR
template <typename T>
HWY_INLINE void transpose_block(const T* in, int64_t in_stride, T* out, int64_t out_stride) {
  for (int64_t i = 0; i < kBlock<T>; ++i) {
    for (int64_t j = 0; j < kBlock<T>; ++j) out[j * out_stride + i] = in[i * in_stride + j];
  }
}
#else
// One butterfly stage of the transpose: rows i and i + n/2 interleave.
template <class D, class V, size_t kRows>
HWY_INLINE void interleave_stage(D d, const V (&in)[kRows], V (&out)[kRows]) {
  for (size_t i = 0; i < kRows / 2; ++i) {
    out[2 * i] = hn::InterleaveLower(d, in[i], in[i + kRows / 2]);
    out[2 * i + 1] = hn::InterleaveUpper(d, in[i], in[i + kRows / 2]);
  }
}

// out[j][i] = in[i][j] for a full block; strides in elements.
template <typename T>
HWY_INLINE void transpose_block(const T* in, int64_t in_stride, T* out, int64_t out_stride) {
  constexpr size_t kRows = static_cast<size_t>(kBlock<T>);
  const hn::FixedTag<T, kRows> d;
  using V = hn::Vec<decltype(d)>;
  V a[kRows], b[kRows];
  for (size_t i = 0; i < kRows; ++i) a[i] = hn::LoadU(d, in + static_cast<int64_t>(i) * in_stride);
  interleave_stage(d, a, b);
  interleave_stage(d, b, a);
  if (kRows == 16) {
    interleave_stage(d, a, b);
    interleave_stage(d, b, a);
  }
  for (size_t i = 0; i < kRows; ++i)
    hn::StoreU(a[i], d, out + static_cast<int64_t>(i) * out_stride);
}

#endif  // HWY_TARGET == HWY_SCALAR

// out[j][i] = in[i][j] for any rows x columns. A cache line of input is consumed at once.
template <typename T>
void transpose(const T* in, int64_t in_stride, int64_t rows, int64_t columns, T* out,
               int64_t out_stride) {
  const int64_t full_rows = rows - rows % kBlock<T>;
  const int64_t full_columns = columns - columns % kBlock<T>;
  const int64_t line = 4 * kBlock<T>;
  for (int64_t first = 0; first < full_columns; first += line) {
    const int64_t last = std::min(first + line, full_columns);
    for (int64_t i = 0; i < full_rows; i += kBlock<T>) {
      for (int64_t j = first; j < last; j += kBlock<T>) {
        transpose_block(in + i * in_stride + j, in_stride, out + j * out_stride + i, out_stride);
      }
    }
  }
  for (int64_t j = 0; j < columns; ++j) {
    for (int64_t i = j < full_columns ? full_rows : 0; i < rows; ++i) {
      out[j * out_stride + i] = in[i * in_stride + j];
    }
  }
}

// Three channels (images): one pass over the pixels, the channel planes read side by side.
template <typename T>
HWY_INLINE void interleave3(const T* in, int64_t in_stride, int64_t n, T* out) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreInterleaved3(hn::LoadU(d, in + i), hn::LoadU(d, in + in_stride + i),
                          hn::LoadU(d, in + 2 * in_stride + i), d, out + 3 * i);
  }
  for (; i < n; ++i) {
    for (int64_t c = 0; c < 3; ++c) out[3 * i + c] = in[c * in_stride + i];
  }
}

// Pixels and channels that are handled together: their quantized values stay in the L1 cache.
constexpr int64_t kTilePixels = 256;
constexpr int64_t kTileChannels = 64;

// Pixels [begin, end) of one image, NCHW float32 -> NHWC Q.
template <typename Q>
void quantize_to_nhwc(const float* x, const ImageShape& s, int64_t begin, int64_t end,
                      const QuantParams& params, Q* q) {
  alignas(64) Q tile[kTileChannels * kTilePixels];
  const QuantizeLanes lanes(params);
  for (int64_t p = begin; p < end; p += kTilePixels) {
    const int64_t count = std::min(kTilePixels, end - p);
    for (int64_t c = 0; c < s.channels; c += kTileChannels) {
      const int64_t rows = std::min(kTileChannels, s.channels - c);
      for (int64_t i = 0; i < rows; ++i) {
        map_lanes(x + (c + i) * s.pixels + p, static_cast<size_t>(count), tile + i * kTilePixels,
                  lanes);
      }
      if (s.channels == 3) {
        interleave3(tile, kTilePixels, count, q + p * 3);
      } else {
        transpose(tile, kTilePixels, rows, count, q + p * s.channels + c, s.channels);
      }
    }
  }
}

// Pixels [begin, end) of one image, NHWC Q -> NCHW float32.
template <typename Q>
void dequantize_to_nchw(const Q* q, const ImageShape& s, int64_t begin, int64_t end,
                        const QuantParams& params, float* x) {
  alignas(64) Q tile[kTileChannels * kTilePixels];
  const DequantizeLanes lanes(params);
  for (int64_t p = begin; p < end; p += kTilePixels) {
    const int64_t count = std::min(kTilePixels, end - p);
    for (int64_t c = 0; c < s.channels; c += kTileChannels) {
      const int64_t rows = std::min(kTileChannels, s.channels - c);
      transpose(q + p * s.channels + c, s.channels, count, rows, tile, kTilePixels);
      for (int64_t i = 0; i < rows; ++i) {
        map_lanes(tile + i * kTilePixels, static_cast<size_t>(count), x + (c + i) * s.pixels + p,
                  lanes);
      }
    }
  }
}

// Rows [begin, end) of a [rows, columns] matrix, to columns of a [columns, rows] matrix.
template <typename T>
void transpose_rows(const T* x, int64_t rows, int64_t columns, int64_t begin, int64_t end, T* y) {
  for (int64_t r = begin; r < end; r += kTileChannels) {
    const int64_t count = std::min(kTileChannels, end - r);
    transpose(x + r * columns, columns, count, columns, y + r, rows);
  }
}

#define PT2Q_LAYOUT_RUNS(NAME, Q)                                                               \
  void quantize_to_nhwc_##NAME(const float* x, const ImageShape& s, int64_t begin, int64_t end, \
                               const QuantParams& p, Q* q) {                                    \
    quantize_to_nhwc(x, s, begin, end, p, q);                                                   \
  }                                                                                             \
  void dequantize_to_nchw_##NAME(const Q* q, const ImageShape& s, int64_t begin, int64_t end,   \
                                 const QuantParams& p, float* x) {                              \
    dequantize_to_nchw(q, s, begin, end, p, x);                                                 \
  }
PT2Q_LAYOUT_RUNS(u8, uint8_t)
PT2Q_LAYOUT_RUNS(s8, int8_t)
#undef PT2Q_LAYOUT_RUNS

void transpose_rows_f32(const float* x, int64_t rows, int64_t columns, int64_t begin, int64_t end,
                        float* y) {
  transpose_rows(x, rows, columns, begin, end, y);
}
void transpose_rows_u8(const uint8_t* x, int64_t rows, int64_t columns, int64_t begin, int64_t end,
                       uint8_t* y) {
  transpose_rows(x, rows, columns, begin, end, y);
}

}  // namespace HWY_NAMESPACE
}  // namespace pt2q
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pt2q {
namespace {

HWY_EXPORT(quantize_to_nhwc_u8);
HWY_EXPORT(quantize_to_nhwc_s8);
HWY_EXPORT(dequantize_to_nchw_u8);
HWY_EXPORT(dequantize_to_nchw_s8);
HWY_EXPORT(transpose_rows_f32);
HWY_EXPORT(transpose_rows_u8);

constexpr int64_t kGrain = 32768;  // elements

// body(image, begin, end) over chunks of `extent` items of each image; items hold `width` elements.
template <class Body>
void for_image_chunks(int64_t batch, int64_t extent, int64_t width, const Body& body) {
  constexpr int64_t kUnit = 64;  // chunk borders stay multiples of a block
  const int64_t units = (extent + kUnit - 1) / kUnit;
  if (batch <= 0 || units <= 0 || width <= 0) return;
  parallel_for(batch * units, kGrain / (kUnit * width) + 1, [&](int64_t first, int64_t last) {
    while (first < last) {
      const int64_t image = first / units;
      const int64_t count = std::min(units - first % units, last - first);
      const int64_t begin = first % units * kUnit;
      body(image, begin, std::min(begin + count * kUnit, extent));
      first += count;
    }
  });
}

void transpose_images(const float* x, int64_t batch, int64_t rows, int64_t columns, float* y) {
  for_image_chunks(batch, rows, columns, [&](int64_t b, int64_t begin, int64_t end) {
    const int64_t offset = b * rows * columns;
    HWY_DYNAMIC_DISPATCH(transpose_rows_f32)(x + offset, rows, columns, begin, end, y + offset);
  });
}
void transpose_images(const uint8_t* x, int64_t batch, int64_t rows, int64_t columns, uint8_t* y) {
  for_image_chunks(batch, rows, columns, [&](int64_t b, int64_t begin, int64_t end) {
    const int64_t offset = b * rows * columns;
    HWY_DYNAMIC_DISPATCH(transpose_rows_u8)(x + offset, rows, columns, begin, end, y + offset);
  });
}
void transpose_images(const int8_t* x, int64_t batch, int64_t rows, int64_t columns, int8_t* y) {
  transpose_images(reinterpret_cast<const uint8_t*>(x), batch, rows, columns,
                   reinterpret_cast<uint8_t*>(y));
}

}  // namespace

template <typename T>
void nchw_to_nhwc(const T* x, const ImageShape& s, T* y) {
  transpose_images(x, s.batch, s.channels, s.pixels, y);
}
template <typename T>
void nhwc_to_nchw(const T* x, const ImageShape& s, T* y) {
  transpose_images(x, s.batch, s.pixels, s.channels, y);
}
template void nchw_to_nhwc(const float*, const ImageShape&, float*);
template void nchw_to_nhwc(const uint8_t*, const ImageShape&, uint8_t*);
template void nchw_to_nhwc(const int8_t*, const ImageShape&, int8_t*);
template void nhwc_to_nchw(const float*, const ImageShape&, float*);
template void nhwc_to_nchw(const uint8_t*, const ImageShape&, uint8_t*);
template void nhwc_to_nchw(const int8_t*, const ImageShape&, int8_t*);

#define PT2Q_LAYOUT_API(NAME, Q)                                                                 \
  template <>                                                                                    \
  void quantize_nchw_to_nhwc(const float* x, const ImageShape& s, const QuantParams& params,     \
                             Q* q) {                                                             \
    for_image_chunks(s.batch, s.pixels, s.channels, [&](int64_t b, int64_t begin, int64_t end) { \
      const int64_t offset = b * s.pixels * s.channels;                                          \
      HWY_DYNAMIC_DISPATCH(quantize_to_nhwc_##NAME)                                              \
      (x + offset, s, begin, end, params, q + offset);                                           \
    });                                                                                          \
  }                                                                                              \
  template <>                                                                                    \
  void dequantize_nhwc_to_nchw(const Q* q, const ImageShape& s, const QuantParams& params,       \
                               float* x) {                                                       \
    for_image_chunks(s.batch, s.pixels, s.channels, [&](int64_t b, int64_t begin, int64_t end) { \
      const int64_t offset = b * s.pixels * s.channels;                                          \
      HWY_DYNAMIC_DISPATCH(dequantize_to_nchw_##NAME)                                            \
      (q + offset, s, begin, end, params, x + offset);                                           \
    });                                                                                          \
  }
PT2Q_LAYOUT_API(u8, uint8_t)
PT2Q_LAYOUT_API(s8, int8_t)
#undef PT2Q_LAYOUT_API

}  // namespace pt2q
#endif  // HWY_ONCE
