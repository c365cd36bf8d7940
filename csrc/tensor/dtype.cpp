#include "pt2q/dtype.h"

#include <array>

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

struct DTypeRow {
  const char* name;
  size_t itemsize;
  bool floating;
  bool integral;
};

constexpr std::array<DTypeRow, 17> kRows = {{
    {"float32", 4, true, false},
    {"float64", 8, true, false},
    {"float16", 2, true, false},
    {"bfloat16", 2, true, false},
    {"uint8", 1, false, true},
    {"int8", 1, false, true},
    {"uint16", 2, false, true},
    {"int16", 2, false, true},
    {"int32", 4, false, true},
    {"int64", 8, false, true},
    {"bool", 1, false, true},
    {"float8_e4m3fn", 1, true, false},
    {"float8_e5m2", 1, true, false},
    {"quint8", 1, false, false},
    {"qint8", 1, false, false},
    {"qint32", 4, false, false},
    {"quint4x2", 1, false, false},
}};

const DTypeRow& row(DType dtype) { return kRows.at(static_cast<size_t>(dtype)); }

int float_rank(DType d) {
  switch (d) {
    case DType::Float64:
      return 4;
    case DType::Float32:
      return 3;
    case DType::Float16:
    case DType::BFloat16:
      return 2;
    default:
      return 1;
  }
}

int int_rank(DType d) {
  switch (d) {
    case DType::Bool:
      return 0;
    case DType::UInt8:
      return 1;
    case DType::Int8:
      return 2;
    case DType::Int16:
    case DType::UInt16:
      return 3;
    case DType::Int32:
      return 4;
    default:
      return 5;
  }
}

}  // namespace

size_t itemsize(DType dtype) { return row(dtype).itemsize; }
const char* dtype_name(DType dtype) { return row(dtype).name; }
bool is_floating_point(DType dtype) { return row(dtype).floating; }
bool is_integral(DType dtype) { return row(dtype).integral; }

DType parse_dtype(const std::string& name) {
  const std::string bare = starts_with(name, "torch.")  ? name.substr(6)
                           : starts_with(name, "pt2q.") ? name.substr(5)
                                                        : name;
  for (size_t i = 0; i < kRows.size(); ++i) {
    if (bare == kRows[i].name) return static_cast<DType>(i);
  }
  if (bare == "float") return DType::Float32;
  if (bare == "double") return DType::Float64;
  if (bare == "half") return DType::Float16;
  if (bare == "int") return DType::Int32;
  if (bare == "long") return DType::Int64;
  throw ValueError(cat("unknown dtype '", name, "'"));
}

DType promote_types(DType a, DType b) {
  if (a == b) return a;
  const bool fa = is_floating_point(a);
  const bool fb = is_floating_point(b);
  if (fa && fb) {
    const int ra = float_rank(a);
    const int rb = float_rank(b);
    if (ra == rb) return DType::Float32;  // float16 with bfloat16
    return ra > rb ? a : b;
  }
  if (fa) return a;
  if (fb) return b;
  const auto is_pair = [&](DType x, DType y) { return (a == x && b == y) || (a == y && b == x); };
  if (is_pair(DType::UInt8, DType::Int8)) return DType::Int16;
  if (is_pair(DType::UInt16, DType::Int16)) return DType::Int32;
  return int_rank(a) > int_rank(b) ? a : b;
}

std::string device_name(Device device) {
  std::string name = device.type == DeviceType::CPU ? "cpu" : "xpu";
  if (device.index >= 0) name += ":" + std::to_string(device.index);
  return name;
}

Device parse_device(const std::string& text) {
  const auto parts = split(text, ':');
  Device device;
  if (parts[0] == "cpu") {
    device.type = DeviceType::CPU;
  } else if (parts[0] == "xpu") {
    device.type = DeviceType::XPU;
  } else {
    throw ValueError(cat("unknown device '", text, "'"), "pt2q knows 'cpu' and 'xpu'");
  }
  if (parts.size() > 2) throw ValueError(cat("malformed device '", text, "'"));
  if (parts.size() == 2) {
    if (parts[1].empty() || parts[1].find_first_not_of("0123456789") != std::string::npos ||
        parts[1].size() > 4) {
      throw ValueError(cat("malformed device '", text, "'"));
    }
    device.index = std::stoi(parts[1]);
  }
  return device;
}

const char* memory_format_name(MemoryFormat format) {
  switch (format) {
    case MemoryFormat::Contiguous:
      return "contiguous_format";
    case MemoryFormat::ChannelsLast:
      return "channels_last";
    case MemoryFormat::ChannelsLast3d:
      return "channels_last_3d";
    default:
      return "preserve_format";
  }
}

}  // namespace pt2q
