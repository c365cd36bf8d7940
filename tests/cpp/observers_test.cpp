// Observers and fake-quantize modules against PyTorch's recorded results, and what PyTorch lacks:
// merging, warnings, errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/log.h"
#include "error_message.h"
#include "golden_util.h"
#include "observers/fake_quantize.h"
#include "observers/histogram.h"
#include "observers/minmax.h"
#include "observers/recording.h"
#include "tensor/format.h"

namespace pt2q {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Collects warnings while it lives.
class Warnings {
 public:
  Warnings() {
    previous_ = set_warning_handler([this](const std::string& m) { messages.push_back(m); });
  }
  ~Warnings() { set_warning_handler(previous_); }
  std::vector<std::string> messages;

 private:
  WarningHandler previous_;
};

Tensor floats(const std::vector<float>& values) {
  return Tensor::from_vector(values, {static_cast<int64_t>(values.size())});
}

KwArgs decode_kwargs(const nlohmann::json& j) {
  KwArgs out;
  for (const auto& [k, v] : j.items()) out[k] = decode_value(v);
  return out;
}

TEST(Observers, EqualPyTorchBitForBit) {
  const auto golden = read_cases("quantization/observers.json");
  size_t count = 0;
  for (const auto& c : golden.at("cases")) {
    SCOPED_TRACE(cat("case ", count++, ": ", c.at("class").get<std::string>(), " ",
                     c.at("kwargs").dump(), " batches ", c.at("batches").size()));
    const auto observer = observer_class(c.at("class"))(decode_kwargs(c.at("kwargs")));
    for (size_t i = 0; i < c.at("batches").size(); ++i) {
      const Tensor x = decode_tensor(c.at("batches")[i]);
      const Tensor y = observer->forward(x);
      if (c.contains("outputs")) {
        EXPECT_EQ(difference(y, decode_tensor(c.at("outputs")[i])), "") << "batch " << i;
      } else {
        EXPECT_TRUE(y.is(x));
      }
    }
    const auto state = observer->state_dict();
    EXPECT_EQ(state.size(), c.at("state").size());
    for (const auto& [key, value] : c.at("state").items()) {
      ASSERT_EQ(state.count(key), 1U) << key;
      EXPECT_EQ(difference(state.at(key), decode_tensor(value)), "") << key;
    }
    const QParams q = observer->calculate_qparams();
    EXPECT_EQ(difference(q.scale, decode_tensor(c.at("qparams")[0])), "");
    EXPECT_EQ(difference(q.zero_point, decode_tensor(c.at("qparams")[1])), "");
    EXPECT_EQ(*observer->quant_min(), c.at("range")[0].get<int64_t>());
    EXPECT_EQ(*observer->quant_max(), c.at("range")[1].get<int64_t>());

    // Another instance that loads the state goes on from there.
    const auto copy = observer_class(c.at("class"))(decode_kwargs(c.at("kwargs")));
    copy->load_state_dict(state);
    EXPECT_EQ(difference(copy->calculate_qparams().scale, q.scale), "");
    EXPECT_EQ(copy->repr(), observer->repr());
  }
  EXPECT_GT(count, 250U);
}

TEST(Observers, MergingEqualsSeeingAllTheData) {
  const Tensor a = floats({-1.0F, 0.5F, 2.0F});
  const Tensor b = floats({-0.25F, 7.0F, 3.0F});
  for (const char* name : {"MinMaxObserver", "HistogramObserver"}) {
    const auto left = observer_class(name)();
    const auto right = observer_class(name)();
    const auto both = observer_class(name)();
    left->forward(a);
    right->forward(b);
    both->forward(a);
    both->forward(b);
    left->merge(*right);
    EXPECT_EQ(difference(left->state_dict().at("min_val"), both->state_dict().at("min_val")), "");
    EXPECT_EQ(difference(left->state_dict().at("max_val"), both->state_dict().at("max_val")), "");
    const auto fresh = observer_class(name)();
    fresh->merge(*both);
    EXPECT_EQ(fresh->repr(), both->repr());
    EXPECT_EQ(difference(fresh->calculate_qparams().scale, both->calculate_qparams().scale), "");
  }
  // A histogram keeps every count.
  const auto left = observer_class("HistogramObserver")();
  const auto right = observer_class("HistogramObserver")();
  left->forward(a);
  right->forward(b);
  left->merge(*right);
  const Tensor hist = left->state_dict().at("histogram");
  double total = 0;
  for (int64_t i = 0; i < hist.numel(); ++i) total += static_cast<double>(hist.data<float>()[i]);
  EXPECT_EQ(total, 6.0);
}

TEST(Observers, RefuseMergesThatMeanNothing) {
  const auto make = [](const char* name, const KwArgs& args) { return observer_class(name)(args); };
  const auto plain = make("MinMaxObserver", {});
  EXPECT_THROW(plain->merge(*make("MinMaxObserver", {{"quant_min", 0}, {"quant_max", 127}})),
               ValueError);
  EXPECT_THROW(plain->merge(*make("HistogramObserver", {})), ValueError);
  EXPECT_THROW(make("HistogramObserver", {{"bins", 8}})->merge(*make("HistogramObserver", {})),
               ValueError);
  EXPECT_THROW(
      make("GridHistogramObserver", {{"bins", 8}})->merge(*make("GridHistogramObserver", {})),
      ValueError);
}

TEST(Observers, RefuseBadArgumentsWithPyTorchsTexts) {
  const auto error = [](const char* name, const KwArgs& args) {
    return testing::error_message([&] { observer_class(name)(args); });
  };
  EXPECT_EQ(error("MinMaxObserver", {{"quant_min", 1}, {"quant_max", 5}}),
            "Used-specified quantization range must include 0.");
  EXPECT_EQ(error("MinMaxObserver", {{"quant_min", 0}, {"quant_max", 0}}),
            "qmin must be strictly less than qmax for user-specified quantization range.");
  EXPECT_EQ(
      error("MinMaxObserver", {{"dtype", DType::QInt8}, {"quant_min", 0}, {"quant_max", 300}}),
      "quantization range should be positive and not exceed the maximum bit range (=256).");
  EXPECT_THAT(error("MinMaxObserver", {{"dtype", DType::Float32}}),
              HasSubstr("Default Observer only works for (torch.qint8, torch.quint8,"));
  EXPECT_THAT(error("MinMaxObserver", {{"qscheme", "per_channel_affine"}}),
              HasSubstr("qscheme only support torch.per_tensor_symmetric"));
  EXPECT_THAT(error("PerChannelMinMaxObserver", {{"qscheme", "per_tensor_affine"}}),
              HasSubstr("qscheme only support torch.per_channel_symmetric"));
  EXPECT_EQ(error("MinMaxObserver", {{"qscheme", "per_tensor_symmetric"}, {"reduce_range", true}}),
            "Cannot reduce range for symmetric quantization for quint8");
  EXPECT_EQ(error("MovingAverageMinMaxObserver", {{"is_dynamic", true}}),
            "MovingAverageMinMaxObserver doesn't support dynamic quantization for averaging "
            "constant of 0.01");
  EXPECT_EQ(error("HistogramObserver", {{"is_dynamic", true}}),
            "HistogramObserver doesn't support dynamic quantization");
  EXPECT_EQ(error("MinMaxObserver", {{"foo", 1}}),
            "MinMaxObserver.__init__() got an unexpected keyword argument 'foo'");
  EXPECT_EQ(error("FakeQuantize", {{"quant_min", 5}, {"quant_max", 3}}),
            "quant_min must be less than or equal to quant_max");
  EXPECT_EQ(error("FakeQuantize", {{"quant_min", -3}, {"quant_max", 3}}), "quant_min out of bound");
  EXPECT_EQ(error("FakeQuantize", {{"quant_min", 0}, {"quant_max", 300}}),
            "quant_max out of bound");
  EXPECT_EQ(error("FusedMovingAvgObsFakeQuantize", {{"observer", "MinMaxObserver"}}),
            "Fused observer+fake_quant module only works with MovingAverageMinMaxObserver");
  EXPECT_EQ(error("FixedQParamsFakeQuantize", {{"observer", "MinMaxObserver"}}),
            "FixedQParamsFakeQuantize's observer must be a FixedQParamsObserver");
  EXPECT_THAT(error("NoSuchObserver", {}), HasSubstr("no observer class 'NoSuchObserver'"));
  EXPECT_EQ(
      testing::error_message([] { observer_class("PlaceholderObserver")()->calculate_qparams(); }),
      "calculate_qparams should not be called for PlaceholderObserver");
  EXPECT_EQ(
      testing::error_message([] { observer_class("HistogramObserver")()->reset_min_max_vals(); }),
      "Cannot reset min/max values in the given observer.");
  EXPECT_EQ(testing::error_message([] {
              observer_class("MinMaxObserver")()->load_state_dict({{"a", Tensor::zeros({1})}});
            }),
            "Error(s) in loading state_dict for MinMaxObserver:\n\tMissing key(s) in state_dict: "
            "\"min_val\", \"max_val\". \n\tUnexpected key(s) in state_dict: \"a\". ");
}

TEST(Observers, NameThemselvesWhenTheDataHoldNaN) {
  const auto observer = observer_class("MinMaxObserver")();
  observer->forward(floats({1.0F, NAN}));
  EXPECT_THAT(testing::error_message([&] { observer->calculate_qparams(); }),
              HasSubstr("MinMaxObserver: the observed range is NaN"));
  const auto channels = observer_class("PerChannelMinMaxObserver")();
  channels->forward(Tensor::from_vector<float>({1, 2, NAN, 4}, {2, 2}));
  EXPECT_THAT(testing::error_message([&] { channels->calculate_qparams(); }),
              HasSubstr("in channel 1"));
  // The histogram refuses at once and keeps what it had.
  const auto histogram = observer_class("HistogramObserver")();
  histogram->forward(floats({1.0F, 2.0F}));
  EXPECT_THROW(histogram->forward(floats({NAN})), RuntimeError);
  EXPECT_EQ(histogram->repr(), "HistogramObserver(min_val=1.0, max_val=2.0)");
}

TEST(Observers, WarnWhereTheResultIsADefaultOrInfinite) {
  Warnings warnings;
  const QParams q = observer_class("MinMaxObserver")()->calculate_qparams();
  EXPECT_EQ(q.scale.item(), 1.0);
  EXPECT_EQ(q.zero_point.dtype(), DType::Int64);
  EXPECT_THAT(warnings.messages,
              ElementsAre(HasSubstr("must run observer before calling calculate_qparams")));
  warnings.messages.clear();
  const auto observer = observer_class("MinMaxObserver")();
  observer->forward(floats({1.0F, INFINITY}));
  observer->calculate_qparams();
  EXPECT_THAT(warnings.messages, ElementsAre(HasSubstr("range is infinite")));
  warnings.messages.clear();
  observer_class("HistogramObserver")()->forward(floats({1.0F, INFINITY}));
  EXPECT_THAT(warnings.messages, ElementsAre(HasSubstr("torch.inf detected in input tensor")));
}

TEST(Observers, PrintAsPyTorchPrintsThem) {
  const auto observer = observer_class("MinMaxObserver")();
  observer->forward(floats({-1e-7F, 1e6F}));
  EXPECT_EQ(observer->repr(), "MinMaxObserver(min_val=-1.0000000116860974e-07, max_val=1000000.0)");
  EXPECT_EQ(observer_class("PerChannelMinMaxObserver")()->repr(),
            "PerChannelMinMaxObserver(min_val=tensor([]), max_val=tensor([]))");
  EXPECT_EQ(observer_class("PlaceholderObserver")()->repr(),
            "PlaceholderObserver(dtype=pt2q.float32, is_dynamic=False)");
  EXPECT_EQ(observer_class("FakeQuantize")()->repr(),
            "FakeQuantize(\n  fake_quant_enabled=tensor([1], dtype=pt2q.uint8), "
            "observer_enabled=tensor([1], dtype=pt2q.uint8), quant_min=0, quant_max=255, "
            "dtype=pt2q.quint8, qscheme=pt2q.per_tensor_affine, ch_axis=-1, "
            "scale=tensor([1.]), zero_point=tensor([0], dtype=pt2q.int32)\n"
            "  (activation_post_process): MovingAverageMinMaxObserver(min_val=inf, "
            "max_val=-inf)\n)");
  EXPECT_EQ(format_tensor(Tensor::from_vector<float>({1e5F, 1.0F}, {2})),
            "tensor([1.0000e+05, 1.0000e+00])");
  EXPECT_EQ(format_tensor(Tensor::from_vector<int64_t>({1, 2, 3, 40}, {2, 2})),
            "tensor([[ 1,  2],\n        [ 3, 40]])");
  EXPECT_EQ(format_tensor(Tensor::zeros({2, 0})), "tensor([], size=(2, 0))");
}

TEST(ObserverRecipes, PrintCompareAndLetLaterArgumentsWin) {
  const ObserverCtr a = observer_class("HistogramObserver").with_args({{"bins", 64}});
  const ObserverCtr b = a.with_args({{"bins", 32}, {"eps", 0.25}});
  EXPECT_EQ(b.to_string(), "HistogramObserver(bins=32, eps=0.25)");
  EXPECT_FALSE(a == b);
  EXPECT_TRUE(a == observer_class("HistogramObserver").with_args({{"bins", 64}}));
  EXPECT_EQ(std::dynamic_pointer_cast<HistogramObserver>(b())->bins(), 32);
  EXPECT_EQ(std::dynamic_pointer_cast<HistogramObserver>(b({{"bins", 16}}))->bins(), 16);
  const ObserverCtr nested = observer_class("FakeQuantize")
                                 .with_observer(a.with_args({{"dtype", DType::QInt8}}))
                                 .with_args({{"quant_min", -128}, {"quant_max", 127}});
  EXPECT_EQ(nested.to_string(),
            "FakeQuantize(observer=HistogramObserver(bins=64, dtype=qint8), quant_max=127, "
            "quant_min=-128)");
  EXPECT_EQ(nested()->dtype(), DType::QInt8);
}

TEST(FakeQuantize, SwitchesTurnObservingAndQuantizingOff) {
  const auto fq = std::dynamic_pointer_cast<FakeQuantize>(observer_class("FakeQuantize")());
  fq->disable_fake_quant();
  const Tensor x = floats({0.0F, 0.1F, 2.55F});
  EXPECT_TRUE(fq->forward(x).is(x));
  EXPECT_FLOAT_EQ(static_cast<float>(fq->buffer("scale").item()), 0.01F);
  fq->enable_fake_quant();
  fq->disable_observer();
  const Tensor y = fq->forward(floats({5.0F, 0.013F}));
  EXPECT_FLOAT_EQ(y.data<float>()[0], 2.55F);
  EXPECT_FLOAT_EQ(y.data<float>()[1], 0.01F);
  EXPECT_FLOAT_EQ(static_cast<float>(fq->buffer("scale").item()), 0.01F);
}

TEST(Observers, CopiesHaveTheirOwnStatistics) {
  for (const std::string& name : observer_class_names()) {
    SCOPED_TRACE(name);
    KwArgs args;
    if (name.find("FixedQParams") != std::string::npos) {
      args = {{"scale", 0.5}, {"zero_point", 3}};
    } else if (name.find("Affine") == 0) {
      args = {{"mapping_type", "SYMMETRIC"},
              {"target_dtype", DType::Int8},
              {"granularity", Value::List{"PerAxis", 0}}};
    } else if (name == "LearnableFakeQuantize") {
      args = {{"observer", "MinMaxObserver"}};
    }
    const auto original = observer_class(name)(args);
    const Tensor x = Tensor::from_vector<float>({-1, 2, 3, 4}, {2, 2});
    original->forward(x);
    const auto copy = original->clone();
    EXPECT_EQ(copy->repr(), original->repr());
    const std::string before = original->repr();
    copy->forward(Tensor::from_vector<float>({-100, 200, 300, 400}, {2, 2}));
    EXPECT_EQ(original->repr(), before);
    const auto ours = original->state_dict();
    for (const auto& [key, tensor] : copy->state_dict()) {
      EXPECT_FALSE(tensor.shares_storage(ours.at(key))) << key;
    }
  }
}

TEST(RecordingObserver, KeepsCopies) {
  RecordingObserver observer;
  Tensor x = floats({1.0F});
  observer.forward(x);
  x.mutable_data<float>()[0] = 9.0F;
  EXPECT_EQ(observer.get_tensor_value().at(0).item(), 1.0);
}

}  // namespace
}  // namespace pt2q
