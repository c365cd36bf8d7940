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
  const int64_t bound = alive_bytes(*plan);
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
      const auto int8 = compile(*quantize_graph(*m, x));
      expect_tight(int8->module(), x, what + ", int8");
      const MemoryReport report = int8->memory({x});
      EXPECT_GT(report.alive, 0);
      EXPECT_LE(report.alive, report.activations);
    }
  }
}

}  // namespace
}  // namespace pt2q::testing
