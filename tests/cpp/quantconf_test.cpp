// Calibration by call, the JSON file and conversion by it.
#include "pt2q/quantconf.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "base/strings.h"
#include "graph_builder.h"
#include "pt2q/error.h"
#include "pt2q/pt2e.h"
#include "pt2q/trace.h"

namespace pt2q {
namespace {

using testing::random_tensor;

struct Net {
  Tensor w1 = random_tensor({4, 3, 3, 3}, 1, -0.3F, 0.3F);
  Tensor b1 = random_tensor({4}, 2, -0.1F, 0.1F);
  Tensor gamma = random_tensor({4}, 3, 0.5F, 1.5F);
  Tensor beta = random_tensor({4}, 4, -0.2F, 0.2F);
  Tensor mean = random_tensor({4}, 5, -0.2F, 0.2F);
  Tensor var = random_tensor({4}, 6, 0.5F, 1.5F);
  Tensor w2 = random_tensor({5, 4}, 7, -0.4F, 0.4F);

  // conv → batch norm → relu_ → average pool → flatten → linear
  Value forward(const Value& x) const {
    const Value::List one{1, 1};
    Value y = call("aten.conv2d.default", {x, w1, b1, one, one, one, 1});
    y = call("aten.batch_norm.default", {y, gamma, beta, mean, var, false, 0.1, 1e-5, true});
    y = call("aten.relu_.default", {y});
    y = call("aten.adaptive_avg_pool2d.default", {y, one});
    return call("aten.linear.default", {call("aten.flatten.using_ints", {y, 1}), w2, Value()});
  }

  std::unique_ptr<GraphModule> capture() const {
    auto module = std::make_unique<GraphModule>();
    Tracer tracer(*module);
    const Tracer::Scope scope(&tracer);
    const std::vector<std::pair<const char*, Tensor>> named = {
        {"w1", w1},     {"b1", b1},   {"gamma", gamma}, {"beta", beta},
        {"mean", mean}, {"var", var}, {"w2", w2}};
    for (const auto& [name, t] : named) tracer.add_attribute(name, t, AttrKind::Parameter);
    const SymShape sizes{SymInt::symbol("n", 2), 3, SymInt::symbol("h", 8), SymInt::symbol("w", 8)};
    tracer.finish(forward(tracer.add_input("x", TensorMeta{sizes, DType::Float32, {}})));
    return module;
  }
};

QuantConf calibrated(const Net& net, QScheme scheme = QScheme::PerTensorAffine) {
  QuantConf conf(scheme);
  QuantConfRecorder recorder(conf);
  {
    const CallListener::Scope scope(&recorder);
    for (unsigned seed = 20; seed < 23; ++seed) {
      net.forward(random_tensor({2, 3, 8, 8}, seed, -1.0F, 2.0F));
      recorder.end_forward();
    }
  }
  recorder.finish();
  return conf;
}

class File {
 public:
  explicit File(const std::string& name)
      : path((std::filesystem::temp_directory_path() / ("pt2q_" + name)).string()) {}
  ~File() { std::filesystem::remove(path); }
  std::string text() const {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& t) const { std::ofstream(path) << t; }
  const std::string path;
};

TEST(QuantConf, RecordsCallsInOrder) {
  const QuantConf conf = calibrated(Net());
  std::vector<std::string> names;
  for (const auto& e : conf.entries()) names.push_back(e.name);
  EXPECT_EQ(names, (std::vector<std::string>{"conv2d", "relu_", "adaptive_avg_pool2d", "flatten",
                                             "linear"}));
  const QuantConfEntry& conv = conf.entries()[0];
  EXPECT_EQ(conv.inputs_flow, std::vector<std::string>{"conv2d0.input0"});
  EXPECT_EQ(conv.outputs_flow, std::vector<std::string>{"conv2d0.output0"});
  EXPECT_EQ(conv.weight_scales.at(0).size(), 4u);
  EXPECT_NEAR(conv.input_scales[0], 3.0 / 255, 1e-3);
  EXPECT_EQ(conv.input_quantized_dtypes, std::vector<std::string>{"uint8"});
  EXPECT_TRUE(conv.inputs_quantized[0]);
  EXPECT_FALSE(conv.outputs_quantized[0]);
  const QuantConfEntry& relu = conf.entries()[1];
  EXPECT_FALSE(relu.inputs_quantized[0]);
  EXPECT_EQ(relu.inputs_flow[0], "conv2d0.output0");  // through the batch norm
  EXPECT_EQ(conf.entries()[4].inputs_flow[0], "flatten3.output0");
}

TEST(QuantConf, NansDoNotHideTheRangeOfTheOthers) {
  QuantConf conf(QScheme::PerTensorAffine);
  QuantConfRecorder recorder(conf);
  {
    const CallListener::Scope scope(&recorder);
    Tensor x = random_tensor({2, 3, 8, 8}, 20, -1.0F, 2.0F);
    x.mutable_data<float>()[7] = std::numeric_limits<float>::quiet_NaN();
    Net().forward(x);
    recorder.end_forward();
  }
  recorder.finish();
  EXPECT_NEAR(conf.entries()[0].input_scales[0], 3.0 / 255, 1e-3);
}

TEST(QuantConf, SymmetricSchemeUsesInt8) {
  const QuantConf conf = calibrated(Net(), QScheme::PerTensorSymmetric);
  EXPECT_EQ(conf.entries()[0].input_quantized_dtypes[0], "int8");
  EXPECT_EQ(conf.entries()[0].input_zero_points[0], 0);
  EXPECT_NEAR(conf.entries()[0].input_scales[0], 2.0 / 127, 1e-3);
  EXPECT_THROW(QuantConf(QScheme::PerChannelAffine), AssertionError);
}

TEST(QuantConf, FileRoundTripKeepsUnknownMembers) {
  QuantConf conf = calibrated(Net());
  const File file("roundtrip.json");
  conf.save(file.path);
  std::string text = file.text();
  EXPECT_EQ(text.rfind("[\n    {\n        \"id\": 0,\n        \"name\": \"conv2d\",\n", 0), 0u)
      << text;
  text.insert(text.find("\"id\": 0"), "\"note\": {\"by\": [1, 2.5]}, ");
  file.write(text);
  QuantConf again = QuantConf::load(file.path);
  again.save(file.path);
  EXPECT_NE(file.text().find("\"note\""), std::string::npos);
  EXPECT_EQ(QuantConf::load(file.path).entries()[0].input_scales, conf.entries()[0].input_scales);
}

TEST(QuantConf, BadFilesAreRefusedByEntry) {
  QuantConf conf = calibrated(Net());
  const File file("bad.json");
  conf.save(file.path);
  const std::string good = file.text();
  const auto expect = [&](const std::string& from, const std::string& to, const std::string& says) {
    std::string text = good;
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    file.write(text.replace(at, from.size(), to));
    try {
      QuantConf::load(file.path);
      FAIL() << "accepted: " << to;
    } catch (const ValueError& e) {
      EXPECT_NE(std::string(e.what()).find(says), std::string::npos) << e.what();
    }
  };
  expect("\"name\": \"conv2d\"", "\"name\": 3", "entry 0: 'name' must be a string");
  expect("\"algorithm\"", "\"algo\"", "entry 0 ('conv2d'): 'algorithm' is missing");
  expect("\"input_zero_points\": [", "\"input_zero_points\": [ 7,", "same number of items");
  expect("\"uint8\"", "\"uint4\"", "must be uint8 or int8");
  expect("\"id\": 1", "\"id\": 4", "'id' must be 1");
  expect("per_channel", "per_row", "'weight_granularity'");
  expect("min_max", "percentile", "'algorithm' must be min_max");
  expect("\"inputs_quantized\": [\n            true", "\"inputs_quantized\": [1", "true and false");
  expect("[", "{", "is no JSON");
  EXPECT_THROW(QuantConf::load("/nonexistent/configure.json"), AssertionError);
  file.write("");
  EXPECT_THROW(QuantConf::load(file.path), AssertionError);
  EXPECT_THROW(QuantConf().save(file.path), RuntimeError);
}

TEST(QuantConf, ConvertsToInt8WithBatchNormsFolded) {
  const Net net;
  const QuantConf conf = calibrated(net);
  auto model = net.capture();
  quantize_with(*model, conf);
  const auto compiled = compile(*model);
  const std::string table = compiled->print_tabular();
  EXPECT_NE(table.find("pt2q.qconv.default"), std::string::npos) << table;
  EXPECT_NE(table.find("pt2q.qlinear.default"), std::string::npos) << table;
  EXPECT_EQ(table.find("batch_norm"), std::string::npos) << table;
  for (const Shape& sizes : {Shape{2, 3, 8, 8}, Shape{1, 3, 13, 6}}) {
    const Tensor x = random_tensor(sizes, 31, -1.0F, 2.0F);
    const Tensor want = net.forward(x).as<Tensor>();
    EXPECT_LE(testing::max_difference((*compiled)({x}).as<Tensor>(), want), 0.03);
  }
  const std::string stages = stage_report(*model, *compiled, {random_tensor({2, 3, 8, 8}, 32)});
  for (const char* stage : {"1. alias and mutation reduction", "relu_ became aten.relu.default",
                            "2. graph passing", "3. partitioning", "conv_relu (conv_unary)",
                            "4. graph rewriting", "5. layout propagation"}) {
    EXPECT_NE(stages.find(stage), std::string::npos) << stage << "\n" << stages;
  }
}

TEST(QuantConf, EditsAreHonoured) {
  const Net net;
  QuantConf conf = calibrated(net);
  conf.entries()[0].inputs_quantized[0] = false;  // the convolution stays in float
  conf.entries()[4].weight_granularity = "per_tensor";
  conf.entries()[4].input_scales[0] *= 2;
  auto model = net.capture();
  quantize_with(*model, conf);
  const std::string text = model->graph().to_string();
  EXPECT_EQ(text.find("quantize_per_channel"), std::string::npos) << text;
  EXPECT_NE(text.find(double_to_string(conf.entries()[4].input_scales[0])), std::string::npos)
      << text;
  const std::string table = compile(*model)->print_tabular();
  EXPECT_EQ(table.find("pt2q.qconv.default"), std::string::npos) << table;
  EXPECT_NE(table.find("pt2q.qlinear.default"), std::string::npos) << table;
}

TEST(QuantConf, NamesTheEntryThatDoesNotFit) {
  const Net net;
  const auto refused = [&](const std::function<void(QuantConf&)>& edit) -> std::string {
    QuantConf conf = calibrated(net);
    edit(conf);
    auto model = net.capture();
    try {
      quantize_with(*model, conf);
    } catch (const ValueError& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_NE(
      refused([](QuantConf& c) { c.entries()[4].name = "matmul"; }).find("entry 4 ('matmul')"),
      std::string::npos);
  EXPECT_NE(refused([](QuantConf& c) {
              c.entries()[0].weight_scales[0].pop_back();
            }).find("entry 0 ('conv2d'): 'weight_scales'"),
            std::string::npos);
  EXPECT_NE(refused([](QuantConf& c) { c.entries().pop_back(); }).find("the model goes on"),
            std::string::npos);
  QuantConf empty;
  auto model = net.capture();
  EXPECT_THROW(quantize_with(*model, empty), AssertionError);
}

TEST(QuantConf, ListensToTheInnermostBlockOnly) {
  const Net net;
  QuantConf outer, inner;
  QuantConfRecorder a(outer), b(inner);
  {
    const CallListener::Scope outside(&a);
    {
      const CallListener::Scope inside(&b);
      net.forward(random_tensor({1, 3, 4, 4}, 40));
    }
    EXPECT_EQ(CallListener::current(), &a);
  }
  EXPECT_EQ(CallListener::current(), nullptr);
  EXPECT_TRUE(outer.entries().empty());
  EXPECT_EQ(inner.entries().size(), 5u);
}

}  // namespace
}  // namespace pt2q
