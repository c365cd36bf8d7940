// Every operator row against PyTorch's results in tests/cases/ops/*.json (tools/make_op_cases.py):
// the reference kernel, the same kernel on tensors with gaps and other stride orders, shape
// inference with plain and with dynamic sizes, the in-place variants, and the errors.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/op.h"
#include "tensor/strided.h"

namespace pt2q {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

const fs::path kCases = fs::path(PT2Q_SOURCE_DIR) / "tests/cases/ops";

// --- reading -------------------------------------------------------------------------------------

double to_number(const json& v) {
  if (!v.is_string()) return v.get<double>();
  return std::stod(v.get<std::string>());  // "inf", "-inf", "nan"
}

// Row-major values, stored with the strides the case asks for.
Tensor read_tensor(const json& j) {
  const Shape sizes = j.at("s").get<Shape>();
  const DType dtype = parse_dtype(j.at("t").get<std::string>());
  Tensor t = Tensor::empty(sizes, dtype);
  const json& data = j.at("d");
  visit_dtype(dtype, [&](auto tag) {
    using T = decltype(tag);
    auto* p = static_cast<T*>(t.raw_mutable_data());
    for (size_t i = 0; i < data.size(); ++i) {
      p[i] = data[i].is_number_integer() ? convert_element<T>(data[i].get<int64_t>())
                                         : convert_element<T>(to_number(data[i]));
    }
  });
  if (!j.contains("strides")) return t;
  const Shape strides = j.at("strides").get<Shape>();
  int64_t last = 0;
  for (size_t i = 0; i < sizes.size(); ++i) last += (sizes[i] - 1) * strides[i];
  Tensor view = Tensor::zeros({last + 1}, dtype).as_strided(sizes, strides, 0);
  view.copy_(t);
  return view;
}

MemoryFormat read_format(const std::string& name) {
  for (const auto f :
       {MemoryFormat::Contiguous, MemoryFormat::ChannelsLast, MemoryFormat::Preserve}) {
    if (name == memory_format_name(f)) return f;
  }
  throw ValueError("unknown memory format " + name);
}

Value read_value(const json& j) {
  if (j.is_null()) return {};
  if (j.is_boolean()) return j.get<bool>();
  if (j.is_number_integer()) return j.get<int64_t>();
  if (j.is_number_float()) return j.get<double>();
  if (j.is_string()) return j.get<std::string>();
  if (j.is_array()) {
    Value::List items;
    for (const json& item : j) items.push_back(read_value(item));
    return items;
  }
  if (j.contains("t")) return read_tensor(j);
  if (j.contains("dtype")) return parse_dtype(j.at("dtype").get<std::string>());
  if (j.contains("format")) return read_format(j.at("format").get<std::string>());
  if (j.contains("device")) return parse_device(j.at("device").get<std::string>());
  return to_number(j.at("f"));
}

struct Case {
  std::string label;
  const OpDef* op = nullptr;
  json source;

  std::vector<Value> args() const {
    std::vector<Value> positional;
    for (const json& a : source.at("args")) positional.push_back(read_value(a));
    std::map<std::string, Value> named;
    if (source.contains("kwargs")) {
      for (const auto& [key, value] : source.at("kwargs").items()) named[key] = read_value(value);
    }
    return normalize_args(*op, std::move(positional), named);
  }
  bool flag(const char* name) const { return source.value(name, true); }
};

std::vector<Case> read_cases(const fs::path& path) {
  std::vector<Case> out;
  for (const json& j : json::parse(std::ifstream(path))) {
    Case c;
    const auto name = j.at("op").get<std::string>();
    c.op = &op_table().get(name);
    c.label = cat(path.stem().string(), " #", out.size(), " ", name, " ",
                  j.at("args").dump().substr(0, 300));
    c.source = j;
    out.push_back(std::move(c));
  }
  return out;
}

std::vector<fs::path> case_files() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(kCases)) {
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// --- comparing -----------------------------------------------------------------------------------

// Relative and absolute: a few roundings of the dtype for short sums and library functions; float16
// and bfloat16 one unit in the last place (kernels round once at the end, PyTorch sometimes twice).
double default_tolerance(DType dtype) {
  switch (dtype) {
    case DType::Float64:
      return 1e-12;
    case DType::Float16:
      return 1e-3;
    case DType::BFloat16:
      return 8e-3;
    default:
      return 5e-6;
  }
}

std::vector<double> values_of(const Tensor& t) {
  const Tensor d = t.to(DType::Float64).contiguous();
  return {d.data<double>(), d.data<double>() + d.numel()};
}

void expect_tensor(const Tensor& actual, const json& expected, const Case& c) {
  EXPECT_EQ(list_to_string(actual.sizes()), list_to_string(expected.at("s").get<Shape>()));
  EXPECT_STREQ(dtype_name(actual.dtype()), expected.at("t").get<std::string>().c_str());
  if (!c.flag("values") || ::testing::Test::HasFailure()) return;
  const json& data = expected.at("d");
  if (!is_floating_point(actual.dtype())) {
    const Tensor ints = actual.to(DType::Int64).contiguous();
    for (size_t i = 0; i < data.size(); ++i) {
      ASSERT_EQ(ints.data<int64_t>()[i], data[i].get<int64_t>()) << "element " << i;
    }
    return;
  }
  const double tolerance = c.source.value("tolerance", default_tolerance(actual.dtype()));
  const std::vector<double> values = values_of(actual);
  for (size_t i = 0; i < data.size(); ++i) {
    const double want = to_number(data[i]);
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(values[i])) << "element " << i << " is " << values[i];
    } else if (std::isinf(want)) {
      ASSERT_EQ(values[i], want) << "element " << i;
    } else {
      ASSERT_NEAR(values[i], want, tolerance * std::max(1.0, std::abs(want))) << "element " << i;
    }
  }
}

void expect_result(const Value& actual, const json& expected, const Case& c) {
  if (expected.is_object() && expected.contains("t")) {
    ASSERT_TRUE(actual.is<Tensor>()) << actual.to_string();
    expect_tensor(actual.as<Tensor>(), expected, c);
  } else if (expected.is_array()) {
    ASSERT_TRUE(actual.is<Value::List>()) << actual.to_string();
    ASSERT_EQ(actual.list().size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) expect_result(actual.list()[i], expected[i], c);
  } else {
    EXPECT_EQ(actual, read_value(expected)) << actual.to_string();
  }
}

void expect_meta(const Value& actual, const json& expected) {
  if (expected.is_object() && expected.contains("t")) {
    ASSERT_TRUE(actual.is<TensorMeta>()) << actual.to_string();
    const auto& meta = actual.as<TensorMeta>();
    EXPECT_EQ(list_to_string(hints(meta.sizes)), list_to_string(expected.at("s").get<Shape>()));
    EXPECT_STREQ(dtype_name(meta.dtype), expected.at("t").get<std::string>().c_str());
  } else if (expected.is_array()) {
    ASSERT_TRUE(actual.is<Value::List>()) << actual.to_string();
    ASSERT_EQ(actual.list().size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) expect_meta(actual.list()[i], expected[i]);
  } else if (!expected.is_null()) {
    EXPECT_EQ(actual.to_sym_int().hint(), expected.get<int64_t>());
  }
}

// --- variations ----------------------------------------------------------------------------------

template <typename Fn>
void for_each_tensor(Value& v, Fn&& fn) {
  if (v.is<Tensor>()) {
    fn(v);
  } else if (v.is<Value::List>()) {
    for (Value& item : v.as<Value::List>()) for_each_tensor(item, fn);
  }
}

// The same values in reversed dimension order, every element followed by a gap.
Tensor with_gaps(const Tensor& t) {
  const Shape sizes = t.sizes();
  Shape strides(sizes.size());
  int64_t step = 2;
  for (size_t i = 0; i < sizes.size(); ++i) {
    strides[i] = step;
    step *= std::max<int64_t>(1, sizes[i]);
  }
  Tensor out = Tensor::zeros({step + 1}, t.dtype()).as_strided(sizes, strides, 1);
  out.copy_(t);
  return out;
}

// Tensors as descriptions; `change` may replace the first dimension (> 1) of the first tensor.
std::vector<Value> as_metas(std::vector<Value> args,
                            const std::function<SymInt(int64_t)>& change = nullptr) {
  bool changed = change == nullptr;
  for (Value& v : args) {
    for_each_tensor(v, [&](Value& item) {
      const Tensor t = item.as<Tensor>();
      TensorMeta meta{to_sym(t.sizes()), t.dtype(), t.device()};
      if (!changed && !meta.sizes.empty() && t.size(0) > 1) {
        meta.sizes[0] = change(t.size(0));
        changed = true;
      }
      item = meta;
    });
  }
  return args;
}

SymInt dynamic_size(int64_t size) { return SymInt::symbol("s0", size); }

// Every SymInt replaced by its value for s0, as text for comparison.
std::string evaluated(const Value& v, int64_t s0) {
  if (v.is<TensorMeta>()) {
    const auto& meta = v.as<TensorMeta>();
    std::vector<std::string> sizes;
    for (const SymInt& s : meta.sizes) sizes.push_back(std::to_string(s.evaluate({{"s0", s0}})));
    return cat(dtype_name(meta.dtype), "[", join(sizes, ", "), "]");
  }
  if (v.is<Value::List>()) {
    std::vector<std::string> parts;
    for (const Value& item : v.list()) parts.push_back(evaluated(item, s0));
    return "(" + join(parts, ", ") + ")";
  }
  return v.is_none() ? "None" : std::to_string(v.to_sym_int().evaluate({{"s0", s0}}));
}

template <typename Fn>
std::string error_kind(Fn&& fn) {
  try {
    fn();
  } catch (const ValueError&) {
    return "ValueError";
  } catch (const TypeError&) {
    return "TypeError";
  } catch (const IndexError&) {
    return "IndexError";
  } catch (const NotImplementedError&) {
    return "NotImplementedError";
  } catch (const RuntimeError&) {
    return "RuntimeError";
  }
  return "no error";
}

class OpCases : public ::testing::TestWithParam<fs::path> {
 protected:
  template <typename Fn>
  void each(Fn&& fn) {
    for (const Case& c : read_cases(GetParam())) {
      SCOPED_TRACE(c.label);
      try {
        fn(c);
      } catch (const std::exception& e) {
        ADD_FAILURE() << "threw " << e.what();
      }
      if (HasFatalFailure()) return;
    }
  }
};

TEST_P(OpCases, ReferenceMatchesPyTorch) {
  each([](const Case& c) {
    if (c.source.contains("error")) return;
    const std::vector<Value> args = c.args();
    const Value result = c.op->reference(Args(*c.op, args));
    expect_result(result, c.source.at("expected"), c);
    if (c.source.value("view", false)) {
      EXPECT_TRUE(result.as<Tensor>().shares_storage(args[0].as<Tensor>())) << "must be a view";
    }
  });
}

TEST_P(OpCases, StridesDoNotMatter) {
  each([](const Case& c) {
    if (c.source.contains("error") || !c.flag("strides")) return;
    std::vector<Value> args = c.args();
    for (Value& v : args) for_each_tensor(v, [](Value& t) { t = with_gaps(t.as<Tensor>()); });
    expect_result(c.op->reference(Args(*c.op, args)), c.source.at("expected"), c);
  });
}

TEST_P(OpCases, InferenceAgrees) {
  each([](const Case& c) {
    if (c.source.contains("error")) return;
    std::vector<Value> metas = as_metas(c.args());
    if (!c.flag("infer")) {
      EXPECT_EQ(error_kind([&] { c.op->infer(Args(*c.op, metas)); }), "NotImplementedError");
      return;
    }
    expect_meta(c.op->infer(Args(*c.op, metas)), c.source.at("expected"));
    if (!c.flag("symbolic")) return;
    SCOPED_TRACE("with a dynamic first dimension");
    metas = as_metas(c.args(), dynamic_size);
    expect_meta(c.op->infer(Args(*c.op, metas)), c.source.at("expected"));
  });
}

// The expressions inferred for a dynamic size hold for other sizes, where the other arguments allow
// them (an operand tied to the first size does not).
TEST_P(OpCases, DynamicSizesHoldForOtherSizes) {
  each([](const Case& c) {
    if (c.source.contains("error") || !c.flag("symbolic")) return;
    const std::vector<Value> dynamic = as_metas(c.args(), dynamic_size);
    const Value formula = c.op->infer(Args(*c.op, dynamic));
    for (const int64_t factor : {1, 3}) {
      int64_t size = 0;
      const std::vector<Value> other = as_metas(c.args(), [&](int64_t s) {
        size = s * factor + 2;
        return SymInt(size);
      });
      Value expected;
      try {
        expected = c.op->infer(Args(*c.op, other));
      } catch (const Error&) {
        continue;
      }
      EXPECT_EQ(evaluated(formula, size), evaluated(expected, size)) << "for s0 = " << size;
    }
  });
}

TEST_P(OpCases, MistakesAreNamed) {
  each([](const Case& c) {
    if (!c.source.contains("error")) return;
    const std::vector<Value> args = c.args();
    EXPECT_EQ(error_kind([&] { c.op->reference(Args(*c.op, args)); }),
              c.source.at("error").get<std::string>());
  });
}

std::string file_label(const ::testing::TestParamInfo<fs::path>& info) {
  return info.param.stem().string();
}

INSTANTIATE_TEST_SUITE_P(Families, OpCases, ::testing::ValuesIn(case_files()), file_label);

// The cases of an operator serve its in-place variant where shape and dtype stay.
TEST(OpTable, InplaceVariantsWriteTheirArgument) {
  std::map<std::string, std::vector<Case>> by_op;
  for (const fs::path& file : case_files()) {
    for (Case& c : read_cases(file)) {
      if (!c.source.contains("error")) by_op[c.op->name].push_back(std::move(c));
    }
  }
  for (const std::string& name : op_table().names()) {
    const OpDef& op = op_table().get(name);
    if (op.functional.empty() || op.namespace_name() != "aten") continue;
    int tried = 0;
    for (const Case& c : by_op[op.functional]) {
      SCOPED_TRACE(c.label);
      const std::vector<Value> args = c.args();
      const json& expected = c.source.at("expected");
      const Tensor self = args[0].as<Tensor>();
      const OpTraits& traits = op_table().get(op.functional).traits;
      const bool reshapes = traits.view && !traits.identity;  // squeeze_
      if ((!reshapes && self.sizes() != expected.at("s").get<Shape>()) ||
          dtype_name(self.dtype()) != expected.at("t").get<std::string>()) {
        continue;
      }
      const Value result = op.reference(Args(op, args));
      EXPECT_TRUE(result.as<Tensor>().is(self));
      expect_result(result, expected, c);
      ++tried;
    }
    EXPECT_GT(tried, 0) << name << ": no case of " << op.functional << " fits";
  }
}

Value in_place(const std::string& name, std::vector<Value> args) {
  const OpDef& op = op_table().get(name);
  args = normalize_args(op, std::move(args));
  return op.reference(Args(op, args));
}

TEST(OpTable, InplaceOperatorsKeepTheirDtypeOrRaise) {
  const Tensor ints = Tensor::from_vector<int64_t>({1, 2}, {2});
  EXPECT_THROW(in_place("aten.add_.Tensor", {ints, Tensor::full({2}, 0.5)}), RuntimeError);
  EXPECT_THROW(in_place("aten.mul_.Scalar", {ints, 1.5}), RuntimeError);
  EXPECT_THROW(in_place("aten.div_.Tensor", {ints, ints}), RuntimeError);
  EXPECT_THROW(in_place("aten.sqrt_.default", {ints}), RuntimeError);
  EXPECT_EQ(ints.data<int64_t>()[1], 2);  // untouched
  const Tensor flags = Tensor::full({2}, 1, DType::Bool);
  EXPECT_THROW(in_place("aten.add_.Tensor", {flags, ints}), RuntimeError);
  const Tensor halves = Tensor::full({2}, 0.5);
  EXPECT_TRUE(in_place("aten.add_.Tensor", {halves, ints}).as<Tensor>().is(halves));
  EXPECT_EQ(halves.data<float>()[1], 2.5F);
  in_place("aten.gt_.Scalar", {halves, 2});  // numbers, not truth values
  EXPECT_EQ(halves.dtype(), DType::Float32);
  EXPECT_EQ(halves.data<float>()[1], 1.0F);
}

TEST(OpTable, SqueezeInPlaceChangesTheTensorItself) {
  const Tensor x = Tensor::zeros({2, 1, 3, 1});
  const Tensor same = x;
  EXPECT_TRUE(in_place("aten.squeeze_.dim", {x, 1}).as<Tensor>().is(x));
  EXPECT_EQ(same.sizes(), (Shape{2, 3, 1}));
  in_place("aten.squeeze_.default", {x});
  EXPECT_EQ(same.sizes(), (Shape{2, 3}));
  in_place("aten.unsqueeze_.default", {x, 0});
  EXPECT_EQ(same.sizes(), (Shape{1, 2, 3}));
}

TEST(OpTable, BernoulliFollowsItsProbabilities) {
  const Tensor x = Tensor::zeros({10000});
  const Tensor drawn = in_place("aten.bernoulli.p", {x, 0.3}).as<Tensor>();
  double sum = 0;
  for (int64_t i = 0; i < drawn.numel(); ++i) sum += static_cast<double>(drawn.data<float>()[i]);
  EXPECT_NEAR(sum / 10000, 0.3, 0.03);  // 6 standard deviations
}

// One argument as text, so that differences read well.
std::string declaration(const SchemaArg& a) {
  return cat(a.name, ": type ", static_cast<int>(a.type), a.is_list ? " list " : " ", a.list_size,
             a.optional ? " optional" : "", a.optional_items ? " optional items" : "",
             a.kwarg_only ? " kwarg-only" : "",
             a.has_default ? " = " + a.default_value.to_string() : "");
}

TEST(OpTable, SchemasArePyTorchs) {
  const fs::path path = fs::path(PT2Q_SOURCE_DIR) / "tests/cases/op_schemas.json";
  const json schemas = json::parse(std::ifstream(path));
  for (const std::string& name : op_table().names()) {
    const OpDef& op = op_table().get(name);
    if (op.namespace_name() != "aten") continue;
    ASSERT_TRUE(schemas.contains(name)) << name << " is no operator of PyTorch";
    const Schema expected = parse_schema(schemas.at(name).get<std::string>());
    ASSERT_EQ(op.schema.args.size(), expected.args.size()) << name;
    for (size_t i = 0; i < expected.args.size(); ++i) {
      EXPECT_EQ(declaration(op.schema.args[i]), declaration(expected.args[i])) << name;
    }
    EXPECT_EQ(op.schema.returns.size(), expected.returns.size()) << name;
  }
}

TEST(OpTable, EveryRowHasCases) {
  std::set<std::string> covered;
  for (const fs::path& file : case_files()) {
    for (const Case& c : read_cases(file)) {
      if (!c.source.contains("error")) covered.insert(c.op->name);
    }
  }
  for (const std::string& name : op_table().names()) {
    const OpDef& op = op_table().get(name);
    if (op.namespace_name() != "aten") continue;  // other namespaces have tests of their own
    EXPECT_TRUE(op.infer && op.reference) << name;
    const bool tested = covered.count(op.functional.empty() ? name : op.functional) > 0;
    EXPECT_TRUE(tested) << name << " has no case in tests/cases/ops";
  }
}

}  // namespace
}  // namespace pt2q
