// Arrays across the border without NumPy's C API: the buffer protocol, DLPack, and as a last resort
// methods of the array object. So one build works with every NumPy, and import needs none.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>

#include "pt2q/tensor.h"

namespace pt2q::python {

namespace py = pybind11;

// True for objects that are arrays (not pt2q tensors): NumPy arrays, torch tensors, array.array,
// memoryviews, anything with __dlpack__ or __array__. Lists, numbers and strings are not.
bool is_array(py::handle object);

// A tensor that shares the array's memory where its layout allows it (any positive strides, native
// byte order, aligned; read-only arrays give read-only tensors), else a copy. Throws TypeError for
// element types that pt2q does not have.
Tensor tensor_from_array(py::handle object);

// A new tensor from nested sequences of numbers, or a copy of an array. Without a dtype: bool,
// int64 or float32 as torch.tensor does. Throws ValueError for ragged sequences.
Tensor tensor_from_data(py::handle data, std::optional<DType> dtype);

// A NumPy array that shares the tensor's memory (bfloat16 as ml_dtypes.bfloat16).
py::object numpy_from_tensor(const Tensor& tensor);

// Python's buffer protocol for pt2q.Tensor.
int tensor_getbuffer(PyObject* self, Py_buffer* view, int flags);
void tensor_releasebuffer(PyObject* self, Py_buffer* view);

// A legacy "dltensor" capsule that keeps the tensor's storage alive.
py::capsule dlpack_from_tensor(const Tensor& tensor);
Tensor tensor_from_dlpack(py::handle producer);

}  // namespace pt2q::python
