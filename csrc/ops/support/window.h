// Sliding windows in up to three spatial dimensions: sizes for convolution and pooling, and the
// im2col/col2im data movement both directions use. Missing spatial dimensions have size 1.
#pragma once

#include <array>

#include "ops/support/shapes.h"

namespace pt2q::ops {

// Output size of a window: (in + before + after - dilation*(kernel-1) - 1) / stride + 1.
SymInt window_size(const SymInt& in, int64_t kernel, int64_t stride, int64_t before, int64_t after,
                   int64_t dilation);
// With ceil_mode: rounds up, but the last window must start inside the input or its left padding.
SymInt window_size_ceil(const SymInt& in, int64_t kernel, int64_t stride, int64_t padding,
                        int64_t dilation);

using Dims3 = std::array<int64_t, 3>;
// Right-aligned: {3, 5} becomes {fill, 3, 5}.
Dims3 dims3(const Ints& values, int64_t fill);
inline int64_t volume(const Dims3& d) { return d[0] * d[1] * d[2]; }

struct Window {
  Dims3 image, out, kernel, stride, padding, dilation;

  // [begin, end) of output positions along `axis` whose input index out*stride - padding +
  // k*dilation lies inside the image.
  void valid_range(size_t axis, int64_t k, int64_t* begin, int64_t* end) const;
};

// columns[channels * kernel volume][out volume] of one image [channels][image]; zero outside.
template <typename T>
void im2col(const Window& w, int64_t channels, const T* image, T* columns);
// Adds columns back onto the image they were taken from.
template <typename T>
void col2im(const Window& w, int64_t channels, const T* columns, T* image);

}  // namespace pt2q::ops
