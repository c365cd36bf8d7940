// Choosing how int8 layers are cut up by measuring, while a plan is built.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>

#include "base/disk_cache.h"
#include "kernels/qconv.h"
#include "kernels/winograd.h"

namespace pt2q {

// In GraphModule::extras, a double: measure, for so long per plan.
constexpr const char* kTuningSeconds = "tuning_seconds";

// Where a choice came from.
enum class ChoiceSource { Model, Measured, Remembered };

class Tuner {
 public:
  // Measures for `seconds` in all; layers that come later keep the cost model's choice.
  Tuner(double seconds, DiskCache cache);

  using Weights = std::shared_ptr<const kernels::PackedWeights>;
  using WinogradWeights = std::shared_ptr<const kernels::PackedWinograd>;

  // Sets spec->choice. Measured choices are kept in the cache, by processor, threads and all that
  // the time depends on; `any_size`: for all images of its size_bucket. `winograd`: where the cost
  // model prefers it; the choice's mode may then be QConvChoice::kWinograd.
  ChoiceSource choose(kernels::QConvSpec* spec, const Weights& weights,
                      const WinogradWeights& winograd = nullptr, bool any_size = false);

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point end_;
  std::map<std::string, kernels::QConvChoice> measured_;  // by key: layers of one shape
  DiskCache cache_;
};

// Batch, height and width of a layer that takes any size, each rounded up to a power of two or one
// and a half of one: sizes that share a measured choice.
std::string size_bucket(const kernels::ConvShape& shape);

// What a choice is remembered by; `winograd`: whether that is possible.
std::string tuning_key(const kernels::QConvSpec& spec, const kernels::PackedWeights& weights,
                       bool any_size = false, bool winograd = false);

// The text that is remembered; parsing refuses (false) what no choice can be.
std::string choice_text(const kernels::QConvChoice& choice);
bool parse_choice(const std::string& text, kernels::QConvChoice* choice);

}  // namespace pt2q
