// Characters and words of a graph's text, with errors that name the line.
#pragma once

#include <cctype>
#include <string>

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q::text {

class Scanner {
 public:
  // `source` must outlive the object.
  explicit Scanner(const std::string& source) : source_(source) {}

 protected:
  static bool word_char(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw ValueError(cat("graph text, line ", line(), ": ", what));
  }
  int line() const {
    if (pos_ < counted_) {
      counted_ = 0;
      line_ = 1;
    }
    for (; counted_ < pos_ && counted_ < source_.size(); ++counted_) {
      line_ += source_[counted_] == '\n' ? 1 : 0;
    }
    return line_;
  }

  void skip_space() {  // within a line; inside brackets new lines count as space
    while (pos_ < source_.size()) {
      const char c = source_[pos_];
      if (c == '#') {
        while (pos_ < source_.size() && source_[pos_] != '\n') ++pos_;
      } else if (c == ' ' || c == '\t' || c == '\r' || (c == '\n' && depth_ > 0)) {
        ++pos_;
      } else {
        return;
      }
    }
  }
  void skip_blank() {
    ++depth_;
    skip_space();
    --depth_;
  }
  char peek() {
    skip_space();
    return pos_ < source_.size() ? source_[pos_] : '\0';
  }
  bool accept(char c) {
    if (peek() != c) return false;
    ++pos_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(cat("expected '", c, "'"));
  }
  bool at_word(const std::string& word) {
    skip_space();
    return source_.compare(pos_, word.size(), word) == 0 &&
           (pos_ + word.size() >= source_.size() || !word_char(source_[pos_ + word.size()]));
  }
  bool accept_word(const std::string& word) {
    if (!at_word(word)) return false;
    pos_ += word.size();
    return true;
  }
  std::string word() {
    skip_space();
    const size_t begin = pos_;
    while (pos_ < source_.size() && word_char(source_[pos_])) ++pos_;
    if (pos_ == begin) fail("expected a name");
    return source_.substr(begin, pos_ - begin);
  }
  std::string dotted() {  // operator names; "{a,b}" and "|" make alternatives
    skip_space();
    const size_t begin = pos_;
    int braces = 0;
    while (pos_ < source_.size()) {
      const char c = source_[pos_];
      if (c == '{') ++braces;
      if (c == '}') --braces;
      const bool inside = braces > 0 && (c == ',' || c == ' ');
      if (!word_char(c) && c != '.' && c != '|' && c != '{' && c != '}' && !inside) break;
      ++pos_;
    }
    if (pos_ == begin) fail("expected an operator");
    return source_.substr(begin, pos_ - begin);
  }
  std::string bracketed() {  // "[target]"
    expect('[');
    const size_t begin = pos_;
    while (pos_ < source_.size() && source_[pos_] != ']' && source_[pos_] != '\n') ++pos_;
    if (pos_ >= source_.size() || source_[pos_] != ']') fail("unclosed '['");
    return source_.substr(begin, pos_++ - begin);
  }

  const std::string& source_;
  size_t pos_ = 0;
  int depth_ = 0;  // of brackets

 private:
  mutable size_t counted_ = 0;  // line_ is the line of this position
  mutable int line_ = 1;
};

}  // namespace pt2q::text
