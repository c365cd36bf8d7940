// The subset of pickle that tensors and plain containers need, as data: reading executes nothing
// (a global outside a short list is an error), writing gives protocol 2 as torch.save does.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "io/storage.h"
#include "pt2q/io.h"

namespace pt2q {

// Objects refer to each other by index, so shared and cyclic structures stay what they are.
struct PickleObject {
  enum class Kind {
    None,
    Bool,
    Int,
    Float,
    String,
    Bytes,
    DType,
    Device,
    Tensor,
    List,
    Tuple,
    Dict,         // items: key, value, key, value ...
    OrderedDict,  // same
    Size,         // torch.Size
    // items: integers (a tensor), then scale and zero point, or scales, zero points (tensors), axis
    Quantized,
    // Only while reading:
    Global,
    Storage,
  };
  Kind kind = Kind::None;
  bool parameter = false;  // Tensor: an nn.Parameter
  DType dtype = DType::Float32;
  int64_t integer = 0;  // Bool, Int
  double real = 0;
  std::string text;  // String, Bytes, Device, Global ("module name"), Storage (key)
  pt2q::Tensor tensor;
  std::vector<uint32_t> items;
  uint32_t attributes = 0;  // OrderedDict, writing: the dict of its attributes; 0: none
};

struct PickleGraph {
  std::vector<PickleObject> objects;
  uint32_t root = 0;

  const PickleObject& at(uint32_t index) const { return objects.at(index); }
  uint32_t add(PickleObject object);
};

// Returns the storage saved under `key`; called once per key.
using StorageLoader = std::function<Bytes(const std::string& key)>;

PickleGraph unpickle(const Bytes& data, const StorageLoader& load, const LoadLimits& limits);

// The pickle, and the tensors' storages in the order of their keys "0", "1", ... The graph must
// outlive `storages`.
std::string pickle(PickleGraph* graph, std::vector<StorageGroup>* storages);

// --- torch.save archives (.pth) ------------------------------------------------------------------
PickleGraph read_torch_save(const std::shared_ptr<Source>& source, const LoadLimits& limits);
void write_torch_save(PickleGraph* graph, Sink* sink);
FullStateDict full_state_dict_of(const PickleGraph& graph, const LoadLimits& limits);
// The tensors of a dict from strings to tensors. With `nested`, also of one under "state_dict".
StateDict state_dict_of(const PickleGraph& graph, bool nested);

}  // namespace pt2q
