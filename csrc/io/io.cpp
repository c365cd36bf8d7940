#include "io/io.h"

namespace pt2q {

ZipLimits zip_limits(const LoadLimits& limits) {
  ZipLimits zip;
  zip.file_bytes = limits.file_bytes;
  zip.members = limits.members;
  zip.member_bytes = limits.tensor_bytes;
  zip.expansion = limits.expansion;
  return zip;
}

std::string dump_json(const Json& value) {
  try {
    return value.dump(-1, ' ', true);
  } catch (const nlohmann::json::exception&) {
    throw ValueError("a name or text to be saved is not valid UTF-8");
  }
}

}  // namespace pt2q
