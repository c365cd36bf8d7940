// load_pt2 and map_pt2: file to archive, archive to module.
#include "base/memory.h"
#include "io/io.h"
#include "io/pt2_builder.h"

namespace pt2q {

std::unique_ptr<GraphModule> read_pt2(const std::shared_ptr<Source>& source,
                                      const LoadLimits& limits) {
  auto module = in_file(source->name(),
                        [&] { return build_module(read_pt2_archive(source, limits), limits); });
  trim_heap();  // the parsed JSON is larger than the graph
  return module;
}

std::unique_ptr<GraphModule> load_pt2(const std::string& path, const LoadLimits& limits) {
  return read_pt2(open_file(path), limits);
}

std::unique_ptr<GraphModule> map_pt2(const std::string& path, const LoadLimits& limits) {
  return read_pt2(map_file(path), limits);
}

std::unique_ptr<GraphModule> load_pt2(const void* data, size_t size, const LoadLimits& limits) {
  return read_pt2(open_bytes(Bytes::view(data, size, nullptr), "<bytes>"), limits);
}

}  // namespace pt2q
