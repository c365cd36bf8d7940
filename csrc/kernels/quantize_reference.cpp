// The scalar definitions of quantize.h and layout.h.
#include "kernels/layout.h"
#include "kernels/quantize.h"

namespace pt2q {

namespace {

// Integers of 8 bits, signed or not; NaN gives 0.
int16_t quantize_with(float x, float inv, float zero_point, int32_t lo, int32_t hi) {
  return store_quantized<int16_t>(
      quantize_real(x, inv, zero_point, static_cast<float>(lo), static_cast<float>(hi)));
}

int16_t quantize_with(float x, const QuantParams& p) {
  return quantize_with(x, inverse_scale(p.scale), static_cast<float>(p.zero_point), p.quant_min,
                       p.quant_max);
}

float dequantize_with(int32_t q, const QuantParams& p) {
  return dequantize_real(static_cast<float>(q), static_cast<float>(p.scale),
                         static_cast<float>(p.zero_point));
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

int16_t quantize_channel(float x, const ChannelQuantParams& p, int64_t c) {
  return quantize_with(x, inverse_scale(p.scales[c]), p.zero_points[c], p.quant_min, p.quant_max);
}

float dequantize_channel(int32_t q, const ChannelQuantParams& p, int64_t c) {
  return dequantize_real(static_cast<float>(q), p.scales[c], p.zero_points[c]);
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
    x[i] = dequantize_channel(q[i], params, c);
  });
}

void fake_quantize_per_channel_reference(const float* x, int64_t outer, int64_t channels,
                                         int64_t inner, const ChannelQuantParams& params,
                                         float* y) {
  for_each_channel_element(outer, channels, inner, [&](int64_t i, int64_t c) {
    y[i] = dequantize_channel(quantize_channel(x[i], params, c), params, c);
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
