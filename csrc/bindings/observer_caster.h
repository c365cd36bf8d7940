// Observers and recipes for them across the border. In Python a recipe is what PyTorch users write:
// a class, Class.with_args(...), functools.partial, or any callable that returns an observer.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "bindings/handle.h"
#include "pt2q/observer.h"

namespace pt2q::python {

namespace py = pybind11;

// An observer that keeps its Python object alive: classes written in Python lose their overrides
// when only the C++ part survives. Throws TypeError when `object` is no observer.
std::shared_ptr<Observer> observer_from_python(py::handle object);
// The same for any submodule.
std::shared_ptr<Module> module_from_python(py::handle object);

// Throws TypeError when `object` is not callable.
ObserverCtr recipe_from_python(py::handle object);
// The Python object a recipe was made from, or the class / with_args partial it stands for.
py::object recipe_to_python(const ObserverCtr& recipe);

// Constructor arguments as Python spells them: schemes become their names. False when a value has
// no counterpart in Value.
bool kwarg_from_python(py::handle object, Value* out);
py::object kwarg_to_python(const std::string& name, const Value& value);

// QParams as the pair (scale, zero_point) and back.
py::tuple qparams_to_python(const QParams& qparams);
QParams qparams_from_python(py::handle object, const std::string& whose);

}  // namespace pt2q::python

namespace pybind11::detail {

template <>
struct type_caster<pt2q::ObserverCtr> {
  PYBIND11_TYPE_CASTER(pt2q::ObserverCtr, const_name("Callable"));
  bool load(handle source, bool) {
    if (PyCallable_Check(source.ptr()) == 0) return false;
    value = pt2q::python::recipe_from_python(source);
    return true;
  }
  static handle cast(const pt2q::ObserverCtr& recipe, return_value_policy, handle) {
    return pt2q::python::recipe_to_python(recipe).release();
  }
};

}  // namespace pybind11::detail
