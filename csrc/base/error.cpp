#include "pt2q/error.h"

#include <utility>

namespace pt2q {

Error::Error(const std::string& message, std::string hint)
    : std::runtime_error(message), message_(message), hint_(std::move(hint)) {
  compose();
}

Error& Error::at_node(const std::string& node) {
  if (node_.empty()) node_ = node;
  compose();
  return *this;
}

Error& Error::at_op(const std::string& op) {
  if (op_.empty()) op_ = op;
  compose();
  return *this;
}

void Error::compose() {
  full_ = message_;
  if (!node_.empty() || !op_.empty()) {
    full_ += " (";
    if (!node_.empty()) full_ += "node '" + node_ + "'";
    if (!node_.empty() && !op_.empty()) full_ += ", ";
    if (!op_.empty()) full_ += "operator " + op_;
    full_ += ")";
  }
  if (!hint_.empty()) full_ += "\nHint: " + hint_;
}

InternalError::InternalError(const std::string& message)
    : Error("internal error: " + message, "this is a defect of pt2q, please report it") {}

}  // namespace pt2q
