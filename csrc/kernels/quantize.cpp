#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quantize.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "base/parallel.h"
#include "hwy/highway.h"
#include "kernels/affine-inl.h"
#include "kernels/quantize.h"

HWY_BEFORE_NAMESPACE();
namespace pt2q {
namespace HWY_NAMESPACE {

template <typename Q>
void quantize_run(const float* x, size_t n, const QuantParams& params, Q* q) {
  map_lanes(x, n, q, QuantizeLanes(params));
}

// The last vector of a row overlaps the one before.
template <typename Q>
void quantize_apart_run(const float* x, int64_t rows, int64_t width, const QuantParams& params,
                        Q* q, int64_t stride) {
  const QuantizeLanes f(params);
  const auto lanes = static_cast<int64_t>(hn::Lanes(FloatTag()));
  for (int64_t r = 0; r < rows; ++r, x += width, q += stride) {
    if (width < lanes) {
      map_lanes(x, static_cast<size_t>(width), q, f);
      continue;
    }
    for (int64_t i = 0; i + lanes <= width; i += lanes) store_lanes(f(load_lanes(x + i)), q + i);
    store_lanes(f(load_lanes(x + width - lanes)), q + width - lanes);
  }
}

template <typename Q>
void dequantize_run(const Q* q, size_t n, const QuantParams& params, float* x) {
  map_lanes(q, n, x, DequantizeLanes(params));
}

template <typename QIn, typename QOut>
void requantize_run(const QIn* q, size_t n, const QuantParams& from, const QuantParams& to,
                    QOut* out) {
  const DequantizeLanes dequantize_lanes(from);
  const QuantizeLanes quantize_lanes(to);
  map_lanes(q, n, out, [&](FloatVec v) { return quantize_lanes(dequantize_lanes(v)); });
}

void fake_quantize_run(const float* x, size_t n, const QuantParams& params, float* y) {
  const QuantizeLanes quantize_lanes(params);
  const DequantizeLanes dequantize_lanes(params);
  map_lanes(x, n, y, [&](FloatVec v) { return dequantize_lanes(quantize_lanes(v)); });
}

// Per channel. F(params, channel) makes the lanes of one channel, or, from pointers, of
// Lanes(FloatTag) neighbouring channels.
struct ChannelQuantize {
  QuantizeLanes lanes;

  ChannelQuantize(const ChannelQuantParams& p, const float* scales, const float* zero_points)
      : lanes(1.0f, 0.0f, static_cast<float>(p.quant_min), static_cast<float>(p.quant_max)) {
    // 1 / s in float32 equals float(1.0 / double(s)): double carries more than 2 * 24 bits.
    lanes.inv = hn::Div(hn::Set(FloatTag(), 1.0f), hn::LoadU(FloatTag(), scales));
    lanes.zero_point = hn::LoadU(FloatTag(), zero_points);
  }
  HWY_INLINE FloatVec operator()(FloatVec x) const { return lanes(x); }
};

struct ChannelDequantize {
  DequantizeLanes lanes;

  ChannelDequantize(const ChannelQuantParams&, const float* scales, const float* zero_points)
      : lanes(1.0f, 0.0f) {
    lanes.scale = hn::LoadU(FloatTag(), scales);
    lanes.zero_point = hn::LoadU(FloatTag(), zero_points);
  }
  HWY_INLINE FloatVec operator()(FloatVec q) const { return lanes(q); }
};

struct ChannelFakeQuantize {
  ChannelQuantize to;
  ChannelDequantize from;

  ChannelFakeQuantize(const ChannelQuantParams& p, const float* scales, const float* zero_points)
      : to(p, scales, zero_points), from(p, scales, zero_points) {}
  // A float zero point makes the quantized value fractional, and storing it truncates.
  HWY_INLINE FloatVec operator()(FloatVec x) const { return from(hn::Trunc(to(x))); }
};

// Lanes whose scale and zero point are given by padded copies of `count` channels' values.
template <class F>
HWY_INLINE F channel_lanes(const ChannelQuantParams& p, int64_t c, size_t count, bool broadcast) {
  float scales[hn::MaxLanes(FloatTag())];
  float zero_points[hn::MaxLanes(FloatTag())];
  for (size_t i = 0; i < hn::Lanes(FloatTag()); ++i) {
    const int64_t from = c + (broadcast ? 0 : static_cast<int64_t>(i < count ? i : 0));
    scales[i] = p.scales[from];
    zero_points[i] = p.zero_points[from];
  }
  return F(p, scales, zero_points);
}

// Rows [begin, end) of [outer * channels, inner].
template <class F, typename In, typename Out>
void channel_rows(const In* in, int64_t begin, int64_t end, int64_t channels, int64_t inner,
                  const ChannelQuantParams& p, Out* out) {
  if (inner != 1) {
    for (int64_t row = begin; row < end; ++row) {
      const F lanes = channel_lanes<F>(p, row % channels, 1, true);
      map_lanes(in + row * inner, static_cast<size_t>(inner), out + row * inner, lanes);
    }
    return;
  }
  const int64_t step = static_cast<int64_t>(hn::Lanes(FloatTag()));
  int64_t row = begin;
  while (row < end) {
    const int64_t c = row % channels;
    const int64_t left = HWY_MIN(channels - c, end - row);
    if (left >= step) {
      store_lanes(F(p, p.scales + c, p.zero_points + c)(load_lanes(in + row)), out + row);
      row += step;
    } else {
      const size_t count = static_cast<size_t>(left);
      map_lanes(in + row, count, out + row, channel_lanes<F>(p, c, count, false));
      row += left;
    }
  }
}

#define PT2Q_QUANTIZE_RUNS(NAME, Q)                                                             \
  void quantize_##NAME(const float* x, size_t n, const QuantParams& p, Q* q) {                  \
    quantize_run(x, n, p, q);                                                                   \
  }                                                                                             \
  void quantize_apart_##NAME(const float* x, int64_t rows, int64_t width, const QuantParams& p, \
                             Q* q, int64_t stride) {                                            \
    quantize_apart_run(x, rows, width, p, q, stride);                                           \
  }                                                                                             \
  void dequantize_##NAME(const Q* q, size_t n, const QuantParams& p, float* x) {                \
    dequantize_run(q, n, p, x);                                                                 \
  }                                                                                             \
  void requantize_##NAME##_u8(const Q* q, size_t n, const QuantParams& from,                    \
                              const QuantParams& to, uint8_t* out) {                            \
    requantize_run(q, n, from, to, out);                                                        \
  }                                                                                             \
  void requantize_##NAME##_s8(const Q* q, size_t n, const QuantParams& from,                    \
                              const QuantParams& to, int8_t* out) {                             \
    requantize_run(q, n, from, to, out);                                                        \
  }                                                                                             \
  void quantize_channels_##NAME(const float* x, int64_t begin, int64_t end, int64_t channels,   \
                                int64_t inner, const ChannelQuantParams& p, Q* q) {             \
    channel_rows<ChannelQuantize>(x, begin, end, channels, inner, p, q);                        \
  }                                                                                             \
  void dequantize_channels_##NAME(const Q* q, int64_t begin, int64_t end, int64_t channels,     \
                                  int64_t inner, const ChannelQuantParams& p, float* x) {       \
    channel_rows<ChannelDequantize>(q, begin, end, channels, inner, p, x);                      \
  }
PT2Q_QUANTIZE_RUNS(u8, uint8_t)
PT2Q_QUANTIZE_RUNS(s8, int8_t)
#undef PT2Q_QUANTIZE_RUNS

void fake_quantize_channels(const float* x, int64_t begin, int64_t end, int64_t channels,
                            int64_t inner, const ChannelQuantParams& p, float* y) {
  channel_rows<ChannelFakeQuantize>(x, begin, end, channels, inner, p, y);
}

}  // namespace HWY_NAMESPACE
}  // namespace pt2q
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pt2q {
namespace {

HWY_EXPORT(quantize_u8);
HWY_EXPORT(quantize_s8);
HWY_EXPORT(quantize_apart_u8);
HWY_EXPORT(quantize_apart_s8);
HWY_EXPORT(dequantize_u8);
HWY_EXPORT(dequantize_s8);
HWY_EXPORT(requantize_u8_u8);
HWY_EXPORT(requantize_u8_s8);
HWY_EXPORT(requantize_s8_u8);
HWY_EXPORT(requantize_s8_s8);
HWY_EXPORT(fake_quantize_run);
HWY_EXPORT(quantize_channels_u8);
HWY_EXPORT(quantize_channels_s8);
HWY_EXPORT(dequantize_channels_u8);
HWY_EXPORT(dequantize_channels_s8);
HWY_EXPORT(fake_quantize_channels);

// Elements a thread takes at least: below this the fork costs more than the work.
constexpr int64_t kGrain = 32768;

// run(in + offset, count, ..., out + offset) over chunks of n elements.
template <class Run, typename In, typename Out, typename... Params>
void run_chunks(Run* run, const In* in, int64_t n, Out* out, const Params&... params) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    run(in + begin, static_cast<size_t>(end - begin), params..., out + begin);
  });
}

// run(in, first row, last row, channels, inner, params, out) over chunks of the rows.
template <class Run, typename In, typename Out>
void run_channels(Run* run, const In* in, int64_t outer, int64_t channels, int64_t inner,
                  const ChannelQuantParams& params, Out* out) {
  if (inner <= 0) return;
  parallel_for(outer * channels, kGrain / inner + 1, [&](int64_t begin, int64_t end) {
    run(in, begin, end, channels, inner, params, out);
  });
}

}  // namespace

#define PT2Q_QUANTIZE_API(NAME, Q)                                                            \
  template <>                                                                                 \
  void quantize(const float* x, int64_t n, const QuantParams& params, Q* q) {                 \
    run_chunks(HWY_DYNAMIC_DISPATCH(quantize_##NAME), x, n, q, params);                       \
  }                                                                                           \
  template <>                                                                                 \
  void quantize_apart(const float* x, int64_t rows, int64_t width, const QuantParams& params, \
                      Q* q, int64_t stride) {                                                 \
    const auto run = HWY_DYNAMIC_DISPATCH(quantize_apart_##NAME);                             \
    parallel_for(rows, kGrain / (width + 1) + 1, [&](int64_t begin, int64_t end) {            \
      run(x + begin * width, end - begin, width, params, q + begin * stride, stride);         \
    });                                                                                       \
  }                                                                                           \
  template <>                                                                                 \
  void dequantize(const Q* q, int64_t n, const QuantParams& params, float* x) {               \
    run_chunks(HWY_DYNAMIC_DISPATCH(dequantize_##NAME), q, n, x, params);                     \
  }                                                                                           \
  template <>                                                                                 \
  void requantize(const Q* q, int64_t n, const QuantParams& from, const QuantParams& to,      \
                  uint8_t* out) {                                                             \
    run_chunks(HWY_DYNAMIC_DISPATCH(requantize_##NAME##_u8), q, n, out, from, to);            \
  }                                                                                           \
  template <>                                                                                 \
  void requantize(const Q* q, int64_t n, const QuantParams& from, const QuantParams& to,      \
                  int8_t* out) {                                                              \
    run_chunks(HWY_DYNAMIC_DISPATCH(requantize_##NAME##_s8), q, n, out, from, to);            \
  }                                                                                           \
  template <>                                                                                 \
  void quantize_per_channel(const float* x, int64_t outer, int64_t channels, int64_t inner,   \
                            const ChannelQuantParams& params, Q* q) {                         \
    run_channels(HWY_DYNAMIC_DISPATCH(quantize_channels_##NAME), x, outer, channels, inner,   \
                 params, q);                                                                  \
  }                                                                                           \
  template <>                                                                                 \
  void dequantize_per_channel(const Q* q, int64_t outer, int64_t channels, int64_t inner,     \
                              const ChannelQuantParams& params, float* x) {                   \
    run_channels(HWY_DYNAMIC_DISPATCH(dequantize_channels_##NAME), q, outer, channels, inner, \
                 params, x);                                                                  \
  }
PT2Q_QUANTIZE_API(u8, uint8_t)
PT2Q_QUANTIZE_API(s8, int8_t)
#undef PT2Q_QUANTIZE_API

void fake_quantize(const float* x, int64_t n, const QuantParams& params, float* y) {
  run_chunks(HWY_DYNAMIC_DISPATCH(fake_quantize_run), x, n, y, params);
}

void fake_quantize_per_channel(const float* x, int64_t outer, int64_t channels, int64_t inner,
                               const ChannelQuantParams& params, float* y) {
  run_channels(HWY_DYNAMIC_DISPATCH(fake_quantize_channels), x, outer, channels, inner, params, y);
}

}  // namespace pt2q
#endif  // HWY_ONCE
