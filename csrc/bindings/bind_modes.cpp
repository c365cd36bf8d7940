// Front ends beside the export flow: TorchScript mode (prepare_jit) and QuantConf.
#include <pybind11/stl.h>

#include "base/strings.h"
#include "bindings/bindings.h"
#include "bindings/dtype_caster.h"
#include "bindings/observer_caster.h"
#include "bindings/qscheme_caster.h"
#include "pt2q/qconfig.h"
#include "pt2q/quantconf.h"

namespace pt2q::python {
namespace {

void prepare(GraphModule& model, const py::dict& qconfigs, bool is_dynamic) {
  QConfigByPath configs;
  for (const auto& [path, qconfig] : qconfigs) {
    std::optional<QConfig> config;
    if (!qconfig.is_none()) {
      config = QConfig{recipe_from_python(qconfig.attr("activation")),
                       recipe_from_python(qconfig.attr("weight"))};
    }
    configs.emplace_back(path.cast<std::string>(), config);
  }
  prepare_jit(model, std::move(configs), is_dynamic);
}

// A recorder that listens on this thread from enter() to leave().
class Calibration {
 public:
  Calibration(std::shared_ptr<QuantConf> conf, bool default_recipe)
      : conf_(std::move(conf)), recorder_(*conf_, default_recipe) {}
  void enter() { scope_ = std::make_unique<CallListener::Scope>(&recorder_); }
  // `failed`: the block ended by an exception; what it saw so far is not turned into scales.
  void leave(bool failed) {
    scope_.reset();
    if (failed) {
      recorder_.end_forward();
    } else {
      recorder_.finish();
    }
  }
  void end_forward() { recorder_.end_forward(); }

 private:
  std::shared_ptr<QuantConf> conf_;
  QuantConfRecorder recorder_;
  std::unique_ptr<CallListener::Scope> scope_;
};

template <class T>
void member(py::class_<QuantConfEntry>& cls, const char* name, T QuantConfEntry::*field) {
  cls.def_readwrite(name, field);
}

void bind_entry(py::module_& m) {
  py::class_<QuantConfEntry> cls(m, "QuantConfEntry", "One operator call of a configuration.");
  member(cls, "id", &QuantConfEntry::id);
  member(cls, "name", &QuantConfEntry::name);
  member(cls, "algorithm", &QuantConfEntry::algorithm);
  member(cls, "weight_granularity", &QuantConfEntry::weight_granularity);
  member(cls, "input_scales", &QuantConfEntry::input_scales);
  member(cls, "input_zero_points", &QuantConfEntry::input_zero_points);
  member(cls, "output_scales", &QuantConfEntry::output_scales);
  member(cls, "output_zero_points", &QuantConfEntry::output_zero_points);
  member(cls, "weight_scales", &QuantConfEntry::weight_scales);
  member(cls, "input_quantized_dtypes", &QuantConfEntry::input_quantized_dtypes);
  member(cls, "output_quantized_dtypes", &QuantConfEntry::output_quantized_dtypes);
  member(cls, "inputs_quantized", &QuantConfEntry::inputs_quantized);
  member(cls, "outputs_quantized", &QuantConfEntry::outputs_quantized);
  member(cls, "inputs_flow", &QuantConfEntry::inputs_flow);
  member(cls, "outputs_flow", &QuantConfEntry::outputs_flow);
  cls.def("__repr__", [](const QuantConfEntry& e) {
    return cat("QuantConfEntry(id=", e.id, ", name='", e.name, "')");
  });
}

void bind_conf(py::module_& m) {
  py::class_<QuantConf, std::shared_ptr<QuantConf>>(
      m, "_QuantConf", "Scales and switches of every operator call of a model.")
      .def(py::init<QScheme>(), py::arg_v("qscheme", QScheme::PerTensorAffine, "pt2q.qscheme"))
      .def_static(
          "load", [](const std::string& path) { return QuantConf::load(path); }, py::arg("path"))
      .def("save", &QuantConf::save, py::arg("path"))
      .def_property_readonly("qscheme", &QuantConf::qscheme)
      .def_property_readonly(
          "entries",
          [](const py::object& self) {
            py::list out;
            for (QuantConfEntry& e : self.cast<QuantConf&>().entries()) {
              out.append(py::cast(&e, py::return_value_policy::reference_internal, self));
            }
            return out;
          },
          "The entries; changing their members changes the configuration.");
  py::class_<Calibration>(m, "_Calibration")
      .def(py::init<std::shared_ptr<QuantConf>, bool>(), py::arg("conf"),
           py::arg("default_recipe") = true)
      .def("enter", &Calibration::enter)
      .def("leave", &Calibration::leave, py::arg("failed"))
      .def("end_forward", &Calibration::end_forward);
}

}  // namespace

void bind_modes(py::module_& m) {
  m.def("_prepare_jit", &prepare, py::arg("model"), py::arg("qconfigs"),
        py::arg("is_dynamic") = false);
  m.def("_convert_jit", &convert_jit, py::arg("model"));
  bind_entry(m);
  bind_conf(m);
  m.def("_quantize_with", &quantize_with, py::arg("model"), py::arg("conf"));
}

}  // namespace pt2q::python
