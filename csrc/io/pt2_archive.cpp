#include "io/pt2_archive.h"

#include "io/pickle.h"
#include "io/pt2_codes.h"
#include "io/storage.h"

namespace pt2q {
namespace {

std::string read_text(const ZipReader& zip, const std::string& name) {
  return std::string(zip.read(name).text());
}

Json read_json(const ZipReader& zip, const std::string& name, const LoadLimits& limits) {
  const ZipEntry* entry = zip.find(name);
  if (entry == nullptr) throw FileError(cat("the record '", name, "' is missing"));
  if (entry->size > limits.json_bytes)
    throw FileError(cat("'", name, "' exceeds the limit of ", limits.json_bytes, " bytes"));
  return parse_json(zip.read(*entry).text(), cat("'", name, "'"), limits);
}

std::map<std::string, Pt2Tensor> read_nested_pth(const ZipReader& zip, const std::string& name,
                                                 const LoadLimits& limits) {
  std::map<std::string, Pt2Tensor> out;
  const Bytes content = zip.read(name);
  if (content.size() == 0) return out;
  const PickleGraph graph = read_torch_save(open_bytes(content, name), limits);
  for (auto& [key, tensor] : state_dict_of(graph, false)) out[key].tensor = std::move(tensor);
  for (size_t i = 0; i < graph.at(graph.root).items.size(); i += 2) {
    const auto& items = graph.at(graph.root).items;
    out[graph.at(items[i]).text].is_param = graph.at(items[i + 1]).parameter;
  }
  return out;
}

std::vector<int64_t> static_ints(const Json& value, const char* what) {
  std::vector<int64_t> out;
  for (const Json& item : json_array(value, what))
    out.push_back(json_int(json_field(item, "as_int"), what));
  return out;
}

// Raw records: data/weights/weight_{i} plus a config by name.
class PayloadReader {
 public:
  PayloadReader(const ZipReader& zip, std::string folder, const LoadLimits& limits)
      : zip_(zip), folder_(std::move(folder)), limits_(limits) {}

  void read(const Json& config, std::map<std::string, Pt2Tensor>* out,
            std::map<std::string, std::string>* refused) {
    for (const auto& [name, entry] : json_object(config, "config").items()) {
      const std::string why = refusal(entry);
      if (why.empty()) {
        (*out)[name] = read_one(name, entry);
      } else if (refused != nullptr) {
        (*refused)[name] = why;
      } else {
        throw NotImplementedError(cat("weight '", name, "' ", why));
      }
    }
  }

 private:
  static std::string refusal(const Json& entry) {
    const Json* pickled = json_optional(entry, "use_pickle");
    if (pickled != nullptr && json_bool(*pickled, "use_pickle"))
      return "is stored as a pickle (a tensor subclass), which is not loaded because that could "
             "execute code";
    if (json_optional(entry, "tensor_meta") == nullptr)
      return "is no tensor (a custom class object), which is not loaded because that could "
             "execute code";
    return "";
  }

  Pt2Tensor read_one(const std::string& name, const Json& entry) {
    try {
      const Json& meta = json_field(entry, "tensor_meta");
      const std::string path = json_string(json_field(entry, "path_name"), "path_name");
      const int64_t offset =
          json_int(json_field(json_field(meta, "storage_offset"), "as_int"), "storage_offset");
      const Shape sizes = static_ints(json_field(meta, "sizes"), "sizes");
      const DType dtype = dtype_of_code(json_int(json_field(meta, "dtype"), "dtype"));
      const Shape strides = static_ints(json_field(meta, "strides"), "strides");
      if (json_int(json_field(meta, "layout"), "layout") != kStridedLayout)
        throw NotImplementedError("it is a sparse tensor");
      auto& storage = storages_[path];
      if (storage == nullptr) {
        const std::string record = folder_ + path;
        if (!zip_.contains(record)) throw FileError(cat("the record '", record, "' is missing"));
        storage = std::make_shared<FileStorage>(zip_.view(record));
      }
      Pt2Tensor out;
      out.tensor = storage->view(dtype, sizes, strides, offset, limits_);
      const Json* is_param = json_optional(entry, "is_param");
      out.is_param = is_param != nullptr && json_bool(*is_param, "is_param");
      return out;
    } catch (const NotImplementedError& e) {
      throw NotImplementedError(cat("weight '", name, "': ", e.message()), e.hint());
    } catch (const Error& e) {
      throw FileError(cat("weight '", name, "': ", e.message()), e.hint());
    }
  }

  const ZipReader& zip_;
  std::string folder_;
  const LoadLimits& limits_;
  std::map<std::string, std::shared_ptr<FileStorage>> storages_;
};

std::string model_name(const ZipReader& zip, const std::string& root) {
  const std::string prefix = root + "models/";
  std::vector<std::string> names;
  for (const ZipEntry& entry : zip.entries()) {
    if (starts_with(entry.name, prefix) && ends_with(entry.name, ".json"))
      names.push_back(entry.name.substr(prefix.size(), entry.name.size() - prefix.size() - 5));
  }
  for (const std::string& name : names) {
    if (name == "model") return name;
  }
  if (names.empty())
    throw FileError("it holds no exported program (an AOTInductor package cannot be read)");
  if (names.size() > 1)
    throw FileError(
        cat("it holds several programs, ", list_to_string(names), ", none of them named 'model'"));
  return names[0];
}

void read_payloads(const ZipReader& zip, const std::string& root, const std::string& name,
                   const LoadLimits& limits, Pt2Archive* out) {
  const std::string weights = root + "data/weights/";
  if (zip.contains(weights + name + ".pt")) {
    out->weights = read_nested_pth(zip, weights + name + ".pt", limits);
  } else {
    const Json config = read_json(zip, weights + name + "_weights_config.json", limits);
    PayloadReader(zip, weights, limits).read(json_field(config, "config"), &out->weights, nullptr);
  }
  const std::string constants = root + "data/constants/";
  if (zip.contains(constants + name + ".pt")) {
    out->constants = read_nested_pth(zip, constants + name + ".pt", limits);
  } else if (zip.contains(constants + name + "_constants_config.json")) {
    const Json config = read_json(zip, constants + name + "_constants_config.json", limits);
    PayloadReader(zip, constants, limits)
        .read(json_field(config, "config"), &out->constants, &out->refused);
  }
}

void read_extra_files(const ZipReader& zip, const std::string& folder, Pt2Archive* out) {
  for (const ZipEntry& entry : zip.entries()) {
    if (starts_with(entry.name, folder) && entry.name.size() > folder.size() &&
        entry.name.back() != '/') {
      out->extra_files[entry.name.substr(folder.size())] = read_text(zip, entry.name);
    }
  }
}

void read_new_layout(const ZipReader& zip, const std::string& root, const LoadLimits& limits,
                     Pt2Archive* out) {
  if (read_text(zip, root + "archive_format") != "pt2")
    throw FileError("its archive_format is not pt2");
  if (zip.contains(root + "archive_version") && read_text(zip, root + "archive_version") != "0") {
    throw NotImplementedError(cat("archive version ",
                                  read_text(zip, root + "archive_version").substr(0, 20),
                                  " is not supported, only 0 is"));
  }
  const std::string name = model_name(zip, root);
  out->program = read_json(zip, root + "models/" + name + ".json", limits);
  read_payloads(zip, root, name, limits, out);
  read_extra_files(zip, root + "extra/", out);
}

void read_old_layout(const ZipReader& zip, const LoadLimits& limits, Pt2Archive* out) {
  out->program = read_json(zip, "serialized_exported_program.json", limits);
  if (zip.contains("serialized_state_dict.pt"))
    out->weights = read_nested_pth(zip, "serialized_state_dict.pt", limits);
  if (zip.contains("serialized_constants.pt"))
    out->constants = read_nested_pth(zip, "serialized_constants.pt", limits);
  read_extra_files(zip, "extra_files/", out);
}

void check_version(const Json& program) {
  const Json& version = json_field(program, "schema_version");
  const int64_t major = json_int(json_field(version, "major"), "schema_version.major");
  if (major != kSchemaMajor) {
    throw NotImplementedError(
        cat("it uses version ", major, " of PyTorch's export schema; only version ", kSchemaMajor,
            " (PyTorch 2.5 and later) is supported"),
        "load it in the PyTorch version that wrote it and save it again with a newer one");
  }
}

}  // namespace

Pt2Archive read_pt2_archive(const std::shared_ptr<Source>& source, const LoadLimits& limits) {
  if (!ZipReader::looks_like_zip(*source))
    throw FileError("it is not a .pt2 archive", "write one with torch.export.save or export.save");
  const ZipReader zip(source, zip_limits(limits));
  if (zip.entries().empty()) throw FileError("the archive is empty");
  const std::string& first = zip.entries()[0].name;
  const std::string root = first.substr(0, first.find('/')) + "/";
  if (zip.contains(root + "byteorder") && read_text(zip, root + "byteorder") != "little")
    throw NotImplementedError("it was written on a big-endian machine");
  Pt2Archive out;
  if (zip.contains(root + "archive_format")) {
    read_new_layout(zip, root, limits, &out);
  } else if (zip.contains("serialized_exported_program.json")) {
    read_old_layout(zip, limits, &out);
  } else if (zip.contains(root + "data.pkl")) {
    throw NotImplementedError(
        zip.contains(root + "constants.pkl")
            ? "it is a TorchScript archive, not an exported program"
            : "it is a torch.save file, not an exported program",
        "export the model with torch.export.export and torch.export.save; state dicts are read by "
        "pt2q.load");
  } else {
    throw FileError("it holds no exported program");
  }
  check_version(out.program);
  return out;
}

}  // namespace pt2q
