// .pt2 files that lie or are damaged: a typed error or a model that is consistent, never more.
#include "base/parallel.h"
#include "pt2_test_util.h"

namespace pt2q {
namespace {

using pt2q_test::forge;
using pt2q_test::load_text;
using pt2q_test::Parts;
using pt2q_test::small_model;

// Reads, and runs what was accepted: operators must survive odd but accepted arguments.
void read_and_run(const std::string& content) {
  const auto model = load_text(content);
  model->graph().lint();
  std::vector<Value> inputs;
  for (const Node* input : model->graph().placeholders()) {
    const Value& val = input->meta.val;
    if (!val.is<TensorMeta>()) {
      inputs.emplace_back(int64_t{1});
      continue;
    }
    const auto& meta = val.as<TensorMeta>();
    int64_t count = 1;
    for (const SymInt& s : meta.sizes) {
      if (s.hint() < 0 || s.hint() > 1000) throw ValueError("input too large for this test");
      count *= s.hint();
      if (count > 100000) throw ValueError("input too large for this test");
    }
    inputs.emplace_back(Tensor::zeros(hints(meta.sizes), meta.dtype));
  }
  run(*model, inputs);
}

// Thousands of tiny models: threads would only wait for each other.
const bool kSingleThread = (set_num_threads(1), true);

TEST(Pt2Hostile, EveryPrefixIsRefused) {
  pt2q_test::expect_prefixes_refused(save_pt2_to_string(*small_model()),
                                     [](const std::string& c) { load_text(c); });
}

TEST(Pt2Hostile, DamagedArchives) {
  const std::string content = save_pt2_to_string(*small_model(SymInt::symbol("s0", 2)));
  pt2q_test::run_mutations(content, 2000, 3, read_and_run);
}

TEST(Pt2Hostile, DamagedJsonText) {
  const Parts parts = Parts::of(save_pt2_to_string(*small_model(SymInt::symbol("s0", 2))));
  for (const char* member : {"models/model.json", "model_weights_config.json"}) {
    Parts changed = parts;
    const std::string original = changed.at(member);
    pt2q_test::run_mutations(original, 1500, 5, [&](const std::string& damaged) {
      changed.at(member) = damaged;
      read_and_run(changed.pack());
    });
  }
}

TEST(Pt2Hostile, ChangedPrograms) {
  const Parts parts = Parts::of(save_pt2_to_string(*small_model(SymInt::symbol("s0", 2))));
  std::mt19937 random(19);
  for (const char* member : {"models/model.json", "model_weights_config.json"}) {
    Parts changed = parts;
    const Json original = Json::parse(changed.at(member));
    for (int i = 0; i < 3000; ++i) {
      Json json = original;
      const auto edits = random() % 3 + 1;
      for (unsigned k = 0; k < edits; ++k) pt2q_test::mutate_json(&json, &random);
      changed.at(member) = json.dump();
      pt2q_test::accepts([&] { read_and_run(changed.pack()); },
                         "change " + std::to_string(i) + " of " + member + ": " + json.dump());
    }
  }
}

template <typename Edit>
void expect_refused(Edit&& edit) {
  const std::string content = forge(*small_model(), edit);
  EXPECT_THROW(load_text(content), Error);
}

Json& graph_of(Json& program) { return program["graph_module"]["graph"]; }

TEST(Pt2Hostile, InconsistentGraphs) {
  // used before it is defined, by itself, or defined twice
  expect_refused([](Json& p) { std::swap(graph_of(p)["nodes"][0], graph_of(p)["nodes"][1]); });
  expect_refused(
      [](Json& p) { graph_of(p)["nodes"][1]["inputs"][0]["arg"]["as_tensor"]["name"] = "relu"; });
  expect_refused([](Json& p) {
    graph_of(p)["nodes"].insert(graph_of(p)["nodes"].begin() + 1, graph_of(p)["nodes"][0]);
  });
  expect_refused([](Json& p) { graph_of(p)["inputs"].push_back(graph_of(p)["inputs"][0]); });
  expect_refused([](Json& p) { graph_of(p)["outputs"][0]["as_tensor"]["name"] = "none"; });
  // signature
  expect_refused([](Json& p) { p["graph_module"]["signature"]["input_specs"].clear(); });
  expect_refused([](Json& p) {
    p["graph_module"]["signature"]["input_specs"][0]["parameter"]["parameter_name"] = "none";
  });
  expect_refused([](Json& p) { p["graph_module"]["signature"]["output_specs"].clear(); });
  // a lie about a shape or a dtype
  expect_refused([](Json& p) {
    graph_of(p)["tensor_values"]["relu"]["sizes"][1] = {{"as_int", 5}};
  });
  expect_refused([](Json& p) { graph_of(p)["tensor_values"]["relu"]["dtype"] = 8; });
  expect_refused([](Json& p) {
    graph_of(p)["tensor_values"]["p_fc1_weight"]["sizes"][0] = {{"as_int", 400}};
  });
  // unions with two values, missing fields, wrong kinds
  expect_refused([](Json& p) { graph_of(p)["nodes"][0]["inputs"][0]["arg"]["as_int"] = 3; });
  expect_refused([](Json& p) { graph_of(p)["nodes"][0]["inputs"][0].erase("arg"); });
  expect_refused([](Json& p) { graph_of(p)["nodes"][0]["target"] = 5; });
  expect_refused([](Json& p) { graph_of(p)["nodes"] = "none"; });
  expect_refused([](Json& p) { p.erase("graph_module"); });
  expect_refused([](Json& p) { p = Json::array(); });
  // unknown argument names
  expect_refused([](Json& p) { graph_of(p)["nodes"][0]["inputs"][0]["name"] = "none"; });
}

TEST(Pt2Hostile, Expressions) {
  for (const char* text :
       {"", "Symbol(", "Symbol('s0'", "Integer(99999999999999999999)", "Rational(1, 0)",
        "Mul(Integer(2))x", "Pow(Symbol('s0'), Integer(1000000))", "__import__('os')",
        "FloorDiv(Symbol('s0'), Integer(0))",
        "FloorDiv(Add(Integer(-9223372036854775807), Integer(-1)), Integer(-1))",
        "Mul(Integer(4611686018427387904), Integer(4))",
        "Add(Integer(9223372036854775807), Integer(1))",
        "Add(Symbol('s0'), Integer(-9223372036854775807), Integer(-9223372036854775807))",
        "Mod(Integer(1), Integer(0))", "Foo(Integer(1))"}) {
    expect_refused([&](Json& p) {
      graph_of(p)["tensor_values"]["x"]["sizes"][0] = {{"as_expr", {{"expr_str", text}}}};
      graph_of(p)["nodes"] = Json::array();  // the input alone must be refused
    });
  }
  std::string deep = "Integer(1)";
  for (int i = 0; i < 5000; ++i) deep = "Add(" + deep + ")";
  expect_refused([&](Json& p) {
    graph_of(p)["tensor_values"]["x"]["sizes"][0] = {{"as_expr", {{"expr_str", deep}}}};
  });
}

TEST(Pt2Hostile, WeightConfigs) {
  const Parts original = Parts::of(save_pt2_to_string(*small_model()));
  const auto refused = [&](const char* field, const Json& value) {
    Parts parts = original;
    Json config = Json::parse(parts.at("model_weights_config.json"));
    Json& entry = config["config"]["fc1.weight"];
    (entry["tensor_meta"].contains(field) ? entry["tensor_meta"] : entry)[field] = value;
    parts.at("model_weights_config.json") = config.dump();
    EXPECT_THROW(load_text(parts.pack()), Error) << field << " " << value;
  };
  refused("path_name", "../../../etc/passwd");
  refused("path_name", "weight_99");
  refused("sizes", {{{"as_int", 4000}}, {{"as_int", 3}}});
  refused("sizes", {{{"as_int", -4}}, {{"as_int", 3}}});
  refused("sizes", {{{"as_int", INT64_MAX}}, {{"as_int", INT64_MAX}}});
  refused("strides", {{{"as_int", INT64_MAX}}, {{"as_int", 1}}});
  refused("strides", {{{"as_int", -3}}, {{"as_int", 1}}});
  refused("storage_offset", {{"as_int", 1}});
  refused("storage_offset", {{"as_int", -1}});
  refused("storage_offset", {{"as_int", INT64_MAX}});
  refused("dtype", 11);
  refused("dtype", 8);
  refused("dtype", -1);
  refused("layout", 1);
}

TEST(Pt2Hostile, LimitsAreKept) {
  const std::string content = save_pt2_to_string(*small_model());
  const auto refused = [&](const LoadLimits& limits) {
    EXPECT_THROW(load_pt2(content.data(), content.size(), limits), FileError);
  };
  LoadLimits limits;
  limits.file_bytes = 100;
  refused(limits);
  limits = {};
  limits.members = 3;
  refused(limits);
  limits = {};
  limits.tensor_bytes = 16;
  refused(limits);
  limits = {};
  limits.json_bytes = 100;
  refused(limits);
  limits = {};
  limits.json_depth = 3;
  refused(limits);
  limits = {};
  limits.json_values = 50;
  refused(limits);
  limits = {};
  limits.nodes = 2;
  refused(limits);
}

// 30 000 nodes that use one value, and a chain of in-place operators: no quadratic time.
TEST(Pt2Hostile, LargeGraphsStayLinear) {
  const std::string wide = forge(*small_model(), [](Json& p) {
    Json& nodes = graph_of(p)["nodes"];
    const Json relu = nodes[1];
    Json items = Json::array();
    for (int i = 0; i < 30000; ++i) {
      Json copy = relu;
      const std::string name = "r" + std::to_string(i);
      copy["name"] = name;
      copy["outputs"][0]["as_tensor"]["name"] = name;
      nodes.push_back(copy);
      items.push_back({{"name", name}});
    }
    Json stack = nodes[2];
    stack["target"] = "torch.ops.aten.cat.default";
    stack["inputs"] = {{{"name", "tensors"}, {"arg", {{"as_tensors", items}}}, {"kind", 1}}};
    stack["name"] = "all";
    stack["outputs"][0]["as_tensor"]["name"] = "all";
    nodes.push_back(stack);
    graph_of(p)["outputs"][0]["as_tensor"]["name"] = "all";
    p["graph_module"]["signature"]["output_specs"][0]["user_output"]["arg"] =
        graph_of(p)["outputs"][0];
  });
  pt2q_test::accepts([&] { load_text(wide); }, "wide graph");
  const std::string chain = forge(*small_model(), [](Json& p) {
    Json& nodes = graph_of(p)["nodes"];
    Json step = nodes[1];
    step["target"] = "torch.ops.aten.relu_.default";
    for (int i = 0; i < 20000; ++i) {
      const std::string name = "r" + std::to_string(i);
      step["inputs"][0]["arg"]["as_tensor"]["name"] =
          i == 0 ? "linear_1" : "r" + std::to_string(i - 1);
      step["name"] = name;
      step["outputs"][0]["as_tensor"]["name"] = name;
      nodes.push_back(step);
    }
    graph_of(p)["outputs"][0]["as_tensor"]["name"] = "r19999";
    p["graph_module"]["signature"]["output_specs"][0]["user_output"]["arg"] =
        graph_of(p)["outputs"][0];
  });
  pt2q_test::accepts([&] { load_text(chain); }, "in-place chain");
}

}  // namespace
}  // namespace pt2q
