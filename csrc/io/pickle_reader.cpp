#include <algorithm>
#include <limits>

#include "base/strings.h"
#include "io/pickle.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using Kind = PickleObject::Kind;

constexpr uint32_t kMark = std::numeric_limits<uint32_t>::max();

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

[[noreturn]] void refuse_global(const std::string& name) {
  throw NotImplementedError(
      cat("the pickle needs '", printable(name),
          "', which is not plain data; it is not loaded, "
          "because that could execute code"),
      "in PyTorch, save model.state_dict(), or a program with torch.export.save");
}

class Unpickler {
 public:
  Unpickler(const Bytes& data, const StorageLoader& load, const LoadLimits& limits)
      : in_(data, "pickle"), load_(load), limits_(limits) {}

  PickleGraph run() {
    const uint8_t first = in_.u8();
    if (first != 0x80) in_.fail("not a pickle of protocol 2 or later");
    protocol();
    while (true) {
      const uint8_t opcode = in_.u8();
      if (opcode == '.') break;
      if (!scalar(opcode) && !container(opcode) && !memory(opcode) && !call(opcode))
        in_.fail(cat("pickle opcode 0x", std::hex, static_cast<int>(opcode), " is not plain data"));
    }
    graph_.root = pop();
    check_result();
    return std::move(graph_);
  }

 private:
  // --- stack -----------------------------------------------------------------------------------
  uint32_t add(PickleObject object) {
    if (graph_.objects.size() >= limits_.pickle_objects)
      in_.fail(cat("more than ", limits_.pickle_objects, " objects (a limit)"));
    return graph_.add(std::move(object));
  }
  void push(uint32_t index) { stack_.push_back(index); }
  void push_new(PickleObject object) { push(add(std::move(object))); }
  void push_kind(Kind kind) {
    PickleObject o;
    o.kind = kind;
    push_new(std::move(o));
  }
  uint32_t pop() {
    if (stack_.empty() || stack_.back() == kMark) in_.fail("stack underflow");
    const uint32_t top = stack_.back();
    stack_.pop_back();
    return top;
  }
  uint32_t top() const {
    if (stack_.empty() || stack_.back() == kMark) in_.fail("stack underflow");
    return stack_.back();
  }
  std::vector<uint32_t> pop_to_mark() {
    const auto mark = std::find(stack_.rbegin(), stack_.rend(), kMark);
    if (mark == stack_.rend()) in_.fail("no mark on the stack");
    std::vector<uint32_t> items(mark.base(), stack_.end());
    stack_.erase(mark.base() - 1, stack_.end());
    return items;
  }
  PickleObject& object(uint32_t index) { return graph_.objects[index]; }
  PickleObject& expect(uint32_t index, Kind kind, const char* what) {
    if (object(index).kind != kind) in_.fail(cat("expected ", what));
    return object(index);
  }

  // --- opcodes ---------------------------------------------------------------------------------
  void protocol() {
    const uint8_t version = in_.u8();
    if (version < 2 || version > 5) in_.fail(cat("pickle protocol ", static_cast<int>(version)));
  }
  void push_int(int64_t value, Kind kind = Kind::Int) {
    PickleObject o;
    o.kind = kind;
    o.integer = value;
    push_new(std::move(o));
  }
  void push_text(std::string_view text, Kind kind) {
    if (kind == Kind::String && !is_utf8(text)) in_.fail("a text is not valid UTF-8");
    PickleObject o;
    o.kind = kind;
    o.text = std::string(text);
    push_new(std::move(o));
  }
  void push_long(size_t size) {
    const std::string_view raw = in_.bytes(size);
    if (size > 8) in_.fail("an integer beyond 64 bits");
    uint64_t value = 0;
    for (size_t i = size; i-- > 0;) value = (value << 8) | static_cast<uint8_t>(raw[i]);
    if (size > 0 && size < 8 && (static_cast<uint8_t>(raw[size - 1]) & 0x80) != 0)
      value |= ~uint64_t{0} << (8 * size);
    push_int(static_cast<int64_t>(value));
  }

  bool scalar(uint8_t opcode) {
    switch (opcode) {
      case 'N':
        push_kind(Kind::None);
        return true;
      case 0x88:
      case 0x89:
        push_int(opcode == 0x88 ? 1 : 0, Kind::Bool);
        return true;
      case 'K':
        push_int(in_.u8());
        return true;
      case 'M':
        push_int(in_.u16());
        return true;
      case 'J':
        push_int(static_cast<int32_t>(in_.u32()));
        return true;
      case 0x8a:
        push_long(in_.u8());
        return true;
      case 'G': {
        PickleObject o;
        o.kind = Kind::Float;
        o.real = in_.f64_big_endian();
        push_new(std::move(o));
        return true;
      }
      case 'X':
        push_text(in_.bytes(in_.u32()), Kind::String);
        return true;
      case 0x8c:
        push_text(in_.bytes(in_.u8()), Kind::String);
        return true;
      case 'B':
        push_text(in_.bytes(in_.u32()), Kind::Bytes);
        return true;
      case 'C':
        push_text(in_.bytes(in_.u8()), Kind::Bytes);
        return true;
      default:
        return false;
    }
  }

  void push_tuple(std::vector<uint32_t> items) {
    PickleObject o;
    o.kind = Kind::Tuple;
    o.items = std::move(items);
    push_new(std::move(o));
  }
  void push_short_tuple(size_t count) {
    std::vector<uint32_t> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    push_tuple(std::move(items));
  }
  void extend(uint32_t target, const std::vector<uint32_t>& items) {
    PickleObject& list = expect(target, Kind::List, "a list");
    list.items.insert(list.items.end(), items.begin(), items.end());
  }
  void update(uint32_t target, const std::vector<uint32_t>& items) {
    PickleObject& dict = object(target);
    if (dict.kind != Kind::Dict && dict.kind != Kind::OrderedDict) in_.fail("expected a dict");
    if (items.size() % 2 != 0) in_.fail("a dict key without a value");
    dict.items.insert(dict.items.end(), items.begin(), items.end());
  }

  bool container(uint8_t opcode) {
    switch (opcode) {
      case '(':
        stack_.push_back(kMark);
        return true;
      case '}':
        push_kind(Kind::Dict);
        return true;
      case ']':
        push_kind(Kind::List);
        return true;
      case ')':
        push_kind(Kind::Tuple);
        return true;
      case 't':
        push_tuple(pop_to_mark());
        return true;
      case 0x85:
      case 0x86:
      case 0x87:
        push_short_tuple(static_cast<size_t>(opcode - 0x84));
        return true;
      case 'a': {
        const uint32_t item = pop();
        extend(top(), {item});
        return true;
      }
      case 'e': {
        const auto items = pop_to_mark();
        extend(top(), items);
        return true;
      }
      case 's': {
        const uint32_t value = pop();
        const uint32_t key = pop();
        update(top(), {key, value});
        return true;
      }
      case 'u': {
        const auto items = pop_to_mark();
        update(top(), items);
        return true;
      }
      default:
        return false;
    }
  }

  void recall(uint32_t key) {
    const auto it = memo_.find(key);
    if (it == memo_.end()) in_.fail("an unknown memo entry");
    push(it->second);
  }

  bool memory(uint8_t opcode) {
    switch (opcode) {
      case 0x80:
        protocol();
        return true;
      case 0x95:
        in_.skip(8);  // frame length: a hint for streams
        return true;
      case 'q':
        memo_[in_.u8()] = top();
        return true;
      case 'r':
        memo_[in_.u32()] = top();
        return true;
      case 0x94: {
        const auto next = static_cast<uint32_t>(memo_.size());
        memo_[next] = top();
        return true;
      }
      case 'h':
        recall(in_.u8());
        return true;
      case 'j':
        recall(in_.u32());
        return true;
      default:
        return false;
    }
  }

  void push_global(const std::string& name) {
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
  void persistent_id() {
    const PickleObject id = expect(pop(), Kind::Tuple, "a storage id");
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

  Shape ints_of(uint32_t index) {
    const PickleObject& o = object(index);
    if (o.kind != Kind::Tuple && o.kind != Kind::Size && o.kind != Kind::List)
      in_.fail("expected a tuple of sizes");
    Shape out;
    for (const uint32_t item : o.items) out.push_back(expect(item, Kind::Int, "a size").integer);
    return out;
  }

  void rebuild_tensor(const std::vector<uint32_t>& args, bool typed) {
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

  double real_of(uint32_t index, const char* what) {
    const PickleObject& o = object(index);
    return o.kind == Kind::Int ? static_cast<double>(o.integer)
                               : expect(index, Kind::Float, what).real;
  }

  // (storage, offset, size, stride, (scheme, scale, zero point[, axis]), requires_grad, hooks)
  void rebuild_quantized(const std::vector<uint32_t>& args) {
    if (args.size() != 7) in_.fail("a malformed quantized tensor");
    const std::vector<uint32_t> quantizer = expect(args[4], Kind::Tuple, "a quantizer").items;
    if (quantizer.empty()) in_.fail("a quantizer without a scheme");
    const bool per_channel = expect(quantizer[0], Kind::Global, "a quantization scheme").text ==
                             "torch per_channel_affine";
    if (quantizer.size() != (per_channel ? 4U : 3U)) in_.fail("a malformed quantizer");
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

  void reduce() {
    const PickleObject args = expect(pop(), Kind::Tuple, "arguments");
    const std::string function = expect(pop(), Kind::Global, "a known function").text;
    const auto& items = args.items;
    if (function == "collections OrderedDict") {
      push_kind(Kind::OrderedDict);
      if (items.empty()) return;
      for (const uint32_t pair : std::vector<uint32_t>(object(items[0]).items)) {
        const std::vector<uint32_t> entry = object(pair).items;
        if (entry.size() != 2) in_.fail("a malformed OrderedDict");
        update(top(), entry);
      }
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

  bool call(uint8_t opcode) {
    switch (opcode) {
      case 'c': {
        const std::string module(in_.until('\n'));
        push_global(module + " " + std::string(in_.until('\n')));
        return true;
      }
      case 0x93: {
        const std::string name = expect(pop(), Kind::String, "a name").text;
        push_global(expect(pop(), Kind::String, "a module").text + " " + name);
        return true;
      }
      case 'Q':
        persistent_id();
        return true;
      case 'R':
        reduce();
        return true;
      case 'b': {  // BUILD: the attributes of an OrderedDict ("_metadata") are not needed
        pop();
        if (object(top()).kind != Kind::OrderedDict) in_.fail("BUILD of something with state");
        return true;
      }
      default:
        return false;
    }
  }

  // Nothing that exists only while reading may be left in the data.
  void check_result() {
    for (const PickleObject& o : graph_.objects) {
      const bool holds =
          o.kind == Kind::List || o.kind == Kind::Dict || o.kind == Kind::OrderedDict;
      for (const uint32_t item : holds ? o.items : std::vector<uint32_t>{}) {
        if (object(item).kind == Kind::Global) refuse_global(object(item).text);
        if (object(item).kind == Kind::Storage)
          throw NotImplementedError("the file holds a bare storage", "save tensors instead");
      }
    }
    const Kind root = object(graph_.root).kind;
    if (root == Kind::Global || root == Kind::Storage) in_.fail("the result is no data");
  }

  ByteReader in_;
  const StorageLoader& load_;
  const LoadLimits& limits_;
  PickleGraph graph_;
  std::vector<uint32_t> stack_;
  std::unordered_map<uint32_t, uint32_t> memo_;
  std::unordered_map<std::string, std::shared_ptr<FileStorage>> storages_;
};

}  // namespace

uint32_t PickleGraph::add(PickleObject object) {
  objects.push_back(std::move(object));
  return static_cast<uint32_t>(objects.size() - 1);
}

PickleGraph unpickle(const Bytes& data, const StorageLoader& load, const LoadLimits& limits) {
  if (data.size() > limits.pickle_bytes) {
    throw FileError(cat("the pickle has ", data.size(), " bytes, more than the limit of ",
                        limits.pickle_bytes));
  }
  return Unpickler(data, load, limits).run();
}

}  // namespace pt2q
