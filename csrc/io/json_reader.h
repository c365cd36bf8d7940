// JSON from files of unknown origin, and typed access to it. Everything throws FileError.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "pt2q/io.h"

namespace pt2q {

using Json = nlohmann::json;

// Refuses duplicate keys, nesting and value counts beyond the limits, and invalid UTF-8.
// `what` names the document in messages.
Json parse_json(std::string_view text, const std::string& what, const LoadLimits& limits);

const Json& json_field(const Json& object, const char* key);
const Json* json_optional(const Json& object, const char* key);  // null when absent or JSON null
const Json& json_object(const Json& value, const char* what);    // value itself, checked
const Json& json_array(const Json& value, const char* what);
std::string json_string(const Json& value, const char* what);
int64_t json_int(const Json& value, const char* what);
bool json_bool(const Json& value, const char* what);
// Numbers, and the strings "Infinity", "-Infinity", "NaN" that PyTorch writes.
double json_double(const Json& value, const char* what);
std::vector<int64_t> json_ints(const Json& value, const char* what);

// The key and value of a union object: its only entry that is not null.
struct JsonUnion {
  std::string key;
  const Json* value = nullptr;
};
JsonUnion json_union(const Json& object, const char* what);

}  // namespace pt2q
