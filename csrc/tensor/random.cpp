#include "tensor/random.h"

#include <cmath>
#include <utility>

#include "pt2q/error.h"

namespace pt2q {
namespace {

constexpr double kTwoPi = 6.283185307179586;
thread_local Generator* thread_generator = nullptr;

// Eight Box-Muller pairs: uniform values i and i+8 become normal values i and i+8.
template <typename T>
void normal_from_uniform_16(T* p) {
  for (int i = 0; i < 8; ++i) {
    const T radius = std::sqrt(T(-2) * std::log(T(1) - p[i]));
    const T angle = static_cast<T>(kTwoPi) * p[i + 8];
    p[i] = radius * std::cos(angle);
    p[i + 8] = radius * std::sin(angle);
  }
}

}  // namespace

void Generator::manual_seed(uint64_t seed) {
  const std::lock_guard<std::mutex> lock(mutex_);
  seed_ = seed;
  engine_.seed(static_cast<uint32_t>(seed));
  next_normal_.reset();
}

uint64_t Generator::random64() {
  const uint64_t high = random32();
  return high << 32U | random32();
}

float Generator::uniform_float() {
  return static_cast<float>(random32() & ((1U << 24U) - 1)) * 0x1p-24F;
}

double Generator::uniform_double() {
  return static_cast<double>(random64() & ((uint64_t{1} << 53U) - 1)) * 0x1p-53;
}

double Generator::normal_double() {
  if (next_normal_.has_value()) return *std::exchange(next_normal_, std::nullopt);
  const double u1 = uniform_double();
  const double u2 = uniform_double();
  const double radius = std::sqrt(-2.0 * std::log1p(-u2));
  next_normal_ = radius * std::sin(kTwoPi * u1);
  return radius * std::cos(kTwoPi * u1);
}

void Generator::fill_uniform(Tensor* out) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const int64_t n = out->numel();
  if (out->dtype() == DType::Float64) {
    auto* p = out->mutable_data<double>();
    for (int64_t i = 0; i < n; ++i) p[i] = uniform_double();
    return;
  }
  auto* p = out->mutable_data<float>();
  for (int64_t i = 0; i < n; ++i) p[i] = uniform_float();
}

void Generator::fill_normal(Tensor* out) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const int64_t n = out->numel();
  const auto fill = [&](auto* p, auto uniform) {
    using T = std::remove_pointer_t<decltype(p)>;
    if (n < 16) {
      for (int64_t i = 0; i < n; ++i) p[i] = static_cast<T>(normal_double());
      return;
    }
    for (int64_t i = 0; i < n; ++i) p[i] = uniform();
    for (int64_t i = 0; i + 15 < n; i += 16) normal_from_uniform_16(p + i);
    if (n % 16 == 0) return;
    T* tail = p + n - 16;  // the last 16 values are drawn again
    for (int i = 0; i < 16; ++i) tail[i] = uniform();
    normal_from_uniform_16(tail);
  };
  if (out->dtype() == DType::Float64) {
    fill(out->mutable_data<double>(), [this] { return uniform_double(); });
  } else {
    fill(out->mutable_data<float>(), [this] { return uniform_float(); });
  }
}

void Generator::fill_bernoulli(Tensor* out, double keep) {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto* p = out->mutable_data<float>();
  for (int64_t i = 0; i < out->numel(); ++i) p[i] = uniform_double() < keep ? 1.0F : 0.0F;
}

void Generator::fill_integers(Tensor* out, int64_t low, int64_t high) {
  if (low >= high) throw ValueError("fill_integers: the range is empty");
  const std::lock_guard<std::mutex> lock(mutex_);
  auto* p = out->mutable_data<int64_t>();
  const auto range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  for (int64_t i = 0; i < out->numel(); ++i) {
    const uint64_t draw = range >= (uint64_t{1} << 28U) ? random64() : random32();
    p[i] = static_cast<int64_t>(static_cast<uint64_t>(low) + draw % range);
  }
}

void Generator::fill_permutation(Tensor* out) {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto* p = out->mutable_data<int64_t>();
  const int64_t n = out->numel();
  for (int64_t i = 0; i < n; ++i) p[i] = i;
  for (int64_t i = 0; i + 1 < n; ++i) {
    const auto offset = static_cast<int64_t>(random32() % static_cast<uint64_t>(n - i));
    std::swap(p[i], p[i + offset]);
  }
}

Generator& default_generator() {
  static auto* generator = new Generator();
  return *generator;
}

Generator& current_generator() {
  return thread_generator != nullptr ? *thread_generator : default_generator();
}

GeneratorScope::GeneratorScope(Generator* generator) : saved_(thread_generator) {
  thread_generator = generator;
}
GeneratorScope::~GeneratorScope() { thread_generator = saved_; }

}  // namespace pt2q
