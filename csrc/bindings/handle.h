// Ownership across the border: Python objects kept by C++, and C++ graphs kept by Python handles.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "pt2q/graph.h"

namespace pt2q::python {

namespace py = pybind11;

// A Python object that C++ code may copy and drop on any thread (std::any, shared_ptr owners).
class PyHandle {
 public:
  PyHandle() = default;
  explicit PyHandle(py::object object)
      : object_(object.release().ptr(), [](PyObject* p) {
          if (p == nullptr || Py_IsInitialized() == 0) return;
          const py::gil_scoped_acquire gil;
          Py_DECREF(p);
        }) {}
  py::object get() const { return py::reinterpret_borrow<py::object>(object_.get()); }
  bool empty() const { return object_ == nullptr; }
  std::shared_ptr<void> owner() const { return object_; }

 private:
  std::shared_ptr<PyObject> object_;
};

// The holder Python uses for nodes: it keeps the whole graph alive.
inline std::shared_ptr<Node> node_handle(Node* node) {
  if (node == nullptr) return nullptr;
  return std::shared_ptr<Node>(node->graph().shared_from_this(), node);
}

}  // namespace pt2q::python
