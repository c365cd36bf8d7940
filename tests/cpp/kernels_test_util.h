// Helpers for kernel tests: run a check on every SIMD route of this machine, and random data.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "base/parallel.h"
#include "hwy/highway.h"

namespace pt2q {

// check() once per instruction set that Highway generated and this CPU supports, with one thread
// and with as many as there are.
template <class Check>
void for_each_route(const Check& check) {
  const int threads = num_threads();
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().DeInit();
    SCOPED_TRACE(hwy::TargetName(target));
    for (const int n : {1, 3}) {
      set_num_threads(n);
      SCOPED_TRACE(n);
      check();
    }
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().DeInit();
  set_num_threads(threads);
}

inline std::vector<float> random_floats(int64_t n, uint32_t seed, float scale = 1.0f) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = normal(engine);
  return values;
}

template <typename Q>
std::vector<Q> random_integers(int64_t n, uint32_t seed) {
  std::mt19937 engine(seed);
  std::uniform_int_distribution<int> uniform(std::numeric_limits<Q>::min(),
                                             std::numeric_limits<Q>::max());
  std::vector<Q> values(static_cast<size_t>(n));
  for (Q& v : values) v = static_cast<Q>(uniform(engine));
  return values;
}

// Bitwise equality, with the first difference reported.
template <typename T>
::testing::AssertionResult same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return ::testing::AssertionFailure() << a.size() << " vs " << b.size();
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) {
      return ::testing::AssertionFailure() << "element " << i << ": " << +a[i] << " vs " << +b[i];
    }
  }
  return ::testing::AssertionSuccess();
}

}  // namespace pt2q
