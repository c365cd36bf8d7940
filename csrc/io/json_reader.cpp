#include "io/json_reader.h"

#include <cmath>
#include <limits>

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

// Builds the document while counting depth and values.
class LimitedBuilder : public nlohmann::json_sax<Json> {
 public:
  LimitedBuilder(std::string what, const LoadLimits& limits)
      : what_(std::move(what)), limits_(limits) {}

  Json take() { return std::move(root_); }

  bool null() override { return put(Json()) != nullptr; }
  bool boolean(bool v) override { return put(Json(v)) != nullptr; }
  bool number_integer(number_integer_t v) override { return put(Json(v)) != nullptr; }
  bool number_unsigned(number_unsigned_t v) override { return put(Json(v)) != nullptr; }
  bool number_float(number_float_t v, const string_t&) override { return put(Json(v)) != nullptr; }
  bool string(string_t& v) override { return put(Json(std::move(v))) != nullptr; }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    const auto added = stack_.back()->emplace(name, Json());
    if (!added.second) fail(cat("the key '", name.substr(0, 80), "' occurs twice"));
    slot_ = &*added.first;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    throw FileError(cat(what_, " is not valid JSON near byte ", position, ": ",
                        std::string(error.what()).substr(0, 200)));
  }

 private:
  [[noreturn]] void fail(const std::string& why) const { throw FileError(cat(what_, ": ", why)); }

  Json* put(Json value) {
    if (++count_ > limits_.json_values)
      fail(cat("more than ", limits_.json_values, " JSON values (a limit)"));
    if (stack_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (stack_.back()->is_array()) {
      stack_.back()->push_back(std::move(value));
      return &stack_.back()->back();
    }
    *slot_ = std::move(value);
    return slot_;
  }
  bool open(Json container) {
    if (stack_.size() >= limits_.json_depth)
      fail(cat("nested deeper than ", limits_.json_depth, " levels (a limit)"));
    stack_.push_back(put(std::move(container)));
    return true;
  }
  bool close() {
    stack_.pop_back();
    return true;
  }

  std::string what_;
  const LoadLimits& limits_;
  Json root_;
  // Containers still open. A pointer stays valid: its container grows only after it is closed.
  std::vector<Json*> stack_;
  Json* slot_ = nullptr;
  uint64_t count_ = 0;
};

[[noreturn]] void mismatch(const char* what, const char* wanted, const Json& value) {
  throw FileError(cat("'", what, "' must be ", wanted, ", but is ", value.type_name()));
}

}  // namespace

Json parse_json(std::string_view text, const std::string& what, const LoadLimits& limits) {
  if (text.size() > limits.json_bytes)
    throw FileError(
        cat(what, " has ", text.size(), " bytes, more than the limit of ", limits.json_bytes));
  LimitedBuilder builder(what, limits);
  if (!Json::sax_parse(text.begin(), text.end(), &builder))
    throw FileError(cat(what, " is not valid JSON"));
  return builder.take();
}

const Json& json_object(const Json& value, const char* what) {
  if (!value.is_object()) mismatch(what, "an object", value);
  return value;
}

const Json& json_array(const Json& value, const char* what) {
  if (!value.is_array()) mismatch(what, "a list", value);
  return value;
}

const Json& json_field(const Json& object, const char* key) {
  if (!object.is_object())
    throw FileError(cat("expected an object with '", key, "', but found ", object.type_name()));
  const auto it = object.find(key);
  if (it == object.end()) throw FileError(cat("the field '", key, "' is missing"));
  return *it;
}

const Json* json_optional(const Json& object, const char* key) {
  if (!object.is_object())
    throw FileError(cat("expected an object with '", key, "', but found ", object.type_name()));
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

std::string json_string(const Json& value, const char* what) {
  if (!value.is_string()) mismatch(what, "a string", value);
  return value.get<std::string>();
}

int64_t json_int(const Json& value, const char* what) {
  if (!value.is_number_integer()) mismatch(what, "an integer", value);
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    throw FileError(cat("'", what, "' is beyond 64 bits"));
  }
  return value.get<int64_t>();
}

bool json_bool(const Json& value, const char* what) {
  if (!value.is_boolean()) mismatch(what, "true or false", value);
  return value.get<bool>();
}

double json_double(const Json& value, const char* what) {
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (text == "Infinity") return std::numeric_limits<double>::infinity();
    if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
    if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  }
  mismatch(what, "a number", value);
}

std::vector<int64_t> json_ints(const Json& value, const char* what) {
  std::vector<int64_t> out;
  for (const Json& item : json_array(value, what)) out.push_back(json_int(item, what));
  return out;
}

JsonUnion json_union(const Json& object, const char* what) {
  json_object(object, what);
  JsonUnion found;
  for (auto it = object.begin(); it != object.end(); ++it) {
    if (it->is_null()) continue;
    if (found.value != nullptr) throw FileError(cat("'", what, "' has more than one value"));
    found = {it.key(), &*it};
  }
  if (found.value == nullptr) throw FileError(cat("'", what, "' is empty"));
  return found;
}

}  // namespace pt2q
