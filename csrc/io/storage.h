// Tensors and the memory behind them, as files describe them: raw storages plus sizes, strides and
// offset in elements.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "pt2q/io.h"
#include "pt2q/tensor.h"

namespace pt2q {

// The bytes of one storage and the tensors over them; tensors made from one object share memory.
class FileStorage {
 public:
  explicit FileStorage(Bytes bytes) : bytes_(std::move(bytes)) {}
  size_t size() const { return bytes_.size(); }
  // Throws FileError unless every element lies inside the storage.
  Tensor view(DType dtype, const Shape& sizes, const Shape& strides, int64_t offset,
              const LoadLimits& limits);

 private:
  Bytes bytes_;
};

// numel * itemsize; throws FileError for negative sizes, too many dimensions or overflow.
uint64_t checked_bytes(const Shape& sizes, DType dtype, const LoadLimits& limits);

// Where the elements of a tensor to be saved lie: the group of all given tensors that share its
// memory, written once.
struct StorageGroup {
  const void* begin = nullptr;  // lowest address any of the tensors uses
  size_t bytes = 0;
  std::string_view content() const { return {static_cast<const char*>(begin), bytes}; }
};
struct TensorPlace {
  size_t group = 0;
  int64_t offset = 0;  // elements from the group's begin
};
// `tensors` must be defined, untraced and stay alive while the groups are used. A sparse view (a
// few elements spread over a large storage) is made contiguous first, in place in `tensors`.
std::vector<TensorPlace> group_storages(std::vector<Tensor>* tensors,
                                        std::vector<StorageGroup>* groups);

}  // namespace pt2q
