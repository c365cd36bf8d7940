// Specs, edges and quantizers across the border.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <string>

#include "bindings/handle.h"
#include "pt2q/quantizer.h"

namespace pt2q::python {

namespace py = pybind11;

// None is null. Throws TypeError for an object that is no quantization spec. `what` names it.
SpecPtr spec_from_python(py::handle object, const std::string& what);
py::object spec_to_python(const SpecPtr& spec);

ConfigPtr config_from_python(py::handle object);
py::object config_to_python(const ConfigPtr& config);

// A node, or a pair (producer, consumer) of nodes.
EdgeOrNode edge_from_python(py::handle object);
py::object edge_to_python(const EdgeOrNode& e);

// A quantizer that keeps its Python object alive.
std::shared_ptr<Quantizer> quantizer_from_python(py::handle object);

// "conv2d" of F.conv2d, "aten.conv2d.default" of an operator, "Conv2d" of a class; strings as they
// are.
std::string callable_name(py::handle object);
// "pt2q.nn.modules.conv.Conv2d"; strings as they are.
std::string full_class_name(py::handle object);

// Configurations and helpers, in a file of their own.
void bind_quantizer_settings(py::module_& m);

}  // namespace pt2q::python
