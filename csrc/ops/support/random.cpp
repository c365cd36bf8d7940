#include "ops/support/random.h"

#include <cmath>
#include <mutex>
#include <random>

namespace pt2q::ops {
namespace {

std::mutex& guard() {
  static std::mutex mutex;
  return mutex;
}

std::mt19937_64& engine() {
  static std::mt19937_64 generator(0);
  return generator;
}

// 24 random bits; std::uniform_real_distribution differs between standard libraries.
float uniform() { return static_cast<float>(engine()() >> 40) * 0x1p-24F; }

}  // namespace

void set_seed(uint64_t seed) {
  const std::lock_guard<std::mutex> lock(guard());
  engine().seed(seed);
}

void fill_uniform(Tensor* out) {
  const std::lock_guard<std::mutex> lock(guard());
  auto* p = out->mutable_data<float>();
  for (int64_t i = 0; i < out->numel(); ++i) p[i] = uniform();
}

void fill_normal(Tensor* out) {
  const std::lock_guard<std::mutex> lock(guard());
  auto* p = out->mutable_data<float>();
  constexpr double kTwoPi = 6.283185307179586;
  for (int64_t i = 0; i < out->numel(); ++i) {  // Box-Muller
    const double radius = std::sqrt(-2 * std::log(1.0 - static_cast<double>(uniform())));
    p[i] = static_cast<float>(radius * std::cos(kTwoPi * static_cast<double>(uniform())));
  }
}

void fill_bernoulli(Tensor* out, double keep) {
  const std::lock_guard<std::mutex> lock(guard());
  auto* p = out->mutable_data<float>();
  for (int64_t i = 0; i < out->numel(); ++i) {
    p[i] = static_cast<double>(uniform()) < keep ? 1.0F : 0.0F;
  }
}

void fill_integers(Tensor* out, int64_t low, int64_t high) {
  const std::lock_guard<std::mutex> lock(guard());
  auto* p = out->mutable_data<int64_t>();
  const auto span = static_cast<uint64_t>(high - low);
  for (int64_t i = 0; i < out->numel(); ++i) p[i] = low + static_cast<int64_t>(engine()() % span);
}

}  // namespace pt2q::ops
