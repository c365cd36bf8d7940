// Enumerations and granularities of the affine observers: Python objects here, names in C++.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "observers/affine_observer.h"

namespace pt2q::python {

namespace py = pybind11;

// The name of an enumeration member, or a string itself. Throws TypeError.
std::string enum_member_name(py::handle object, const char* what);
Granularity granularity_from_python(py::handle object);  // AssertionError for None
py::object granularity_to_python(const Granularity& granularity);
// pt2q.ao.quantization.observer.MappingType.<name> and so on.
py::object enum_member(const char* enumeration, const std::string& name);

// Recipes hold members by name and granularities as a list of name and numbers. False for others.
bool affine_kwarg_from_python(py::handle object, Value* out);
py::object affine_kwarg_to_python(const std::string& name, const Value& value);  // None for others

}  // namespace pt2q::python
