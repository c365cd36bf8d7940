// .pt2 archives: what is written is read back, and the semantics of reading.
#include "pt2_test_util.h"
#include "pt2q/op.h"

namespace pt2q {
namespace {

using pt2q_test::add_attr;
using pt2q_test::add_input;
using pt2q_test::forge;
using pt2q_test::load_text;
using pt2q_test::Parts;
using pt2q_test::ramp;
using pt2q_test::run_values;
using pt2q_test::small_model;
using pt2q_test::TempDir;

const Tensor kX = ramp({2, 3}, 1.0);

TEST(Pt2, RoundTrip) {
  const TempDir dir;
  const auto model = small_model();
  save_pt2(*model, dir / "m.pt2", {{"note.txt", "hello"}});
  const auto loaded = load_pt2(dir / "m.pt2");
  EXPECT_EQ(loaded->graph().to_string(), model->graph().to_string());
  EXPECT_EQ(run_values(*loaded, kX), run_values(*model, kX));
  EXPECT_EQ(loaded->input_names, model->input_names);
  EXPECT_EQ(loaded->attr("fc1.weight").kind, AttrKind::Parameter);
  const Node* linear = loaded->graph().find("linear");
  ASSERT_NE(linear, nullptr);
  ASSERT_EQ(linear->meta.nn_module_stack.size(), 2U);
  EXPECT_EQ(linear->meta.nn_module_stack[1].path, "fc1");
  EXPECT_EQ(linear->meta.nn_module_stack[1].type, "pt2q.nn.modules.linear.Linear");
  EXPECT_EQ(linear->meta.source_fn, "linear");
  EXPECT_NE(linear->meta.stack_trace.find("line 3"), std::string::npos);
  const auto& extra =
      std::any_cast<const std::map<std::string, std::string>&>(loaded->extras.at("extra_files"));
  EXPECT_EQ(extra.at("note.txt"), "hello");
  loaded->graph().lint();
}

TEST(Pt2, SavingTwiceGivesTheSameBytes) {
  const std::string once = save_pt2_to_string(*small_model());
  EXPECT_EQ(once, save_pt2_to_string(*small_model()));
  const auto loaded = load_text(once);
  EXPECT_EQ(Parts::of(save_pt2_to_string(*loaded)).at("weight_0"), Parts::of(once).at("weight_0"));
}

TEST(Pt2, AllAttributeKinds) {
  GraphModule m;
  Graph& g = m.graph();
  Node* x = add_input(&m, "x", {2, 3});
  Node* p = add_attr(&m, "p", ramp({3}));
  Node* b = add_attr(&m, "block.buf", ramp({3}), AttrKind::Buffer);
  Node* n = add_attr(&m, "temp", ramp({3}), AttrKind::NonPersistentBuffer);
  Node* c = add_attr(&m, "_tensor_constant0", ramp({3}).to(DType::BFloat16).to(DType::Float32),
                     AttrKind::Constant);
  m.set_attr("unused", ramp({5}), AttrKind::Parameter);
  m.set_attr("tied", m.attr("p").tensor, AttrKind::Parameter);
  Node* sum = x;
  for (Node* term : {p, b, n, c}) sum = g.call_function("aten.add.Tensor", {sum, term});
  g.output(sum);
  m.propagate_shapes();
  const auto loaded = load_text(save_pt2_to_string(m));
  EXPECT_EQ(run_values(*loaded, kX), run_values(m, kX));
  for (const std::string& name : m.attr_names())
    EXPECT_EQ(loaded->attr(name).kind, m.attr(name).kind) << name;
  EXPECT_TRUE(loaded->attr("tied").tensor.shares_storage(loaded->attr("p").tensor));
  EXPECT_EQ(loaded->attr("unused").tensor.sizes(), (Shape{5}));
}

TEST(Pt2, SeveralResultsAndNestedOutputs) {
  GraphModule m;
  Graph& g = m.graph();
  Node* x = add_input(&m, "x", {4, 6});
  Node* parts = g.call_function("aten.chunk.default", {x, 3, 1}, {}, "chunk");
  Node* second = g.call_function("_operator.getitem", {parts, 1}, {}, "getitem_1");
  Node* last = g.call_function("_operator.getitem", {parts, 2}, {}, "getitem_2");
  Node* cat = g.call_function("aten.cat.default", {Value::List{last, second}, 1}, {}, "cat");
  Node* top = g.call_function("aten.max.dim", {cat, 1}, {}, "max_1");
  Node* values = g.call_function("_operator.getitem", {top, 0}, {}, "getitem_3");
  g.output(Value::List{cat, Value::List{values, Value()}});
  m.propagate_shapes();
  const auto loaded = load_text(save_pt2_to_string(m));
  ASSERT_NE(loaded->graph().find("getitem_2"), nullptr);
  const Tensor input = ramp({4, 6});
  const Value out = run(*loaded, {input});
  ASSERT_EQ(out.list().size(), 3U);  // flat, in the order of out_spec
  EXPECT_TRUE(out.list()[2].is_none());
  const Value wanted = run(m, {input});
  EXPECT_EQ(pt2q_test::values_of<float>(out.list()[0].as<Tensor>()),
            pt2q_test::values_of<float>(wanted.list()[0].as<Tensor>()));
  EXPECT_EQ(pt2q_test::values_of<float>(out.list()[1].as<Tensor>()),
            pt2q_test::values_of<float>(wanted.list()[1].list()[0].as<Tensor>()));
  EXPECT_NE(std::any_cast<const std::string&>(loaded->extras.at("out_spec")).find("builtins.tuple"),
            std::string::npos);
}

TEST(Pt2, SymbolicSizes) {
  const auto model = small_model(SymInt::symbol("s0", 2));
  model->extras["range_constraints"] = RangeConstraints{{"s0", {1, 64}}};
  const auto loaded = load_text(save_pt2_to_string(*model));
  const auto& meta = loaded->graph().find("linear_1")->meta.val.as<TensorMeta>();
  EXPECT_EQ(meta.sizes[0].to_string(), "s0");
  EXPECT_EQ(meta.sizes[0].hint(), 2);
  const auto& ranges =
      std::any_cast<const RangeConstraints&>(loaded->extras.at("range_constraints"));
  EXPECT_EQ(ranges.at("s0").min, 1);
  EXPECT_EQ(ranges.at("s0").max, 64);
  EXPECT_EQ(run_values(*loaded, ramp({5, 3})), run_values(*model, ramp({5, 3})));
}

TEST(Pt2, SymbolicExpressionsInArguments) {
  GraphModule m;
  const SymInt batch = SymInt::symbol("s0", 2);
  Node* x = add_input(&m, "x", {batch, 3});
  Node* view = m.graph().call_function("aten.view.default", {x, Value(SymShape{batch * SymInt(3)})},
                                       {}, "view");
  m.graph().output(view);
  m.propagate_shapes();
  const auto loaded = load_text(save_pt2_to_string(m));
  EXPECT_EQ(run_values(*loaded, ramp({4, 3})), pt2q_test::values_of<float>(ramp({4, 3})));
}

TEST(Pt2, QuantizedModelsKeepIntegersOnly) {
  GraphModule m;
  Graph& g = m.graph();
  Node* x = add_input(&m, "x", {2, 256});
  m.set_attr("fc.weight", ramp({256, 256}), AttrKind::Parameter);  // replaced by the next
  Node* q =
      add_attr(&m, "_frozen_param0", Tensor::full({256, 256}, 3, DType::Int8), AttrKind::Buffer);
  Node* scale = add_attr(&m, "_scale_0", Tensor::full({256}, 0.5), AttrKind::Buffer);
  Node* zero = add_attr(&m, "_zero_point_0", Tensor::zeros({256}, DType::Int64), AttrKind::Buffer);
  Node* w = g.call_function("quantized_decomposed.dequantize_per_channel.default",
                            {q, scale, zero, 0, -128, 127, DType::Int8});
  g.output(g.call_function("aten.linear.default", {x, w}));
  m.propagate_shapes();
  const std::string content = save_pt2_to_string(m);
  const auto loaded = load_text(content);
  EXPECT_FALSE(loaded->has_attr("fc.weight"));
  EXPECT_EQ(loaded->attr("_frozen_param0").tensor.dtype(), DType::Int8);
  EXPECT_LT(content.size(), 256U * 256 * 4 * 3 / 10);
  EXPECT_EQ(run_values(*loaded, ramp({2, 256})), run_values(m, ramp({2, 256})));
}

class DummyObserver : public Module {
 public:
  Tensor forward(const Tensor& input) override { return input; }
  std::string type_name() const override { return "DummyObserver"; }
  std::string repr() const override { return "DummyObserver()"; }
};

TEST(Pt2, PreparedModelsAreRefused) {
  GraphModule m;
  Node* x = add_input(&m, "x", {2});
  m.set_module("observer_0", std::make_shared<DummyObserver>());
  m.graph().output(m.graph().call_module("observer_0", {x}));
  m.propagate_shapes();
  EXPECT_THROW(save_pt2_to_string(m), ValueError);
}

// --- reading
// ---------------------------------------------------------------------------------------

Json tensor(const std::string& name) { return {{"as_tensor", {{"name", name}}}}; }

Json node(const std::string& op, const std::vector<std::pair<std::string, Json>>& inputs,
          const std::string& output) {
  Json list = Json::array();
  for (const auto& [name, arg] : inputs)
    list.push_back({{"name", name}, {"arg", arg}, {"kind", 1}});
  Json outputs = Json::array();
  if (!output.empty()) outputs.push_back(tensor(output));
  return {{"target", "torch.ops." + op},
          {"inputs", list},
          {"outputs", outputs},
          {"metadata", Json::object()}};
}

// A program that takes x [2, 3] and runs `nodes`; `outputs` are returned.
std::string program_of(const std::vector<Json>& nodes, const std::vector<std::string>& outputs) {
  GraphModule m;
  Node* x = add_input(&m, "x", {2, 3});
  Node* b = add_attr(&m, "b", ramp({2, 3}), AttrKind::Buffer);
  m.graph().output(m.graph().call_function("aten.add.Tensor", {x, b}));
  m.propagate_shapes();
  return forge(m, [&](Json& program) {
    Json& module = program["graph_module"];
    module["graph"]["nodes"] = nodes;
    module["graph"]["outputs"] = Json::array();
    module["signature"]["output_specs"] = Json::array();
    for (const std::string& name : outputs) {
      module["graph"]["outputs"].push_back(tensor(name));
      module["signature"]["output_specs"].push_back({{"user_output", {{"arg", tensor(name)}}}});
    }
    module["module_call_graph"] = Json::array();
  });
}

TEST(Pt2Reader, InPlaceOperatorsChangeLaterUses) {
  // a = x + b; relu_(a); returned: a (written), its view (taken before), x (untouched).
  const std::string content = program_of(
      {node("aten.add.Tensor", {{"self", tensor("x")}, {"other", tensor("b_b")}}, "a"),
       node("aten.view.default", {{"self", tensor("a")}, {"size", {{"as_ints", {6}}}}}, "flat"),
       node("aten.relu_.default", {{"self", tensor("a")}}, "relu_"),
       node("aten.add_.Tensor", {{"self", tensor("relu_")}, {"other", {{"as_int", 1}}}}, "add_")},
      {"a", "flat", "x", "relu_"});
  const auto loaded = load_text(content);
  const Value out = run(*loaded, {kX});
  const auto x = pt2q_test::values_of<float>(kX);
  const auto b = pt2q_test::values_of<float>(ramp({2, 3}));
  std::vector<float> wanted;
  for (size_t i = 0; i < x.size(); ++i) wanted.push_back(std::max(x[i] + b[i], 0.0F) + 1);
  EXPECT_EQ(pt2q_test::values_of<float>(out.list()[0].as<Tensor>()), wanted);
  EXPECT_EQ(pt2q_test::values_of<float>(out.list()[1].as<Tensor>()), wanted);
  EXPECT_EQ(out.list()[1].as<Tensor>().sizes(), (Shape{6}));
  EXPECT_EQ(pt2q_test::values_of<float>(out.list()[2].as<Tensor>()), x);
  EXPECT_EQ(pt2q_test::values_of<float>(out.list()[3].as<Tensor>()), wanted);
}

// a = x + b; relu_ on a view of it; returned: a and the written view.
std::string write_through(const std::string& view_op) {
  const bool reshape = view_op.find("reshape") != std::string::npos;
  return program_of(
      {node("aten.add.Tensor", {{"self", tensor("x")}, {"other", tensor("b_b")}}, "a"),
       node(view_op, {{"self", tensor("a")}, {reshape ? "shape" : "size", {{"as_ints", {6}}}}},
            "flat"),
       node("aten.relu_.default", {{"self", tensor("flat")}}, "relu_")},
      {"a", "relu_"});
}

TEST(Pt2Reader, WritesThroughViewsReachTheViewedTensor) {
  const Value out = run(*load_text(write_through("aten.view.default")), {kX});
  const auto x = pt2q_test::values_of<float>(kX);
  const auto b = pt2q_test::values_of<float>(ramp({2, 3}));
  std::vector<float> wanted;
  for (size_t i = 0; i < x.size(); ++i) wanted.push_back(std::max(x[i] + b[i], 0.0F));
  EXPECT_EQ(pt2q_test::values_of<float>(out.list()[0].as<Tensor>()), wanted);
  EXPECT_EQ(out.list()[0].as<Tensor>().sizes(), (Shape{2, 3}));
  EXPECT_EQ(pt2q_test::values_of<float>(out.list()[1].as<Tensor>()), wanted);
}

// What the reader says when it refuses a program as unsupported.
std::string refusal(const std::string& content) {
  try {
    load_text(content);
  } catch (const NotImplementedError& e) {
    return e.what();
  }
  return "no NotImplementedError";
}

TEST(Pt2Reader, WritesThroughWhatMayBeACopyAreRefused) {
  const std::string message = refusal(write_through("aten.reshape.default"));
  EXPECT_NE(message.find("'a' shares memory with 'flat', which is written in place"),
            std::string::npos)
      << message;
  EXPECT_NE(message.find("relu_"), std::string::npos) << message;
  // Nothing sees the write when the viewed tensor is not used any more.
  const auto loaded = load_text(program_of(
      {node("aten.add.Tensor", {{"self", tensor("x")}, {"other", tensor("b_b")}}, "a"),
       node("aten.view.default", {{"self", tensor("a")}, {"size", {{"as_ints", {6}}}}}, "flat"),
       node("aten.relu_.default", {{"self", tensor("flat")}}, "relu_")},
      {"relu_"}));
  const auto x = pt2q_test::values_of<float>(kX);
  const auto b = pt2q_test::values_of<float>(ramp({2, 3}));
  std::vector<float> wanted;
  for (size_t i = 0; i < x.size(); ++i) wanted.push_back(std::max(x[i] + b[i], 0.0F));
  const Value out = run(*loaded, {kX});
  EXPECT_EQ(pt2q_test::values_of<float>(out.as<Tensor>()), wanted);
}

TEST(Pt2Reader, StateThatTheGraphDoesNotReadIsRefusedToo) {
  const auto program = [](const std::string& written) {
    return program_of(
        {node("aten.view.default", {{"self", tensor("b_b")}, {"size", {{"as_ints", {6}}}}}, "flat"),
         node("aten.relu_.default", {{"self", tensor(written)}}, "relu_"),
         node("aten.neg.default", {{"self", tensor("x")}}, "neg")},
        {"neg"});
  };
  for (const char* written : {"b_b", "flat"}) {
    const std::string message = refusal(program(written));
    EXPECT_NE(message.find("the model changes its buffer 'b' while running"), std::string::npos)
        << written << ": " << message;
  }
}

TEST(Pt2Reader, StateWrittenThroughAViewIsRefused) {
  const auto program = [](const std::string& op, const std::vector<std::string>& outputs) {
    return program_of(
        {node("aten." + op + ".default",
              {{"self", tensor("b_b")}, {op == "view" ? "size" : "shape", {{"as_ints", {6}}}}},
              "flat"),
         node("aten.relu_.default", {{"self", tensor("flat")}}, "relu_")},
        outputs);
  };
  for (const char* op : {"view", "reshape"}) {
    for (const auto& outputs : {std::vector<std::string>{"relu_"}, {"relu_", "flat"}}) {
      const std::string message = refusal(program(op, outputs));
      EXPECT_NE(message.find("the model changes its buffer 'b' while running"), std::string::npos)
          << op << ": " << message;
    }
  }
}

TEST(Pt2Reader, CopiesOfStateMayBeWritten) {
  const auto values = [](const std::string& copy) {
    const auto loaded =
        load_text(program_of({node("aten." + copy + ".default", {{"self", tensor("b_b")}}, "own"),
                              node("aten.relu_.default", {{"self", tensor("own")}}, "relu_")},
                             {"own", "b_b"}));
    return run_values(*loaded, kX);
  };
  const auto b = pt2q_test::values_of<float>(ramp({2, 3}));
  std::vector<float> wanted;
  for (const float v : b) wanted.push_back(std::max(v, 0.0F));
  wanted.insert(wanted.end(), b.begin(), b.end());
  EXPECT_EQ(values("clone"), wanted);
}

TEST(Pt2Reader, AWriteToSomethingThatIsNoTensorIsRefused) {
  try {
    load_text(
        program_of({node("aten.relu_.default", {{"self", {{"as_int", 3}}}}, "relu_")}, {"relu_"}));
    FAIL() << "accepted";
  } catch (const FileError& e) {
    EXPECT_NE(std::string(e.what()).find("it writes to something that is no tensor"),
              std::string::npos)
        << e.what();
  }
}

TEST(Pt2Reader, StateIsRefused) {
  const std::string message = refusal(
      program_of({node("aten.relu_.default", {{"self", tensor("b_b")}}, "relu_")}, {"relu_"}));
  EXPECT_NE(message.find("the model changes its buffer 'b' while running"), std::string::npos)
      << message;
}

TEST(Pt2Reader, UnsupportedOperatorsAreListedTogether) {
  const std::string content =
      program_of({node("aten.nonsense.default", {{"self", tensor("x")}}, "a"),
                  node("aten.nonsense.default", {{"self", tensor("a")}}, "b"),
                  node("mylib.other.default", {{"self", tensor("b")}}, "c"),
                  node("aten.unused_nonsense.default", {{"self", tensor("x")}}, "d")},
                 {"c"});
  try {
    load_text(content);
    FAIL();
  } catch (const NotImplementedError& e) {
    const std::string message = e.what();
    EXPECT_NE(message.find("2 unsupported operators: aten.nonsense.default (2 nodes), "
                           "mylib.other.default (1 node)"),
              std::string::npos)
        << message;
    EXPECT_EQ(message.find("unused_nonsense"), std::string::npos);
  }
}

TEST(Pt2Reader, ChecksWithoutResultsAreDropped) {
  const std::string content =
      program_of({node("aten._assert_tensor_metadata.default", {{"a", tensor("x")}}, ""),
                  node("aten.relu.default", {{"self", tensor("x")}}, "r")},
                 {"r"});
  EXPECT_EQ(load_text(content)->graph().size(), 3U);
}

TEST(Pt2Reader, RegionsThatSetGradModeAreInlined) {
  const Json inner = {{"inputs", {tensor("add")}},
                      {"outputs", {tensor("relu")}},
                      {"nodes", {node("aten.relu.default", {{"self", tensor("add")}}, "relu")}},
                      {"tensor_values", Json::object()},
                      {"sym_int_values", Json::object()}};
  const Json region = {
      {"target", "torch.ops.higher_order.wrap_with_set_grad_enabled"},
      {"inputs",
       {{{"name", ""}, {"arg", {{"as_bool", false}}}, {"kind", 1}},
        {{"name", ""}, {"arg", {{"as_graph", {{"name", "sub"}, {"graph", inner}}}}}, {"kind", 1}},
        {{"name", ""}, {"arg", tensor("relu")}, {"kind", 1}}}},
      {"outputs", {tensor("result")}},
      {"metadata", Json::object()}};
  // The outer graph has a value of the same name as one inside.
  const std::string content = program_of(
      {node("aten.neg.default", {{"self", tensor("x")}}, "relu"), region}, {"result", "relu"});
  const auto loaded = load_text(content);
  const Value out = run(*loaded, {kX});
  const auto x = pt2q_test::values_of<float>(kX);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(pt2q_test::values_of<float>(out.list()[0].as<Tensor>())[i], std::max(-x[i], 0.0F));
    EXPECT_EQ(pt2q_test::values_of<float>(out.list()[1].as<Tensor>())[i], -x[i]);
  }
}

std::string torch_save(const StateDict& state) {
  const TempDir dir;
  save_pth(state, dir / "s.pth");
  return pt2q_test::read_text(dir / "s.pth");
}

TEST(Pt2Reader, OlderLayouts) {
  const auto model = small_model();
  const Parts now = Parts::of(save_pt2_to_string(*model));
  const std::string program = Parts(now).at("models/model.json");
  const std::string weights = torch_save(model->state_dict());
  const std::string constants = torch_save({});
  // torch 2.8: one torch.save file for all weights.
  Parts middle;
  middle.members = {{"m/data/weights/model.pt", weights},
                    {"m/data/constants/model.pt", constants},
                    {"m/models/model.json", program},
                    {"m/archive_format", "pt2"},
                    {"m/archive_version", "0"}};
  EXPECT_EQ(run_values(*load_text(middle.pack()), kX), run_values(*model, kX));
  // up to 2.7: no root folder
  Parts old;
  old.members = {{"version", "8.2"},
                 {"serialized_exported_program.json", program},
                 {"serialized_state_dict.pt", weights},
                 {"serialized_constants.pt", ""},
                 {"extra_files/a.txt", "A"}};
  EXPECT_EQ(run_values(*load_text(old.pack()), kX), run_values(*model, kX));
}

TEST(Pt2Reader, RefusesWhatNeedsCode) {
  Parts parts = Parts::of(save_pt2_to_string(*small_model()));
  std::string& config = parts.at("model_weights_config.json");
  config.replace(config.find("\"use_pickle\":false"), 18, "\"use_pickle\":true ");
  try {
    load_text(parts.pack());
    FAIL();
  } catch (const NotImplementedError& e) {
    EXPECT_NE(std::string(e.what()).find("weight 'fc1.bias'"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("execute code"), std::string::npos) << e.what();
  }
}

TEST(Pt2Reader, RefusesOtherVersionsAndFiles) {
  const auto model = small_model();
  EXPECT_THROW(load_text(forge(*model, [](Json& p) { p["schema_version"]["major"] = 7; })),
               NotImplementedError);
  Parts parts = Parts::of(save_pt2_to_string(*model));
  parts.at("byteorder") = "big";
  EXPECT_THROW(load_text(parts.pack()), NotImplementedError);
  EXPECT_THROW(load_text(torch_save({})), NotImplementedError);
  EXPECT_THROW(load_text(""), FileError);
  EXPECT_THROW(load_text("not an archive"), FileError);
  EXPECT_THROW(load_pt2("/nonexistent/m.pt2"), FileError);
}

TEST(Pt2Reader, ErrorsNameTheFileAndTheNode) {
  const TempDir dir;
  pt2q_test::write_text(dir / "bad.pt2", forge(*small_model(), [](Json& p) {
                          p["graph_module"]["graph"]["nodes"][1]["inputs"][0]["arg"] =
                              tensor("missing");
                        }));
  try {
    load_pt2(dir / "bad.pt2");
    FAIL();
  } catch (const FileError& e) {
    EXPECT_NE(std::string(e.what()).find("bad.pt2"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("'missing' is used before it is defined"),
              std::string::npos)
        << e.what();
    EXPECT_EQ(e.node(), "relu");
  }
}

}  // namespace
}  // namespace pt2q
