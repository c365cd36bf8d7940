// Files: exported programs (.pt2), state dictionaries (.pth, .safetensors), arrays (.npy).
//
// Readers accept files of unknown origin: no code in a file is ever executed (in particular no
// pickle), every offset and size is checked before memory is allocated, checksums are verified, and
// LoadLimits cap what a file may demand. A bad file gives FileError, something unsupported
// NotImplementedError; both name the file and the place.
//
// All functions may be called from any thread; a model must not change while it is being saved.
//
// Writers are atomic: the old file is intact until the new one is complete on disk (FileError names
// path and cause otherwise).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "pt2q/graph_module.h"
#include "pt2q/quantized.h"

namespace pt2q {

// What a file may demand of a reader. Exceeding a limit is a FileError that names it.
struct LoadLimits {
  uint64_t file_bytes = uint64_t{1} << 40;
  uint64_t members = 1000000;                 // entries of the archive
  uint64_t tensor_bytes = uint64_t{1} << 38;  // one storage
  uint64_t header_bytes = 100000000;          // safetensors header
  uint64_t json_bytes = uint64_t{1} << 29;
  uint64_t json_depth = 128;
  uint64_t json_values = 20000000;
  uint64_t nodes = 1000000;
  uint64_t dims = 64;
  uint64_t pickle_bytes = uint64_t{1} << 28;
  uint64_t pickle_objects = 4000000;
  uint64_t expansion = 200;  // deflated archives: uncompressed size / file size
};

// --- exported programs ---------------------------------------------------------------------------
// Reads what torch.export.save wrote (archives of torch >= 2.8, and the layout up to 2.7; schema
// 8.x). Names of nodes, parameters and buffers are kept. In-place operators become functional ones.
// All unsupported operators are reported in one NotImplementedError.
//
// The result has `extras`:
//   "in_spec", "out_spec"   std::string: PyTorch's serialized pytree specs
//   "treespec_namedtuple_fields"  std::string: JSON of PyTorch's table, when there is one
//   "range_constraints"     RangeConstraints
//   "extra_files"           std::map<std::string, std::string>, when the file has some
// Placeholders are the flat leaves of (args, kwargs); an input that was specialised to a constant
// has meta.custom["constant_input"] and no users. The output node holds one value when the model
// returns a single value, else the flat list of the leaves.
std::unique_ptr<GraphModule> load_pt2(const std::string& path, const LoadLimits& limits = {});
std::unique_ptr<GraphModule> load_pt2(const void* data, size_t size, const LoadLimits& limits = {});
// As load_pt2, with weights that stay in the file: they are read-only, shared by all processes that
// map it, and leave memory once compile() has packed them. The file must not be cut or written to
// while the model is in use (that ends the process); replacing it, as save_pt2 does, is safe.
std::unique_ptr<GraphModule> map_pt2(const std::string& path, const LoadLimits& limits = {});

struct RangeConstraint {
  int64_t min = 0;
  int64_t max = -1;  // -1: none
};
using RangeConstraints = std::map<std::string, RangeConstraint>;  // by symbol

// Writes the archive of torch >= 2.8: torch.export.load opens it and gets the same outputs. Weights
// are stored raw, once, in the type they have (int8 stays int8). The same `extras` as above are
// used; without them the inputs are a flat tuple and the output is what the output node holds.
// Models with observers (prepared, not converted) are refused with ValueError.
void save_pt2(const GraphModule& model, const std::string& path,
              const std::map<std::string, std::string>& extra_files = {});
std::string save_pt2_to_string(const GraphModule& model,
                               const std::map<std::string, std::string>& extra_files = {});

// --- state dictionaries --------------------------------------------------------------------------
using StateDict = std::map<std::string, Tensor>;

// .pth (torch.save of a state dict, or of a dict with one under "state_dict") and .safetensors,
// told apart by content.
StateDict load_state_dict(const std::string& path, const LoadLimits& limits = {});

// What the state dict of a model quantized in eager mode holds beside tensors: quantized tensors,
// and the packed parameters of linear layers (a tuple of weight and bias, and a dtype).
struct StateValue {
  using List = std::vector<StateValue>;
  std::variant<None, Tensor, QuantizedTensor, DType, bool, int64_t, double, std::string, List>
      value;
};
using FullStateDict = std::vector<std::pair<std::string, StateValue>>;  // in the file's order

// As load_state_dict, with all of these.
FullStateDict load_full_state_dict(const std::string& path, const LoadLimits& limits = {});
// A file that torch.load opens and PyTorch's quantized modules load.
void save_full_state_dict(const FullStateDict& state, const std::string& path);

// A file torch.load(weights_only=True) opens. Tensors that share memory share it in the file too.
void save_pth(const StateDict& state, const std::string& path);

StateDict load_safetensors(const std::string& path, const LoadLimits& limits = {},
                           std::map<std::string, std::string>* metadata = nullptr);
StateDict load_safetensors(const void* data, size_t size, const LoadLimits& limits = {},
                           std::map<std::string, std::string>* metadata = nullptr);
void save_safetensors(const StateDict& state, const std::string& path,
                      const std::map<std::string, std::string>& metadata = {});
std::string save_safetensors_to_string(const StateDict& state,
                                       const std::map<std::string, std::string>& metadata = {});

// --- arrays --------------------------------------------------------------------------------------
// One array of NumPy's .npy format, versions 1 to 3, as a contiguous tensor. Types: little-endian
// float16/32/64, int8 to int64, uint8, uint16 and bool (NotImplementedError names any other).
Tensor load_npy(const std::string& path, const LoadLimits& limits = {});
// Throws ValueError for dtypes NumPy lacks (bfloat16).
void save_npy(const Tensor& tensor, const std::string& path);

}  // namespace pt2q
