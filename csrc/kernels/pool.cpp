#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pool.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include <algorithm>
#include <type_traits>

#include "base/parallel.h"
#include "hwy/highway.h"
#include "kernels/affine-inl.h"
#include "kernels/pool.h"
#include "kernels/pool_windows.h"

#ifndef PT2Q_KERNELS_POOL_ROW_
#define PT2Q_KERNELS_POOL_ROW_
namespace pt2q {
// Channels [c_begin, c_end) of one output row.
template <typename In, typename Out>
struct PoolRow {
  const In* image = nullptr;
  Out* out = nullptr;  // the row's first pixel
  int64_t out_stride = 0;
  int64_t width = 0;
  int64_t channels = 0;
  int64_t c_begin = 0;
  int64_t c_end = 0;
  PoolWindow row;
  const PoolWindows* windows = nullptr;
  // Averages only.
  const Pool2d* pool = nullptr;
  const QuantParams* from = nullptr;
  const QuantParams* to = nullptr;
};
}  // namespace pt2q
#endif

HWY_BEFORE_NAMESPACE();
namespace pt2q {
namespace HWY_NAMESPACE {

// Calls vectors(tag, channel offset, number of vectors known at compile time) to cover [begin, end)
// with vectors of the wide tag, the last one overlapping; with the narrow tag if there are too few
// channels for that; and one(channel) if there are fewer still.
template <class Wide, class Narrow, class Vectors, class One>
HWY_INLINE void cover_channels(Wide wide, Narrow narrow, int64_t begin, int64_t end,
                               const Vectors& vectors, const One& one) {
  const std::integral_constant<int, 1> single;
  const int64_t many = static_cast<int64_t>(hn::Lanes(wide));
  const int64_t few = static_cast<int64_t>(hn::Lanes(narrow));
  int64_t c = begin;
  for (; c + 4 * many <= end; c += 4 * many) vectors(wide, c, std::integral_constant<int, 4>());
  for (; c + 2 * many <= end; c += 2 * many) vectors(wide, c, std::integral_constant<int, 2>());
  if (c + many <= end) {
    vectors(wide, c, single);
    c += many;
  }
  if (c == end) return;
  if (end - begin >= many) {
    vectors(wide, end - many, single);
  } else if (end - begin >= few) {
    for (; c + few <= end; c += few) vectors(narrow, c, single);
    if (c < end) vectors(narrow, end - few, single);
  } else {
    for (; c < end; ++c) one(c);
  }
}

template <class V>
HWY_INLINE V max_of(float, V v, V best) {
  return hn::IfThenElse(hn::Or(hn::Gt(v, best), hn::IsNaN(v)), v, best);
}
template <typename T, class V>
HWY_INLINE V max_of(T, V v, V best) {
  return hn::Max(v, best);
}

// kTaps > 0: a kTaps x kTaps window that lies inside the image, with steps of one.
template <int kTaps, typename T>
HWY_INLINE void max_pixel(const PoolRow<T, T>& r, const PoolWindow& column, T* out) {
  const int64_t line = r.width * r.channels;
  const T* first = r.image + r.row.begin * line + column.begin * r.channels;
  const int64_t step_h = r.windows->step_h, step_w = r.windows->step_w;
  const int64_t rows = kTaps > 0 ? kTaps : (r.row.end - r.row.begin + step_h - 1) / step_h;
  const int64_t taps = kTaps > 0 ? kTaps : (column.end - column.begin + step_w - 1) / step_w;
  const int64_t row_step = kTaps > 0 ? line : step_h * line;
  const int64_t tap_step = kTaps > 0 ? r.channels : step_w * r.channels;
  cover_channels(
      hn::ScalableTag<T>(), hn::CappedTag<T, 16 / sizeof(T)>(), r.c_begin, r.c_end,
      [&](auto d, int64_t c, auto count) {
        constexpr int kVectors = decltype(count)::value;
        const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
        decltype(hn::Zero(d)) best[kVectors];
        for (int k = 0; k < kVectors; ++k) best[k] = hn::Set(d, lowest_value<T>());
        for (int64_t h = 0; h < rows; ++h) {
          for (int64_t w = 0; w < taps; ++w) {
            const T* tap = first + h * row_step + w * tap_step + c;
            for (int k = 0; k < kVectors; ++k) {
              best[k] = max_of(T(), hn::LoadU(d, tap + k * lanes), best[k]);
            }
          }
        }
        for (int k = 0; k < kVectors; ++k) hn::StoreU(best[k], d, out + c + k * lanes);
      },
      [&](int64_t c) {
        out[c] = window_max(r.image + c, r.width, r.channels, r.row, step_h, column, step_w);
      });
}

template <typename T>
void max_row(const PoolRow<T, T>& r) {
  const bool dense = r.windows->step_h == 1 && r.windows->step_w == 1;
  const int64_t rows = r.row.end - r.row.begin;
  T* out = r.out;
  for (const PoolWindow& column : r.windows->columns) {
    const int64_t taps = column.end - column.begin;
    if (dense && rows == 3 && taps == 3) {
      max_pixel<3>(r, column, out);
    } else if (dense && rows == 2 && taps == 2) {
      max_pixel<2>(r, column, out);
    } else {
      max_pixel<0>(r, column, out);
    }
    out += r.out_stride;
  }
}

// Loads elements as what they are summed in.
template <class D, typename In>
HWY_INLINE hn::Vec<D> load_terms(D d, const In* p) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<In, D>(), p));
}
HWY_INLINE FloatVec load_terms(FloatTag d, const float* p) { return hn::LoadU(d, p); }

HWY_INLINE void store_average(FloatVec v, const QuantizeLanes&, float* y) { store_lanes(v, y); }
template <typename Q>
HWY_INLINE void store_average(FloatVec v, const QuantizeLanes& lanes, Q* y) {
  store_lanes(lanes(v), y);
}

// Turns window sums into averages and stores them.
using Int32Tag = hn::RebindToSigned<FloatTag>;
template <typename Out>
HWY_INLINE void finish_sums(Int32Tag d, hn::Vec<Int32Tag> sum, const AverageScale& s,
                            const QuantizeLanes& lanes, Out* y) {
  const auto centred = hn::ConvertTo(FloatTag(), hn::Sub(sum, hn::Set(d, s.zero_point_sum)));
  store_average(hn::Mul(centred, hn::Set(FloatTag(), s.factor)), lanes, y);
}
template <typename Out>
HWY_INLINE void finish_sums(FloatTag d, FloatVec sum, const AverageScale& s,
                            const QuantizeLanes& lanes, Out* y) {
  store_average(hn::Div(sum, hn::Set(d, s.divisor)), lanes, y);
}
#if HWY_TARGET == HWY_SCALAR
template <typename In>
using ShortTag = Int32Tag;
#else
template <typename In>
using ShortTag = hn::ScalableTag<hwy::MakeWide<In> >;
template <class D, typename Out>
HWY_INLINE void finish_sums(D d, hn::Vec<D> sum, const AverageScale& s, const QuantizeLanes& lanes,
                            Out* y) {
  const Int32Tag di;
  finish_sums(di, hn::PromoteTo(di, hn::LowerHalf(sum)), s, lanes, y);
  finish_sums(di, hn::PromoteTo(di, hn::UpperHalf(hn::Half<D>(), sum)), s, lanes,
              y + hn::Lanes(di));
}
#endif

// The tag sums are made in: 16 bits hold the sum of up to 256 bytes.
template <bool kShort, typename In>
struct SumTag {
  using Wide = std::conditional_t<kShort, ShortTag<In>, Int32Tag>;
  using Narrow = Int32Tag;
  using Sum = int32_t;
};
template <bool kShort>
struct SumTag<kShort, float> {
  using Wide = FloatTag;
  using Narrow = FloatTag;
  using Sum = float;
};

inline void store_average_scalar(float v, const QuantParams&, float* y) { *y = v; }
template <typename Q>
void store_average_scalar(float v, const QuantParams& p, Q* y) {
  quantize_reference(&v, 1, p, y);
}

template <bool kShort, typename In, typename Out>
HWY_INLINE void average_pixel(const PoolRow<In, Out>& r, const PoolWindow& column,
                              const QuantizeLanes& quantize_lanes, Out* out) {
  using Tags = SumTag<kShort, In>;
  const AverageScale scale = average_scale(r.row, column, *r.pool, *r.from);
  cover_channels(
      typename Tags::Wide(), typename Tags::Narrow(), r.c_begin, r.c_end,
      [&](auto d, int64_t c, auto count) {
        constexpr int kVectors = decltype(count)::value;
        const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
        decltype(hn::Zero(d)) total[kVectors], line[kVectors];
        for (int k = 0; k < kVectors; ++k) total[k] = hn::Zero(d);
        for (int64_t h = r.row.begin; h < r.row.end; ++h) {
          const In* tap = r.image + (h * r.width + column.begin) * r.channels + c;
          for (int k = 0; k < kVectors; ++k) line[k] = hn::Zero(d);
          for (int64_t w = column.begin; w < column.end; ++w, tap += r.channels) {
            for (int k = 0; k < kVectors; ++k) {
              line[k] = hn::Add(line[k], load_terms(d, tap + k * lanes));
            }
          }
          for (int k = 0; k < kVectors; ++k) total[k] = hn::Add(total[k], line[k]);
        }
        for (int k = 0; k < kVectors; ++k) {
          finish_sums(d, total[k], scale, quantize_lanes, out + c + k * lanes);
        }
      },
      [&](int64_t c) {
        using Sum = typename Tags::Sum;
        const Sum sum = window_sum<Sum>(r.image + c, r.width, r.channels, r.row, column);
        store_average_scalar(average(sum, scale), *r.to, out + c);
      });
}

template <typename In, typename Out>
void average_row(const PoolRow<In, Out>& r) {
  const QuantizeLanes quantize_lanes(*r.to);
  const int64_t rows = r.row.end - r.row.begin;
  Out* out = r.out;
  for (const PoolWindow& column : r.windows->columns) {
    if (rows * (column.end - column.begin) <= 256) {
      average_pixel<true>(r, column, quantize_lanes, out);
    } else {
      average_pixel<false>(r, column, quantize_lanes, out);
    }
    out += r.out_stride;
  }
}

void max_row_u8(const PoolRow<uint8_t, uint8_t>& r) { max_row(r); }
void max_row_s8(const PoolRow<int8_t, int8_t>& r) { max_row(r); }
void max_row_f32(const PoolRow<float, float>& r) { max_row(r); }
void average_row_u8_u8(const PoolRow<uint8_t, uint8_t>& r) { average_row(r); }
void average_row_u8_s8(const PoolRow<uint8_t, int8_t>& r) { average_row(r); }
void average_row_u8_f32(const PoolRow<uint8_t, float>& r) { average_row(r); }
void average_row_s8_u8(const PoolRow<int8_t, uint8_t>& r) { average_row(r); }
void average_row_s8_s8(const PoolRow<int8_t, int8_t>& r) { average_row(r); }
void average_row_s8_f32(const PoolRow<int8_t, float>& r) { average_row(r); }
void average_row_f32_f32(const PoolRow<float, float>& r) { average_row(r); }

}  // namespace HWY_NAMESPACE
}  // namespace pt2q
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pt2q {
namespace {

HWY_EXPORT(max_row_u8);
HWY_EXPORT(max_row_s8);
HWY_EXPORT(max_row_f32);
HWY_EXPORT(average_row_u8_u8);
HWY_EXPORT(average_row_u8_s8);
HWY_EXPORT(average_row_u8_f32);
HWY_EXPORT(average_row_s8_u8);
HWY_EXPORT(average_row_s8_s8);
HWY_EXPORT(average_row_s8_f32);
HWY_EXPORT(average_row_f32_f32);

// A thread takes at least this many input elements.
constexpr int64_t kGrain = 32768;
// Channels of one piece of work where there are few output rows (global average).
constexpr int64_t kChannelBlock = 256;

template <typename In, typename Out>
void run_rows(const In* x, const NhwcShape& s, const PoolWindows& windows, Out* y, int64_t y_stride,
              PoolRow<In, Out> row, void (*run)(const PoolRow<In, Out>&)) {
  const int64_t out_h = static_cast<int64_t>(windows.rows.size());
  const int64_t out_w = static_cast<int64_t>(windows.columns.size());
  if (out_h == 0 || out_w == 0 || s.channels == 0) return;
  const int64_t block = s.batch * out_h >= 16 ? s.channels : std::min(s.channels, kChannelBlock);
  const int64_t blocks = (s.channels + block - 1) / block;
  row.out_stride = y_stride == 0 ? s.channels : y_stride;
  row.width = s.width;
  row.channels = s.channels;
  row.windows = &windows;
  const int64_t items = s.batch * out_h * blocks;
  const int64_t cost = s.batch * s.height * s.width * s.channels / std::max<int64_t>(items, 1) + 1;
  parallel_for(items, kGrain / cost + 1, [&](int64_t begin, int64_t end) {
    PoolRow<In, Out> r = row;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t line = i / blocks;
      r.image = x + line / out_h * s.height * s.width * s.channels;
      r.row = windows.rows[static_cast<size_t>(line % out_h)];
      r.out = y + line * out_w * r.out_stride;
      r.c_begin = i % blocks * block;
      r.c_end = std::min(r.c_begin + block, s.channels);
      run(r);
    }
  });
}

template <typename In, typename Out>
void run_average(const In* x, const NhwcShape& s, const PoolWindows& windows, const Pool2d& pool,
                 const QuantParams& from, const QuantParams& to, Out* y, int64_t y_stride,
                 void (*run)(const PoolRow<In, Out>&)) {
  PoolRow<In, Out> row;
  row.pool = &pool;
  row.from = &from;
  row.to = &to;
  run_rows(x, s, windows, y, y_stride, row, run);
}

}  // namespace

#define PT2Q_MAX_POOL(NAME, T)                                                                \
  template <>                                                                                 \
  void max_pool(const T* x, const NhwcShape& s, const Pool2d& pool, T* y, int64_t y_stride) { \
    run_rows(x, s, pool_windows(s, pool), y, y_stride, PoolRow<T, T>(),                       \
             HWY_DYNAMIC_DISPATCH(max_row_##NAME));                                           \
  }
PT2Q_MAX_POOL(u8, uint8_t)
PT2Q_MAX_POOL(s8, int8_t)
PT2Q_MAX_POOL(f32, float)
#undef PT2Q_MAX_POOL

#define PT2Q_AVG_POOL(NAME, In, Out)                                                          \
  template <>                                                                                 \
  void avg_pool(const In* x, const NhwcShape& s, const Pool2d& pool, const QuantParams& from, \
                const QuantParams& to, Out* y, int64_t y_stride) {                            \
    run_average(x, s, pool_windows(s, pool), pool, from, to, y, y_stride,                     \
                HWY_DYNAMIC_DISPATCH(average_row_##NAME));                                    \
  }                                                                                           \
  template <>                                                                                 \
  void adaptive_avg_pool(const In* x, const NhwcShape& s, int64_t out_h, int64_t out_w,       \
                         const QuantParams& from, const QuantParams& to, Out* y,              \
                         int64_t y_stride) {                                                  \
    run_average(x, s, adaptive_windows(s, out_h, out_w), Pool2d(), from, to, y, y_stride,     \
                HWY_DYNAMIC_DISPATCH(average_row_##NAME));                                    \
  }
PT2Q_AVG_POOL(u8_u8, uint8_t, uint8_t)
PT2Q_AVG_POOL(u8_s8, uint8_t, int8_t)
PT2Q_AVG_POOL(u8_f32, uint8_t, float)
PT2Q_AVG_POOL(s8_u8, int8_t, uint8_t)
PT2Q_AVG_POOL(s8_s8, int8_t, int8_t)
PT2Q_AVG_POOL(s8_f32, int8_t, float)
#undef PT2Q_AVG_POOL

void avg_pool_f32(const float* x, const NhwcShape& s, const Pool2d& pool, float* y,
                  int64_t y_stride) {
  run_average(x, s, pool_windows(s, pool), pool, QuantParams(), QuantParams(), y, y_stride,
              HWY_DYNAMIC_DISPATCH(average_row_f32_f32));
}

void adaptive_avg_pool_f32(const float* x, const NhwcShape& s, int64_t out_h, int64_t out_w,
                           float* y, int64_t y_stride) {
  run_average(x, s, adaptive_windows(s, out_h, out_w), Pool2d(), QuantParams(), QuantParams(), y,
              y_stride, HWY_DYNAMIC_DISPATCH(average_row_f32_f32));
}

}  // namespace pt2q
#endif  // HWY_ONCE
