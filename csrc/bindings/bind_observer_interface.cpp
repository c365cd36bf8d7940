// What all observers have in Python: calls, copies, buffers and state. The classes are in
// bind_observers.cpp.
#include "base/strings.h"
#include "bindings/array.h"
#include "bindings/bindings.h"
#include "bindings/observer_class.h"
#include "observers/fake_quantize.h"

namespace pt2q::python {

namespace {

py::object ordered_dict() { return py::module_::import("collections").attr("OrderedDict")(); }

// PyTorch reads eps, min_val and max_val only from states that say they are of version 3.
void add_version(const std::string& path, const Observer& observer, py::dict* versions) {
  const bool uniform = dynamic_cast<const UniformObserverBase*>(&observer) != nullptr;
  py::dict entry;
  entry["version"] = uniform ? 3 : 1;
  (*versions)[py::str(path)] = entry;
}

py::object state_dict(const StatefulObserver& observer, const std::string& prefix) {
  const py::object out = ordered_dict();
  for (const auto& [name, tensor] : observer.named_buffers()) out[py::str(prefix + name)] = tensor;
  py::dict versions;
  add_state_versions(prefix.empty() ? "" : prefix.substr(0, prefix.size() - 1), observer,
                     &versions);
  out.attr("_metadata") = versions;
  return out;
}

void load_state_dict(Observer& observer, const py::dict& state, bool) {
  std::map<std::string, Tensor> values;
  for (const auto& item : state) {
    values[item.first.cast<std::string>()] = value_from_python(item.second).as<Tensor>();
  }
  observer.load_state_dict(values);
}

bool set_buffer(StatefulObserver& observer, const std::string& name, const py::object& value) {
  if (!observer.has_buffer(name) || !py::isinstance<Tensor>(value)) return false;
  observer.register_buffer(name, value.cast<const Tensor&>());
  return true;
}

// Only reached when ordinary lookup fails: buffers registered under a name of their own.
py::object get_buffer(const StatefulObserver& observer, const std::string& name) {
  if (observer.has_buffer(name)) return py::cast(observer.buffer(name));
  throw py::attribute_error("'" + observer.type_name() + "' object has no attribute '" + name +
                            "'");
}

void bind_interface(py::module_& m) {
  py::class_<Observer, Module, std::shared_ptr<Observer>> cls(
      m, "_Observer", py::dynamic_attr(),
      "What prepare_pt2e inserts and convert_pt2e reads: observers and fake-quantize modules.");
  const auto itself = [](const py::object& self) { return self; };
  cls.def("forward", &Observer::forward, py::arg("x"))
      .def("__call__", &call_observer, py::arg("x"),
           "Observes x (tensor or array) and returns it, fake-quantized where the class does that.")
      .def(
          "calculate_qparams", [](Observer& o) { return qparams_to_python(o.calculate_qparams()); },
          "The pair (scale, zero_point) of tensors.")
      .def("merge", &Observer::merge, py::arg("other"),
           "Adds the statistics of another observer of the same class and settings.")
      .def("reset_min_max_vals", &Observer::reset_min_max_vals, "Forgets the observed range.")
      .def("load_state_dict", &load_state_dict, py::arg("state_dict"), py::arg("strict") = true)
      .def("__repr__", &Observer::repr)
      .def("__copy__", itself)
      .def("__deepcopy__", &deepcopy_observer, py::arg("memo"))
      .def("eval", itself)
      .def(
          "train", [](const py::object& self, bool) { return self; }, py::arg("mode") = true)
      .def("to", [](const py::object& self, const py::args&, const py::kwargs&) { return self; })
      .def("cpu", itself)
      .def("_get_name", &Observer::type_name);
  cls.attr("training") = false;
}

void bind_stateful(py::module_& m) {
  py::class_<StatefulObserver, Observer, std::shared_ptr<StatefulObserver>> cls(
      m, "_StatefulObserver", "An observer with named buffers.");
  cls.def("state_dict", &state_dict, py::arg("prefix") = "",
          "Buffers by name, those of an inner observer under activation_post_process.")
      .def(
          "register_buffer",
          [](StatefulObserver& o, const std::string& name, const Tensor& t, bool) {
            o.register_buffer(name, t);
          },
          py::arg("name"), py::arg("tensor"), py::arg("persistent") = true)
      .def("named_buffers",
           [](const StatefulObserver& o) {
             py::list out;
             for (const auto& entry : o.named_buffers()) {
               out.append(py::make_tuple(entry.first, entry.second));
             }
             return out;
           })
      .def("buffers",
           [](const StatefulObserver& o) {
             py::list out;
             for (const auto& entry : o.named_buffers()) out.append(entry.second);
             return out;
           })
      .def("extra_repr", &StatefulObserver::extra_repr)
      .def("__getattr__", &get_buffer)
      .def("__setattr__", [](const py::object& self, const py::str& name, const py::object& value) {
        // Properties win, then buffers, then plain attributes.
        const bool property = py::hasattr(py::type::of(self), name);
        if (!property && set_buffer(self.cast<StatefulObserver&>(), name, value)) return;
        if (PyObject_GenericSetAttr(self.ptr(), name.ptr(), value.ptr()) != 0) {
          throw py::error_already_set();
        }
      });
}

}  // namespace

Tensor observed_by_python(const py::object& result, const Tensor& x, const std::string& whose) {
  if (result.is_none()) {
    throw TypeError(cat(whose, ".forward returned None"), "end forward(self, x) with: return x");
  }
  const Value value = value_from_python(result);
  if (!value.is<Tensor>()) {
    throw TypeError(cat(whose, ".forward must return a tensor, got ", value.kind_name()));
  }
  const Tensor& out = value.as<Tensor>();
  if (out.sizes() != x.sizes()) {
    throw ValueError(cat(whose, ".forward must return a tensor of the shape of its input, ",
                         describe(x), ", got ", describe(out)),
                     "an observer returns its input, a fake-quantize module one value for each");
  }
  return out;
}

void add_state_versions(const std::string& path, const Observer& observer, py::dict* versions) {
  add_version(path, observer, versions);
  const auto* stateful = dynamic_cast<const StatefulObserver*>(&observer);
  if (stateful == nullptr) return;
  for (const auto& [name, child] : stateful->children()) {
    add_version(path.empty() ? name : path + "." + name, *child, versions);
  }
}

py::object call_observer(const py::object& self, const py::object& x) {
  auto& observer = self.cast<Observer&>();
  const bool tensor = py::isinstance<Tensor>(x);
  const Tensor input = tensor ? x.cast<Tensor>() : tensor_from_array(x);
  const Tensor result = [&] {
    const py::gil_scoped_release release;
    return observer.forward(input);
  }();
  if (result.is(input)) return x;
  return tensor ? py::cast(result) : numpy_from_tensor(result);
}

py::object deepcopy_observer(const py::object& self, const py::object& memo) {
  const py::type type = py::type::of(self);
  // The first class of the C++ module in the method resolution order builds the C++ part.
  for (const py::handle base : type.attr("__mro__")) {
    if (py::str(base.attr("__module__")).cast<std::string>() != "pt2q._core") continue;
    py::object copy = type.attr("__new__")(type);
    base.attr("__init__")(copy, self);
    memo[py::int_(reinterpret_cast<uintptr_t>(self.ptr()))] = copy;
    const py::object deepcopy = py::module_::import("copy").attr("deepcopy");
    const py::dict attributes = self.attr("__dict__");
    for (const auto& [name, value] : attributes) {
      copy.attr("__dict__")[name] = deepcopy(value, memo);
    }
    return copy;
  }
  throw InternalError("deepcopy of an observer without a C++ class");
}

void bind_observer_interface(py::module_& m) {
  bind_interface(m);
  bind_stateful(m);
}

}  // namespace pt2q::python
