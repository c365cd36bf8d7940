// Small models and forged .pt2 archives.
#pragma once

#include <memory>
#include <random>
#include <string>

#include "io/io.h"
#include "io/pickle.h"
#include "io_test_util.h"
#include "pt2q/io.h"
#include "pt2q/runtime.h"

namespace pt2q_test {

using namespace pt2q;  // NOLINT: test code

inline Tensor ramp(const Shape& sizes, double scale = 0.1) {
  Tensor t = Tensor::empty(sizes);
  float* data = t.mutable_data<float>();
  for (int64_t i = 0; i < t.numel(); ++i)
    data[i] = static_cast<float>((static_cast<double>(i * 7 % 23) - 11) * scale);
  return t;
}

inline Node* add_attr(GraphModule* m, const std::string& name, Tensor t,
                      AttrKind kind = AttrKind::Parameter) {
  m->set_attr(name, std::move(t), kind);
  return m->graph().get_attr(name);
}

inline Node* add_input(GraphModule* m, const std::string& name, const SymShape& sizes) {
  Node* x = m->graph().placeholder(name);
  x->meta.val = TensorMeta{sizes, DType::Float32, Device()};
  m->input_names.push_back(name);
  return x;
}

// y = linear(relu(linear(x))) with a batch dimension that may be symbolic.
inline std::unique_ptr<GraphModule> small_model(const SymInt& batch = SymInt(2)) {
  auto m = std::make_unique<GraphModule>();
  Graph& g = m->graph();
  Node* x = add_input(m.get(), "x", {batch, 3});
  Node* w1 = add_attr(m.get(), "fc1.weight", ramp({4, 3}));
  Node* b1 = add_attr(m.get(), "fc1.bias", ramp({4}));
  Node* w2 = add_attr(m.get(), "fc2.weight", ramp({2, 4}));
  Node* a = g.call_function("aten.linear.default", {x, w1, b1}, {}, "linear");
  a->meta.nn_module_stack = {{"", "Net"}, {"fc1", "pt2q.nn.modules.linear.Linear"}};
  a->meta.source_fn = "linear";
  a->meta.stack_trace = "File \"net.py\", line 3, in forward";
  Node* r = g.call_function("aten.relu.default", {a}, {}, "relu");
  Node* y = g.call_function("aten.linear.default", {r, w2}, {}, "linear_1");
  g.output(y);
  m->propagate_shapes();
  return m;
}

inline std::unique_ptr<GraphModule> load_text(const std::string& content) {
  return load_pt2(content.data(), content.size());
}

inline std::vector<float> run_values(GraphModule& m, const Tensor& x) {
  Value out = run(m, {x});
  if (out.is<Value::List>()) {
    std::vector<float> all;
    for (const Value& item : out.list()) {
      const auto part = values_of<float>(item.as<Tensor>());
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }
  return values_of<float>(out.as<Tensor>());
}

// The members of an archive, to be changed and packed again.
struct Parts {
  std::vector<std::pair<std::string, std::string>> members;

  static Parts of(const std::string& content) {
    Parts parts;
    const ZipReader zip(source_of(content));
    for (const ZipEntry& entry : zip.entries())
      parts.members.emplace_back(entry.name, std::string(zip.read(entry).text()));
    return parts;
  }
  std::string& at(const std::string& suffix) {
    for (auto& [name, content] : members) {
      if (name.size() >= suffix.size() &&
          name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0) {
        return content;
      }
    }
    throw std::runtime_error("no member " + suffix);
  }
  std::string pack() const {
    MemorySink sink;
    ZipWriter zip(&sink);
    for (const auto& [name, content] : members) zip.add(name, content);
    zip.finish();
    return sink.buffer;
  }
};

// The archive of `model` with its program changed by `edit`.
template <typename Edit>
std::string forge(const GraphModule& model, Edit&& edit) {
  Parts parts = Parts::of(save_pt2_to_string(model));
  Json program = Json::parse(parts.at("models/model.json"));
  edit(program);
  parts.at("models/model.json") = program.dump();
  return parts.pack();
}

// One random structural change somewhere in `value`.
inline void mutate_json(Json* value, std::mt19937* random) {
  Json* at = value;
  for (int depth = 0; depth < 40 && at->is_structured() && !at->empty() && (*random)() % 6 != 0;
       ++depth) {
    auto it = at->begin();
    std::advance(it, (*random)() % at->size());
    at = &*it;
  }
  static const Json kOdd[] = {Json(),
                              -1,
                              0,
                              7,
                              INT64_MAX,
                              INT64_MIN,
                              1e300,
                              true,
                              "",
                              "x",
                              "relu",
                              "torch.ops.aten.conv2d.default",
                              "torch.ops.aten.view.default",
                              "torch.ops.aten.relu_.default",
                              "Symbol('s0', integer=True)",
                              Json::array(),
                              Json::object(),
                              {{"as_int", -5}},
                              {{"as_ints", {1, -1, 1LL << 40}}},
                              {{"as_tensor", {{"name", "x"}}}},
                              {{"as_expr", {{"expr_str", "Mul(Integer(2), Symbol('s1'))"}}}}};
  switch ((*random)() % 4) {
    case 0:
      *at = kOdd[(*random)() % std::size(kOdd)];
      break;
    case 1:
      if (at->is_array() && !at->empty()) {
        at->erase((*random)() % at->size());
      } else if (at->is_object() && !at->empty()) {
        auto it = at->begin();
        std::advance(it, (*random)() % at->size());
        at->erase(it);
      } else if (at->is_number_integer()) {
        *at = at->get<int64_t>() ^ (int64_t{1} << ((*random)() % 63));
      }
      break;
    case 2:
      if (at->is_array() && !at->empty()) at->push_back((*at)[(*random)() % at->size()]);
      break;
    default:
      if (at->is_array() && at->size() > 1)
        std::swap((*at)[(*random)() % at->size()], (*at)[(*random)() % at->size()]);
  }
}

}  // namespace pt2q_test
