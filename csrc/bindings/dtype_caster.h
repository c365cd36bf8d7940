// DType, MemoryFormat and Layout are singleton objects in Python, so that `x.dtype is pt2q.float32`
// holds. Include this wherever a binding mentions one of them.
#pragma once

#include <pybind11/pybind11.h>

#include "pt2q/dtype.h"

namespace pt2q::python {

namespace py = pybind11;

py::object dtype_object(DType dtype);
// Accepts pt2q dtypes, NumPy dtypes and scalar types, float, int and bool. False when not a dtype.
bool dtype_from(py::handle object, DType* out);
bool is_dtype(py::handle object);  // exactly a pt2q dtype

py::object memory_format_object(MemoryFormat format);
bool memory_format_from(py::handle object, MemoryFormat* out);

py::object layout_object(Layout layout);
bool layout_from(py::handle object, Layout* out);

}  // namespace pt2q::python

namespace pybind11::detail {

template <>
struct type_caster<pt2q::DType> {
  PYBIND11_TYPE_CASTER(pt2q::DType, const_name("dtype"));
  bool load(handle source, bool) { return pt2q::python::dtype_from(source, &value); }
  static handle cast(pt2q::DType dtype, return_value_policy, handle) {
    return pt2q::python::dtype_object(dtype).release();
  }
};

template <>
struct type_caster<pt2q::MemoryFormat> {
  PYBIND11_TYPE_CASTER(pt2q::MemoryFormat, const_name("memory_format"));
  bool load(handle source, bool) { return pt2q::python::memory_format_from(source, &value); }
  static handle cast(pt2q::MemoryFormat format, return_value_policy, handle) {
    return pt2q::python::memory_format_object(format).release();
  }
};

}  // namespace pybind11::detail
