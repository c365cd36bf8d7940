#include <cstring>

#include "base/strings.h"
#include "io/pickle.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using Kind = PickleObject::Kind;

constexpr int kDeepest = 500;  // nesting; Python's own unpickler is recursive too

// Storage class of PyTorch for a dtype; empty for the newer dtypes, which are saved untyped.
const char* storage_class(DType dtype) {
  switch (dtype) {
    case DType::Float32:
      return "FloatStorage";
    case DType::Float64:
      return "DoubleStorage";
    case DType::Float16:
      return "HalfStorage";
    case DType::BFloat16:
      return "BFloat16Storage";
    case DType::Int64:
      return "LongStorage";
    case DType::Int32:
      return "IntStorage";
    case DType::Int16:
      return "ShortStorage";
    case DType::Int8:
      return "CharStorage";
    case DType::UInt8:
      return "ByteStorage";
    case DType::Bool:
      return "BoolStorage";
    case DType::UInt16:
    case DType::Float8E4M3FN:
    case DType::Float8E5M2:
      return "";
    default:
      throw ValueError(cat("tensors of dtype ", dtype_name(dtype), " cannot be saved"),
                       "save int_repr(), scale and zero point instead");
  }
}

class Pickler {
 public:
  Pickler(const PickleGraph& graph, std::unordered_map<uint32_t, TensorPlace> places,
          const std::vector<StorageGroup>& groups)
      : graph_(graph), places_(std::move(places)), groups_(groups) {}

  std::string run() {
    byte(0x80);
    byte(2);
    write(graph_.root, 0);
    byte('.');
    return std::move(out_);
  }

 private:
  void byte(int value) { out_.push_back(static_cast<char>(value)); }
  void little(uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) byte(static_cast<int>((value >> (8 * i)) & 0xff));
  }
  void global(const std::string& module, const std::string& name) {
    out_ += "c" + module + "\n" + name + "\n";
  }
  void text(const std::string& value) {
    byte('X');
    little(value.size(), 4);
    out_ += value;
  }
  void integer(int64_t value) {
    if (value >= 0 && value < 256) {
      byte('K');
      little(static_cast<uint64_t>(value), 1);
    } else if (value >= INT32_MIN && value <= INT32_MAX) {
      byte('J');
      little(static_cast<uint64_t>(value), 4);
    } else {
      byte(0x8a);
      byte(8);
      little(static_cast<uint64_t>(value), 8);
    }
  }
  void real(double value) {
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    byte('G');
    for (int i = 7; i >= 0; --i) byte(static_cast<int>((bits >> (8 * i)) & 0xff));
  }
  void ints(const Shape& values) {
    byte('(');
    for (const int64_t v : values) integer(v);
    byte('t');
  }

  // ('storage', class, key, 'cpu', elements), offset, sizes, strides
  void placed(uint32_t index, const std::string& type) {
    const Tensor& t = graph_.at(index).tensor;
    const TensorPlace& place = places_.at(index);
    byte('(');
    text("storage");
    if (type.empty()) {
      global("torch.storage", "UntypedStorage");
    } else {
      global("torch", type);
    }
    text(std::to_string(place.group));
    text("cpu");
    const size_t element = type.empty() ? 1 : itemsize(t.dtype());
    integer(static_cast<int64_t>(groups_[place.group].bytes / element));
    byte('t');
    byte('Q');
    integer(place.offset);
    ints(t.sizes());
    ints(t.strides());
  }

  // requires_grad of the raw tensor, no hooks
  void no_grad() {
    byte(0x89);
    empty_dict();
  }
  void empty_dict() {
    global("collections", "OrderedDict");
    byte(')');
    byte('R');
  }

  void tensor(uint32_t index) {
    const PickleObject& o = graph_.at(index);
    const std::string type = storage_class(o.tensor.dtype());
    if (o.parameter) {
      global("torch._utils", "_rebuild_parameter");
      byte('(');
    }
    global("torch._utils", type.empty() ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2");
    byte('(');
    placed(index, type);
    no_grad();
    if (type.empty()) global("torch", dtype_name(o.tensor.dtype()));
    byte('t');
    byte('R');
    if (!o.parameter) return;
    byte(0x88);
    empty_dict();
    byte('t');
    byte('R');
  }

  void quantized(const PickleObject& o, int depth) {
    const bool per_channel = o.items.size() == 4;
    global("torch._utils", "_rebuild_qtensor");
    byte('(');
    const DType integers = graph_.at(o.items[0]).tensor.dtype();
    placed(o.items[0], integers == DType::Int8    ? "QInt8Storage"
                       : integers == DType::UInt8 ? "QUInt8Storage"
                                                  : "QInt32Storage");
    byte('(');
    global("torch", per_channel ? "per_channel_affine" : "per_tensor_affine");
    for (size_t i = 1; i < o.items.size(); ++i) write(o.items[i], depth + 1);
    byte('t');
    no_grad();
    byte('t');
    byte('R');
  }

  void remember(uint32_t index) {
    const auto key = static_cast<uint32_t>(memo_.size());
    memo_[index] = key;
    byte('r');
    little(key, 4);
  }

  void write_items(const PickleObject& o, int depth) {
    for (const uint32_t item : o.items) write(item, depth + 1);
  }

  void container(uint32_t index, int depth) {
    const PickleObject& o = graph_.at(index);
    switch (o.kind) {
      case Kind::List:
        byte(']');
        remember(index);
        byte('(');
        write_items(o, depth);
        byte('e');
        return;
      case Kind::Size:
        global("torch", "Size");
        byte('(');
        byte('(');
        write_items(o, depth);
        byte('t');
        byte('t');
        byte('R');
        remember(index);
        return;
      case Kind::Tuple:
        byte('(');
        write_items(o, depth);
        byte('t');
        remember(index);
        return;
      default:
        if (o.kind == Kind::OrderedDict) {
          global("collections", "OrderedDict");
          byte(')');
          byte('R');
        } else {
          byte('}');
        }
        remember(index);
        byte('(');
        write_items(o, depth);
        byte('u');
        if (o.attributes == 0) return;
        write(o.attributes, depth + 1);
        byte('b');
    }
  }

  void write(uint32_t index, int depth) {
    if (depth > kDeepest)
      throw ValueError(cat("the object to save is nested deeper than ", kDeepest, " levels"));
    const auto known = memo_.find(index);
    if (known != memo_.end()) {
      byte('j');
      little(known->second, 4);
      return;
    }
    const PickleObject& o = graph_.at(index);
    switch (o.kind) {
      case Kind::None:
        return byte('N');
      case Kind::Bool:
        return byte(o.integer != 0 ? 0x88 : 0x89);
      case Kind::Int:
        return integer(o.integer);
      case Kind::Float:
        return real(o.real);
      case Kind::String:
        return text(o.text);
      case Kind::DType:
        return global("torch", dtype_name(o.dtype));
      case Kind::Device:
        global("torch", "device");
        byte('(');
        text(o.text);
        byte('t');
        byte('R');
        return;
      case Kind::Tensor:
        tensor(index);
        remember(index);
        return;
      case Kind::Quantized:
        quantized(o, depth);
        remember(index);
        return;
      case Kind::List:
      case Kind::Tuple:
      case Kind::Size:
      case Kind::Dict:
      case Kind::OrderedDict:
        return container(index, depth);
      default:
        throw TypeError("objects of this kind cannot be saved");
    }
  }

  const PickleGraph& graph_;
  std::unordered_map<uint32_t, TensorPlace> places_;
  const std::vector<StorageGroup>& groups_;
  std::unordered_map<uint32_t, uint32_t> memo_;
  std::string out_;
};

}  // namespace

std::string pickle(PickleGraph* graph, std::vector<StorageGroup>* storages) {
  std::vector<uint32_t> owners;
  std::vector<Tensor> tensors;
  for (uint32_t i = 0; i < graph->objects.size(); ++i) {
    if (graph->objects[i].kind != Kind::Tensor) continue;
    owners.push_back(i);
    tensors.push_back(graph->objects[i].tensor);
  }
  const auto places = group_storages(&tensors, storages);
  std::unordered_map<uint32_t, TensorPlace> by_object;
  for (size_t i = 0; i < owners.size(); ++i) {
    graph->objects[owners[i]].tensor = tensors[i];
    by_object[owners[i]] = places[i];
  }
  return Pickler(*graph, std::move(by_object), *storages).run();
}

}  // namespace pt2q
