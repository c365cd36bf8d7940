// Small string helpers used everywhere.
#pragma once

#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace pt2q {

// Concatenates the printed form of all arguments.
template <typename... Parts>
std::string cat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

std::vector<std::string> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string strip(std::string_view text);
// No truncated, overlong or surrogate sequences.
bool is_utf8(std::string_view text);
bool starts_with(std::string_view text, std::string_view prefix);
bool ends_with(std::string_view text, std::string_view suffix);

// Shortest decimal text that reads back as exactly `value`, always with '.', 'e', "inf" or "nan".
std::string double_to_string(double value);

// "[1, 3, 224]" for any range of printable items.
template <typename Range>
std::string list_to_string(const Range& items) {
  std::ostringstream out;
  out << '[';
  bool first = true;
  for (const auto& item : items) {
    if (!first) out << ", ";
    first = false;
    out << item;
  }
  out << ']';
  return out.str();
}

}  // namespace pt2q
