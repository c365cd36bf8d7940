#include "kernels/bfloat16.h"

#include <cstring>

#include "base/parallel.h"

namespace pt2q::kernels {
namespace {

constexpr int64_t kGrain = 1 << 15;

}  // namespace

void bfloat16_to_float(const uint16_t* x, int64_t n, float* y) {
  parallel_for(n, kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint32_t bits = static_cast<uint32_t>(x[i]) << 16;
      std::memcpy(y + i, &bits, sizeof(bits));
    }
  });
}

void float_to_bfloat16(const float* x, int64_t n, uint16_t* y) {
  parallel_for(n, kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = to_bfloat16(x[i]);
  });
}

}  // namespace pt2q::kernels
