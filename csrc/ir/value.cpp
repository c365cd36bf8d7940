#include "pt2q/value.h"

#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/graph.h"

namespace pt2q {

bool operator==(const TensorMeta& a, const TensorMeta& b) {
  return a.sizes == b.sizes && a.dtype == b.dtype && a.device == b.device;
}

std::string describe(const TensorMeta& meta) {
  return cat(dtype_name(meta.dtype), list_to_string(meta.sizes));
}

Value::Value(const SymInt& v) {
  if (v.is_constant()) {
    v_ = v.hint();
  } else {
    v_ = v;
  }
}
Value::Value(const std::vector<int64_t>& v) : v_(List(v.begin(), v.end())) {}
Value::Value(const SymShape& v) : v_(List(v.begin(), v.end())) {}
Value::Value(const std::vector<double>& v) : v_(List(v.begin(), v.end())) {}
Value::Value(const std::vector<Tensor>& v) : v_(List(v.begin(), v.end())) {}

const char* Value::kind_name() const {
  static constexpr const char* kNames[] = {
      "None",          "bool",   "int",    "float",  "str",        "dtype", "device",
      "memory_format", "layout", "SymInt", "Tensor", "TensorMeta", "Node",  "list"};
  return kNames[v_.index()];
}

void Value::fail(const char* wanted) const {
  throw TypeError(cat("expected ", wanted, ", got ", kind_name(), " (", to_string(), ")"));
}

int64_t Value::to_int() const {
  if (is<bool>()) return std::get<bool>(v_) ? 1 : 0;
  if (is<SymInt>()) return std::get<SymInt>(v_).constant();
  return as<int64_t>();
}

double Value::to_double() const {
  if (is<int64_t>() || is<bool>()) return static_cast<double>(to_int());
  if (is<Tensor>()) return as<Tensor>().item();
  return as<double>();
}

SymInt Value::to_sym_int() const {
  if (is<SymInt>()) return std::get<SymInt>(v_);
  return SymInt(to_int());
}

bool Value::to_bool() const {
  if (is<int64_t>()) return std::get<int64_t>(v_) != 0;
  return as<bool>();
}

std::vector<int64_t> Value::to_ints() const {
  std::vector<int64_t> out;
  for (const Value& item : list()) out.push_back(item.to_int());
  return out;
}

SymShape Value::to_sym_ints() const {
  SymShape out;
  for (const Value& item : list()) out.push_back(item.to_sym_int());
  return out;
}

namespace {
std::string quote(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out + "\"";
}
}  // namespace

std::string Value::to_string() const {
  struct Printer {
    std::string operator()(None) const { return "None"; }
    std::string operator()(bool v) const { return v ? "True" : "False"; }
    std::string operator()(int64_t v) const { return std::to_string(v); }
    std::string operator()(double v) const { return double_to_string(v); }
    std::string operator()(const std::string& v) const { return quote(v); }
    std::string operator()(DType v) const { return dtype_name(v); }
    std::string operator()(Device v) const { return cat("device(", device_name(v), ")"); }
    std::string operator()(MemoryFormat v) const { return memory_format_name(v); }
    std::string operator()(Layout) const { return "strided"; }
    std::string operator()(const SymInt& v) const { return v.to_string(); }
    std::string operator()(const Tensor& v) const { return describe(v); }
    std::string operator()(const TensorMeta& v) const { return describe(v); }
    std::string operator()(Node* v) const { return v ? "%" + v->name() : "%null"; }
    std::string operator()(const List& v) const {
      std::vector<std::string> parts;
      for (const Value& item : v) parts.push_back(item.to_string());
      return "[" + join(parts, ", ") + "]";
    }
  };
  return std::visit(Printer{}, v_);
}

bool operator==(const Value& a, const Value& b) {
  if (a.variant().index() != b.variant().index()) return false;
  struct Equal {
    const Value& other;
    bool operator()(None) const { return true; }
    bool operator()(Layout) const { return true; }
    bool operator()(const Tensor& t) const { return t.is(other.as<Tensor>()); }
    bool operator()(const Value::List& l) const { return l == other.as<Value::List>(); }
    bool operator()(bool v) const { return v == other.as<bool>(); }
    bool operator()(int64_t v) const { return v == other.as<int64_t>(); }
    bool operator()(double v) const { return v == other.as<double>(); }
    bool operator()(const std::string& v) const { return v == other.as<std::string>(); }
    bool operator()(DType v) const { return v == other.as<DType>(); }
    bool operator()(Device v) const { return v == other.as<Device>(); }
    bool operator()(MemoryFormat v) const { return v == other.as<MemoryFormat>(); }
    bool operator()(const SymInt& v) const { return v == other.as<SymInt>(); }
    bool operator()(const TensorMeta& v) const { return v == other.as<TensorMeta>(); }
    bool operator()(Node* v) const { return v == other.as<Node*>(); }
  };
  return std::visit(Equal{b}, a.variant());
}

}  // namespace pt2q
