// torch.save archives: R/data.pkl, R/data/<key>, R/byteorder, R/version (COVERAGE section 3.5).
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

StateDict state_dict_of(const PickleGraph& graph, bool nested) {
  const auto is_dict = [](const PickleObject& o) {
    return o.kind == Kind::Dict || o.kind == Kind::OrderedDict;
  };
  const PickleObject* dict = &graph.at(graph.root);
  if (!is_dict(*dict)) throw FileError("it holds no state dict");
  for (size_t i = 0; nested && i < dict->items.size(); i += 2) {
    const PickleObject& value = graph.at(dict->items[i + 1]);
    if (graph.at(dict->items[i]).text == "state_dict" && is_dict(value)) {
      dict = &value;
      break;
    }
  }
  StateDict state;
  for (size_t i = 0; i < dict->items.size(); i += 2) {
    const PickleObject& key = graph.at(dict->items[i]);
    const PickleObject& value = graph.at(dict->items[i + 1]);
    if (key.kind != Kind::String || value.kind != Kind::Tensor) {
      throw FileError(cat("entry '", key.text.substr(0, 80), "' is not a named tensor"),
                      "a state dict is expected; read other content with pt2q.load");
    }
    state[key.text] = value.tensor;
  }
  return state;
}

StateDict load_state_dict(const std::string& path, const LoadLimits& limits) {
  const auto source = open_file(path);
  if (!ZipReader::looks_like_zip(*source)) {
    // safetensors: u64 header length, then '{'. Everything else is refused by the other reader.
    if (source->size() >= 9 && source->read(8, 1).text() == "{")
      return read_safetensors(*source, limits, nullptr);
  }
  const PickleGraph graph = read_torch_save(source, limits);
  return in_file(path, [&] { return state_dict_of(graph, true); });
}

void save_pth(const StateDict& state, const std::string& path) {
  PickleGraph graph;
  PickleObject dict;
  dict.kind = Kind::OrderedDict;
  for (const auto& [name, tensor] : state) {
    PickleObject key;
    key.kind = Kind::String;
    key.text = name;
    PickleObject value;
    value.kind = Kind::Tensor;
    value.tensor = tensor;
    dict.items.push_back(graph.add(std::move(key)));
    dict.items.push_back(graph.add(std::move(value)));
  }
  graph.root = graph.add(std::move(dict));
  AtomicFile file(path);
  write_torch_save(&graph, &file);
  file.commit();
}

}  // namespace pt2q
