// FX's view of a node's arguments: trailing defaults hidden, keyword-only arguments in kwargs.
#pragma once

#include <pybind11/pybind11.h>

#include "pt2q/graph.h"

namespace pt2q::python {

namespace py = pybind11;

py::tuple node_args(const Node& n);
py::dict node_kwargs(const Node& n);
// {path: (path, type)}, outermost first.
py::dict module_stack_to_python(const std::vector<ModuleStackEntry>& stack);
void set_node_call(Node& n, const py::object& args, const py::object& kwargs);

}  // namespace pt2q::python
