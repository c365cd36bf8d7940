// Element types, devices and memory formats, under PyTorch's names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace pt2q {

// The q-types (quint8 ...) only appear as the dtype of observers and of eager-mode quantized
// tensors; the others are storage types.
enum class DType : uint8_t {
  Float32,
  Float64,
  Float16,
  BFloat16,
  UInt8,
  Int8,
  UInt16,
  Int16,
  Int32,
  Int64,
  Bool,
  Float8E4M3FN,
  Float8E5M2,
  QUInt8,
  QInt8,
  QInt32,
  QUInt4x2,
};

size_t itemsize(DType dtype);                // bytes per element
const char* dtype_name(DType dtype);         // "float32", "uint8", "quint8", ...
DType parse_dtype(const std::string& name);  // inverse of dtype_name, also accepts "torch.float32"
bool is_floating_point(DType dtype);         // float32/64/16, bfloat16, float8
bool is_integral(DType dtype);               // integers and bool
DType promote_types(DType a, DType b);       // torch.promote_types for storage types

enum class DeviceType : uint8_t { CPU, XPU };
struct Device {
  DeviceType type = DeviceType::CPU;
  int index = -1;  // -1: the default one
  bool operator==(const Device& other) const { return type == other.type && index == other.index; }
};
std::string device_name(Device device);        // "cpu", "xpu", "xpu:0"
Device parse_device(const std::string& text);  // throws ValueError

enum class MemoryFormat : uint8_t { Contiguous, ChannelsLast, ChannelsLast3d, Preserve };
const char* memory_format_name(MemoryFormat format);  // "contiguous_format", "channels_last", ...

enum class Layout : uint8_t { Strided };

// Maps a C++ type to its DType; specialised for every storage type.
template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::Float32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::Float64;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::UInt8;
};
template <>
struct DTypeOf<int8_t> {
  static constexpr DType value = DType::Int8;
};
template <>
struct DTypeOf<uint16_t> {
  static constexpr DType value = DType::UInt16;
};
template <>
struct DTypeOf<int16_t> {
  static constexpr DType value = DType::Int16;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::Int32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::Int64;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::Bool;
};

}  // namespace pt2q
