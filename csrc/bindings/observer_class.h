// Binding an observer class so that Python classes may derive from it.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "bindings/caster.h"
#include "bindings/handle.h"
#include "bindings/observer_caster.h"
#include "observers/observer_base.h"
#include "pt2q/error.h"

namespace pt2q::python {

namespace py = pybind11;

// The Python object of a C++ observer, null when there is none (a C++ copy of a Python instance).
template <class Base>
py::handle python_self(const Base* observer) {
  const auto* type = py::detail::get_type_info(typeid(Base));
  return py::detail::get_object_handle(observer, type);
}

// What forward() of a Python class returned for x: a tensor of x's shape, else TypeError or
// ValueError.
Tensor observed_by_python(const py::object& result, const Tensor& x, const std::string& whose);

// Routes what C++ calls to the methods of a Python subclass.
template <class Base>
class PyObserver : public Base {
 public:
  using Base::Base;
  explicit PyObserver(const Base& other) : Base(other) {}

  Tensor forward(const Tensor& x) override {
    {  // not while the data is read
      const py::gil_scoped_acquire gil;
      const py::function method = py::get_override(static_cast<const Base*>(this), "forward");
      if (method) return observed_by_python(method(x), x, type_name());
    }
    if constexpr (std::is_abstract_v<Base>) {
      throw NotImplementedError(type_name() + " must define forward(self, x)");
    } else {
      return Base::forward(x);
    }
  }
  QParams calculate_qparams() override {
    const py::gil_scoped_acquire gil;
    const py::function method =
        py::get_override(static_cast<const Base*>(this), "calculate_qparams");
    if (method) return qparams_from_python(method(), type_name());
    if constexpr (std::is_base_of_v<ObserverBase, Base>) {
      return Base::calculate_qparams();
    } else if constexpr (!std::is_abstract_v<Base>) {
      return Base::calculate_qparams();
    } else {
      throw NotImplementedError(type_name() + " must define calculate_qparams(self)");
    }
  }
  bool convert(GraphModule& model, Node* node) override {
    const py::gil_scoped_acquire gil;
    const py::function method = py::get_override(static_cast<const Base*>(this), "convert");
    if (!method) return Base::convert(model, node);
    method(py::cast(&model, py::return_value_policy::reference), node_handle(node));
    return true;
  }
  void reset_min_max_vals() override { PYBIND11_OVERRIDE(void, Base, reset_min_max_vals, ); }
  std::string extra_repr() const override { PYBIND11_OVERRIDE(std::string, Base, extra_repr, ); }
  std::string type_name() const override {
    const py::gil_scoped_acquire gil;
    const py::handle self = python_self(static_cast<const Base*>(this));
    if (self) return py::str(py::type::of(self).attr("__name__"));
    if constexpr (std::is_abstract_v<Base>) {
      return "observer";
    } else {
      return Base::type_name();
    }
  }
};

// Adds what PyTorch's state_dict()._metadata holds for the observer at `path` and the one inside
// it.
void add_state_versions(const std::string& path, const Observer& observer, py::dict* versions);
// Observer(x): arrays in, arrays out; the same object comes back when nothing was changed.
py::object call_observer(const py::object& self, const py::object& x);
// copy.deepcopy of an instance of a built-in class or of a Python class derived from one.
py::object deepcopy_observer(const py::object& self, const py::object& memo);

// A named buffer as a read-write attribute.
template <class Cls>
void buffer_property(Cls& cls, const char* name, const char* doc) {
  const std::string key = name;
  cls.def_property(
      name, [key](const StatefulObserver& o) { return o.buffer(key); },
      [key](StatefulObserver& o, const py::object& value) {
        const Value v = value_from_python(value);
        o.register_buffer(key, v.is<Tensor>() ? v.as<Tensor>() : Tensor::scalar(v.to_double()));
      },
      doc);
}

// The constructor overload copy.deepcopy uses: Class.__init__(new, old).
template <class C, class Cls>
void copy_constructor(Cls& cls) {
  const auto copy_to = [](auto* copy) {
    copy->own_buffers();
    return copy;
  };
  if constexpr (std::is_abstract_v<C>) {
    cls.def(py::init([copy_to](const C& other) { return copy_to(new PyObserver<C>(other)); }),
            py::arg("other"));
  } else {
    cls.def(py::init([copy_to](const C& other) { return copy_to(new C(other)); },
                     [copy_to](const C& other) { return copy_to(new PyObserver<C>(other)); }),
            py::arg("other"));
  }
}

// A value that names a type, so that one generic lambda makes a class and its Python variant.
template <class T>
struct TypeTag {
  using type = T;
};

// def(__init__) with make(TypeTag<C>) for the class itself and make(TypeTag<PyObserver<C>>) for
// Python subclasses; both return a factory.
template <class C, class Cls, class Make, class... Extra>
void constructor(Cls& cls, const Make& make, const Extra&... extra) {
  cls.def(py::init(make(TypeTag<C>()), make(TypeTag<PyObserver<C>>())), extra...);
}

}  // namespace pt2q::python
