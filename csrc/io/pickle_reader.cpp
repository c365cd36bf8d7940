// Pickles: the opcodes, and the checks of the result.
#include "base/strings.h"
#include "io/unpickler.h"
#include "pt2q/error.h"

namespace pt2q {

PickleGraph Unpickler::run() {
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

void Unpickler::protocol() {
  const uint8_t version = in_.u8();
  if (version < 2 || version > 5) in_.fail(cat("pickle protocol ", static_cast<int>(version)));
}
void Unpickler::push_int(int64_t value, Kind kind) {
  PickleObject o;
  o.kind = kind;
  o.integer = value;
  push_new(std::move(o));
}
void Unpickler::push_text(std::string_view text, Kind kind) {
  if (kind == Kind::String && !is_utf8(text)) in_.fail("a text is not valid UTF-8");
  PickleObject o;
  o.kind = kind;
  o.text = std::string(text);
  push_new(std::move(o));
}
void Unpickler::push_long(size_t size) {
  const std::string_view raw = in_.bytes(size);
  if (size > 8) in_.fail("an integer beyond 64 bits");
  uint64_t value = 0;
  for (size_t i = size; i-- > 0;) value = (value << 8) | static_cast<uint8_t>(raw[i]);
  if (size > 0 && size < 8 && (static_cast<uint8_t>(raw[size - 1]) & 0x80) != 0)
    value |= ~uint64_t{0} << (8 * size);
  push_int(static_cast<int64_t>(value));
}

bool Unpickler::scalar(uint8_t opcode) {
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

void Unpickler::push_tuple(std::vector<uint32_t> items) {
  PickleObject o;
  o.kind = Kind::Tuple;
  o.items = std::move(items);
  push_new(std::move(o));
}
void Unpickler::push_short_tuple(size_t count) {
  std::vector<uint32_t> items(count);
  for (size_t i = count; i-- > 0;) items[i] = pop();
  push_tuple(std::move(items));
}
void Unpickler::extend(uint32_t target, const std::vector<uint32_t>& items) {
  PickleObject& list = expect(target, Kind::List, "a list");
  list.items.insert(list.items.end(), items.begin(), items.end());
}
void Unpickler::update(uint32_t target, const std::vector<uint32_t>& items) {
  PickleObject& dict = object(target);
  if (dict.kind != Kind::Dict && dict.kind != Kind::OrderedDict) in_.fail("expected a dict");
  if (items.size() % 2 != 0) in_.fail("a dict key without a value");
  dict.items.insert(dict.items.end(), items.begin(), items.end());
}

bool Unpickler::container(uint8_t opcode) {
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

void Unpickler::recall(uint32_t key) {
  const auto it = memo_.find(key);
  if (it == memo_.end()) in_.fail("an unknown memo entry");
  push(it->second);
}

bool Unpickler::memory(uint8_t opcode) {
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

bool Unpickler::call(uint8_t opcode) {
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
void Unpickler::check_result() {
  for (const PickleObject& o : graph_.objects) {
    const bool holds = o.kind == Kind::List || o.kind == Kind::Dict || o.kind == Kind::OrderedDict;
    for (const uint32_t item : holds ? o.items : std::vector<uint32_t>{}) {
      if (object(item).kind == Kind::Global) refuse_global(object(item).text);
      if (object(item).kind == Kind::Storage)
        throw NotImplementedError("the file holds a bare storage", "save tensors instead");
    }
  }
  const Kind root = object(graph_.root).kind;
  if (root == Kind::Global || root == Kind::Storage) in_.fail("the result is no data");
}

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
