// Reading the JSON files under tests/cases that hold what PyTorch computed, as exact bytes.
#pragma once

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "pt2q/error.h"
#include "pt2q/value.h"
#include "tensor/strided.h"

namespace pt2q {

inline nlohmann::json read_cases(const std::string& relative_path) {
  std::ifstream in(std::string(PT2Q_SOURCE_DIR) + "/tests/cases/" + relative_path);
  if (!in) throw std::runtime_error("cannot open tests/cases/" + relative_path);
  return nlohmann::json::parse(in);
}

inline Tensor decode_tensor(const nlohmann::json& j) {
  Tensor t = Tensor::empty(j.at("shape").get<Shape>(), parse_dtype(j.at("tensor")));
  const std::string hex = j.at("hex");
  if (hex.size() != 2 * static_cast<size_t>(t.nbytes())) throw std::runtime_error("bad golden");
  auto* out = static_cast<uint8_t*>(t.raw_mutable_data());
  for (size_t i = 0; i < hex.size() / 2; ++i) {
    out[i] = static_cast<uint8_t>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  }
  return t;
}

inline Value decode_value(const nlohmann::json& j) {
  if (j.is_null()) return Value();
  if (j.is_boolean()) return Value(j.get<bool>());
  if (j.is_number_integer()) return Value(j.get<int64_t>());
  if (j.is_number()) return Value(j.get<double>());
  if (j.is_string()) return Value(j.get<std::string>());
  if (j.is_object() && j.contains("tensor")) return Value(decode_tensor(j));
  if (j.is_object() && j.contains("dtype")) return Value(parse_dtype(j.at("dtype")));
  Value::List items;
  for (const auto& item : j) items.push_back(decode_value(item));
  return Value(items);
}

// "" when both hold the same bits (any NaN equals any NaN, -0 equals 0), else what differs first.
inline std::string difference(const Tensor& got, const Tensor& want) {
  if (got.dtype() != want.dtype() || got.sizes() != want.sizes()) {
    return "got " + describe(got) + ", want " + describe(want);
  }
  const Tensor a = got.contiguous();
  const Tensor b = want.contiguous();
  return visit_dtype(a.dtype(), [&](auto tag) -> std::string {
    using T = decltype(tag);
    for (int64_t i = 0; i < a.numel(); ++i) {
      const auto x = convert_element<double>(static_cast<const T*>(a.raw_data())[i]);
      const auto y = convert_element<double>(static_cast<const T*>(b.raw_data())[i]);
      if (x == y || (std::isnan(x) && std::isnan(y))) continue;
      return "element " + std::to_string(i) + ": got " + double_to_string(x) + ", want " +
             double_to_string(y);
    }
    return "";
  });
}

}  // namespace pt2q
