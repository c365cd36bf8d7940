// HistogramObserver's choice of a clipping range by L2 error, equal to PyTorch's result.
//
// hist[bins] are float32 counts over [min, max] (finite, min <= max). Starting from all bins, the
// search drops 1e-5 quantiles from the end that gives up more bins and stops when the expected
// squared error of quantizing to dst_bins equal steps grows. Accepting a step depends on float32
// rounding, so the error is computed with PyTorch's float32 operations in PyTorch's order,
// including the summation order of torch.sum. bins in [1, 2^24], dst_bins >= 1.
#pragma once

#include <cstdint>

namespace pt2q {

struct HistogramRange {
  float min = 0.0f;
  float max = 0.0f;
};

HistogramRange search_histogram_range(const float* hist, int64_t bins, float min, float max,
                                      int64_t dst_bins);
HistogramRange search_histogram_range_reference(const float* hist, int64_t bins, float min,
                                                float max, int64_t dst_bins);

// torch.sum of a contiguous float32 vector shorter than 32768 (one thread), bit for bit: partial
// sums in 8 lanes of 4 interleaved vectors, carried over four levels.
float cascade_sum(const float* x, int64_t n);

}  // namespace pt2q
