// GCC 12 takes the undefined pass-through operands of its own AVX-512 intrinsics for a defect.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include "kernels/qconv_narrow.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/qconv_plan.h"

namespace pt2q::kernels {
namespace {

constexpr int64_t kLeastDepth = 128;  // below, the sums along the lanes cost more than they save

// The scalar loops that define the result.
void narrow_portable(const NarrowArgs& a) {
  const int64_t stride = narrow_depth(a.depth);
  for (int64_t i = 0; i < a.pixels; ++i) {
    for (int c = 0; c < a.channels; ++c) {
      int32_t sum = a.init[c];
      for (int64_t k = 0; k < a.depth; ++k)
        sum += a.src[i * a.step + k] * a.weights[c * stride + k];
      a.acc[i * a.acc_step + c] = sum;
    }
  }
}

#pragma GCC push_options
#pragma GCC target("avx2")

int32_t sum_lanes(__m256i x) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
  return _mm_cvtsi128_si32(s);
}

// Sixteen inputs, those behind the end read as zero.
__m256i inputs16(const uint8_t* p, int64_t left) {
  __m128i x;
  if (left >= 16) {
    x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  } else {
    alignas(16) uint8_t buffer[16] = {};
    std::memcpy(buffer, p, static_cast<size_t>(left));
    x = _mm_load_si128(reinterpret_cast<const __m128i*>(buffer));
  }
  return _mm256_cvtepu8_epi16(x);
}

void narrow_avx2(const NarrowArgs& a) {
  const int64_t stride = narrow_depth(a.depth);
  for (int64_t i = 0; i < a.pixels; ++i) {
    const uint8_t* src = a.src + i * a.step;
    __m256i sums[kNarrowChannels] = {};
    for (int64_t k = 0; k < a.depth; k += 16) {
      const __m256i x = inputs16(src + k, a.depth - k);
      for (int c = 0; c < a.channels; ++c) {
        const auto* w = reinterpret_cast<const __m128i*>(a.weights + c * stride + k);
        sums[c] = _mm256_add_epi32(sums[c],
                                   _mm256_madd_epi16(x, _mm256_cvtepi8_epi16(_mm_loadu_si128(w))));
      }
    }
    for (int c = 0; c < a.channels; ++c) a.acc[i * a.acc_step + c] = a.init[c] + sum_lanes(sums[c]);
  }
}

#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")

// Pixels [first, first + kPixels): a few at once, so that they share the weights' loads and their
// sums do not wait for each other.
template <int kPixels, int kChannels>
void narrow_block(const NarrowArgs& a, int64_t first) {
  const int64_t stride = narrow_depth(a.depth);
  const uint8_t* src = a.src + first * a.step;
  __m512i sums[kPixels][kChannels];
  for (auto& row : sums) {
    for (__m512i& sum : row) sum = _mm512_setzero_si512();
  }
  for (int64_t k = 0; k < a.depth; k += 64) {
    const __mmask64 valid = a.depth - k >= 64 ? ~__mmask64{0} : (__mmask64{1} << (a.depth - k)) - 1;
    __m512i w[kChannels];
#pragma GCC unroll 4
    for (int c = 0; c < kChannels; ++c) w[c] = _mm512_loadu_si512(a.weights + c * stride + k);
#pragma GCC unroll 4
    for (int i = 0; i < kPixels; ++i) {
      const __m512i x = _mm512_maskz_loadu_epi8(valid, src + i * a.step + k);
#pragma GCC unroll 4
      for (int c = 0; c < kChannels; ++c) sums[i][c] = _mm512_dpbusd_epi32(sums[i][c], x, w[c]);
    }
  }
  for (int i = 0; i < kPixels; ++i) {
    for (int c = 0; c < kChannels; ++c)
      a.acc[(first + i) * a.acc_step + c] = a.init[c] + _mm512_reduce_add_epi32(sums[i][c]);
  }
}

template <int kChannels>
void narrow_rows(const NarrowArgs& a) {
  int64_t i = 0;
  for (; i + 4 <= a.pixels; i += 4) narrow_block<4, kChannels>(a, i);
  for (; i < a.pixels; ++i) narrow_block<1, kChannels>(a, i);
}

void narrow_vnni(const NarrowArgs& a) {
  switch (a.channels) {
    case 1:
      return narrow_rows<1>(a);
    case 2:
      return narrow_rows<2>(a);
    case 3:
      return narrow_rows<3>(a);
    default:
      return narrow_rows<4>(a);
  }
}

#pragma GCC pop_options

}  // namespace

bool is_narrow(const WeightShape& s) {
  return s.out_c <= kNarrowChannels && s.groups == 1 && s.kernel_h == 1 && s.kernel_w == 1 &&
         s.in_c >= kLeastDepth;
}

NarrowFn narrow_fn(Isa isa, bool emulated) {
  if (emulated || isa == Isa::portable) return &narrow_portable;
  return isa >= Isa::avx512_vnni ? &narrow_vnni : &narrow_avx2;
}

void ConvConstants::set_narrow() {
  const Route& route = weights->route;
  if (weights->narrow.size() == 0) return;
  narrow = narrow_fn(route.isa, route.emulated);
  const int64_t channels = weights->shape.out_c;
  std::vector<float> scale, bias;
  for (int64_t i = 0; i < round_up(kNarrowPixels * channels, 16); ++i) {
    scale.push_back(epilogue.scale[static_cast<size_t>(i % channels)]);
    bias.push_back(epilogue.bias[static_cast<size_t>(i % channels)]);
  }
  narrow_scale = SharedArray<float>(scale);
  narrow_bias = SharedArray<float>(bias);
}

// Pixels that are stored one behind the other pass through the epilogue as one of many channels.
void ConvPlan::narrow_task(const Run& r, const Task& t, uint8_t* slot) const {
  const int64_t channels = weights->shape.out_c;
  const bool joined = spec.dst_stride == channels && r.scales.scale == nullptr &&
                      (!epilogue.has_add || spec.residual_stride == channels);
  NarrowArgs args;
  args.step = frame.step;
  args.depth = weights->shape.in_c;
  args.weights = reinterpret_cast<const int8_t*>(weights->narrow.data());
  args.channels = static_cast<int>(channels);
  args.init = init.data();
  args.acc = reinterpret_cast<int32_t*>(slot);
  args.acc_step = joined ? channels : 16;
  std::fill_n(args.acc, 16 * kNarrowPixels, 0);  // the epilogue reads sixteen at a time
  for (int64_t row = t.row; row < t.row + t.count; row += args.pixels) {
    args.pixels = std::min(kNarrowPixels, t.row + t.count - row);
    args.src = r.src + row * frame.step;
    narrow(args);
    EpilogueBlock block = block_at(r, {0, 0, 1}, row);
    block.acc = args.acc;
    block.rows = joined ? 1 : static_cast<int>(args.pixels);
    if (joined) {
      block.channels = static_cast<int>(args.pixels * channels);
      block.acc_stride = round_up(block.channels, 16);
      block.scale = narrow_scale.data();
      block.bias = narrow_bias.data();
    }
    epilogue_fn(epilogue, block);
  }
}

}  // namespace pt2q::kernels
