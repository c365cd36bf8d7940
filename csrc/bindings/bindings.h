// One function per topic; module.cpp calls them in dependency order.
#pragma once

#include <pybind11/pybind11.h>

namespace pt2q::python {

namespace py = pybind11;

void bind_errors(py::module_& m);
void bind_system(py::module_& m);
void bind_dtype(py::module_& m);
void bind_tensor(py::module_& m);
void bind_index(py::module_& m);
void bind_random(py::module_& m);
void bind_ops(py::module_& m);
void bind_symint(py::module_& m);
void bind_graph(py::module_& m);
void bind_node(py::module_& m);
void bind_meta(py::module_& m);
void bind_graph_module(py::module_& m);
void bind_trace(py::module_& m);
void bind_runtime(py::module_& m);
void bind_streams(py::module_& m);
void bind_xpu(py::module_& m);
void bind_qscheme(py::module_& m);
void bind_observer_interface(py::module_& m);  // called by bind_observers
void bind_observers(py::module_& m);
void bind_affine(py::module_& m);
void bind_fake_quantize(py::module_& m);
void bind_specs(py::module_& m);
void bind_quantizers(py::module_& m);
void bind_pt2e(py::module_& m);
void bind_quantized(py::module_& m);
void bind_modes(py::module_& m);
void bind_io(py::module_& m);
void bind_debug(py::module_& m);

}  // namespace pt2q::python
