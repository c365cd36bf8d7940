// An environment variable for a block; the old value is back afterwards.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>

namespace pt2q::testing {

class Environment {
 public:
  // nullopt: not set at all.
  explicit Environment(const char* name, const std::optional<std::string>& value = std::nullopt)
      : name_(name) {
    if (const char* old = std::getenv(name)) saved_ = old;
    set(value);
  }
  ~Environment() { set(saved_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  void set(const std::optional<std::string>& value) {
    value ? ::setenv(name_, value->c_str(), 1) : ::unsetenv(name_);
  }

 private:
  const char* name_;
  std::optional<std::string> saved_;
};

}  // namespace pt2q::testing
