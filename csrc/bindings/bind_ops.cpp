// Operators as Python objects: pt2q.ops.aten.conv2d (a packet) and pt2q.ops.aten.conv2d.default (an
// overload), both callable on tensors and on arrays.
#include <pybind11/stl.h>

#include "base/strings.h"
#include "bindings/array.h"
#include "bindings/bindings.h"
#include "bindings/caster.h"
#include "bindings/op_objects.h"
#include "bindings/overload.h"
#include "bindings/quantized.h"
#include "bindings/source.h"
#include "onednn/eager.h"
#include "pt2q/error.h"
#include "pt2q/trace.h"

namespace pt2q::python {
namespace {

// The rule of the whole Python surface: the first array decides. NumPy in, NumPy out.
bool wants_numpy(py::handle args) {
  for (const py::handle arg : args) {
    if (py::isinstance<Tensor>(arg)) return false;
    if (PyList_Check(arg.ptr()) || PyTuple_Check(arg.ptr())) {
      for (const py::handle item : arg) {
        if (py::isinstance<Tensor>(item)) return false;
        if (py::hasattr(item, "__array_interface__")) return true;
      }
    } else if (py::hasattr(arg, "__array_interface__") && py::hasattr(arg, "__setitem__")) {
      return true;
    }
  }
  return false;
}

py::object arrays_from(const py::object& result) {
  if (py::isinstance<Tensor>(result)) return numpy_from_tensor(result.cast<const Tensor&>());
  if (!PyTuple_Check(result.ptr())) return result;
  py::list items;
  for (const py::handle item : result) {
    items.append(arrays_from(py::reinterpret_borrow<py::object>(item)));
  }
  return py::tuple(items);
}

// (values, indices) get their names, as torch.return_types.
py::object name_results(const OpDef& op, py::object result) {
  const auto& returns = op.schema.returns;
  if (returns.size() < 2 || returns[0].name.empty() || !PyTuple_Check(result.ptr())) return result;
  static auto* types = new std::map<const OpDef*, py::object>();
  auto it = types->find(&op);
  if (it == types->end()) {
    py::list names;
    for (const auto& r : returns) names.append(r.name);
    const py::object type =
        py::module_::import("collections").attr("namedtuple")(op.base_name(), names);
    type.attr("__module__") = "pt2q.return_types";
    it = types->emplace(&op, type).first;
  }
  return it->second(*py::reinterpret_borrow<py::tuple>(result));
}

std::vector<Value> values_of(const py::args& args) {
  std::vector<Value> out;
  out.reserve(args.size());
  for (const py::handle arg : args) out.push_back(value_from_python(arg));
  return out;
}

KwValues values_of(const py::kwargs& kwargs) {
  KwValues out;
  for (const auto& item : kwargs) {
    const auto name = item.first.cast<std::string>();
    if (name != "out" || !item.second.is_none()) out[name] = value_from_python(item.second);
  }
  return out;
}

// Runs without the GIL; capture needs it for the source lines.
Value dispatch(const OpDef& op, std::vector<Value> args, const KwValues& kwargs) {
  if (Tracer::current() != nullptr) return call(op, std::move(args), kwargs);
  const py::gil_scoped_release release;
  return call_planned(op, std::move(args), kwargs);
}

}  // namespace

py::object call_op(const OpDef& op, const py::args& args, const py::kwargs& kwargs) {
  if (holds_quantized(args)) return call_on_quantized("", &op, args, kwargs);
  std::vector<Value> values = values_of(args);
  KwValues named = values_of(kwargs);
  adapt_call(op, &values, &named);
  py::object result = result_to_python(dispatch(op, std::move(values), named));
  if (wants_numpy(args)) result = arrays_from(result);
  return name_results(op, std::move(result));
}

py::object call_packet(const std::string& packet, const py::args& args, const py::kwargs& kwargs) {
  if (holds_quantized(args)) return call_on_quantized(packet, nullptr, args, kwargs);
  std::vector<Value> values = values_of(args);
  KwValues named = values_of(kwargs);
  const OpDef& op = resolve_overload(packet, values, named);
  adapt_call(op, &values, &named);
  // x.relu_() is x itself.
  if (!op.functional.empty() && args.size() > 0 && py::isinstance<Tensor>(args[0])) {
    dispatch(op, std::move(values), named);
    return py::reinterpret_borrow<py::object>(args[0]);
  }
  py::object result = result_to_python(dispatch(op, std::move(values), named));
  if (wants_numpy(args)) result = arrays_from(result);
  return name_results(op, std::move(result));
}

py::object op_object(const OpDef& op) {
  if (op.namespace_name() == "_operator") {
    return py::module_::import("operator").attr(op.base_name().c_str());
  }
  return py::cast(&op, py::return_value_policy::reference);
}

const OpDef& op_from(py::handle target) {
  if (py::isinstance<OpDef>(target)) return target.cast<const OpDef&>();
  if (py::isinstance<OpPacket>(target)) {
    const auto& packet = target.cast<const OpPacket&>();
    const auto overloads = op_table().overloads(packet.name);
    return op_table().get(overloads.size() == 1 ? packet.name + "." + overloads[0]
                                                : packet.name + ".default");
  }
  if (PyUnicode_Check(target.ptr())) return op_table().get(target.cast<std::string>());
  if (py::hasattr(target, "__name__") && py::hasattr(target, "__module__")) {
    const std::string name = py::str(target.attr("__name__"));
    const std::string module = py::str(target.attr("__module__"));
    if (module == "_operator") return op_table().get("_operator." + name);
  }
  throw TypeError(cat("not an operator: ", std::string(py::repr(target))),
                  "targets are operators such as pt2q.ops.aten.relu.default");
}

namespace {

void bind_overload(py::module_& m) {
  py::class_<OpDef, std::unique_ptr<OpDef, py::nodelete>>(
      m, "OpOverload", "One operator of the table, e.g. pt2q.ops.aten.conv2d.default.")
      .def("__call__", &call_op)
      .def("name",
           [](const OpDef& op) {
             return cat(op.namespace_name(), "::", op.base_name(),
                        op.overload() == "default" ? "" : "." + op.overload());
           })
      .def_property_readonly("namespace", &OpDef::namespace_name)
      .def_property_readonly("_overloadname", &OpDef::overload)
      // Types cannot hold a property of this name, so it is found as a missing attribute.
      .def("__getattr__",
           [](const OpDef& op, const std::string& name) -> std::string {
             if (name == "__name__") return op.base_name() + "." + op.overload();
             throw py::attribute_error(cat("'OpOverload' object has no attribute '", name, "'"));
           })
      .def_property_readonly(
          "_schema", [](const OpDef& op) { return op.schema.text; },
          "The ATen schema, e.g. '(Tensor self) -> Tensor'.")
      .def_property_readonly("arg_names",
                             [](const OpDef& op) {
                               std::vector<std::string> names;
                               for (const auto& arg : op.schema.args) names.push_back(arg.name);
                               return names;
                             })
      .def_property_readonly(
          "overloadpacket",
          [](const OpDef& op) { return OpPacket{op.namespace_name() + "." + op.base_name()}; })
      .def("__str__", [](const OpDef& op) { return op.name; })
      .def("__repr__",
           [](const OpDef& op) {
             return cat("<OpOverload(op='", op.namespace_name(), ".", op.base_name(),
                        "', overload='", op.overload(), "')>");
           })
      .def("__eq__",
           [](const OpDef& op, const py::object& o) {
             return py::isinstance<OpDef>(o) && o.cast<const OpDef*>() == &op;
           })
      .def("__hash__", [](const OpDef& op) { return py::hash(py::str(op.name)); })
      .def("__copy__", [](const py::object& self) { return self; })
      .def("__deepcopy__", [](const py::object& self, const py::object&) { return self; })
      .def("__reduce__", [](const OpDef& op) {
        return py::make_tuple(py::module_::import("pt2q._ops").attr("get_op"),
                              py::make_tuple(op.name));
      });
}

void bind_packet(py::module_& m) {
  py::class_<OpPacket>(m, "OpOverloadPacket",
                       "All overloads of an operator, e.g. pt2q.ops.aten.add.")
      .def("__call__", [](const OpPacket& p, const py::args& args,
                          const py::kwargs& kwargs) { return call_packet(p.name, args, kwargs); })
      .def("__getattr__",
           [](const OpPacket& p, const std::string& name) -> py::object {
             if (name == "__name__") return py::str(p.name.substr(p.name.find('.') + 1));
             const OpDef* op = op_table().find(p.name + "." + name);
             if (op == nullptr) {
               throw py::attribute_error(cat("the operator '", p.name, "' has no overload '", name,
                                             "'; it has ",
                                             list_to_string(op_table().overloads(p.name))));
             }
             return op_object(*op);
           })
      .def("overloads", [](const OpPacket& p) { return op_table().overloads(p.name); })
      .def("__str__", [](const OpPacket& p) { return p.name; })
      .def("__repr__",
           [](const OpPacket& p) { return cat("<OpOverloadPacket(op='", p.name, "')>"); })
      .def("__eq__",
           [](const OpPacket& p, const py::object& o) {
             return py::isinstance<OpPacket>(o) && o.cast<const OpPacket&>().name == p.name;
           })
      .def("__hash__", [](const OpPacket& p) { return py::hash(py::str(p.name)); })
      .def("__dir__", [](const OpPacket& p) { return op_table().overloads(p.name); });
}

}  // namespace

void bind_ops(py::module_& m) {
  bind_overload(m);
  bind_packet(m);
  m.def(
      "call",
      [](const std::string& op, const py::args& args, const py::kwargs& kwargs) {
        return call_op(op_table().get(op), args, kwargs);
      },
      py::arg("op"), "Calls an operator by its overload name, e.g. 'aten.relu.default'.");
  m.def("call_packet", &call_packet, py::arg("packet"),
        "Calls the overload of e.g. 'aten.add' that fits the arguments.");
  m.def(
      "op_names", [] { return op_table().names(); }, "All overload names, sorted.");
  m.def(
      "get_op", [](const std::string& name) { return op_object(op_table().get(name)); },
      py::arg("name"), "The operator object of an overload name.");
  m.def(
      "has_packet", [](const std::string& name) { return !op_table().overloads(name).empty(); },
      py::arg("name"), "Whether an operator such as 'aten.add' exists.");
  m.def(
      "get_packet", [](const std::string& name) { return OpPacket{name}; }, py::arg("name"));
  m.def(
      "packet_schemas",
      [](const std::string& name) {
        std::vector<std::string> out;
        for (const auto& o : op_table().overloads(name)) {
          out.push_back(name + "." + o + op_table().get(name + "." + o).schema.text);
        }
        return out;
      },
      py::arg("name"), "Declarations of all overloads of an operator.");
}

}  // namespace pt2q::python
