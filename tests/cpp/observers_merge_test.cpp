// Calibration split over workers: merging their observers gives what one observer of all data has.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "golden_util.h"
#include "observers/grid_histogram.h"
#include "observers/histogram.h"
#include "pt2q/error.h"
#include "pt2q/observer.h"

namespace pt2q {
namespace {

using ObserverPtr = std::shared_ptr<Observer>;

// Batches [4, 6] of changing range, some constant.
std::vector<Tensor> batches(int count, unsigned seed) {
  std::mt19937 gen(seed);
  std::normal_distribution<float> normal;
  std::vector<Tensor> out;
  for (int b = 0; b < count; ++b) {
    Tensor t = Tensor::empty({4, 6});
    const float spread = std::exp(normal(gen));
    const float shift = normal(gen);
    for (int i = 0; i < 24; ++i) {
      t.mutable_data<float>()[i] = b % 5 == 3 ? shift : shift + spread * normal(gen);
    }
    out.push_back(t);
  }
  return out;
}

// The batches cut into `workers` parts in order, each seen by its own observer, then merged.
ObserverPtr merged(const ObserverCtr& recipe, const std::vector<Tensor>& data, size_t workers) {
  std::vector<ObserverPtr> parts;
  for (size_t w = 0; w < workers; ++w) {
    parts.push_back(recipe());
    for (size_t i = data.size() * w / workers; i < data.size() * (w + 1) / workers; ++i) {
      parts.back()->forward(data[i]);
    }
  }
  for (size_t w = 1; w < workers; ++w) parts[0]->merge(*parts[w]);
  return parts[0];
}

ObserverPtr unsplit(const ObserverCtr& recipe, const std::vector<Tensor>& data) {
  ObserverPtr out = recipe();
  for (const Tensor& t : data) out->forward(t);
  return out;
}

TEST(ObserverMerge, IsExactForRangesAndGridHistograms) {
  const ObserverCtr recipes[] = {
      observer_class("MinMaxObserver"),
      observer_class("PerChannelMinMaxObserver").with_args({{"ch_axis", 1}}),
      observer_class("GridHistogramObserver"),
      observer_class("GridHistogramObserver").with_args({{"bins", 16}}),
      observer_class("AffineQuantizedMinMaxObserver")
          .with_args({{"mapping_type", "ASYMMETRIC"},
                      {"target_dtype", DType::Int8},
                      {"granularity", Value::List{"PerGroup", 3}}}),
      observer_class("FakeQuantize").with_args({{"observer", "MinMaxObserver"}}),
      observer_class("LearnableFakeQuantize").with_args({{"observer", "MinMaxObserver"}})};
  for (const ObserverCtr& recipe : recipes) {
    SCOPED_TRACE(recipe.to_string());
    for (unsigned seed = 0; seed < 5; ++seed) {
      const auto data = batches(12, seed);
      const ObserverPtr whole = unsplit(recipe, data);
      for (const size_t workers : {1U, 2U, 3U, 5U, 20U}) {  // some workers see nothing
        const ObserverPtr split = merged(recipe, data, workers);
        const auto want = whole->state_dict();
        const auto got = split->state_dict();
        ASSERT_EQ(got.size(), want.size());
        for (const auto& [key, value] : want) EXPECT_EQ(difference(got.at(key), value), "") << key;
        EXPECT_EQ(difference(split->calculate_qparams().scale, whole->calculate_qparams().scale),
                  "");
      }
    }
  }
}

// An average over batches in order: merging appends. Rounding: at most 4 ulp of the largest
// magnitude per batch.
TEST(ObserverMerge, AppendsMovingAverages) {
  const ObserverCtr recipes[] = {
      observer_class("MovingAverageMinMaxObserver"),
      observer_class("MovingAverageMinMaxObserver").with_args({{"averaging_constant", 0.3}}),
      observer_class("MovingAveragePerChannelMinMaxObserver")
          .with_args({{"averaging_constant", 0.2}, {"ch_axis", 1}}),
      observer_class("FusedMovingAvgObsFakeQuantize"), observer_class("FakeQuantize")};
  for (const ObserverCtr& recipe : recipes) {
    SCOPED_TRACE(recipe.to_string());
    for (unsigned seed = 0; seed < 5; ++seed) {
      const auto data = batches(15, seed);
      double largest = 0.0;
      for (const Tensor& t : data) {
        for (int i = 0; i < 24; ++i) {
          largest = std::max(largest, std::abs(static_cast<double>(t.data<float>()[i])));
        }
      }
      const double tolerance = 15 * 4 * std::ldexp(largest, -23);
      const ObserverPtr whole = unsplit(recipe, data);
      for (const size_t workers : {2U, 4U, 20U}) {
        const auto got = merged(recipe, data, workers)->state_dict();
        for (const auto& [key, value] : whole->state_dict()) {
          if (key.find("_val") == std::string::npos) continue;
          const Tensor a = got.at(key).reshape({-1});
          const Tensor b = value.reshape({-1});
          ASSERT_EQ(a.numel(), b.numel());
          for (int64_t i = 0; i < a.numel(); ++i) {
            EXPECT_NEAR(a.data<float>()[i], b.data<float>()[i], tolerance) << key;
          }
        }
      }
    }
  }
}

TEST(ObserverMerge, OfMovingAveragesNeedsTheirHistory) {
  const ObserverCtr recipe = observer_class("MovingAverageMinMaxObserver");
  const ObserverPtr seen = unsplit(recipe, batches(2, 0));
  const ObserverPtr loaded = recipe();
  loaded->load_state_dict(seen->state_dict());
  EXPECT_THROW(recipe()->merge(*loaded), RuntimeError);
  loaded->merge(*seen);  // the other way round is fine: what is appended is known
  loaded->reset_min_max_vals();
  loaded->merge(*seen);
  EXPECT_EQ(loaded->repr(), seen->repr());
  EXPECT_THROW(seen->merge(*recipe({{"averaging_constant", 0.5}})), ValueError);
}

// Cumulative counts of a histogram at the upper edges of its bins.
struct Cumulative {
  explicit Cumulative(const Observer& o) {
    const auto state = o.state_dict();
    const Tensor& hist = state.at("histogram");
    lo = state.at("min_val").item();
    width = (state.at("max_val").item() - lo) / static_cast<double>(hist.numel());
    double sum = 0.0;
    for (int64_t i = 0; i < hist.numel(); ++i) {
      sum += static_cast<double>(hist.data<float>()[i]);
      counts.push_back(sum);
    }
  }
  double total() const { return counts.back(); }
  double lo = 0.0;
  double width = 0.0;
  std::vector<double> counts;
};

// HistogramObserver's stated bound, against the sorted data.
TEST(ObserverMerge, OfHistogramsKeepsEveryCountWithinTheStatedDistance) {
  const ObserverCtr recipe = observer_class("HistogramObserver").with_args({{"bins", 64}});
  for (unsigned seed = 0; seed < 10; ++seed) {
    const auto data = batches(8, seed);
    std::vector<double> values;
    for (const Tensor& t : data) {
      for (int i = 0; i < 24; ++i) values.push_back(static_cast<double>(t.data<float>()[i]));
    }
    std::sort(values.begin(), values.end());
    const auto below = [&](double x) {
      return static_cast<double>(std::upper_bound(values.begin(), values.end(), x) -
                                 values.begin());
    };
    for (const size_t workers : {2U, 4U, 8U}) {
      const ObserverPtr split = merged(recipe, data, workers);
      const Cumulative c(*split);
      EXPECT_EQ(c.lo, values.front());
      EXPECT_NEAR(c.total(), static_cast<double>(values.size()), 1e-3);
      // A count is spread at most once by each later batch or merge: fewer than there are batches.
      const double reach = static_cast<double>(data.size() + 1) * c.width;
      for (size_t i = 0; i < c.counts.size(); ++i) {
        const double edge = c.lo + c.width * static_cast<double>(i + 1);
        EXPECT_GE(c.counts[i], below(edge - reach) - 1e-2);
        EXPECT_LE(c.counts[i], below(edge + reach) + 1e-2);
      }
    }
  }
}

TEST(GridHistogram, HoldsTheDataOnTheFinestGridOfPowersOfTwo) {
  GridHistogramObserver grid(16, UniformArgs());
  Tensor x = Tensor::from_vector<float>({0.0F, 0.9F, 1.0F, 3.5F, -0.25F}, {5});
  grid.forward(x);
  // 16 bins of 1/4 hold [-0.25, 3.5]; 16 bins of 1/8 would not.
  EXPECT_EQ(grid.exponent(), -2);
  const int64_t* hist = grid.buffer("histogram").data<int64_t>();
  const int64_t want[16] = {1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  for (int i = 0; i < 16; ++i) EXPECT_EQ(hist[i], want[i]) << i;
  grid.forward(Tensor::from_vector<float>({100.0F}, {1}));
  EXPECT_EQ(grid.exponent(), 3);
  EXPECT_EQ(hist[0], 1);  // -0.25 is in [-8, 0)
  EXPECT_EQ(hist[1], 4);
  EXPECT_EQ(hist[13], 1);
}

TEST(GridHistogram, TakesExtremesAndConstants) {
  const float big = std::numeric_limits<float>::max();
  for (const auto& values : std::vector<std::vector<float>>{
           {0.0F, 0.0F}, {1e-45F}, {-1e-45F, 1e-45F}, {big, -big}, {big}, {3.0F, 3.0F}}) {
    GridHistogramObserver grid(64, UniformArgs());
    grid.forward(Tensor::from_vector<float>(values, {static_cast<int64_t>(values.size())}));
    int64_t total = 0;
    for (int i = 0; i < 64; ++i) total += grid.buffer("histogram").data<int64_t>()[i];
    EXPECT_EQ(total, static_cast<int64_t>(values.size()));
    EXPECT_GT(grid.calculate_qparams().scale.item(), 0.0);
  }
  GridHistogramObserver grid(64, UniformArgs());
  const float inf = std::numeric_limits<float>::infinity();
  grid.forward(Tensor::from_vector<float>({-inf, 1.0F, inf}, {3}));
  EXPECT_EQ(grid.buffer("min_val").item(), 1.0);
  EXPECT_THROW(grid.forward(Tensor::from_vector<float>({NAN, 1.0F}, {2})), RuntimeError);
  EXPECT_THROW(GridHistogramObserver(2, UniformArgs()), ValueError);
  auto state = grid.state_dict();
  state["max_val"] = Tensor::scalar(std::numeric_limits<double>::infinity());
  EXPECT_THROW(grid.load_state_dict(state), ValueError);
}

// With as many steps as HistogramObserver and clipped outliers, the two agree closely.
TEST(GridHistogram, ClipsOutliersAsHistogramObserverDoes) {
  std::mt19937 gen(3);
  std::normal_distribution<float> normal;
  Tensor x = Tensor::empty({1000000});
  for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<float>()[i] = normal(gen);
  x.mutable_data<float>()[7] = 20.0F;
  const auto grid = observer_class("GridHistogramObserver")();
  const auto plain = observer_class("HistogramObserver")();
  const auto minmax = observer_class("MinMaxObserver")();
  for (const auto& o : {grid, plain, minmax}) o->forward(x);
  const double a = grid->calculate_qparams().scale.item();
  const double b = plain->calculate_qparams().scale.item();
  EXPECT_NEAR(a, b, 0.05 * b);
  EXPECT_LT(a, 0.8 * minmax->calculate_qparams().scale.item());
}

}  // namespace
}  // namespace pt2q
