// The numeric debugger: loggers, handles and distances. Names and dataclasses are in pt2q.ao.
#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "bindings/node_args.h"
#include "passes/pt2e_passes.h"
#include "pt2q/debug.h"
#include "tensor/compare.h"

namespace pt2q::python {

void bind_debug(py::module_& m) {
  py::class_<NodeSource>(m, "NodeSource", "The node of an exported program a node stands for.")
      .def_readonly("name", &NodeSource::name)
      .def_readonly("graph_id", &NodeSource::graph_id)
      .def_property_readonly("from_node", [](const NodeSource&) { return py::list(); })
      .def("__repr__", [](const NodeSource& s) {
        return "NodeSource(name='" + s.name + "', graph_id=" + std::to_string(s.graph_id) + ")";
      });
  py::class_<OutputLogger, Module, std::shared_ptr<OutputLogger>>(
      m, "OutputLogger", "Keeps a copy of every tensor that passes.")
      .def_property_readonly("_source", &OutputLogger::debug_info)
      .def_property_readonly("node_name", &OutputLogger::node_name)
      .def_property_readonly(
          "nn_module_stack",
          [](const OutputLogger& logger) { return module_stack_to_python(logger.module_stack()); })
      .def_property_readonly("stats", &OutputLogger::stats, "The tensors, oldest first.")
      .def("clear", &OutputLogger::clear)
      .def("__repr__", &OutputLogger::repr);
  py::class_<Difference>(m, "_Difference")
      .def(py::init<>())
      .def_readonly("max_abs", &Difference::max_abs)
      .def_readonly("count", &Difference::count)
      .def_property_readonly("mse", &Difference::mse)
      .def_property_readonly("sqnr", &Difference::sqnr)
      .def("add", &Difference::add);
  m.def("_difference", &difference, py::arg("actual"), py::arg("reference"),
        py::call_guard<py::gil_scoped_release>());
  m.def("_generate_numeric_debug_handle", &generate_numeric_debug_handle, py::arg("model"));
  m.def("_insert_output_loggers", &insert_output_loggers, py::arg("model"));
  m.def("_fold_batch_norms", &fold_conv_bn, py::arg("model"));
  m.def("_output_loggers", &output_loggers, py::arg("model"));
}

}  // namespace pt2q::python
