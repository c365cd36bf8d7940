// One variant for everything an operator takes or returns: at run time tensors and scalars, in a
// graph references to nodes, during shape inference tensor descriptions.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "pt2q/dtype.h"
#include "pt2q/symint.h"
#include "pt2q/tensor.h"

namespace pt2q {

class Node;

// What is known of a tensor before it exists.
struct TensorMeta {
  SymShape sizes;
  DType dtype = DType::Float32;
  Device device;
};
bool operator==(const TensorMeta& a, const TensorMeta& b);
std::string describe(const TensorMeta& meta);  // "float32[s0, 3, 224, 224]"

struct None {};

// As thread-safe as what it holds: one object belongs to one thread, copies are independent.
class Value {
 public:
  using List = std::vector<Value>;
  using Variant = std::variant<None, bool, int64_t, double, std::string, DType, Device,
                               MemoryFormat, Layout, SymInt, Tensor, TensorMeta, Node*, List>;

  Value() = default;
  Value(bool v) : v_(v) {}                       // NOLINT
  Value(int v) : v_(static_cast<int64_t>(v)) {}  // NOLINT
  Value(int64_t v) : v_(v) {}                    // NOLINT
  Value(double v) : v_(v) {}                     // NOLINT
  Value(const char* v) : v_(std::string(v)) {}   // NOLINT
  Value(std::string v) : v_(std::move(v)) {}     // NOLINT
  Value(DType v) : v_(v) {}                      // NOLINT
  Value(Device v) : v_(v) {}                     // NOLINT
  Value(MemoryFormat v) : v_(v) {}               // NOLINT
  Value(Layout v) : v_(v) {}                     // NOLINT
  Value(const SymInt& v);                        // NOLINT: constants become int64
  Value(Tensor v) : v_(std::move(v)) {}          // NOLINT
  Value(TensorMeta v) : v_(std::move(v)) {}      // NOLINT
  Value(Node* v) : v_(v) {}                      // NOLINT
  Value(List v) : v_(std::move(v)) {}            // NOLINT
  Value(const std::vector<int64_t>& v);          // NOLINT
  Value(const SymShape& v);                      // NOLINT
  Value(const std::vector<double>& v);           // NOLINT
  Value(const std::vector<Tensor>& v);           // NOLINT

  template <typename T>
  bool is() const {
    return std::holds_alternative<T>(v_);
  }
  bool is_none() const { return is<None>(); }
  template <typename T>
  const T& as() const {
    if (!is<T>()) fail(kind_name_of<T>());
    return std::get<T>(v_);
  }
  template <typename T>
  T& as() {
    if (!is<T>()) fail(kind_name_of<T>());
    return std::get<T>(v_);
  }
  // Numeric conversions: int64 and double accept bool; double accepts int64; SymInt accepts both
  // int64 and SymInt. Throw TypeError otherwise.
  int64_t to_int() const;
  double to_double() const;
  SymInt to_sym_int() const;
  bool to_bool() const;
  std::vector<int64_t> to_ints() const;
  SymShape to_sym_ints() const;
  const List& list() const { return as<List>(); }

  const Variant& variant() const { return v_; }
  const char* kind_name() const;  // "int", "Tensor", "None", ...
  // Text as in FX graphs: 1, 1.0, True, None, [1, 2], %node, "text", float32.
  std::string to_string() const;

 private:
  template <typename T>
  static const char* kind_name_of() {
    return Value(T{}).kind_name();
  }
  [[noreturn]] void fail(const char* wanted) const;

  Variant v_;
};

// Structural equality; tensors compare by identity, nodes by address.
bool operator==(const Value& a, const Value& b);
inline bool operator!=(const Value& a, const Value& b) { return !(a == b); }

// Calls fn(Node*&) for every node reference inside `value`, however deeply nested.
template <typename Fn>
void for_each_node(Value& value, Fn&& fn) {
  if (value.is<Node*>()) {
    fn(value.as<Node*>());
  } else if (value.is<Value::List>()) {
    for (Value& item : value.as<Value::List>()) for_each_node(item, fn);
  }
}
template <typename Fn>
void for_each_node(const Value& value, Fn&& fn) {
  if (value.is<Node*>()) {
    fn(value.as<Node*>());
  } else if (value.is<Value::List>()) {
    for (const Value& item : value.as<Value::List>()) for_each_node(item, fn);
  }
}

}  // namespace pt2q
