// Quantized tensors at the border: pt2q.quantize_per_tensor(...) and operators called on them.
#pragma once

#include <pybind11/pybind11.h>

#include "pt2q/quantized.h"

namespace pt2q::python {

namespace py = pybind11;

// What the Python class pt2q.QuantizedTensor holds.
struct PyQuantized {
  QuantizedTensor tensor;
  bool numpy = false;  // made from a NumPy array: dequantize() returns one
};

// Whether an argument, or the first item of a list argument, is a quantized tensor.
bool holds_quantized(const py::args& args);
// `packet` ("aten.relu") or, where that is empty, `op` on arguments that hold quantized tensors.
py::object call_on_quantized(const std::string& packet, const OpDef* op, const py::args& args,
                             const py::kwargs& kwargs);

}  // namespace pt2q::python
