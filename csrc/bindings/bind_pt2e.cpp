// prepare_pt2e, convert_pt2e and switching captured models between training and evaluation.
#include "base/strings.h"
#include "bindings/bindings.h"
#include "bindings/quantizer_caster.h"
#include "passes/pt2e_passes.h"
#include "pt2q/error.h"
#include "pt2q/pt2e.h"

namespace pt2q::python {
namespace {

GraphModule& graph_module(const py::object& model) {
  if (!py::isinstance<GraphModule>(model)) {
    throw ValueError(cat("input model must be a GraphModule, Got type:",
                         std::string(py::str(py::type::of(model)))),
                     "capture it first: pt2q.export.export(model, example_inputs).module()");
  }
  return model.cast<GraphModule&>();
}

py::object prepare(const py::object& model, const py::object& quantizer) {
  prepare_pt2e(graph_module(model), *quantizer_from_python(quantizer));
  return model;
}

py::object prepare_qat(const py::object& model, const py::object& quantizer) {
  prepare_qat_pt2e(graph_module(model), *quantizer_from_python(quantizer));
  return model;
}

py::object convert(const py::object& model, const py::object& use_reference_representation,
                   bool fold_quantize, bool fold_quantize_into_mutable_buffers) {
  if (!PyBool_Check(use_reference_representation.ptr())) {
    throw ValueError(
        cat("Unexpected argument type for `use_reference_representation`, please make sure you "
            "intend to pass argument ",
            std::string(py::str(use_reference_representation)), " to convert_pt2e"));
  }
  if (fold_quantize_into_mutable_buffers && !fold_quantize) {
    throw ValueError("fold_quantize_into_mutable_buffers=True requires fold_quantize=True");
  }
  convert_pt2e(graph_module(model), use_reference_representation.cast<bool>(), fold_quantize);
  return model;
}

}  // namespace

void bind_pt2e(py::module_& m) {
  m.def("prepare_pt2e", &prepare, py::arg("model"), py::arg("quantizer"),
        "Folds batch norms, lets the quantizer annotate and inserts observers; returns the model, "
        "which is changed in place.\n\nRaises ValueError for a model that is prepared already.");
  m.def("prepare_qat_pt2e", &prepare_qat, py::arg("model"), py::arg("quantizer"),
        "As prepare_pt2e, for quantization-aware training: inserts fake-quantizes and rewrites "
        "convolutions with batch norm so that the folded weight is quantized. Train with "
        "pt2q.interop.torch, then call convert_pt2e.");
  m.def("convert_pt2e", &convert, py::arg("model"), py::arg("use_reference_representation") = false,
        py::arg("fold_quantize") = true, py::arg("fold_quantize_into_mutable_buffers") = false,
        "Replaces observers by quantize/dequantize operators and stores weights as integers; "
        "returns the model, which is changed in place.\n\nRaises AssertionError for a model that "
        "was not prepared.");
  m.def("_fold_conv_bn", &fold_conv_bn, py::arg("model"));
  m.def(
      "merge_observers",
      [](const py::object& model, const py::object& other) {
        merge_observers(graph_module(model), graph_module(other));
        return model;
      },
      py::arg("model"), py::arg("other"),
      "Adds the statistics of a copy of the prepared model that was calibrated on other data; "
      "returns the model.\n\nRaises ValueError when the two have different observers.");
  m.def(
      "move_exported_model_to_eval",
      [](const py::object& model) {
        move_exported_model_to_eval(graph_module(model));
        return model;
      },
      py::arg("model"), "Switches dropout and batch norm of a captured model; returns it.");
  m.def(
      "move_exported_model_to_train",
      [](const py::object& model) {
        move_exported_model_to_train(graph_module(model));
        return model;
      },
      py::arg("model"), "Switches dropout and batch norm of a captured model; returns it.");
}

}  // namespace pt2q::python
