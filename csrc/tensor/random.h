// Random numbers. The streams are PyTorch's CPU streams (Mersenne Twister 19937, the same order of
// draws), so that a seed gives the numbers a PyTorch user knows: equal for rand, randint and
// randperm, equal up to the rounding of log, sin and cos for randn.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <random>

#include "pt2q/tensor.h"

namespace pt2q {

// May be used from several threads; each fill is one step of the stream.
class Generator {
 public:
  explicit Generator(uint64_t seed = kDefaultSeed) { manual_seed(seed); }
  void manual_seed(uint64_t seed);
  uint64_t initial_seed() const { return seed_; }

  void fill_uniform(Tensor* out);                              // float32/64, [0, 1)
  void fill_normal(Tensor* out);                               // float32/64, mean 0, variance 1
  void fill_bernoulli(Tensor* out, double keep);               // float32, 1 with probability `keep`
  void fill_integers(Tensor* out, int64_t low, int64_t high);  // int64, [low, high)
  void fill_permutation(Tensor* out);                          // int64, 0 ... n-1

  static constexpr uint64_t kDefaultSeed = 67280421310721;

 private:
  uint32_t random32() { return static_cast<uint32_t>(engine_()); }
  uint64_t random64();
  float uniform_float();
  double uniform_double();
  double normal_double();

  std::mutex mutex_;
  std::mt19937 engine_;
  uint64_t seed_ = kDefaultSeed;
  std::optional<double> next_normal_;  // the second value of a Box-Muller pair
};

// The generator operators draw from: the process-wide one, or what a scope on this thread set.
Generator& default_generator();
Generator& current_generator();
class GeneratorScope {
 public:
  explicit GeneratorScope(Generator* generator);  // null: the default one
  ~GeneratorScope();
  GeneratorScope(const GeneratorScope&) = delete;
  GeneratorScope& operator=(const GeneratorScope&) = delete;

 private:
  Generator* saved_;
};

}  // namespace pt2q
