// Plain matrix products for reference kernels; row-major, T is float, double or int64_t.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/parallel.h"

namespace pt2q::ops {

// C[m, n] += A[m, k] * B[k, n]; leading dimensions in elements. Each result is accumulated in the
// order of k, so it does not depend on the number of threads.
template <typename T>
void gemm(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b, int64_t ldb, T* c,
          int64_t ldc) {
  constexpr int64_t kRows = 4;
  constexpr int64_t kColumns = 512;  // 4 rows of C stay in the L1 cache
  const int64_t row_blocks = (m + kRows - 1) / kRows;
  const int64_t column_blocks = (n + kColumns - 1) / kColumns;
  const int64_t work = std::max<int64_t>(1, kRows * std::min(n, kColumns) * k);
  parallel_for(row_blocks * column_blocks, std::max<int64_t>(1, (1 << 18) / work),
               [&](int64_t begin, int64_t end) {
                 for (int64_t block = begin; block < end; ++block) {
                   const int64_t i0 = block % row_blocks * kRows;
                   const int64_t j0 = block / row_blocks * kColumns;
                   const int64_t width = std::min(kColumns, n - j0);
                   if (i0 + kRows <= m) {
                     T* c0 = c + i0 * ldc + j0;
                     T* c1 = c0 + ldc;
                     T* c2 = c1 + ldc;
                     T* c3 = c2 + ldc;
                     for (int64_t p = 0; p < k; ++p) {
                       const T* a0 = a + i0 * lda + p;
                       const T v0 = a0[0], v1 = a0[lda], v2 = a0[2 * lda], v3 = a0[3 * lda];
                       const T* row = b + p * ldb + j0;
                       for (int64_t j = 0; j < width; ++j) {
                         const T x = row[j];
                         c0[j] += v0 * x;
                         c1[j] += v1 * x;
                         c2[j] += v2 * x;
                         c3[j] += v3 * x;
                       }
                     }
                   } else {
                     for (int64_t i = i0; i < m; ++i) {
                       T* out = c + i * ldc + j0;
                       for (int64_t p = 0; p < k; ++p) {
                         const T v = a[i * lda + p];
                         const T* row = b + p * ldb + j0;
                         for (int64_t j = 0; j < width; ++j) out[j] += v * row[j];
                       }
                     }
                   }
                 }
               });
}

// sum of x[i] * y[i], in 16 partial sums so that the loop vectorises.
template <typename T>
T dot(const T* x, const T* y, int64_t n) {
  constexpr int64_t kLanes = 16;
  T sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) sums[l] += x[i + l] * y[i + l];
  }
  for (; i < n; ++i) sums[i % kLanes] += x[i] * y[i];
  T total = 0;
  for (int64_t l = 0; l < kLanes; ++l) total += sums[l];
  return total;
}

// C[m, n] = A[m, k] * W[n, k]^T + bias[n] (bias may be null): a linear layer.
template <typename T>
void gemm_transposed(int64_t m, int64_t n, int64_t k, const T* a, const T* w, const T* bias, T* c) {
  parallel_for(n, std::max<int64_t>(1, (1 << 18) / std::max<int64_t>(1, m * k)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t j = begin; j < end; ++j) {
                   for (int64_t i = 0; i < m; ++i) {
                     c[i * n + j] =
                         dot(a + i * k, w + j * k, k) + (bias == nullptr ? T(0) : bias[j]);
                   }
                 }
               });
}

}  // namespace pt2q::ops
