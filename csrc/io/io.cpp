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

const Tensor& saveable(const std::string& entry, const Tensor& tensor) {
  if (!tensor.defined()) throw ValueError(cat("'", entry, "' is an undefined tensor"));
  if (tensor.node() != nullptr) {
    throw ValueError(cat("'", entry, "' is a tensor of a capture, which has no value yet"),
                     "save after the capture");
  }
  return tensor;
}

}  // namespace pt2q
