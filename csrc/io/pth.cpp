// torch.save archives: R/data.pkl, R/data/<key>, R/byteorder, R/version (COVERAGE section 3.5).
#include <functional>

#include "base/strings.h"
#include "io/io.h"
#include "io/pickle.h"

namespace pt2q {
namespace {

using Kind = PickleObject::Kind;

std::string root_of(const ZipReader& zip) {
  if (zip.entries().empty()) throw FileError("the archive is empty");
  const std::string& first = zip.entries()[0].name;
  return first.substr(0, first.find('/')) + "/";
}

PickleGraph read_archive(const std::shared_ptr<Source>& source, const LoadLimits& limits) {
  if (!ZipReader::looks_like_zip(*source)) {
    throw NotImplementedError(
        "it is not a ZIP archive: PyTorch before 1.6 and plain pickles are not read",
        "load it in PyTorch and save it again with torch.save");
  }
  const ZipReader zip(source, zip_limits(limits));
  const std::string root = root_of(zip);
  if (zip.contains(root + "constants.pkl")) {
    throw NotImplementedError("it is a TorchScript archive, not a state dict",
                              "save model.state_dict(), or a program with torch.export.save");
  }
  if (zip.contains(root + "byteorder") && zip.read(root + "byteorder").text() != "little")
    throw NotImplementedError("it was written on a big-endian machine");
  const ZipEntry* data = zip.find(root + "data.pkl");
  if (data == nullptr)
    throw FileError("it holds no data.pkl: torch.save did not write it",
                    "exported programs (.pt2) are read by export.load");
  if (data->size > limits.pickle_bytes)
    throw FileError(cat("data.pkl exceeds the limit of ", limits.pickle_bytes, " bytes"));
  return unpickle(
      zip.read(*data), [&](const std::string& key) { return zip.read(root + "data/" + key); },
      limits);
}

}  // namespace

PickleGraph read_torch_save(const std::shared_ptr<Source>& source, const LoadLimits& limits) {
  return in_file(source->name(), [&] { return read_archive(source, limits); });
}

void write_torch_save(PickleGraph* graph, Sink* sink) {
  std::vector<StorageGroup> storages;
  const std::string data = pickle(graph, &storages);
  ZipWriter zip(sink);
  zip.add("archive/data.pkl", data);
  zip.add("archive/byteorder", "little");
  for (size_t i = 0; i < storages.size(); ++i)
    zip.add(cat("archive/data/", i), storages[i].content());
  zip.add("archive/version", "3\n");
  zip.finish();
}

namespace {

// The dict itself or, with `nested`, the one that it holds under "state_dict".
const PickleObject& state_dict_in(const PickleGraph& graph, bool nested) {
  const auto is_dict = [](const PickleObject& o) {
    return o.kind == Kind::Dict || o.kind == Kind::OrderedDict;
  };
  const PickleObject& dict = graph.at(graph.root);
  if (!is_dict(dict)) throw FileError("it holds no state dict");
  for (size_t i = 0; nested && i < dict.items.size(); i += 2) {
    const PickleObject& value = graph.at(dict.items[i + 1]);
    if (graph.at(dict.items[i]).text == "state_dict" && is_dict(value)) return value;
  }
  return dict;
}

// safetensors: u64 header length, then '{'.
bool is_safetensors(const Source& source) {
  return !ZipReader::looks_like_zip(source) && source.size() >= 9 &&
         source.read(8, 1).text() == "{";
}

}  // namespace

StateDict state_dict_of(const PickleGraph& graph, bool nested) {
  const PickleObject& dict = state_dict_in(graph, nested);
  StateDict state;
  for (size_t i = 0; i < dict.items.size(); i += 2) {
    const PickleObject& key = graph.at(dict.items[i]);
    const PickleObject& value = graph.at(dict.items[i + 1]);
    if (key.kind != Kind::String || value.kind != Kind::Tensor) {
      const bool quantized =
          value.kind == Kind::Quantized || value.kind == Kind::Tuple || value.kind == Kind::DType;
      throw FileError(cat("entry '", key.text.substr(0, 80), "' is not a named tensor"),
                      quantized ? "state dicts of quantized models: load_full_state_dict"
                                : "a state dict is expected; read other content with pt2q.load");
    }
    state[key.text] = value.tensor;
  }
  return state;
}

namespace {

// The values of a state dict. Objects that are referred to several times are copied, so the values
// are counted: nested tuples could multiply without end.
class StateReader {
 public:
  StateReader(const PickleGraph& graph, const LoadLimits& limits)
      : graph_(graph), limits_(limits) {}

  StateValue value(uint32_t index, int depth = 0) {
    if (++count_ > limits_.pickle_objects)
      throw FileError(cat("more than ", limits_.pickle_objects, " values (a limit)"));
    const PickleObject& o = graph_.at(index);
    switch (o.kind) {
      case Kind::None:
        return {None()};
      case Kind::Bool:
        return {o.integer != 0};
      case Kind::Int:
        return {o.integer};
      case Kind::Float:
        return {o.real};
      case Kind::String:
        return {o.text};
      case Kind::DType:
        return {o.dtype};
      case Kind::Tensor:
        return {o.tensor};
      case Kind::Quantized:
        return {quantized(o)};
      case Kind::List:
      case Kind::Tuple:
        return {list(o, depth)};
      default:
        throw FileError("it is neither a tensor nor plain data");
    }
  }

 private:
  QuantizedTensor quantized(const PickleObject& o) const {
    const auto item = [&](size_t i) -> const PickleObject& { return graph_.at(o.items[i]); };
    const Tensor& values = item(0).tensor;
    if (o.items.size() == 4)
      return QuantizedTensor(values, item(1).tensor, item(2).tensor, item(3).integer);
    const PickleObject& scale = item(1);
    return QuantizedTensor(
        values, scale.kind == Kind::Int ? static_cast<double>(scale.integer) : scale.real,
        item(2).integer);
  }

  StateValue::List list(const PickleObject& o, int depth) {
    constexpr int kDeepest = 16;
    if (depth == kDeepest) throw FileError(cat("tuples nested deeper than ", kDeepest));
    StateValue::List items;
    for (const uint32_t item : o.items) items.push_back(value(item, depth + 1));
    return items;
  }

  const PickleGraph& graph_;
  const LoadLimits& limits_;
  uint64_t count_ = 0;
};

uint32_t add_object(PickleGraph* graph, PickleObject::Kind kind,
                    const std::function<void(PickleObject&)>& fill = {}) {
  PickleObject o;
  o.kind = kind;
  if (fill) fill(o);
  return graph->add(std::move(o));
}

uint32_t add_tensor(PickleGraph* graph, const Tensor& tensor) {
  return add_object(graph, Kind::Tensor, [&](PickleObject& o) { o.tensor = tensor; });
}
uint32_t add_text(PickleGraph* graph, const std::string& text) {
  return add_object(graph, Kind::String, [&](PickleObject& o) { o.text = text; });
}
uint32_t add_int(PickleGraph* graph, int64_t value) {
  return add_object(graph, Kind::Int, [&](PickleObject& o) { o.integer = value; });
}

uint32_t add_quantized(PickleGraph* graph, const QuantizedTensor& t) {
  std::vector<uint32_t> items{add_tensor(graph, t.values())};
  if (t.per_channel()) {
    items.push_back(add_tensor(graph, t.scales().to(DType::Float64)));
    items.push_back(add_tensor(graph, t.zero_points().to(DType::Int64)));
    items.push_back(add_int(graph, t.axis()));
  } else {
    items.push_back(add_object(graph, Kind::Float, [&](PickleObject& o) { o.real = t.scale(); }));
    items.push_back(add_int(graph, t.zero_point()));
  }
  return add_object(graph, Kind::Quantized, [&](PickleObject& o) { o.items = items; });
}

struct Adder {
  PickleGraph* graph;
  const std::string& entry;  // for messages

  uint32_t operator()(None) const { return add_object(graph, Kind::None); }
  uint32_t operator()(const Tensor& t) const { return add_tensor(graph, saveable(entry, t)); }
  uint32_t operator()(const QuantizedTensor& t) const {
    saveable(entry, t.values());
    return add_quantized(graph, t);
  }
  uint32_t operator()(DType dtype) const {
    return add_object(graph, Kind::DType, [&](PickleObject& o) { o.dtype = dtype; });
  }
  uint32_t operator()(bool v) const {
    return add_object(graph, Kind::Bool, [&](PickleObject& o) { o.integer = v ? 1 : 0; });
  }
  uint32_t operator()(int64_t v) const { return add_int(graph, v); }
  uint32_t operator()(double v) const {
    return add_object(graph, Kind::Float, [&](PickleObject& o) { o.real = v; });
  }
  uint32_t operator()(const std::string& v) const { return add_text(graph, v); }
  uint32_t operator()(const StateValue::List& list) const {
    std::vector<uint32_t> items;
    for (const StateValue& v : list) items.push_back(std::visit(*this, v.value));
    return add_object(graph, Kind::Tuple, [&](PickleObject& o) { o.items = items; });
  }
};

}  // namespace

FullStateDict full_state_dict_of(const PickleGraph& graph, const LoadLimits& limits) {
  const PickleObject& dict = state_dict_in(graph, true);
  StateReader reader(graph, limits);
  FullStateDict state;
  for (size_t i = 0; i < dict.items.size(); i += 2) {
    const PickleObject& key = graph.at(dict.items[i]);
    if (key.kind != Kind::String) throw FileError("a key of the state dict is no text");
    try {
      state.emplace_back(key.text, reader.value(dict.items[i + 1]));
    } catch (const Error& e) {
      throw FileError(cat("entry '", key.text.substr(0, 80), "': ", e.message()),
                      "a state dict is expected");
    }
  }
  return state;
}

FullStateDict load_full_state_dict(const std::string& path, const LoadLimits& limits) {
  const auto source = open_file(path);
  if (is_safetensors(*source)) {
    FullStateDict state;
    for (auto& [name, tensor] : read_safetensors(*source, limits, nullptr))
      state.push_back({name, {tensor}});
    return state;
  }
  const PickleGraph graph = read_torch_save(source, limits);
  return in_file(path, [&] { return full_state_dict_of(graph, limits); });
}

namespace {

// PyTorch tells forms of packed parameters apart by a version in the dict's "_metadata".
uint32_t add_versions(PickleGraph* graph, const FullStateDict& state) {
  const auto text = [&](const std::string& s) { return add_text(graph, s); };
  const std::string packed = "_packed_params._packed_params";
  std::vector<uint32_t> modules;
  for (const auto& [name, value] : state) {
    if (!ends_with(name, packed)) continue;
    const std::string layer = name.substr(0, name.size() - packed.size());
    if (!layer.empty() && layer.back() != '.') continue;  // a longer name that ends alike
    // 4: dynamic layers quantize their input to 7 bits. 3: the parameters are a tuple.
    const std::pair<std::string, int64_t> versions[] = {
        {layer.empty() ? layer : layer.substr(0, layer.size() - 1), 4},
        {layer + "_packed_params", 3}};
    for (const auto& [module, number] : versions) {
      const std::vector<uint32_t> entry{text("version"), add_int(graph, number)};
      modules.push_back(text(module));
      modules.push_back(add_object(graph, Kind::Dict, [&](PickleObject& o) { o.items = entry; }));
    }
  }
  if (modules.empty()) return 0;
  const uint32_t metadata =
      add_object(graph, Kind::OrderedDict, [&](PickleObject& o) { o.items = modules; });
  const uint32_t key = text("_metadata");
  return add_object(graph, Kind::Dict, [&](PickleObject& o) { o.items = {key, metadata}; });
}

}  // namespace

void save_full_state_dict(const FullStateDict& state, const std::string& path) {
  PickleGraph graph;
  std::vector<uint32_t> items;
  for (const auto& [name, value] : state) {
    items.push_back(add_text(&graph, name));
    items.push_back(std::visit(Adder{&graph, name}, value.value));
  }
  const uint32_t attributes = add_versions(&graph, state);
  graph.root = add_object(&graph, Kind::OrderedDict, [&](PickleObject& o) {
    o.items = std::move(items);
    o.attributes = attributes;
  });
  AtomicFile file(path);
  write_torch_save(&graph, &file);
  file.commit();
}

StateDict load_state_dict(const std::string& path, const LoadLimits& limits) {
  const auto source = open_file(path);
  if (is_safetensors(*source)) return read_safetensors(*source, limits, nullptr);
  const PickleGraph graph = read_torch_save(source, limits);
  return in_file(path, [&] { return state_dict_of(graph, true); });
}

void save_pth(const StateDict& state, const std::string& path) {
  PickleGraph graph;
  std::vector<uint32_t> items;
  for (const auto& [name, tensor] : state) {
    items.push_back(add_text(&graph, name));
    items.push_back(add_tensor(&graph, saveable(name, tensor)));
  }
  graph.root =
      add_object(&graph, Kind::OrderedDict, [&](PickleObject& o) { o.items = std::move(items); });
  AtomicFile file(path);
  write_torch_save(&graph, &file);
  file.commit();
}

}  // namespace pt2q
