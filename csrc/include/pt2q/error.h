// Errors thrown by pt2q. Every error says what is wrong, where (node, operator) and what to do
// (hint). In Python each leaf is a subclass of pt2q.Error and of the built-in exception of the same
// name.
#pragma once

#include <stdexcept>
#include <string>

namespace pt2q {

// A value, as every exception: copies are independent of each other.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, std::string hint = "");

  // The same error with the graph node or operator where it happened added (kept if already set).
  Error& at_node(const std::string& node);
  Error& at_op(const std::string& op);

  const char* what() const noexcept override { return full_.c_str(); }
  const std::string& message() const { return message_; }
  const std::string& node() const { return node_; }
  const std::string& op() const { return op_; }
  const std::string& hint() const { return hint_; }

 private:
  void compose();

  std::string message_;
  std::string hint_;
  std::string node_;
  std::string op_;
  std::string full_;
};

// Base of the leaves: `throw TypeError(...).at_op(name)` throws a TypeError, not a plain Error.
template <typename Leaf>
class ErrorLeaf : public Error {
 public:
  using Error::Error;
  Leaf& at_node(const std::string& node) {
    Error::at_node(node);
    return static_cast<Leaf&>(*this);
  }
  Leaf& at_op(const std::string& op) {
    Error::at_op(op);
    return static_cast<Leaf&>(*this);
  }
};

// A value that is out of range or inconsistent with another (Python: ValueError).
class ValueError : public ErrorLeaf<ValueError> {
 public:
  using ErrorLeaf::ErrorLeaf;
};

// An argument of the wrong kind (Python: TypeError).
class TypeError : public ErrorLeaf<TypeError> {
 public:
  using ErrorLeaf::ErrorLeaf;
};

// Something pt2q does not do (Python: NotImplementedError).
class NotImplementedError : public ErrorLeaf<NotImplementedError> {
 public:
  using ErrorLeaf::ErrorLeaf;
};

// An index or dimension out of range (Python: IndexError).
class IndexError : public ErrorLeaf<IndexError> {
 public:
  using ErrorLeaf::ErrorLeaf;
};

// A name that does not exist (Python: KeyError).
class KeyError : public ErrorLeaf<KeyError> {
 public:
  using ErrorLeaf::ErrorLeaf;
};

// A contract of PyTorch's API that PyTorch itself checks with assert (Python: AssertionError).
class AssertionError : public ErrorLeaf<AssertionError> {
 public:
  using ErrorLeaf::ErrorLeaf;
};

// A wrong state or a failure outside the caller's arguments (Python: RuntimeError).
class RuntimeError : public ErrorLeaf<RuntimeError> {
 public:
  using ErrorLeaf::ErrorLeaf;
};

// A file that cannot be read or written (Python: OSError).
class FileError : public ErrorLeaf<FileError> {
 public:
  using ErrorLeaf::ErrorLeaf;
};

// A defect of pt2q itself; never the result of bad input (Python: RuntimeError).
class InternalError : public Error {
 public:
  explicit InternalError(const std::string& message);
};

}  // namespace pt2q
