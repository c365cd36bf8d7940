#include "onednn/tuning.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "base/strings.h"
#include "environment.h"
#include "error_message.h"
#include "graph_builder.h"
#include "io_test_util.h"
#include "pt2q/error.h"

namespace pt2q::testing {
namespace {

namespace fs = std::filesystem;

// A cache directory of its own; the environment is as before afterwards.
class TuningTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(directory);
    auto m = make_resnet(1, {1, 1}, false, false, 32, 16);
    model = quantize_graph(*m, random_tensor({1, 3, 32, 32}, 11));
  }

  std::unique_ptr<CompiledModel> measured(double seconds = 20) const {
    CompileOptions options;
    options.tuning = Tuning::Measure;
    options.tuning_seconds = seconds;
    return compile(*model, options);
  }
  // How many layers say so.
  size_t count(CompiledModel& compiled, const std::string& tuning) const {
    size_t n = 0;
    for (const StepReport& s : compiled.steps({random_tensor({1, 3, 32, 32}, 1)}))
      n += s.tuning == tuning ? 1 : 0;
    return n;
  }
  std::vector<std::string> entries() const {
    std::vector<std::string> out;
    for (const auto& e : fs::recursive_directory_iterator(directory)) {
      if (e.is_regular_file()) out.push_back(e.path());
    }
    return out;
  }

  const pt2q_test::TempDir temporary;
  const std::string directory = temporary / "cache";
  const Environment cache_directory{"PT2Q_CACHE_DIR", directory};
  Environment cache{"PT2Q_CACHE"};
  std::unique_ptr<GraphModule> model;
};

TEST_F(TuningTest, MeasuredModelsHaveTheSameBits) {
  const Tensor x = random_tensor({1, 3, 32, 32}, 12);
  auto modelled = compile(*model);
  auto tuned = measured();
  EXPECT_TRUE(same_bits(first((*tuned)({x})), first((*modelled)({x}))));
  EXPECT_EQ(count(*modelled, "modelled"), 7U);
  EXPECT_EQ(count(*tuned, "measured"), 7U);
  EXPECT_NE(tuned->explain().find("exact, measured"), std::string::npos);
  EXPECT_NE(modelled->explain().find("exact, modelled"), std::string::npos);
}

TEST_F(TuningTest, ChoicesAreRemembered) {
  auto tuned = measured();
  const size_t stored = entries().size();
  EXPECT_GT(stored, 0U);
  EXPECT_LE(stored, 7U);
  auto again = measured(0);  // no time to measure
  EXPECT_EQ(count(*again, "measured earlier"), 7U);
  const Tensor x = random_tensor({1, 3, 32, 32}, 12);
  EXPECT_TRUE(same_bits(first((*again)({x})), first((*tuned)({x}))));
}

TEST_F(TuningTest, DamagedEntriesAreMeasuredAgain) {
  measured();
  const auto stored = entries();
  for (const std::string& path : stored) std::ofstream(path, std::ios::binary) << "nonsense";
  auto again = measured();
  EXPECT_EQ(count(*again, "measured"), 7U);
  EXPECT_EQ(entries(), stored);
  EXPECT_EQ(count(*measured(0), "measured earlier"), 7U);
}

TEST_F(TuningTest, WithoutTimeOrCacheTheModelChooses) {
  EXPECT_EQ(count(*measured(0), "modelled"), 7U);
  EXPECT_TRUE(entries().empty());
  cache.set("0");
  EXPECT_EQ(count(*measured(), "measured"), 7U);
  EXPECT_TRUE(entries().empty());
  EXPECT_EQ(count(*measured(0), "modelled"), 7U);
}

// Two convolutions that take any batch and height.
std::unique_ptr<GraphModule> any_size_model() {
  NetBuilder b;
  Node* x = b.input("x", {SymInt::symbol("n", 2), 8, SymInt::symbol("h", 20), 20});
  auto net = b.finish(b.relu(b.conv2d(b.relu(b.conv2d(x, 8, 16, 3, 1, 1)), 16, 8, 3, 1, 1)));
  return quantize_graph(*net, random_tensor({2, 8, 20, 20}, 3));
}

Tensor image_of(int64_t height) { return random_tensor({2, 8, height, 20}, 5); }

void expect_tuning(CompiledModel& model, int64_t height, const std::string& tuning) {
  int layers = 0;
  for (const StepReport& step : model.steps({image_of(height)})) {
    if (step.op != "pt2q.qconv.default") continue;
    EXPECT_EQ(step.tuning, tuning) << height;
    ++layers;
  }
  EXPECT_EQ(layers, 2);
}

TEST_F(TuningTest, SizesOfOneBucketShareAMeasurement) {
  auto any_size = any_size_model();
  CompileOptions options;
  options.tuning = Tuning::Measure;
  auto tuned = compile(*any_size, options);
  auto modelled = compile(*any_size);
  size_t before = 0;
  for (const auto& [height, more] : std::vector<std::pair<int64_t, size_t>>{
           {20, 2}, {23, 0}, {24, 0}, {17, 0}, {25, 2}}) {  // buckets: 24 and 32
    const Tensor image = image_of(height);
    EXPECT_TRUE(same_bits(first((*tuned)({image})), first((*modelled)({image}))));
    expect_tuning(*tuned, height, "measured");
    EXPECT_EQ(entries().size(), before + more) << height;
    before = entries().size();
  }
}

TEST_F(TuningTest, ABucketThatTimeWasTooShortForIsNotSettled) {
  auto any_size = any_size_model();
  CompileOptions options;
  options.tuning = Tuning::Measure;
  options.tuning_seconds = 0;
  auto hurried = compile(*any_size, options);
  expect_tuning(*hurried, 20, "modelled");
  options.tuning_seconds = 20;
  expect_tuning(*compile(*any_size, options), 20, "measured");
  expect_tuning(*hurried, 23, "measured earlier");
}

TEST(TuningChoice, BucketsAreHalfOctaves) {
  kernels::ConvShape s;
  for (const auto& [n, text] : std::vector<std::pair<int64_t, const char*>>{
           {0, "1"}, {1, "1"}, {2, "2"}, {3, "3"}, {4, "4"}, {5, "6"}, {7, "8"}, {97, "128"}}) {
    s.batch = s.in_h = s.in_w = n;
    EXPECT_EQ(size_bucket(s), cat("<=", text, "x", text, "x", text));
  }
}

TEST_F(TuningTest, AnyNumberOfSecondsIsALimit) {
  cache.set("0");
  for (const double seconds : {1e300, std::numeric_limits<double>::infinity()})
    EXPECT_EQ(count(*measured(seconds), "measured"), 7U) << seconds;
}

TEST_F(TuningTest, NegativeSecondsAreRefused) {
  EXPECT_EQ(error_message<ValueError>([&] { measured(-1); }),
            "compile: tuning_seconds must not be negative, got -1");
}

TEST(TuningChoice, TextReadsBackAndNonsenseIsRefused) {
  kernels::QConvChoice c;
  EXPECT_TRUE(parse_choice(choice_text({2, 65536, 3}), &c));
  EXPECT_EQ(c, (kernels::QConvChoice{2, 65536, 3}));
  EXPECT_TRUE(parse_choice(choice_text({}), &c));
  EXPECT_EQ(c, kernels::QConvChoice());
  for (const char* bad : {"", "1", "1 2", "x 2 3", "1 2 3 4", "-2 0 0", "6 0 0", "0 -1 0",
                          "0 99999999999 0", "0 0 -1", "0 0 99999999"}) {
    EXPECT_FALSE(parse_choice(bad, &c)) << bad;
  }
}

}  // namespace
}  // namespace pt2q::testing
