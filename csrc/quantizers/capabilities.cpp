// What quantizers can do, as a table for people.
#include <algorithm>
#include <array>

#include "base/strings.h"
#include "pt2q/quantizers.h"

namespace pt2q {
namespace {

constexpr size_t kColumns = 6;
using Row = std::array<std::string, kColumns>;

// "uint8 0..255 per_tensor_affine", "int8 -128..127 per_channel_symmetric axis 0".
std::string describe_spec(const SpecPtr& spec) {
  const auto* q = dynamic_cast<const QuantizationSpec*>(spec.get());
  if (q == nullptr) return spec ? spec->to_string() : "float";
  std::string out = dtype_name(q->dtype);
  if (q->quant_min && q->quant_max) out += cat(" ", *q->quant_min, "..", *q->quant_max);
  if (q->qscheme) out += cat(" ", qscheme_name(*q->qscheme));
  if (q->ch_axis && q->qscheme && is_per_channel(*q->qscheme)) out += cat(" axis ", *q->ch_axis);
  return out;
}

std::string describe_mode(const QuantizationConfig& config) {
  const auto* input = dynamic_cast<const QuantizationSpec*>(config.input_activation.get());
  const char* kind = input == nullptr ? "weight only" : input->is_dynamic ? "dynamic" : "static";
  return cat(kind, config.is_qat ? " QAT" : "");
}

// "conv2d + relu" of {"aten.conv2d.default", "aten.relu.default"}.
std::string describe_pattern(const std::vector<std::string>& pattern) {
  std::vector<std::string> names;
  for (const std::string& op : pattern) {
    const auto parts = split(op, '.');
    names.push_back(parts.size() > 1 ? parts[1] : op);
  }
  return join(names, " + ");
}

bool has_weight(const std::vector<std::string>& pattern) {
  const OpDef* op = pattern.empty() ? nullptr : op_table().find(pattern.front());
  return op != nullptr && op->quant.weight >= 0;
}

std::string line_of(const Row& row, const std::array<size_t, kColumns>& widths) {
  std::string out;
  for (size_t i = 0; i < kColumns; ++i) {
    if (i > 0) out += "  ";
    out += row[i];
    if (i + 1 < kColumns) out.append(widths[i] - row[i].size(), ' ');
  }
  return out + "\n";
}

}  // namespace

std::string capabilities_table(const std::vector<OperatorConfig>& capabilities) {
  std::vector<Row> rows = {{"mode", "operators", "input", "output", "weight", "bias"}};
  for (const OperatorConfig& entry : capabilities) {
    const QuantizationConfig& c = *entry.config;
    for (const auto& pattern : entry.operators) {
      const bool weight = has_weight(pattern);
      rows.push_back({describe_mode(c), describe_pattern(pattern),
                      describe_spec(c.input_activation), describe_spec(c.output_activation),
                      weight ? describe_spec(c.weight) : "-",
                      weight ? describe_spec(c.bias) : "-"});
    }
  }
  std::array<size_t, kColumns> widths{};
  for (const Row& row : rows) {
    for (size_t i = 0; i < kColumns; ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const Row& row : rows) out += line_of(row, widths);
  return out;
}

}  // namespace pt2q
