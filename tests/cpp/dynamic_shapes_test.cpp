// Models that take any size: plans for new sizes reuse what does not depend on the size, give the
// same bits as a model compiled afresh, and share memory.
#include <gtest/gtest.h>

#include <cstring>

#include "graph_builder.h"
#include "onednn/model_cache.h"

namespace pt2q::testing {
namespace {

SymInt symbol(const char* name, int64_t hint) { return SymInt::symbol(name, hint); }

// Convolutions of every kind (stem, 3x3, depthwise, grouped, 1x1 with a residual), pooling, linear.
std::unique_ptr<GraphModule> dynamic_images() {
  NetBuilder b;
  Node* x = b.input("x", {symbol("n", 2), 3, symbol("h", 32), symbol("w", 32)});
  Node* y = b.relu(b.conv2d(x, 3, 16, 7, 2, 3));
  Node* z = b.relu(b.conv2d(b.relu(b.conv2d(y, 16, 16, 3, 1, 1)), 16, 16, 3, 1, 1, 16));
  z = b.conv2d(z, 16, 16, 1, 1, 0, 1, false);
  y = b.relu(b.add(z, y));
  y = b.relu(b.conv2d(y, 16, 32, 3, 2, 1, 2));
  return b.finish(Value::List{b.linear(b.flatten(b.global_pool(y)), 32, 10)});
}

std::unique_ptr<GraphModule> dynamic_tokens() {
  NetBuilder b;
  Node* x = b.input("x", {symbol("n", 2), symbol("t", 16), 32});
  Node* y = b.linear(b.relu(b.linear(x, 32, 64)), 64, 32);
  return b.finish(Value::List{b.linear(b.add(y, x), 32, 8)});
}

TEST(DynamicShapes, EverySizeGivesTheBitsOfAFreshModel) {
  std::mt19937 rng(5);
  std::uniform_int_distribution<int64_t> side(17, 70), batch(1, 3);
  for (const bool images : {true, false}) {
    const auto model = images ? dynamic_images() : dynamic_tokens();
    const Shape sample = images ? Shape{2, 3, 32, 32} : Shape{2, 16, 32};
    const auto quantized = quantize_graph(*model, random_tensor(sample, 3));
    auto kept = compile(*quantized);
    for (unsigned i = 0; i < 24; ++i) {
      const Shape sizes =
          images ? Shape{batch(rng), 3, side(rng), side(rng)} : Shape{batch(rng), side(rng), 32};
      const Tensor x = random_tensor(sizes, 100 + i);
      auto fresh = compile(*quantized);
      const Tensor expected = first((*fresh)({x}));
      EXPECT_TRUE(same_bits(first((*kept)({x})), expected)) << describe(x);
      EXPECT_TRUE(same_bits(first((*kept)({x})), expected)) << describe(x) << " again";
    }
  }
}

TEST(DynamicShapes, PlansAreBoundedAndShareOneWorkspace) {
  const auto quantized = quantize_graph(*dynamic_tokens(), random_tensor({2, 16, 32}, 3));
  auto model = compile(*quantized);
  const auto cache = ModelCache::of(model->module());
  (*model)({random_tensor({1, 4, 32}, 1)});
  const size_t packed = cache->packed.size(), kept = cache->kept_alive.size();
  for (int64_t t = 5; t < 5 + 3 * static_cast<int64_t>(ModelCache::kMaxPlans); ++t) {
    (*model)({random_tensor({1, t, 32}, 1)});
    EXPECT_EQ(cache->workspaces()->idle_count(), 1U);
  }
  EXPECT_EQ(cache->plan_count(), ModelCache::kMaxPlans);
  EXPECT_EQ(cache->packed.size(), packed);
  EXPECT_EQ(cache->kept_alive.size(), kept);
}

TEST(WorkspacePool, HandsOutWarmMemoryAndGrows) {
  WorkspacePool pool;
  Workspace small = pool.take(1000);
  EXPECT_GE(small.bytes, 1000);
  const char* place = small.memory.get();
  pool.give_back(std::move(small));
  Workspace again = pool.take(900);
  EXPECT_EQ(again.memory.get(), place);
  pool.give_back(std::move(again));
  Workspace large = pool.take(100000);  // the small one is dropped: it would be kept for nothing
  EXPECT_GE(large.bytes, 100000);
  EXPECT_EQ(pool.idle_count(), 0U);
  std::memset(large.memory.get(), 1, static_cast<size_t>(large.bytes));
  pool.give_back(std::move(large));
  pool.trim(60000);  // 125000 bytes are more than twice as much
  EXPECT_EQ(pool.idle_count(), 0U);
}

TEST(WorkspacePool, ConcurrentTakersGetDifferentMemory) {
  WorkspacePool pool;
  const Workspace a = pool.take(64), b = pool.take(64);
  EXPECT_NE(a.memory.get(), b.memory.get());
}

}  // namespace
}  // namespace pt2q::testing
