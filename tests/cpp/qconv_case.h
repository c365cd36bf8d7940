// Random convolutions for the tests of QConv and WinogradConv, and the answer of the plain loops.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/qconv.h"

namespace pt2q::kernels {

struct Case {
  QConvSpec spec;
  int weight_limit = 127;
  int src_limit = 255;
};

struct Data {
  std::vector<int8_t> weights;
  std::vector<uint8_t> src, residual;
};

inline Data make_data(const Case& c, std::mt19937& rng) {
  const ConvShape& s = c.spec.shape;
  Data d;
  d.weights.resize(static_cast<size_t>(s.out_c * (s.in_c / s.groups) * s.kernel_h * s.kernel_w));
  std::uniform_int_distribution<int> w(-c.weight_limit, c.weight_limit);
  for (auto& x : d.weights) x = static_cast<int8_t>(w(rng));
  // Exactly the tensor, to the last byte: reads past it show under AddressSanitizer.
  const int64_t stride = c.spec.src_stride != 0 ? c.spec.src_stride : s.in_c;
  d.src.resize(static_cast<size_t>((s.batch * s.in_h * s.in_w - 1) * stride + s.in_c));
  std::uniform_int_distribution<int> x(0, c.src_limit);
  for (auto& v : d.src) v = static_cast<uint8_t>(x(rng));
  const int64_t pixels = s.batch * s.out_h() * s.out_w();
  const int64_t rs = c.spec.residual_stride != 0 ? c.spec.residual_stride : s.out_c;
  d.residual.resize(static_cast<size_t>(pixels * rs * 4));
  std::uniform_int_distribution<int> any(0, 255);
  for (auto& v : d.residual) v = static_cast<uint8_t>(any(rng));
  for (const PostOp& op : c.spec.epilogue.ops) {
    if (op.kind != PostOpKind::add || op.residual_type != ElemType::f32) continue;
    std::normal_distribution<float> normal(0, 1);
    for (int64_t i = 0; i < pixels * rs; ++i) {
      const float f = normal(rng);
      std::memcpy(d.residual.data() + i * 4, &f, 4);
    }
  }
  return d;
}

inline void set_scales(Case& c, std::mt19937& rng, bool bias) {
  const ConvShape& s = c.spec.shape;
  const auto depth = static_cast<float>((s.in_c / s.groups) * s.kernel_h * s.kernel_w);
  std::uniform_real_distribution<float> u(0.5F, 1.5F);
  c.spec.epilogue.scale.clear();
  c.spec.epilogue.bias.clear();
  for (int64_t i = 0; i < s.out_c; ++i) {
    c.spec.epilogue.scale.push_back(u(rng) / (std::sqrt(depth) * 5000.0F));
    if (bias) c.spec.epilogue.bias.push_back(u(rng) - 1.0F);
  }
  c.spec.epilogue.out_scale = 0.0117F;
}

inline ConvShape conv(int64_t batch, int64_t h, int64_t w, int64_t ic, int64_t oc, int64_t k,
                      int64_t stride, int64_t pad, int64_t dilation = 1, int64_t groups = 1) {
  ConvShape s;
  s.batch = batch;
  s.in_h = h;
  s.in_w = w;
  s.in_c = ic;
  s.out_c = oc;
  s.kernel_h = s.kernel_w = k;
  s.stride_h = s.stride_w = stride;
  s.pad_top = s.pad_left = s.pad_bottom = s.pad_right = pad;
  s.dilation_h = s.dilation_w = dilation;
  s.groups = groups;
  return s;
}

// Bytes of a destination, all of them 77 where nothing was written.
inline std::vector<uint8_t> untouched_result(const Case& c) {
  const ConvShape& s = c.spec.shape;
  const int64_t stride = c.spec.dst_stride != 0 ? c.spec.dst_stride : s.out_c;
  return std::vector<uint8_t>(static_cast<size_t>(s.batch * s.out_h() * s.out_w() * stride * 4),
                              77);
}

inline std::vector<uint8_t> reference_result(const Case& c, const Data& d) {
  std::vector<uint8_t> want = untouched_result(c);
  qconv_reference(c.spec, d.weights.data(), d.src.data(), want.data(), d.residual.data());
  return want;
}

}  // namespace pt2q::kernels
