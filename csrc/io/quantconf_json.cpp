// The JSON file of QuantConf: a list of objects, indented by 4, members in a fixed order; unknown
// members are kept.
#include <nlohmann/json.hpp>

#include "io/io.h"
#include "pt2q/quantconf.h"

namespace pt2q {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr uint64_t kMaxFileSize = uint64_t{64} << 20;

const std::vector<std::string>& members() {
  static const std::vector<std::string> kMembers = {
      "id",
      "name",
      "algorithm",
      "weight_granularity",
      "input_scales",
      "input_zero_points",
      "output_scales",
      "output_zero_points",
      "weight_scales",
      "input_quantized_dtypes",
      "output_quantized_dtypes",
      "inputs_quantized",
      "outputs_quantized",
      "inputs_flow",
      "outputs_flow",
  };
  return kMembers;
}

// Typed access to one entry; errors name it.
class EntryReader {
 public:
  EntryReader(const OrderedJson& json, const std::string& source, size_t index) : json_(json) {
    where_ = cat(source, ": entry ", index);
    if (!json.is_object()) fail(cat("must be an object, got ", json.type_name()));
    const auto name = json.find("name");
    if (name != json.end() && name->is_string()) where_ += " ('" + name->get<std::string>() + "')";
  }

  std::string string(const char* key) const {
    const OrderedJson& v = member(key);
    if (!v.is_string()) wrong(key, "a string", v);
    return v.get<std::string>();
  }
  int64_t integer(const char* key) const { return integer_of(key, member(key)); }
  std::vector<double> numbers(const char* key) const { return numbers_of(key, member(key)); }
  std::vector<int64_t> integers(const char* key) const {
    std::vector<int64_t> out;
    for (const OrderedJson& v : list(key)) out.push_back(integer_of(key, v));
    return out;
  }
  std::vector<std::string> strings(const char* key) const {
    std::vector<std::string> out;
    for (const OrderedJson& v : list(key)) {
      if (!v.is_string()) wrong(key, "a list of strings", v);
      out.push_back(v.get<std::string>());
    }
    return out;
  }
  std::vector<bool> flags(const char* key) const {
    std::vector<bool> out;
    for (const OrderedJson& v : list(key)) {
      if (!v.is_boolean()) wrong(key, "a list of true and false", v);
      out.push_back(v.get<bool>());
    }
    return out;
  }
  std::vector<std::vector<double>> number_lists(const char* key) const {
    std::vector<std::vector<double>> out;
    for (const OrderedJson& v : list(key)) out.push_back(numbers_of(key, v));
    return out;
  }
  std::string unknown() const {
    OrderedJson rest = OrderedJson::object();
    for (const auto& item : json_.items()) {
      const auto& known = members();
      if (std::find(known.begin(), known.end(), item.key()) == known.end()) {
        rest[item.key()] = item.value();
      }
    }
    return rest.empty() ? "" : rest.dump();
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw ValueError(where_ + ": " + what); }
  [[noreturn]] void wrong(const char* key, const char* wanted, const OrderedJson& got) const {
    fail(cat("'", key, "' must be ", wanted, ", got ", got.dump().substr(0, 60)));
  }
  const OrderedJson& member(const char* key) const {
    const auto it = json_.find(key);
    if (it == json_.end()) fail(cat("'", key, "' is missing"));
    return *it;
  }
  const OrderedJson& list(const char* key) const {
    const OrderedJson& v = member(key);
    if (!v.is_array()) wrong(key, "a list", v);
    return v;
  }
  int64_t integer_of(const char* key, const OrderedJson& v) const {
    if (!v.is_number_integer()) wrong(key, "of integers", v);
    return v.get<int64_t>();
  }
  std::vector<double> numbers_of(const char* key, const OrderedJson& v) const {
    if (!v.is_array()) wrong(key, "a list of numbers", v);
    std::vector<double> out;
    for (const OrderedJson& item : v) {
      if (!item.is_number()) wrong(key, "a list of numbers", item);
      out.push_back(item.get<double>());
    }
    return out;
  }

  const OrderedJson& json_;
  std::string where_;
};

QuantConfEntry entry_from(const OrderedJson& json, const std::string& source, size_t index) {
  const EntryReader read(json, source, index);
  QuantConfEntry e;
  e.name = read.string("name");
  e.id = read.integer("id");
  e.algorithm = read.string("algorithm");
  e.weight_granularity = read.string("weight_granularity");
  e.input_scales = read.numbers("input_scales");
  e.input_zero_points = read.integers("input_zero_points");
  e.output_scales = read.numbers("output_scales");
  e.output_zero_points = read.integers("output_zero_points");
  e.weight_scales = read.number_lists("weight_scales");
  e.input_quantized_dtypes = read.strings("input_quantized_dtypes");
  e.output_quantized_dtypes = read.strings("output_quantized_dtypes");
  e.inputs_quantized = read.flags("inputs_quantized");
  e.outputs_quantized = read.flags("outputs_quantized");
  e.inputs_flow = read.strings("inputs_flow");
  e.outputs_flow = read.strings("outputs_flow");
  e.unknown = read.unknown();
  return e;
}

OrderedJson json_from(const QuantConfEntry& e) {
  OrderedJson j;
  j["id"] = e.id;
  j["name"] = e.name;
  j["algorithm"] = e.algorithm;
  j["weight_granularity"] = e.weight_granularity;
  j["input_scales"] = e.input_scales;
  j["input_zero_points"] = e.input_zero_points;
  j["output_scales"] = e.output_scales;
  j["output_zero_points"] = e.output_zero_points;
  j["weight_scales"] = e.weight_scales;
  j["input_quantized_dtypes"] = e.input_quantized_dtypes;
  j["output_quantized_dtypes"] = e.output_quantized_dtypes;
  j["inputs_quantized"] = e.inputs_quantized;
  j["outputs_quantized"] = e.outputs_quantized;
  j["inputs_flow"] = e.inputs_flow;
  j["outputs_flow"] = e.outputs_flow;
  if (!e.unknown.empty()) j.update(OrderedJson::parse(e.unknown));
  return j;
}

}  // namespace

QuantConf QuantConf::load(const std::string& path) {
  std::string text;
  try {
    const auto source = open_file(path);
    if (source->size() > kMaxFileSize) throw FileError(cat("'", path, "' is too large"));
    text = source->read(0, static_cast<size_t>(source->size())).text();
  } catch (const FileError& e) {
    throw AssertionError(cat("Can not load a empty file or none existed file: ", e.message()),
                         "calibrate first and save the configuration");
  }
  if (text.empty()) {
    throw AssertionError(
        cat("Can not load a empty file or none existed file: '", path, "' is empty"),
        "calibrate first and save the configuration");
  }
  OrderedJson json;
  try {
    json = OrderedJson::parse(text);
  } catch (const nlohmann::json::exception& e) {
    throw ValueError(cat("'", path, "' is no JSON: ", e.what()));
  }
  if (!json.is_array()) {
    throw ValueError(cat("'", path, "': a list of entries is expected, got ", json.type_name()));
  }
  QuantConf conf;
  for (size_t i = 0; i < json.size(); ++i) conf.entries_.push_back(entry_from(json[i], path, i));
  conf.check(path);
  return conf;
}

void QuantConf::save(const std::string& path) {
  if (entries_.empty()) {
    throw RuntimeError("there is nothing to save: no operator was recorded",
                       "run the model inside `with calibrate(conf):` first");
  }
  OrderedJson json = OrderedJson::array();
  for (const QuantConfEntry& e : entries_) json.push_back(json_from(e));
  AtomicFile file(path);
  file.write(json.dump(4));
  file.commit();
  observed_.clear();
}

}  // namespace pt2q
