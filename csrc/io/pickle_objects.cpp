// Pickles: what the globals and calls stand for that PyTorch writes for tensors and containers.
#include <algorithm>

#include "base/strings.h"
#include "io/unpickler.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

constexpr size_t kMostArguments = 16;  // of a call; _rebuild_tensor_v3 takes 8

struct StorageName {
  const char* name;
  DType dtype;
};
constexpr StorageName kStorages[] = {
    {"torch FloatStorage", DType::Float32}, {"torch DoubleStorage", DType::Float64},
    {"torch HalfStorage", DType::Float16},  {"torch BFloat16Storage", DType::BFloat16},
    {"torch LongStorage", DType::Int64},    {"torch IntStorage", DType::Int32},
    {"torch ShortStorage", DType::Int16},   {"torch CharStorage", DType::Int8},
    {"torch ByteStorage", DType::UInt8},    {"torch BoolStorage", DType::Bool},
    {"torch QInt8Storage", DType::Int8},    {"torch QUInt8Storage", DType::UInt8},
    {"torch QInt32Storage", DType::Int32},  {"torch.storage UntypedStorage", DType::UInt8}};

const char* const kDataGlobals[] = {"collections OrderedDict",
                                    "torch._utils _rebuild_tensor_v2",
                                    "torch._utils _rebuild_tensor_v3",
                                    "torch._utils _rebuild_parameter",
                                    "torch._utils _rebuild_qtensor",
                                    "torch per_tensor_affine",
                                    "torch per_channel_affine",
                                    "torch Size",
                                    "torch device",
                                    "torch.serialization _get_layout"};

const StorageName* find_storage(const std::string& name) {
  for (const StorageName& s : kStorages) {
    if (name == s.name) return &s;
  }
  return nullptr;
}

std::string printable(const std::string& text) {
  std::string out = text.substr(0, 80);
  std::replace_if(
      out.begin(), out.end(), [](unsigned char c) { return c < 32 || c > 126; }, '?');
  return out;
}

}  // namespace

void refuse_global(const std::string& name) {
  throw NotImplementedError(
      cat("the pickle needs '", printable(name),
          "', which is not plain data; it is not loaded, "
          "because that could execute code"),
      "in PyTorch, save model.state_dict(), or a program with torch.export.save");
}

void Unpickler::push_global(const std::string& name) {
  if (starts_with(name, "torch ")) {
    try {
      PickleObject o;
      o.kind = Kind::DType;
      o.dtype = parse_dtype(name.substr(6));
      push_new(std::move(o));
      return;
    } catch (const ValueError&) {  // no dtype: one of the other names, or refused below
    }
  }
  const bool known =
      std::find(std::begin(kDataGlobals), std::end(kDataGlobals), name) != std::end(kDataGlobals);
  if (!known && find_storage(name) == nullptr) refuse_global(name);
  push_text(name, Kind::Global);
}

// ('storage', storage class, key, location, element count)
void Unpickler::persistent_id() {
  const PickleObject& id = expect(pop(), Kind::Tuple, "a storage id");
  if (id.items.size() != 5 || object(id.items[0]).text != "storage")
    in_.fail("a malformed storage id");
  const PickleObject& type = expect(id.items[1], Kind::Global, "a storage class");
  const PickleObject& key = expect(id.items[2], Kind::String, "a storage key");
  const PickleObject& count = expect(id.items[4], Kind::Int, "an element count");
  const StorageName* known = find_storage(type.text);
  if (known == nullptr) refuse_global(type.text);
  PickleObject storage;
  storage.kind = Kind::Storage;
  storage.text = key.text;
  storage.dtype = known->dtype;
  const auto [it, added] = storages_.try_emplace(key.text, nullptr);
  if (added) it->second = std::make_shared<FileStorage>(load_(key.text));
  if (count.integer < 0 ||
      static_cast<uint64_t>(count.integer) > it->second->size() / itemsize(known->dtype)) {
    in_.fail(cat("storage '", printable(key.text), "' is shorter than stated"));
  }
  push_new(std::move(storage));
}

Shape Unpickler::ints_of(uint32_t index) {
  const PickleObject& o = object(index);
  if (o.kind != Kind::Tuple && o.kind != Kind::Size && o.kind != Kind::List)
    in_.fail("expected a tuple of sizes");
  if (o.items.size() > limits_.dims)
    in_.fail(cat("a shape of more than ", limits_.dims, " dimensions (a limit)"));
  Shape out;
  for (const uint32_t item : o.items) out.push_back(expect(item, Kind::Int, "a size").integer);
  return out;
}

void Unpickler::rebuild_tensor(const std::vector<uint32_t>& args, bool typed) {
  if (args.size() < (typed ? 6U : 7U)) in_.fail("a malformed tensor");
  const PickleObject& source = expect(args[0], Kind::Storage, "a storage");
  const DType dtype = typed ? source.dtype : expect(args[6], Kind::DType, "a dtype").dtype;
  const int64_t offset = expect(args[1], Kind::Int, "a storage offset").integer;
  const auto storage = storages_.at(source.text);
  PickleObject o;
  o.kind = Kind::Tensor;
  o.tensor = storage->view(dtype, ints_of(args[2]), ints_of(args[3]), offset, limits_);
  push_new(std::move(o));
}

double Unpickler::real_of(uint32_t index, const char* what) {
  const PickleObject& o = object(index);
  return o.kind == Kind::Int ? static_cast<double>(o.integer)
                             : expect(index, Kind::Float, what).real;
}

// (storage, offset, size, stride, (scheme, scale, zero point[, axis]), requires_grad, hooks)
void Unpickler::rebuild_quantized(const std::vector<uint32_t>& args) {
  if (args.size() != 7) in_.fail("a malformed quantized tensor");
  const size_t fields = expect(args[4], Kind::Tuple, "a quantizer").items.size();
  if (fields != 3 && fields != 4) in_.fail("a malformed quantizer");
  const std::vector<uint32_t> quantizer = object(args[4]).items;
  const bool per_channel = fields == 4;
  const std::string& scheme = expect(quantizer[0], Kind::Global, "a quantization scheme").text;
  if (scheme != (per_channel ? "torch per_channel_affine" : "torch per_tensor_affine"))
    in_.fail(cat("'", printable(scheme), "' is no quantization scheme of ", fields, " fields"));
  rebuild_tensor(args, true);
  PickleObject o;
  o.kind = Kind::Quantized;
  o.items = {pop(), quantizer[1], quantizer[2]};
  if (per_channel) {
    expect(quantizer[1], Kind::Tensor, "scales");
    expect(quantizer[2], Kind::Tensor, "zero points");
    expect(quantizer[3], Kind::Int, "an axis");
    o.items.push_back(quantizer[3]);
  } else {
    real_of(quantizer[1], "a scale");
    expect(quantizer[2], Kind::Int, "a zero point");
  }
  push_new(std::move(o));
}

// Fills the dict on top from a list of pairs. Unlike other containers this one copies what may
// be listed in few bytes again and again.
void Unpickler::fill_ordered_dict(uint32_t list) {
  const std::vector<uint32_t> pairs = object(list).items;
  copied_pairs_ += pairs.size();
  if (copied_pairs_ > limits_.pickle_objects)
    in_.fail(cat("more than ", limits_.pickle_objects, " entries of dicts (a limit)"));
  for (const uint32_t pair : pairs) {
    const PickleObject& entry = object(pair);
    if (entry.items.size() != 2) in_.fail("a malformed OrderedDict");
    update(top(), entry.items);
  }
}

void Unpickler::reduce() {
  const PickleObject& args = expect(pop(), Kind::Tuple, "arguments");
  if (args.items.size() > kMostArguments) in_.fail("a call with too many arguments");
  const std::vector<uint32_t> items = args.items;  // `args` moves when objects are added
  const std::string function = expect(pop(), Kind::Global, "a known function").text;
  if (function == "collections OrderedDict") {
    push_kind(Kind::OrderedDict);
    if (!items.empty()) fill_ordered_dict(items[0]);
  } else if (function == "torch._utils _rebuild_tensor_v2") {
    rebuild_tensor(items, true);
  } else if (function == "torch._utils _rebuild_tensor_v3") {
    rebuild_tensor(items, false);
  } else if (function == "torch._utils _rebuild_qtensor") {
    rebuild_quantized(items);
  } else if (function == "torch._utils _rebuild_parameter") {
    if (items.empty()) in_.fail("a malformed parameter");
    PickleObject o = expect(items[0], Kind::Tensor, "a tensor");
    o.parameter = true;
    push_new(std::move(o));
  } else if (function == "torch Size") {
    if (items.size() != 1) in_.fail("a malformed torch.Size");
    PickleObject o;
    o.kind = Kind::Size;
    for (const int64_t size : ints_of(items[0])) {
      PickleObject item;
      item.kind = Kind::Int;
      item.integer = size;
      o.items.push_back(add(std::move(item)));
    }
    push_new(std::move(o));
  } else if (function == "torch device") {
    if (items.empty()) in_.fail("a malformed device");
    push_text(expect(items[0], Kind::String, "a device").text, Kind::Device);
  } else if (function == "torch.serialization _get_layout") {
    push_text("strided", Kind::String);
  } else {
    refuse_global(function);
  }
}

}  // namespace pt2q
