// pt2q.qscheme and its five values.
#include <array>

#include "base/strings.h"
#include "bindings/bindings.h"
#include "bindings/qscheme_caster.h"

namespace pt2q::python {
namespace {

struct PyQScheme {
  QScheme value;
};

constexpr size_t kSchemes = static_cast<size_t>(QScheme::PerChannelAffineFloatQParams) + 1;

// Leaked on purpose: Python objects must not be released after the interpreter has gone.
std::array<PyObject*, kSchemes>& scheme_objects() {
  static auto* table = new std::array<PyObject*, kSchemes>();
  return *table;
}

}  // namespace

py::object qscheme_object(QScheme scheme) {
  return py::reinterpret_borrow<py::object>(scheme_objects().at(static_cast<size_t>(scheme)));
}

bool qscheme_from(py::handle object, QScheme* out) {
  if (!py::isinstance<PyQScheme>(object)) return false;
  *out = object.cast<const PyQScheme&>().value;
  return true;
}

void bind_qscheme(py::module_& m) {
  py::class_<PyQScheme>(m, "qscheme", "How scales and zero points are chosen.")
      .def("__repr__", [](const PyQScheme& s) { return cat("pt2q.", qscheme_name(s.value)); })
      .def("__eq__",
           [](const PyQScheme& s, const py::object& o) {
             QScheme other{};
             return qscheme_from(o, &other) && other == s.value;
           })
      .def("__hash__", [](const PyQScheme& s) { return 104729 + static_cast<int>(s.value); })
      .def("__copy__", [](const py::object& self) { return self; })
      .def("__deepcopy__", [](const py::object& self, const py::object&) { return self; })
      .def("__reduce__", [m](const PyQScheme& s) {
        return py::make_tuple(m.attr("_qscheme"), py::make_tuple(qscheme_name(s.value)));
      });
  for (size_t i = 0; i < kSchemes; ++i) {
    py::object object = py::cast(PyQScheme{static_cast<QScheme>(i)});
    m.attr(qscheme_name(static_cast<QScheme>(i))) = object;
    scheme_objects()[i] = object.release().ptr();
  }
  m.def(
      "_qscheme", [](const std::string& name) { return qscheme_object(parse_qscheme(name)); },
      py::arg("name"), "The scheme of that name.");
}

}  // namespace pt2q::python
