// The scalar definitions of quantize.h and layout.h.
#include <cmath>
#include <vector>

#include "kernels/layout.h"
#include "kernels/quantize.h"

namespace pt2q {

float inverse_scale(double scale) { return static_cast<float>(1.0 / scale); }

int32_t quantize_value(float x, float inv, float zero_point, float quant_min, float quant_max) {
  const float shifted = std::nearbyint(x * inv) + zero_point;
  if (std::isnan(shifted)) return 0;
  return static_cast<int32_t>(std::fmin(std::fmax(shifted, quant_min), quant_max));
}

float dequantize_value(int32_t q, float scale, float zero_point) {
  return (static_cast<float>(q) - zero_point) * scale;
}

namespace {

int32_t quantize_with(float x, const QuantParams& p) {
  return quantize_value(x, inverse_scale(p.scale), static_cast<float>(p.zero_point),
                        static_cast<float>(p.quant_min), static_cast<float>(p.quant_max));
}

float dequantize_with(int32_t q, const QuantParams& p) {
  return dequantize_value(q, static_cast<float>(p.scale), static_cast<float>(p.zero_point));
}

// Calls f(element index, channel) for every element of [outer, channels, inner].
template <class F>
void for_each_channel_element(int64_t outer, int64_t channels, int64_t inner, const F& f) {
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t i = 0; i < inner; ++i) f((o * channels + c) * inner + i, c);
    }
  }
}

int32_t quantize_channel(float x, const ChannelQuantParams& p, int64_t c) {
  return quantize_value(x, inverse_scale(p.scales[c]), p.zero_points[c],
                        static_cast<float>(p.quant_min), static_cast<float>(p.quant_max));
}

}  // namespace

template <typename Q>
void quantize_reference(const float* x, int64_t n, const QuantParams& params, Q* q) {
  for (int64_t i = 0; i < n; ++i) q[i] = static_cast<Q>(quantize_with(x[i], params));
}

template <typename Q>
void dequantize_reference(const Q* q, int64_t n, const QuantParams& params, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] = dequantize_with(q[i], params);
}

template <typename QIn, typename QOut>
void requantize_reference(const QIn* q, int64_t n, const QuantParams& from, const QuantParams& to,
                          QOut* out) {
  for (int64_t i = 0; i < n; ++i) {
    out[i] = static_cast<QOut>(quantize_with(dequantize_with(q[i], from), to));
  }
}

void fake_quantize_reference(const float* x, int64_t n, const QuantParams& params, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = dequantize_with(quantize_with(x[i], params), params);
}

template <typename Q>
void quantize_per_channel_reference(const float* x, int64_t outer, int64_t channels, int64_t inner,
                                    const ChannelQuantParams& params, Q* q) {
  for_each_channel_element(outer, channels, inner, [&](int64_t i, int64_t c) {
    q[i] = static_cast<Q>(quantize_channel(x[i], params, c));
  });
}

template <typename Q>
void dequantize_per_channel_reference(const Q* q, int64_t outer, int64_t channels, int64_t inner,
                                      const ChannelQuantParams& params, float* x) {
  for_each_channel_element(outer, channels, inner, [&](int64_t i, int64_t c) {
    x[i] = dequantize_value(q[i], params.scales[c], params.zero_points[c]);
  });
}

void fake_quantize_per_channel_reference(const float* x, int64_t outer, int64_t channels,
                                         int64_t inner, const ChannelQuantParams& params,
                                         float* y) {
  for_each_channel_element(outer, channels, inner, [&](int64_t i, int64_t c) {
    y[i] = dequantize_value(quantize_channel(x[i], params, c), params.scales[c],
                            params.zero_points[c]);
  });
}

template <typename T>
void nchw_to_nhwc_reference(const T* x, const ImageShape& s, T* y) {
  for (int64_t b = 0; b < s.batch; ++b) {
    for (int64_t c = 0; c < s.channels; ++c) {
      for (int64_t p = 0; p < s.pixels; ++p) {
        y[(b * s.pixels + p) * s.channels + c] = x[(b * s.channels + c) * s.pixels + p];
      }
    }
  }
}

template <typename T>
void nhwc_to_nchw_reference(const T* x, const ImageShape& s, T* y) {
  nchw_to_nhwc_reference(x, ImageShape{s.batch, s.pixels, s.channels}, y);
}

#define PT2Q_FOR_QUANTIZED(Q)                                                                   \
  template void quantize_reference(const float*, int64_t, const QuantParams&, Q*);              \
  template void dequantize_reference(const Q*, int64_t, const QuantParams&, float*);            \
  template void requantize_reference(const Q*, int64_t, const QuantParams&, const QuantParams&, \
                                     uint8_t*);                                                 \
  template void requantize_reference(const Q*, int64_t, const QuantParams&, const QuantParams&, \
                                     int8_t*);                                                  \
  template void quantize_per_channel_reference(const float*, int64_t, int64_t, int64_t,         \
                                               const ChannelQuantParams&, Q*);                  \
  template void dequantize_per_channel_reference(const Q*, int64_t, int64_t, int64_t,           \
                                                 const ChannelQuantParams&, float*)
PT2Q_FOR_QUANTIZED(uint8_t);
PT2Q_FOR_QUANTIZED(int8_t);
#undef PT2Q_FOR_QUANTIZED

#define PT2Q_FOR_LAYOUT(T)                                               \
  template void nchw_to_nhwc_reference(const T*, const ImageShape&, T*); \
  template void nhwc_to_nchw_reference(const T*, const ImageShape&, T*)
PT2Q_FOR_LAYOUT(float);
PT2Q_FOR_LAYOUT(uint8_t);
PT2Q_FOR_LAYOUT(int8_t);
#undef PT2Q_FOR_LAYOUT

}  // namespace pt2q
