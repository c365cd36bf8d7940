#include "kernels/qconcat.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "base/parallel.h"

namespace pt2q {
namespace {

constexpr int64_t kGrain = 32768;  // elements
// Pixels requantized together: long runs for the vector code, small enough for the L1 cache.
constexpr int64_t kBlockBytes = 8192;

int64_t total_channels(const std::vector<ConcatPart>& parts) {
  int64_t total = 0;
  for (const ConcatPart& part : parts) total += part.channels;
  return total;
}

template <typename Q>
bool is_copy(const ConcatPart& part, const QuantParams& to) {
  // The range matters too: values outside [quant_min, quant_max] would be clamped. Scales whose
  // reciprocal overflows do not reproduce the value.
  return to.scale > 1e-30 && to.scale < 1e30 && part.is_signed == std::is_signed<Q>::value &&
         part.params.scale == to.scale && part.params.zero_point == to.zero_point &&
         to.quant_min <= part.params.quant_min && part.params.quant_max <= to.quant_max;
}

template <typename Q>
void copy_rows(const Q* x, int64_t rows, int64_t channels, Q* y, int64_t y_stride) {
  const size_t bytes = static_cast<size_t>(channels) * sizeof(Q);
  for (int64_t p = 0; p < rows; ++p) std::memcpy(y + p * y_stride, x + p * channels, bytes);
}

template <typename Q>
void requantize_part(const ConcatPart& part, int64_t begin, int64_t count, const QuantParams& to,
                     Q* out) {
  const int64_t at = begin * part.channels, n = count * part.channels;
  if (part.is_signed) {
    requantize(static_cast<const int8_t*>(part.data) + at, n, part.params, to, out);
  } else {
    requantize(static_cast<const uint8_t*>(part.data) + at, n, part.params, to, out);
  }
}

// Pixels [begin, end) of one part to the output's pixels from y on.
template <typename Q>
void concat_part(const ConcatPart& part, int64_t begin, int64_t end, const QuantParams& to, Q* y,
                 int64_t y_stride) {
  if (part.channels == 0) return;
  if (is_copy<Q>(part, to)) {
    copy_rows(static_cast<const Q*>(part.data) + begin * part.channels, end - begin, part.channels,
              y, y_stride);
    return;
  }
  Q block[kBlockBytes];
  if (part.channels > kBlockBytes) {
    for (int64_t p = begin; p < end; ++p) {
      requantize_part(part, p, 1, to, y + (p - begin) * y_stride);
    }
    return;
  }
  const int64_t step = kBlockBytes / part.channels;
  for (int64_t p = begin; p < end; p += step) {
    const int64_t count = std::min(step, end - p);
    requantize_part(part, p, count, to, block);
    copy_rows(block, count, part.channels, y + (p - begin) * y_stride, y_stride);
  }
}

}  // namespace

template <typename Q>
void concat_channels(const std::vector<ConcatPart>& parts, int64_t pixels, const QuantParams& to,
                     Q* y, int64_t y_stride) {
  const int64_t total = total_channels(parts);
  if (y_stride == 0) y_stride = total;
  parallel_for(pixels, kGrain / std::max<int64_t>(total, 1) + 1, [&](int64_t begin, int64_t end) {
    Q* out = y + begin * y_stride;
    for (const ConcatPart& part : parts) {
      concat_part(part, begin, end, to, out, y_stride);
      out += part.channels;
    }
  });
}

void concat_rows(const std::vector<BytePart>& parts, int64_t rows, void* y, int64_t y_stride) {
  constexpr int64_t kGrainBytes = 128 << 10;
  int64_t total = 0;
  for (const BytePart& part : parts) total += part.bytes;
  if (y_stride == 0) y_stride = total;
  const auto copy = [&](const BytePart& part, int64_t row, int64_t from, int64_t to, char* out) {
    if (from == to) return;  // an empty part may have no memory
    const char* data = static_cast<const char*>(part.data) + row * part.bytes;
    std::memcpy(out + from, data + from, static_cast<size_t>(to - from));
  };
  if (rows == 1) {  // long rows are divided
    char* out = static_cast<char*>(y);
    for (const BytePart& part : parts) {
      parallel_for(part.bytes, kGrainBytes,
                   [&](int64_t begin, int64_t end) { copy(part, 0, begin, end, out); });
      out += part.bytes;
    }
    return;
  }
  parallel_for(rows, kGrainBytes / std::max<int64_t>(total, 1) + 1,
               [&](int64_t begin, int64_t end) {
                 char* out = static_cast<char*>(y) + begin * y_stride;
                 for (const BytePart& part : parts) {
                   for (int64_t row = begin; row < end; ++row)
                     copy(part, row, 0, part.bytes, out + (row - begin) * y_stride);
                   out += part.bytes;
                 }
               });
}

template <typename Q>
void concat_channels_reference(const std::vector<ConcatPart>& parts, int64_t pixels,
                               const QuantParams& to, Q* y, int64_t y_stride) {
  if (y_stride == 0) y_stride = total_channels(parts);
  for (int64_t p = 0; p < pixels; ++p) {
    Q* out = y + p * y_stride;
    for (const ConcatPart& part : parts) {
      const int64_t at = p * part.channels;
      if (part.is_signed) {
        requantize_reference(static_cast<const int8_t*>(part.data) + at, part.channels, part.params,
                             to, out);
      } else {
        requantize_reference(static_cast<const uint8_t*>(part.data) + at, part.channels,
                             part.params, to, out);
      }
      out += part.channels;
    }
  }
}

template void concat_channels(const std::vector<ConcatPart>&, int64_t, const QuantParams&, uint8_t*,
                              int64_t);
template void concat_channels(const std::vector<ConcatPart>&, int64_t, const QuantParams&, int8_t*,
                              int64_t);
template void concat_channels_reference(const std::vector<ConcatPart>&, int64_t, const QuantParams&,
                                        uint8_t*, int64_t);
template void concat_channels_reference(const std::vector<ConcatPart>&, int64_t, const QuantParams&,
                                        int8_t*, int64_t);

}  // namespace pt2q
