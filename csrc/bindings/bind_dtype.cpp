// dtype, memory_format, layout and device objects.
#include <pybind11/stl.h>

#include <array>
#include <optional>

#include "base/strings.h"
#include "bindings/bindings.h"
#include "bindings/dtype_caster.h"
#include "pt2q/error.h"

namespace pt2q::python {
namespace {

struct PyDType {
  DType value;
};
struct PyMemoryFormat {
  MemoryFormat value;
};
struct PyLayout {
  Layout value;
};

constexpr size_t kDTypes = static_cast<size_t>(DType::QUInt4x2) + 1;
constexpr size_t kFormats = static_cast<size_t>(MemoryFormat::Preserve) + 1;

// Leaked on purpose: Python objects must not be released after the interpreter has gone.
std::array<PyObject*, kDTypes>& dtype_objects() {
  static auto* table = new std::array<PyObject*, kDTypes>();
  return *table;
}
std::array<PyObject*, kFormats>& format_objects() {
  static auto* table = new std::array<PyObject*, kFormats>();
  return *table;
}
PyObject*& strided_object() {
  static PyObject* object = nullptr;
  return object;
}

bool is_signed(DType d) {
  return is_floating_point(d) || d == DType::Int8 || d == DType::Int16 || d == DType::Int32 ||
         d == DType::Int64 || d == DType::QInt8 || d == DType::QInt32;
}

// numpy.dtype("float32"), numpy.float32, ml_dtypes.bfloat16: anything with a NumPy dtype's name.
bool dtype_from_numpy(py::handle object, DType* out) {
  py::object name;
  if (py::hasattr(object, "name") && py::hasattr(object, "itemsize")) {
    name = object.attr("name");  // numpy.dtype
  } else if (PyType_Check(object.ptr()) && py::hasattr(object, "__array_priority__")) {
    name = object.attr("__name__");  // a NumPy scalar type
  } else if (PyType_Check(object.ptr()) && py::hasattr(object, "dtype")) {
    name = object.attr("__name__");  // an ml_dtypes scalar type
  } else {
    return false;
  }
  if (!py::isinstance<py::str>(name)) return false;
  const auto text = name.cast<std::string>();
  try {
    *out = parse_dtype(text == "bool_" ? "bool" : text);
    return true;
  } catch (const Error&) {
    return false;
  }
}

void bind_dtype_class(py::module_& m) {
  py::class_<PyDType> cls(m, "dtype", "Element type of a tensor, e.g. pt2q.float32.");
  cls.def("__repr__", [](const PyDType& d) { return cat("pt2q.", dtype_name(d.value)); })
      .def_property_readonly("is_floating_point",
                             [](const PyDType& d) { return is_floating_point(d.value); })
      .def_property_readonly("is_complex", [](const PyDType&) { return false; })
      .def_property_readonly("is_signed", [](const PyDType& d) { return is_signed(d.value); })
      .def_property_readonly("itemsize", [](const PyDType& d) { return itemsize(d.value); })
      .def_property_readonly("_name", [](const PyDType& d) { return dtype_name(d.value); })
      .def("__eq__",
           [](const PyDType& d, const py::object& o) {
             return py::isinstance<PyDType>(o) && o.cast<const PyDType&>().value == d.value;
           })
      .def("__hash__", [](const PyDType& d) { return 7919 + static_cast<int>(d.value); })
      .def("__copy__", [](const py::object& self) { return self; })
      .def("__deepcopy__", [](const py::object& self, const py::object&) { return self; })
      .def("__reduce__", [](const PyDType& d) { return std::string(dtype_name(d.value)); });
  for (size_t i = 0; i < kDTypes; ++i) {
    py::object object = py::cast(PyDType{static_cast<DType>(i)});
    m.attr(dtype_name(static_cast<DType>(i))) = object;
    dtype_objects()[i] = object.release().ptr();
  }
  m.def(
      "_dtype", [](const std::string& name) { return dtype_object(parse_dtype(name)); },
      py::arg("name"), "The dtype of that name.");
  m.def(
      "promote_types", [](DType a, DType b) { return promote_types(a, b); }, py::arg("type1"),
      py::arg("type2"), "The smallest dtype both convert to, as torch.promote_types.");
}

void bind_formats(py::module_& m) {
  py::class_<PyMemoryFormat>(m, "memory_format", "Order of a tensor's dimensions in memory.")
      .def("__repr__",
           [](const PyMemoryFormat& f) { return cat("pt2q.", memory_format_name(f.value)); })
      .def("__copy__", [](const py::object& self) { return self; })
      .def("__deepcopy__", [](const py::object& self, const py::object&) { return self; })
      .def("__reduce__",
           [](const PyMemoryFormat& f) { return std::string(memory_format_name(f.value)); });
  for (size_t i = 0; i < kFormats; ++i) {
    py::object object = py::cast(PyMemoryFormat{static_cast<MemoryFormat>(i)});
    m.attr(memory_format_name(static_cast<MemoryFormat>(i))) = object;
    format_objects()[i] = object.release().ptr();
  }
  py::class_<PyLayout>(m, "layout", "Storage layout; only strided exists.")
      .def("__repr__", [](const PyLayout&) { return "pt2q.strided"; })
      .def("__copy__", [](const py::object& self) { return self; })
      .def("__deepcopy__", [](const py::object& self, const py::object&) { return self; })
      .def("__reduce__", [](const PyLayout&) { return "strided"; });
  py::object strided = py::cast(PyLayout{Layout::Strided});
  m.attr("strided") = strided;
  strided_object() = strided.release().ptr();
}

void bind_device(py::module_& m) {
  py::class_<Device>(m, "device", "Where a tensor lives: 'cpu' or 'xpu'.")
      .def(py::init([](const std::string& type, std::optional<int> index) {
             Device d = parse_device(type);
             if (index.has_value()) d.index = *index;
             return d;
           }),
           py::arg("type"), py::arg("index") = py::none())
      .def(py::init<const Device&>(), py::arg("device"))
      .def_property_readonly(
          "type", [](const Device& d) { return d.type == DeviceType::CPU ? "cpu" : "xpu"; })
      .def_property_readonly("index",
                             [](const Device& d) -> py::object {
                               return d.index < 0 ? py::object(py::none())
                                                  : py::object(py::int_(d.index));
                             })
      .def("__str__", [](const Device& d) { return device_name(d); })
      .def("__repr__",
           [](const Device& d) {
             return cat("device(type='", d.type == DeviceType::CPU ? "cpu" : "xpu", "'",
                        d.index < 0 ? "" : cat(", index=", d.index), ")");
           })
      .def("__eq__",
           [](const Device& d, const py::object& o) {
             return py::isinstance<Device>(o) && o.cast<const Device&>() == d;
           })
      .def("__hash__", [](const Device& d) { return static_cast<int>(d.type) * 64 + d.index; })
      .def("__reduce__", [m](const Device& d) {
        return py::make_tuple(m.attr("device"), py::make_tuple(device_name(d)));
      });
  py::implicitly_convertible<std::string, Device>();
}

}  // namespace

py::object dtype_object(DType dtype) {
  return py::reinterpret_borrow<py::object>(dtype_objects().at(static_cast<size_t>(dtype)));
}

bool is_dtype(py::handle object) { return py::isinstance<PyDType>(object); }

bool dtype_from(py::handle object, DType* out) {
  if (py::isinstance<PyDType>(object)) {
    *out = object.cast<const PyDType&>().value;
    return true;
  }
  if (object.ptr() == reinterpret_cast<PyObject*>(&PyFloat_Type)) {
    *out = DType::Float64;
  } else if (object.ptr() == reinterpret_cast<PyObject*>(&PyLong_Type)) {
    *out = DType::Int64;
  } else if (object.ptr() == reinterpret_cast<PyObject*>(&PyBool_Type)) {
    *out = DType::Bool;
  } else {
    return dtype_from_numpy(object, out);
  }
  return true;
}

py::object memory_format_object(MemoryFormat format) {
  return py::reinterpret_borrow<py::object>(format_objects().at(static_cast<size_t>(format)));
}
bool memory_format_from(py::handle object, MemoryFormat* out) {
  if (!py::isinstance<PyMemoryFormat>(object)) return false;
  *out = object.cast<const PyMemoryFormat&>().value;
  return true;
}

py::object layout_object(Layout) { return py::reinterpret_borrow<py::object>(strided_object()); }
bool layout_from(py::handle object, Layout* out) {
  if (!py::isinstance<PyLayout>(object)) return false;
  *out = object.cast<const PyLayout&>().value;
  return true;
}

void bind_dtype(py::module_& m) {
  bind_dtype_class(m);
  bind_formats(m);
  bind_device(m);
}

}  // namespace pt2q::python
