// The machine that reads a pickle: a stack of objects, a memo, and the few calls that make tensors.
// The opcodes are in pickle_reader.cpp, what globals and calls mean in pickle_objects.cpp.
#pragma once

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/pickle.h"

namespace pt2q {

// Refuses a global that is not on the list of those that make plain data.
[[noreturn]] void refuse_global(const std::string& name);

class Unpickler {
 public:
  Unpickler(const Bytes& data, const StorageLoader& load, const LoadLimits& limits)
      : in_(data, "pickle"), load_(load), limits_(limits) {}

  PickleGraph run();

 private:
  using Kind = PickleObject::Kind;
  static constexpr uint32_t kMark = std::numeric_limits<uint32_t>::max();

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

  // --- opcodes ---
  void protocol();
  void push_int(int64_t value, Kind kind = Kind::Int);
  void push_text(std::string_view text, Kind kind);
  void push_long(size_t size);
  bool scalar(uint8_t opcode);
  void push_tuple(std::vector<uint32_t> items);
  void push_short_tuple(size_t count);
  void extend(uint32_t target, const std::vector<uint32_t>& items);
  void update(uint32_t target, const std::vector<uint32_t>& items);
  bool container(uint8_t opcode);
  void recall(uint32_t key);
  bool memory(uint8_t opcode);
  bool call(uint8_t opcode);

  // --- globals, storages, tensors ---
  void push_global(const std::string& name);
  void persistent_id();
  Shape ints_of(uint32_t index);
  void rebuild_tensor(const std::vector<uint32_t>& args, bool typed);
  double real_of(uint32_t index, const char* what);
  void rebuild_quantized(const std::vector<uint32_t>& args);
  void fill_ordered_dict(uint32_t list);
  void reduce();

  void check_result();

  ByteReader in_;
  const StorageLoader& load_;
  const LoadLimits& limits_;
  PickleGraph graph_;
  std::vector<uint32_t> stack_;
  uint64_t copied_pairs_ = 0;
  std::unordered_map<uint32_t, uint32_t> memo_;
  std::unordered_map<std::string, std::shared_ptr<FileStorage>> storages_;
};

}  // namespace pt2q
