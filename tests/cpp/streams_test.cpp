#include "pt2q/streams.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "base/parallel.h"
#include "base/thread_limit.h"
#include "error_message.h"
#include "graph_builder.h"
#include "onednn/executor.h"
#include "pt2q/error.h"

namespace pt2q::testing {
namespace {

std::unique_ptr<GraphModule> quantized_resnet(int64_t batch) {
  auto m = make_resnet(batch, {1, 1}, false, false, 32, 16);
  return quantize_graph(*m, random_tensor({batch, 3, 32, 32}, 11));
}

std::vector<Tensor> batches(int count) {
  std::vector<Tensor> out;
  for (int i = 0; i < count; ++i)
    out.push_back(random_tensor({1, 3, 32, 32}, 100 + static_cast<unsigned>(i)));
  return out;
}

// Gives the batches one after another.
class Source {
 public:
  explicit Source(std::vector<Tensor> items) : items_(std::move(items)) {}
  std::optional<std::vector<Value>> operator()() {
    if (next == items_.size()) return std::nullopt;
    return std::vector<Value>{items_[next++]};
  }
  size_t next = 0;

 private:
  std::vector<Tensor> items_;
};

TEST(Streams, ResultsComeInOrderWithTheBitsOfPlainCalls) {
  auto model = compile(*quantized_resnet(1));
  const std::vector<Tensor> items = batches(11);
  std::vector<Tensor> expected;
  for (const Tensor& x : items) expected.push_back(first((*model)({x})));
  for (const int streams : {1, 2, 3, 0}) {
    Source source(items);
    std::vector<Tensor> got;
    async_map(
        *model, std::ref(source),
        [&](Value v) {
          got.push_back(first(v));
          return true;
        },
        streams);
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(same_bits(got[i], expected[i])) << i;
  }
}

TEST(Streams, TheWindowIsBounded) {
  auto model = compile(*quantized_resnet(1));
  Source source(batches(20));
  size_t taken = 0;
  async_map(
      *model, std::ref(source),
      [&](const Value&) {
        ++taken;
        EXPECT_LE(source.next - taken, 6U);
        return true;
      },
      3);
  EXPECT_EQ(taken, 20U);
}

TEST(Streams, StoppingLeavesTheRestUnread) {
  auto model = compile(*quantized_resnet(1));
  Source source(batches(20));
  async_map(
      *model, std::ref(source), [](const Value&) { return false; }, 2);
  EXPECT_LE(source.next, 4U);
}

TEST(Streams, ErrorsNameTheItemAndKeepTheirType) {
  auto model = compile(*quantized_resnet(1));
  std::vector<Tensor> items = batches(6);
  items[3] = random_tensor({1, 4, 32, 32}, 1);
  Source source(items);
  int results = 0;
  try {
    async_map(
        *model, std::ref(source), [&](const Value&) { return ++results > 0; }, 2);
    FAIL() << "no error";
  } catch (const ValueError& e) {
    EXPECT_EQ(std::string(e.what()).rfind("item 3: input 'x': expected size 3", 0), 0U) << e.what();
  }
  EXPECT_EQ(results, 3);
}

TEST(Streams, AnErrorOfTheSourceFollowsTheResultsBeforeIt) {
  auto model = compile(*quantized_resnet(1));
  Source source(batches(3));
  int results = 0;
  const auto next = [&]() -> std::optional<std::vector<Value>> {
    if (source.next == 3) throw std::logic_error("no more");
    return source();
  };
  EXPECT_THROW(async_map(
                   *model, next, [&](const Value&) { return ++results > 0; }, 2),
               std::logic_error);
  EXPECT_EQ(results, 3);
}

TEST(Streams, BadUseIsAnError) {
  EXPECT_EQ(error_message<ValueError>([] { StreamPool(-1); }),
            "streams: expected a positive number, or 0 for one per core, got -1");
  StreamPool pool(1);
  EXPECT_EQ(error_message<RuntimeError>([&] { pool.take(); }), "no call is in flight");
  EXPECT_EQ(error_message<ValueError>([&] { pool.submit(nullptr, {}); }), "submit: no model");
  EXPECT_EQ(pool.in_flight(), 0U);
  pool.close();
  EXPECT_EQ(error_message<RuntimeError>([&] { pool.submit(std::make_shared<GraphModule>(), {}); }),
            "the stream pool is closed");
}

// Lets no call pass before it is opened, and counts them.
class Gate : public Module {
 public:
  Tensor forward(const Tensor& x) override {
    ++calls;
    opened_.wait();
    return x;
  }
  bool passes_through() const override { return true; }
  std::string type_name() const override { return "Gate"; }
  std::string repr() const override { return "Gate()"; }
  void open() { promise_.set_value(); }

  std::atomic<int> calls{0};

 private:
  std::promise<void> promise_;
  std::shared_future<void> opened_ = promise_.get_future().share();
};

TEST(Streams, ClosingDropsCallsThatHaveNotBegun) {
  const auto gate = std::make_shared<Gate>();
  NetBuilder net;
  net.module().set_module("gate", gate);
  Node* x = net.input("x", {2});
  Node* call = net.graph().call_module("gate", {x});
  call->meta.val = x->meta.val;
  const std::shared_ptr<GraphModule> model = net.finish(call);
  StreamPool pool(1);
  for (int i = 0; i < 50; ++i) pool.submit(model, {Tensor::zeros({2})});
  std::thread closing([&] { pool.close(); });
  while (pool.in_flight() > 0) std::this_thread::yield();
  gate->open();
  closing.join();
  EXPECT_LE(gate->calls.load(), 1);  // the one that may have begun
}

TEST(ThreadLimit, HoldsForOneThreadAndNests) {
  const int before = num_threads();
  set_num_threads(4);
  EXPECT_FALSE(ThreadLimit::active());
  {
    const ThreadLimit outer(2);
    EXPECT_EQ(num_threads(), 2);
    {
      const ThreadLimit wider(3);
      EXPECT_EQ(num_threads(), 2);
      const ThreadLimit inner(1);
      EXPECT_EQ(num_threads(), 1);
    }
    int other = 0;
    std::thread([&] { other = num_threads(); }).join();
    EXPECT_EQ(other, 4);
  }
  EXPECT_EQ(num_threads(), 4);
  set_num_threads(before);
}

// Plans for 4 threads while alone; 2 or 1 for calls that found others running.
TEST(ThreadLimit, CallsAtTheSameTimeShareTheThreads) {
  const int before = num_threads();
  set_num_threads(4);
  auto model = compile(*quantized_resnet(1));
  const Tensor x = random_tensor({1, 3, 32, 32}, 7);
  const Tensor expected = first((*model)({x}));
  EXPECT_EQ(ModelCache::of(model->module())->latest()->plan()->threads, 4);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 30; ++i) wrong += same_bits(first((*model)({x})), expected) ? 0 : 1;
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_TRUE(same_bits(first((*model)({x})), expected));
  EXPECT_EQ(ModelCache::of(model->module())->latest()->plan()->threads, 4);
  set_num_threads(before);
}

}  // namespace
}  // namespace pt2q::testing
