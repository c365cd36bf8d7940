// Configurations of quantizers, helpers for writing them, and the names users may give.
#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include "base/strings.h"
#include "bindings/bindings.h"
#include "bindings/handle.h"
#include "bindings/op_objects.h"
#include "bindings/quantizer_caster.h"
#include "pt2q/error.h"
#include "pt2q/quantizers.h"

namespace pt2q::python {
namespace {

void bind_configs(py::module_& m) {
  m.def(
      "get_default_x86_inductor_quantization_config",
      [](bool is_qat, bool is_dynamic, bool reduce_range) {
        return config_to_python(
            get_default_x86_inductor_quantization_config(is_qat, is_dynamic, reduce_range));
      },
      py::arg("is_qat") = false, py::arg("is_dynamic") = false, py::arg("reduce_range") = false,
      "uint8 activations (0..127 with reduce_range), int8 weights per channel.");
  m.def("get_x86_inductor_linear_dynamic_fp16_config",
        [] { return config_to_python(get_x86_inductor_linear_dynamic_fp16_config()); });
  m.def("get_default_xpu_inductor_quantization_config",
        [] { return config_to_python(get_default_xpu_inductor_quantization_config()); });
  m.def(
      "get_default_arm_inductor_quantization_config",
      [](bool is_qat, bool is_dynamic) {
        return config_to_python(get_default_arm_inductor_quantization_config(is_qat, is_dynamic));
      },
      py::arg("is_qat") = false, py::arg("is_dynamic") = false);
  m.def(
      "get_symmetric_quantization_config",
      [](bool is_per_channel, bool is_qat, bool is_dynamic, int64_t act_qmin, int64_t act_qmax,
         int64_t weight_qmin, int64_t weight_qmax) {
        return config_to_python(get_symmetric_quantization_config(
            is_per_channel, is_qat, is_dynamic, act_qmin, act_qmax, weight_qmin, weight_qmax));
      },
      py::arg("is_per_channel") = false, py::arg("is_qat") = false, py::arg("is_dynamic") = false,
      py::arg("act_qmin") = -128, py::arg("act_qmax") = 127, py::arg("weight_qmin") = -127,
      py::arg("weight_qmax") = 127, "int8 activations and symmetric int8 weights.");
}

void bind_helpers(py::module_& m) {
  m.def(
      "annotate_input_qspec_map",
      [](Node& node, Node& input, const py::object& spec) {
        annotate_input_qspec_map(&node, &input, spec_from_python(spec, "qspec"));
      },
      py::arg("node"), py::arg("input_node"), py::arg("qspec"));
  m.def(
      "annotate_output_qspec",
      [](Node& node, const py::object& spec) {
        annotate_output_qspec(&node, spec_from_python(spec, "qspec"));
      },
      py::arg("node"), py::arg("qspec"));
  m.def(
      "is_valid_annotation",
      [](const std::shared_ptr<QuantizationAnnotation>& a) { return is_valid_annotation(a.get()); },
      py::arg("annotation"));
  m.def(
      "get_module_name_filter",
      [](const std::string& name) {
        return py::cpp_function(
            [filter = get_module_name_filter(name)](const Node& n) { return filter(&n); });
      },
      py::arg("module_name"));
  m.def(
      "leave_activations_float",
      [](GraphModule& model, const std::string& name) { leave_activations_float(model, name); },
      py::arg("model"), py::arg("module_name"),
      "For annotate() of your own quantizers: tensors made inside the module of that path (or "
      "pattern) lose their specs, and what shares them; weights keep theirs.");
  m.def(
      "_capabilities_table",
      [](const py::list& entries) {
        std::vector<OperatorConfig> list;
        for (const py::handle entry : entries) {
          OperatorConfig c{config_from_python(entry.attr("config")), {}};
          for (const py::handle pattern : entry.attr("operators")) {
            std::vector<std::string> names;
            for (const py::handle op : pattern) names.push_back(callable_name(op));
            c.operators.push_back(std::move(names));
          }
          list.push_back(std::move(c));
        }
        return capabilities_table(list);
      },
      py::arg("capabilities"));
  const auto getter = [&m](const char* name, SpecPtr (*get)(const QuantizationConfig*)) {
    m.def(
        name,
        [get](const py::object& config) {
          return spec_to_python(get(config_from_python(config).get()));
        },
        py::arg("quantization_config"));
  };
  getter("get_input_act_qspec", &get_input_act_qspec);
  getter("get_output_act_qspec", &get_output_act_qspec);
  getter("get_weight_qspec", &get_weight_qspec);
  getter("get_bias_qspec", &get_bias_qspec);
}

}  // namespace

std::string callable_name(py::handle object) {
  if (py::isinstance<py::str>(object)) return object.cast<std::string>();
  try {
    return op_from(object).name;
  } catch (const Error&) {
    // A plain function or class.
  }
  if (py::isinstance<OpPacket>(object)) return object.cast<const OpPacket&>().name;
  if (py::hasattr(object, "__name__")) return py::str(object.attr("__name__"));
  return py::str(object);
}

std::string full_class_name(py::handle object) {
  if (py::isinstance<py::str>(object)) return object.cast<std::string>();
  if (!PyType_Check(object.ptr())) {
    throw TypeError(cat("a module class is needed, got ", std::string(py::repr(object))));
  }
  return cat(std::string(py::str(object.attr("__module__"))), ".",
             std::string(py::str(object.attr("__qualname__"))));
}

void bind_quantizer_settings(py::module_& m) {
  bind_configs(m);
  bind_helpers(m);
}

}  // namespace pt2q::python
