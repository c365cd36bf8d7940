#include "tensor/format.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <vector>

#include "base/strings.h"
#include "tensor/strided.h"

namespace pt2q {
namespace {

constexpr int kPrecision = 4;
constexpr int64_t kThreshold = 1000;
constexpr int64_t kEdgeItems = 3;
constexpr size_t kLineWidth = 80;

std::string print(const char* format, double value) {
  std::array<char, 400> buffer{};
  const int length = std::snprintf(buffer.data(), buffer.size(), format, kPrecision, value);
  return std::string(buffer.data(), static_cast<size_t>(std::max(0, length)));
}

bool summarised(const Tensor& t) { return t.numel() > kThreshold; }

// Indices along a dimension of `size` that are printed; -1 stands for the dots.
std::vector<int64_t> shown(int64_t size, bool summarise) {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < size; ++i) {
    if (summarise && size > 2 * kEdgeItems && i == kEdgeItems) {
      out.push_back(-1);
      i = size - kEdgeItems;
    }
    out.push_back(i);
  }
  return out;
}

void collect(const Tensor& t, bool summarise, std::vector<double>* out) {
  if (t.dim() == 0) {
    out->push_back(t.item());
    return;
  }
  for (const int64_t i : shown(t.size(0), summarise)) {
    if (i >= 0) collect(t.select(0, i), summarise, out);
  }
}

// Decides once per tensor how its numbers look, then prints them in equal widths.
class NumberFormat {
 public:
  explicit NumberFormat(const Tensor& t) : dtype_(t.dtype()) {
    std::vector<double> values;
    collect(t, summarised(t), &values);
    if (floating()) choose(values);
    for (const double v : values) width_ = std::max(width_, text(v).size());
  }

  std::string padded(const Tensor& scalar) const {
    const std::string s =
        dtype_ == DType::Int64 ? std::to_string(scalar.item_int()) : text(scalar.item());
    return std::string(width_ > s.size() ? width_ - s.size() : 0, ' ') + s;
  }
  size_t width() const { return width_; }

 private:
  bool floating() const { return is_floating_point(dtype_); }

  void choose(const std::vector<double>& values) {
    double low = INFINITY;
    double high = 0;
    for (const double v : values) {
      if (!std::isfinite(v) || v == 0) continue;
      low = std::min(low, std::fabs(v));
      high = std::max(high, std::fabs(v));
      if (v != std::ceil(v)) whole_ = false;
    }
    if (high == 0) return;
    scientific_ = high / low > 1000.0 || high > 1e8 || (!whole_ && low < 1e-4);
  }

  std::string text(double v) const {
    if (dtype_ == DType::Bool) return v != 0 ? "True" : "False";
    if (!floating()) return std::to_string(static_cast<int64_t>(v));
    if (std::isnan(v)) return "nan";
    if (std::isinf(v)) return v > 0 ? "inf" : "-inf";
    if (scientific_) return print("%.*e", v);
    if (whole_) {
      std::array<char, 400> buffer{};
      std::snprintf(buffer.data(), buffer.size(), "%.0f.", v);
      return buffer.data();
    }
    return print("%.*f", v);
  }

  DType dtype_;
  bool whole_ = true;
  bool scientific_ = false;
  size_t width_ = 0;
};

std::string body(const Tensor& t, const NumberFormat& format, size_t indent, bool summarise) {
  if (t.dim() == 0) return format.padded(t);
  std::string out = "[";
  const std::vector<int64_t> indices = shown(t.size(0), summarise);
  if (t.dim() == 1) {
    const size_t per_line = std::max<size_t>(1, (kLineWidth - indent) / (format.width() + 2));
    for (size_t k = 0; k < indices.size(); ++k) {
      if (k > 0) {
        out += k % per_line == 0 ? ",\n" + std::string(indent + 1, ' ') : std::string(", ");
      }
      out += indices[k] < 0 ? " ..." : format.padded(t.select(0, indices[k]));
    }
    return out + "]";
  }
  const std::string separator =
      "," + std::string(static_cast<size_t>(t.dim() - 1), '\n') + std::string(indent + 1, ' ');
  for (size_t k = 0; k < indices.size(); ++k) {
    if (k > 0) out += separator;
    out += indices[k] < 0 ? "..." : body(t.select(0, indices[k]), format, indent + 1, summarise);
  }
  return out + "]";
}

bool dtype_is_implied(DType dtype) {
  return dtype == DType::Float32 || dtype == DType::Int64 || dtype == DType::Bool;
}

}  // namespace

std::string python_float(double value) {
  if (!std::isfinite(value)) return double_to_string(value);
  std::array<char, 40> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::scientific);
  const std::string text(buffer.data(), end.ptr);
  const size_t e = text.find('e');
  const int exponent = std::stoi(text.substr(e + 1));
  if (exponent < -4 || exponent >= 16) {  // at least two exponent digits, as to_chars writes them
    return text;
  }
  std::array<char, 400> fixed{};
  const auto stop =
      std::to_chars(fixed.data(), fixed.data() + fixed.size(), value, std::chars_format::fixed);
  std::string out(fixed.data(), stop.ptr);
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

std::string format_tensor(const Tensor& tensor) {
  const std::string prefix = "tensor(";
  std::vector<std::string> suffixes;
  std::string text;
  if (tensor.numel() == 0 && tensor.dim() > 0) {
    text = "[]";
    if (tensor.dim() != 1) {
      suffixes.push_back(cat("size=(", strip(list_to_string(tensor.sizes()).substr(1)), ""));
      suffixes.back().back() = ')';
    }
  } else {
    const NumberFormat format(tensor);
    text = tensor.dim() == 0 ? strip(format.padded(tensor))
                             : body(tensor, format, prefix.size(), summarised(tensor));
  }
  if (!dtype_is_implied(tensor.dtype())) {
    suffixes.push_back(cat("dtype=pt2q.", dtype_name(tensor.dtype())));
  }
  std::string out = prefix + text;
  size_t last_line = out.size() - (out.rfind('\n') == std::string::npos ? 0 : out.rfind('\n') + 1);
  for (const std::string& suffix : suffixes) {
    if (last_line + suffix.size() + 2 + 1 > kLineWidth) {
      out += ",\n" + std::string(prefix.size(), ' ') + suffix;
      last_line = prefix.size() + suffix.size();
    } else {
      out += ", " + suffix;
      last_line += suffix.size() + 2;
    }
  }
  return out + ")";
}

std::string format_value(const Tensor& tensor) {
  if (tensor.dim() > 0) return format_tensor(tensor);
  return is_floating_point(tensor.dtype()) ? python_float(tensor.item())
                                           : std::to_string(tensor.item_int());
}

}  // namespace pt2q
