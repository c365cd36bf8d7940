// Python's view of the operator table.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "pt2q/op.h"

namespace pt2q::python {

namespace py = pybind11;

struct OpPacket {
  std::string name;  // "aten.add"
};

// OpOverload, or Python's own function for `_operator.*`.
py::object op_object(const OpDef& op);
// OpOverload, packet, functions of `operator`, or overload name. Throws TypeError.
const OpDef& op_from(py::handle target);

py::object call_op(const OpDef& op, const py::args& args, const py::kwargs& kwargs);
py::object call_packet(const std::string& packet, const py::args& args, const py::kwargs& kwargs);

}  // namespace pt2q::python
