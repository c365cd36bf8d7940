// The arena of compiled models: no two values that are needed at the same time share memory, and
// the arena is hardly larger than what is alive at the fullest step.
#include <gtest/gtest.h>

#include <algorithm>

#include "graph_builder.h"
#include "onednn/executor.h"
#include "onednn/model_cache.h"

namespace pt2q::testing {
namespace {

constexpr double kArenaSlack = 1.1;  // of the lower bound

// The arena memory that a step's work keeps busy: every root alive then, but an output that may
// take the memory of its last-used input of the same size counts once with it.
int64_t alive_bytes(const Plan& plan, int step) {
  int64_t sum = 0;
  for (size_t i = 0; i < plan.values.size(); ++i) {
    const PlanValue& v = plan.values[i];
    if (v.storage != Storage::Arena || v.root != static_cast<int>(i) || v.first_step < 0) continue;
    if (v.first_step <= step && step <= v.last_step) sum += v.bytes;
  }
  const Step& s = *plan.steps[static_cast<size_t>(step)];
  if (s.in_place_input < 0 || s.outputs.empty()) return sum;
  const auto root_of = [&](int id) -> const PlanValue& {
    return plan.values[static_cast<size_t>(plan.values[static_cast<size_t>(id)].root)];
  };
  const PlanValue& in = root_of(s.in_place_input);
  const PlanValue& out = root_of(s.outputs[0]);
  const bool merges = in.storage == Storage::Arena && out.storage == Storage::Arena &&
                      in.last_step == step && in.bytes == out.bytes;
  return merges ? sum - out.bytes : sum;
}

int64_t lower_bound_bytes(const Plan& plan) {
  int64_t most = 0;
  for (size_t i = 0; i < plan.steps.size(); ++i)
    most = std::max(most, alive_bytes(plan, static_cast<int>(i)));
  return most;
}

// Values that overlap in memory and in time, other than an output in place of an input.
int conflicts(const Plan& plan) {
  std::vector<const PlanValue*> roots;
  for (size_t i = 0; i < plan.values.size(); ++i) {
    const PlanValue& v = plan.values[i];
    if (v.storage == Storage::Arena && v.root == static_cast<int>(i) && v.first_step >= 0 &&
        v.bytes > 0)
      roots.push_back(&v);
  }
  int count = 0;
  for (const PlanValue* a : roots) {
    for (const PlanValue* b : roots) {
      if (a == b || a->first_step > b->first_step) continue;
      const bool memory = a->arena_offset < b->arena_offset + b->bytes &&
                          b->arena_offset < a->arena_offset + a->bytes;
      const bool handed_on = a->last_step == b->first_step && a->arena_offset == b->arena_offset;
      if (memory && b->first_step <= a->last_step && !handed_on) ++count;
    }
  }
  return count;
}

void expect_tight(GraphModule& m, const Tensor& x, const std::string& what) {
  const auto plan = plan_for(m, {Value(x)})->plan();
  const int64_t bound = lower_bound_bytes(*plan);
  EXPECT_GT(bound, 0) << what;
  EXPECT_GE(plan->arena_bytes, bound) << what;
  EXPECT_LE(static_cast<double>(plan->arena_bytes), kArenaSlack * static_cast<double>(bound))
      << what << ": arena " << plan->arena_bytes << ", lower bound " << bound;
  EXPECT_EQ(conflicts(*plan), 0) << what;
}

TEST(PlanMemory, ArenaStaysNearTheLiveActivations) {
  for (const bool bottleneck : {false, true}) {
    for (const int64_t batch : {1, 3}) {
      const std::vector<int> layers{2, 2, 2, 2};
      auto m = make_resnet(batch, layers, bottleneck, false, 64, 16);
      const Tensor x = random_tensor({batch, 3, 64, 64}, 21);
      const std::string what = std::string(bottleneck ? "bottleneck" : "basic") +
                               " blocks, batch " + std::to_string(batch);
      expect_tight(*m, x, what + ", not compiled");
      expect_tight(compile(*m)->module(), x, what + ", float32");
      expect_tight(compile(*quantize_graph(*m, x))->module(), x, what + ", int8");
    }
  }
}

}  // namespace
}  // namespace pt2q::testing
