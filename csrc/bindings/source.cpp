#include "bindings/source.h"

#include <pybind11/pybind11.h>
// After Python.h:
#include <frameobject.h>

#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/graph.h"

namespace pt2q::python {
namespace {

namespace py = pybind11;

const std::string& package_folder() {
  static const std::string folder = [] {
    const std::string file = py::str(py::module_::import("pt2q._core").attr("__file__"));
    return file.substr(0, file.rfind('/') + 1);
  }();
  return folder;
}

bool is_user_file(const std::string& file) {
  if (starts_with(file, "<frozen")) return false;
  const std::string& own = package_folder();
  return !starts_with(file, own) || starts_with(file, own + "vision/");
}

}  // namespace

std::string user_source_line() {
  auto frame = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(PyEval_GetFrame()));
  while (frame) {
    auto* f = reinterpret_cast<PyFrameObject*>(frame.ptr());
    const auto code =
        py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(PyFrame_GetCode(f)));
    const std::string file = py::str(code.attr("co_filename"));
    if (is_user_file(file)) {
      return cat("File \"", file, "\", line ", PyFrame_GetLineNumber(f), ", in ",
                 std::string(py::str(code.attr("co_name"))));
    }
    frame = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(PyFrame_GetBack(f)));
  }
  return "";
}

void require_values(const Tensor& tensor, const std::string& what) {
  const Node* node = tensor.node();
  if (node == nullptr) return;
  const std::string line = user_source_line();
  TypeError error(
      cat("data-dependent control flow: ", what, " needs the values of '", node->name(), "' (",
          node->op_or_null() != nullptr ? node->target() : opcode_name(node->opcode()),
          "), which do not exist while the model is captured", line.empty() ? "" : "; at ", line),
      "use tensor operations instead (where, clamp, masked_fill), or compute this outside the "
      "model");
  error.at_node(node->name());
  if (node->op_or_null() != nullptr) error.at_op(node->target());
  throw error;
}

}  // namespace pt2q::python
