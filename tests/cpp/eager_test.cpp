// Operators called one by one: large ones run through plans, with the results, the errors and the
// side effects of their reference kernels.
#include "onednn/eager.h"

#include <gtest/gtest.h>

#include "graph_builder.h"
#include "pt2q/call_listener.h"
#include "pt2q/error.h"

namespace pt2q::testing {
namespace {

using Ints = std::vector<int64_t>;

struct Call {
  std::string op;
  std::vector<Value> args;
  double tolerance;  // float sums in another order; 0: the same bits
};

std::vector<Call> large_calls() {
  const Tensor image = random_tensor({2, 16, 40, 40}, 1);
  const Tensor w = random_tensor({24, 16, 3, 3}, 2, -0.1F, 0.1F);
  const Tensor bias = random_tensor({24}, 3);
  const Tensor rows = random_tensor({64, 300}, 4);
  const Tensor stats = random_tensor({16}, 5, 0.5F, 1.5F);
  return {
      {"aten.conv2d.default",
       {image, w, bias, Ints{2, 2}, Ints{1, 1}, Ints{1, 1}, int64_t{1}},
       1e-5},
      {"aten.linear.default", {rows, random_tensor({50, 300}, 6), Value()}, 1e-4},
      {"aten.matmul.default", {rows, random_tensor({300, 50}, 7)}, 1e-4},
      {"aten.relu.default", {image}, 0},
      {"aten.add.Tensor", {image, image}, 0},
      {"aten.max_pool2d.default", {image, Ints{3, 3}, Ints{2, 2}, Ints{1, 1}}, 0},
      {"aten.adaptive_avg_pool2d.default", {image, Ints{1, 1}}, 1e-6},
      {"aten.batch_norm.default",
       {image, stats, stats, stats, stats, false, 0.1, 1e-5, false},
       1e-5},
  };
}

TEST(Eager, LargeOperatorsRunThroughPlansWithTheReferenceResult) {
  for (const Call& c : large_calls()) {
    const OpDef& op = op_table().get(c.op);
    const std::vector<Value> full = normalize_args(op, c.args, {});
    EXPECT_TRUE(is_planned(op, full)) << c.op;
    const Tensor expected = op.reference(Args(op, full)).as<Tensor>();
    for (int repeat = 0; repeat < 2; ++repeat) {
      const Tensor got = call_planned(op, c.args, {}).as<Tensor>();
      EXPECT_EQ(got.sizes(), expected.sizes()) << c.op;
      EXPECT_TRUE(got.is_contiguous()) << c.op;
      EXPECT_LE(max_difference(got, expected), c.tolerance) << c.op;
    }
  }
}

TEST(Eager, ChannelsLastInputsRunThroughPlansToo) {
  Call conv = large_calls()[0];
  const OpDef& op = op_table().get(conv.op);
  const Tensor expected = call_planned(op, conv.args, {}).as<Tensor>();
  conv.args[0] = conv.args[0].as<Tensor>().contiguous(MemoryFormat::ChannelsLast);
  EXPECT_TRUE(is_planned(op, normalize_args(op, conv.args, {})));
  EXPECT_TRUE(same_bits(call_planned(op, conv.args, {}).as<Tensor>(), expected));
}

TEST(Eager, SmallStridedTrainingAndRandomCallsKeepTheReferenceKernel) {
  const auto planned = [](const std::string& name, std::vector<Value> args) {
    const OpDef& op = op_table().get(name);
    return is_planned(op, normalize_args(op, std::move(args), {}));
  };
  const Tensor image = random_tensor({2, 16, 40, 40}, 1);
  const Tensor stats = random_tensor({16}, 5, 0.5F, 1.5F);
  EXPECT_FALSE(planned("aten.relu.default", {random_tensor({4, 4}, 1)}));
  EXPECT_FALSE(planned("aten.relu.default", {image.permute({0, 2, 3, 1})}));
  EXPECT_FALSE(planned("aten.batch_norm.default", {image, stats, stats, stats.clone(),
                                                   stats.clone(), true, 0.1, 1e-5, false}));
  EXPECT_FALSE(planned("aten.dropout.default", {image, 0.5, true}));
  EXPECT_FALSE(planned("aten.reshape.default", {image, Ints{2, -1}}));
}

TEST(Eager, ParametersMayChangeBetweenCalls) {
  const OpDef& op = op_table().get("aten.linear.default");
  const Tensor x = random_tensor({64, 300}, 1);
  Tensor w = random_tensor({50, 300}, 2);
  const Tensor before = call_planned(op, {x, w}, {}).as<Tensor>();
  for (int64_t i = 0; i < w.numel(); ++i) w.mutable_data<float>()[i] *= 2.0F;
  const Tensor after = call_planned(op, {x, w}, {}).as<Tensor>();
  for (int64_t i = 0; i < after.numel(); ++i)
    ASSERT_EQ(after.data<float>()[i], 2.0F * before.data<float>()[i]);
}

TEST(Eager, InPlaceOperatorsWriteTheirTensor) {
  Tensor x = random_tensor({4, 16, 20, 20}, 1);
  const Tensor before = x.clone();
  const Value result = call_planned(op_table().get("aten.relu_.default"), {x}, {});
  EXPECT_EQ(result.as<Tensor>().id(), x.id());
  for (int64_t i = 0; i < x.numel(); ++i)
    ASSERT_EQ(x.data<float>()[i], std::max(0.0F, before.data<float>()[i]));
}

TEST(Eager, ErrorsAreThoseOfTheReferenceKernel) {
  const OpDef& op = op_table().get("aten.linear.default");
  const std::vector<Value> wrong = {random_tensor({64, 300}, 1), random_tensor({50, 301}, 2)};
  std::string expected, got;
  try {
    call(op, wrong);
  } catch (const Error& e) {
    expected = e.what();
  }
  try {
    call_planned(op, wrong, {});
  } catch (const Error& e) {
    got = e.what();
  }
  EXPECT_FALSE(expected.empty());
  EXPECT_EQ(got, expected);
}

TEST(Eager, ListenersHearOfPlannedCalls) {
  struct Listener : CallListener {
    std::vector<std::string> names;
    void called(const OpDef& op, const std::vector<Value>&, const Value&) override {
      names.push_back(op.name);
    }
  } listener;
  const CallListener::Scope scope(&listener);
  call_planned(op_table().get("aten.relu.default"), {random_tensor({4, 16, 20, 20}, 1)}, {});
  EXPECT_EQ(listener.names, std::vector<std::string>{"aten.relu.default"});
}

}  // namespace
}  // namespace pt2q::testing
