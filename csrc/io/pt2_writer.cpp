// The .pt2 archive of torch >= 2.8 (COVERAGE section 3.2).
#include "base/strings.h"
#include "io/io.h"
#include "io/pt2_program.h"
#include "io/pt2_values.h"
#include "io/storage.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

constexpr const char* kRoot = "model/";

// Raw storages and their config under `folder`.
void write_payload(ZipWriter* zip, const std::string& folder, const std::string& prefix,
                   const std::string& config_name, std::vector<SavedAttr>* attributes) {
  std::vector<Tensor> tensors;
  for (const SavedAttr& a : *attributes) tensors.push_back(a.tensor);
  std::vector<StorageGroup> storages;
  const auto places = group_storages(&tensors, &storages);
  Json config = Json::object();
  for (size_t i = 0; i < attributes->size(); ++i) {
    const SavedAttr& a = (*attributes)[i];
    const Tensor& t = tensors[i];
    const bool is_param = a.kind == AttrKind::Parameter;
    config[a.name] = {
        {"path_name", cat(prefix, places[i].group)},
        {"is_param", is_param},
        {"use_pickle", false},
        {"tensor_meta", tensor_meta_json(to_sym(t.sizes()), to_sym(t.strides()), places[i].offset,
                                         t.dtype(), is_param && is_floating_point(t.dtype()))}};
  }
  for (size_t i = 0; i < storages.size(); ++i)
    zip->add(cat(folder, prefix, i), storages[i].content());
  zip->add_compressed(folder + config_name, dump_json({{"config", config}}));
}

}  // namespace

void write_pt2(const GraphModule& model, const std::map<std::string, std::string>& extra_files,
               Sink* sink) {
  const std::vector<SavedAttr> attributes = attributes_to_save(model);
  const std::string program = dump_json(make_program(model, attributes));
  std::vector<SavedAttr> weights;
  std::vector<SavedAttr> constants;
  for (const SavedAttr& a : attributes) {
    const bool weight = a.kind == AttrKind::Parameter || a.kind == AttrKind::Buffer;
    (weight ? weights : constants).push_back(a);
  }
  const std::string root = kRoot;
  ZipWriter zip(sink);
  write_payload(&zip, root + "data/weights/", "weight_", "model_weights_config.json", &weights);
  write_payload(&zip, root + "data/constants/", "tensor_", "model_constants_config.json",
                &constants);
  zip.add_compressed(root + "models/model.json", program);
  zip.add(root + "data/sample_inputs/model.pt", "");  // none; PyTorch requires the record
  for (const auto& [name, content] : extra_files) {
    if (name.empty() || name[0] == '/' || name.find("..") != std::string::npos ||
        name.find('\\') != std::string::npos) {
      throw ValueError(cat("'", name, "' is not a possible name of an extra file"));
    }
    zip.add(root + "extra/" + name, content);
  }
  zip.add(root + "archive_format", "pt2");
  zip.add(root + "archive_version", "0");
  zip.add(root + ".data/version", "6\n");
  zip.add(root + "byteorder", "little");
  zip.finish();
}

void save_pt2(const GraphModule& model, const std::string& path,
              const std::map<std::string, std::string>& extra_files) {
  AtomicFile file(path);
  write_pt2(model, extra_files, &file);
  file.commit();
}

std::string save_pt2_to_string(const GraphModule& model,
                               const std::map<std::string, std::string>& extra_files) {
  MemorySink sink;
  write_pt2(model, extra_files, &sink);
  return std::move(sink.buffer);
}

}  // namespace pt2q
