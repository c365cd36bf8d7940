#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pool.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include <algorithm>

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

// Calls vectors(channel offset, number of vectors known at compile time) to cover [begin, end) with
// vectors of `lanes` channels, the last one overlapping, or one(channel) if there are fewer.
template <class Vectors, class One>
HWY_INLINE void cover_channels(int64_t begin, int64_t end, int64_t lanes, const Vectors& vectors,
                               const One& one) {
  int64_t c = begin;
  for (; c + 4 * lanes <= end; c += 4 * lanes) vectors(c, std::integral_constant<int, 4>());
  for (; c + lanes <= end; c += lanes) vectors(c, std::integral_constant<int, 1>());
  if (c == end) return;
  if (end - begin >= lanes) {
    vectors(end - lanes, std::integral_constant<int, 1>());
  } else {
    for (; c < end; ++c) one(c);
  }
}

HWY_INLINE FloatVec max_of(FloatTag, FloatVec v, FloatVec best) {
  return hn::IfThenElse(hn::Or(hn::Gt(v, best), hn::IsNaN(v)), v, best);
}
template <class D, class V>
HWY_INLINE V max_of(D, V v, V best) {
  return hn::Max(v, best);
}

// kTaps > 0: a kTaps x kTaps window that lies inside the image, with steps of one.
template <int kTaps, typename T>
HWY_INLINE void max_pixel(const PoolRow<T, T>& r, const PoolWindow& column, T* out) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t line = r.width * r.channels;
  const T* first = r.image + r.row.begin * line + column.begin * r.channels;
  const int64_t step_h = r.windows->step_h, step_w = r.windows->step_w;
  const int64_t rows = kTaps > 0 ? kTaps : (r.row.end - r.row.begin + step_h - 1) / step_h;
  const int64_t taps = kTaps > 0 ? kTaps : (column.end - column.begin + step_w - 1) / step_w;
  const int64_t row_step = kTaps > 0 ? line : step_h * line;
  const int64_t tap_step = kTaps > 0 ? r.channels : step_w * r.channels;
  cover_channels(
      r.c_begin, r.c_end, lanes,
      [&](int64_t c, auto count) {
        constexpr int kVectors = decltype(count)::value;
        decltype(hn::Zero(d)) best[kVectors];
        for (int k = 0; k < kVectors; ++k) best[k] = hn::Set(d, lowest_value<T>());
        for (int64_t h = 0; h < rows; ++h) {
          for (int64_t w = 0; w < taps; ++w) {
            const T* tap = first + h * row_step + w * tap_step + c;
            for (int k = 0; k < kVectors; ++k) {
              best[k] = max_of(d, hn::LoadU(d, tap + k * lanes), best[k]);
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

// Sums of a window in lanes: int32 for integers, float32 for float32.
struct IntegerSum {
  using Tag = hn::RebindToSigned<FloatTag>;
  using Vec = hn::Vec<Tag>;
  template <typename Q>
  static HWY_INLINE Vec load(const Q* p) {
    return hn::PromoteTo(Tag(), hn::LoadU(hn::Rebind<Q, FloatTag>(), p));
  }
  static HWY_INLINE FloatVec average(Vec sum, const AverageScale& s) {
    const Vec centred = hn::Sub(sum, hn::Set(Tag(), s.zero_point_sum));
    return hn::Mul(hn::ConvertTo(FloatTag(), centred), hn::Set(FloatTag(), s.factor));
  }
};

struct FloatSum {
  using Tag = FloatTag;
  using Vec = FloatVec;
  static HWY_INLINE Vec load(const float* p) { return hn::LoadU(Tag(), p); }
  static HWY_INLINE FloatVec average(Vec sum, const AverageScale& s) {
    return hn::Div(sum, hn::Set(FloatTag(), s.divisor));
  }
};

HWY_INLINE void store_average(FloatVec v, const QuantizeLanes&, float* y) { store_lanes(v, y); }
template <typename Q>
HWY_INLINE void store_average(FloatVec v, const QuantizeLanes& lanes, Q* y) {
  store_lanes(lanes(v), y);
}
inline void store_average_scalar(float v, const QuantParams&, float* y) { *y = v; }
template <typename Q>
void store_average_scalar(float v, const QuantParams& p, Q* y) {
  quantize_reference(&v, 1, p, y);
}

template <class Sums, typename In, typename Out>
HWY_INLINE void average_pixel(const PoolRow<In, Out>& r, const PoolWindow& column,
                              const QuantizeLanes& quantize_lanes, Out* out) {
  const typename Sums::Tag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const AverageScale scale = average_scale(r.row, column, *r.pool, *r.from);
  cover_channels(
      r.c_begin, r.c_end, lanes,
      [&](int64_t c, auto count) {
        constexpr int kVectors = decltype(count)::value;
        typename Sums::Vec total[kVectors];
        for (int k = 0; k < kVectors; ++k) total[k] = hn::Zero(d);
        for (int64_t h = r.row.begin; h < r.row.end; ++h) {
          typename Sums::Vec line[kVectors];
          for (int k = 0; k < kVectors; ++k) line[k] = hn::Zero(d);
          for (int64_t w = column.begin; w < column.end; ++w) {
            const In* tap = r.image + (h * r.width + w) * r.channels + c;
            for (int k = 0; k < kVectors; ++k) {
              line[k] = hn::Add(line[k], Sums::load(tap + k * lanes));
            }
          }
          for (int k = 0; k < kVectors; ++k) total[k] = hn::Add(total[k], line[k]);
        }
        for (int k = 0; k < kVectors; ++k) {
          store_average(Sums::average(total[k], scale), quantize_lanes, out + c + k * lanes);
        }
      },
      [&](int64_t c) {
        using Sum = hn::TFromD<typename Sums::Tag>;
        const Sum sum = window_sum<Sum>(r.image + c, r.width, r.channels, r.row, column);
        store_average_scalar(average(sum, scale), *r.to, out + c);
      });
}

template <class Sums, typename In, typename Out>
void average_row(const PoolRow<In, Out>& r) {
  const QuantizeLanes quantize_lanes(*r.to);
  Out* out = r.out;
  for (const PoolWindow& column : r.windows->columns) {
    average_pixel<Sums>(r, column, quantize_lanes, out);
    out += r.out_stride;
  }
}

void max_row_u8(const PoolRow<uint8_t, uint8_t>& r) { max_row(r); }
void max_row_s8(const PoolRow<int8_t, int8_t>& r) { max_row(r); }
void max_row_f32(const PoolRow<float, float>& r) { max_row(r); }
void average_row_u8_u8(const PoolRow<uint8_t, uint8_t>& r) { average_row<IntegerSum>(r); }
void average_row_u8_s8(const PoolRow<uint8_t, int8_t>& r) { average_row<IntegerSum>(r); }
void average_row_u8_f32(const PoolRow<uint8_t, float>& r) { average_row<IntegerSum>(r); }
void average_row_s8_u8(const PoolRow<int8_t, uint8_t>& r) { average_row<IntegerSum>(r); }
void average_row_s8_s8(const PoolRow<int8_t, int8_t>& r) { average_row<IntegerSum>(r); }
void average_row_s8_f32(const PoolRow<int8_t, float>& r) { average_row<IntegerSum>(r); }
void average_row_f32_f32(const PoolRow<float, float>& r) { average_row<FloatSum>(r); }

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
