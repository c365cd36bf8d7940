// The safetensors format: u64 header length, JSON header, data. COVERAGE: no holes, no overlap,
// row-major tensors, offsets relative to the end of the header.
#include <algorithm>
#include <cstring>
#include <limits>

#include "base/file.h"
#include "base/strings.h"
#include "io/io.h"
#include "io/json_reader.h"
#include "io/storage.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

constexpr size_t kAlignment = 64;

struct TypeName {
  const char* name;
  DType dtype;
};
constexpr TypeName kTypes[] = {
    {"F32", DType::Float32},        {"F64", DType::Float64}, {"F16", DType::Float16},
    {"BF16", DType::BFloat16},      {"U8", DType::UInt8},    {"I8", DType::Int8},
    {"U16", DType::UInt16},         {"I16", DType::Int16},   {"I32", DType::Int32},
    {"I64", DType::Int64},          {"BOOL", DType::Bool},   {"F8_E4M3", DType::Float8E4M3FN},
    {"F8_E5M2", DType::Float8E5M2},
};

DType parse_type(const std::string& name, const std::string& tensor) {
  for (const TypeName& type : kTypes) {
    if (name == type.name) return type.dtype;
  }
  throw NotImplementedError(
      cat("tensor '", tensor, "' has the type ", name.substr(0, 20), ", which is not supported"));
}

const char* type_name(DType dtype) {
  for (const TypeName& type : kTypes) {
    if (dtype == type.dtype) return type.name;
  }
  throw ValueError(cat("safetensors cannot hold tensors of dtype ", dtype_name(dtype)));
}

struct Item {
  std::string name;
  DType dtype = DType::Float32;
  Shape sizes;
  uint64_t begin = 0;
  uint64_t end = 0;
};

Item parse_item(const std::string& name, const Json& entry, const LoadLimits& limits) {
  Item item;
  item.name = name;
  item.dtype = parse_type(json_string(json_field(entry, "dtype"), "dtype"), name);
  item.sizes = json_ints(json_field(entry, "shape"), "shape");
  const auto offsets = json_ints(json_field(entry, "data_offsets"), "data_offsets");
  if (offsets.size() != 2 || offsets[0] < 0 || offsets[1] < offsets[0])
    throw FileError(cat("tensor '", name, "' has invalid data_offsets"));
  item.begin = static_cast<uint64_t>(offsets[0]);
  item.end = static_cast<uint64_t>(offsets[1]);
  const uint64_t bytes = checked_bytes(item.sizes, item.dtype, limits);
  if (item.end - item.begin != bytes) {
    throw FileError(cat("tensor '", name, "' of shape ", list_to_string(item.sizes), " needs ",
                        bytes, " bytes, but the file has ", item.end - item.begin));
  }
  return item;
}

void check_layout(std::vector<Item> items, uint64_t data_bytes) {
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  uint64_t at = 0;
  for (const Item& item : items) {
    if (item.begin != at)
      throw FileError(
          cat("the data of tensor '", item.name, "' overlaps another or leaves a hole"));
    at = item.end;
  }
  if (at != data_bytes)
    throw FileError(cat("the tensors take ", at, " bytes, but the file has ", data_bytes));
}

StateDict read_items(const Source& source, const LoadLimits& limits,
                     std::map<std::string, std::string>* metadata) {
  if (source.size() > limits.file_bytes) throw FileError("it exceeds the file size limit");
  const Bytes prefix = source.read(0, 8);
  const uint64_t length = ByteReader(prefix, "header").u64();
  if (length > limits.header_bytes || length > source.size() - 8) {
    throw FileError(
        cat("it is not a safetensors file, or damaged: its header would have ", length, " bytes"));
  }
  const Bytes text = source.read(8, static_cast<size_t>(length));
  const Json header = parse_json(text.text(), "the header", limits);
  std::vector<Item> items;
  for (const auto& [name, entry] : json_object(header, "header").items()) {
    if (name == "__metadata__") {
      for (const auto& [key, value] : json_object(entry, "__metadata__").items()) {
        const std::string content = json_string(value, "__metadata__ value");
        if (metadata != nullptr) (*metadata)[key] = content;
      }
    } else {
      items.push_back(parse_item(name, entry, limits));
    }
  }
  check_layout(items, source.size() - 8 - length);
  StateDict out;
  for (const Item& item : items) {
    FileStorage storage(
        source.read(8 + length + item.begin, static_cast<size_t>(item.end - item.begin)));
    out[item.name] =
        storage.view(item.dtype, item.sizes, contiguous_strides(item.sizes), 0, limits);
  }
  return out;
}

void write_items(const StateDict& state, const std::map<std::string, std::string>& metadata,
                 Sink* sink) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::vector<std::pair<std::string, Tensor>> ordered;
  for (const auto& [name, tensor] : state) {
    if (name == "__metadata__") throw ValueError("'__metadata__' is not a possible tensor name");
    ordered.emplace_back(name, saveable(name, tensor).contiguous());
  }
  // As the reference writer: larger elements first, so that everything is aligned.
  std::stable_sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
    return itemsize(a.second.dtype()) > itemsize(b.second.dtype());
  });
  int64_t at = 0;
  for (const auto& [name, t] : ordered) {
    header[name] = {{"dtype", type_name(t.dtype())},
                    {"shape", t.sizes()},
                    {"data_offsets", {at, at + t.nbytes()}}};
    at += t.nbytes();
  }
  std::string text = dump_json(header);
  text.append((kAlignment - (text.size() + 8) % kAlignment) % kAlignment, ' ');
  std::string length;
  for (int i = 0; i < 8; ++i) length += static_cast<char>((text.size() >> (8 * i)) & 0xff);
  sink->write(length);
  sink->write(text);
  for (const auto& entry : ordered)
    sink->write(entry.second.raw_data(), static_cast<size_t>(entry.second.nbytes()));
}

}  // namespace

StateDict read_safetensors(const Source& source, const LoadLimits& limits,
                           std::map<std::string, std::string>* metadata) {
  return in_file(source.name(), [&] { return read_items(source, limits, metadata); });
}

StateDict load_safetensors(const std::string& path, const LoadLimits& limits,
                           std::map<std::string, std::string>* metadata) {
  return read_safetensors(*open_file(path), limits, metadata);
}

StateDict load_safetensors(const void* data, size_t size, const LoadLimits& limits,
                           std::map<std::string, std::string>* metadata) {
  return read_safetensors(*open_bytes(Bytes::view(data, size, nullptr), "<bytes>"), limits,
                          metadata);
}

void save_safetensors(const StateDict& state, const std::string& path,
                      const std::map<std::string, std::string>& metadata) {
  AtomicFile file(path);
  write_items(state, metadata, &file);
  file.commit();
}

std::string save_safetensors_to_string(const StateDict& state,
                                       const std::map<std::string, std::string>& metadata) {
  MemorySink sink;
  write_items(state, metadata, &sink);
  return std::move(sink.buffer);
}

}  // namespace pt2q
