// Value <-> Python. Everything an operator takes or returns passes through here.
#pragma once

#include <pybind11/pybind11.h>

#include "bindings/dtype_caster.h"
#include "bindings/handle.h"
#include "pt2q/value.h"

namespace pt2q::python {

namespace py = pybind11;

// What the Python class pt2q.SymInt holds: a size that depends on dynamic dimensions. `node` is the
// graph node that yields it during capture, null in metadata.
struct PySymInt {
  SymInt value;
  std::shared_ptr<Node> node;
};

// None, numbers, strings, dtypes, devices, tensors, arrays (shared, not copied), nodes, symbolic
// sizes, and lists or tuples of these. Throws TypeError for anything else.
Value value_from_python(py::handle object);

// Lists become lists. Nodes become pt2q.fx.Node.
py::object value_to_python(const Value& value);
// For results of operators: lists become tuples, and a node is a symbolic size.
py::object result_to_python(const Value& value);

py::object size_to_python(const SymInt& size);      // int or SymInt
py::object shape_to_python(const SymShape& shape);  // pt2q.Size
py::object shape_to_python(const Shape& shape);

}  // namespace pt2q::python
