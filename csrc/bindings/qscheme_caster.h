// QScheme in Python: singletons pt2q.per_tensor_affine ... Include this wherever a binding mentions
// a scheme.
#pragma once

#include <pybind11/pybind11.h>

#include "pt2q/qscheme.h"

namespace pt2q::python {

namespace py = pybind11;

py::object qscheme_object(QScheme scheme);
bool qscheme_from(py::handle object, QScheme* out);  // false when not a scheme

}  // namespace pt2q::python

namespace pybind11::detail {

template <>
struct type_caster<pt2q::QScheme> {
  PYBIND11_TYPE_CASTER(pt2q::QScheme, const_name("qscheme"));
  bool load(handle source, bool) { return pt2q::python::qscheme_from(source, &value); }
  static handle cast(pt2q::QScheme scheme, return_value_policy, handle) {
    return pt2q::python::qscheme_object(scheme).release();
  }
};

}  // namespace pybind11::detail
