// pt2q.fx.Node with FX's attributes.
#include <pybind11/stl.h>

#include "base/strings.h"
#include "bindings/bindings.h"
#include "bindings/caster.h"
#include "bindings/node_args.h"
#include "bindings/op_objects.h"
#include "pt2q/error.h"

namespace pt2q::python {
namespace {

py::object target_of(const Node& n) {
  if (n.op_or_null() != nullptr) return op_object(n.op());
  return py::str(n.target());
}

void set_target(Node& n, const py::object& target) {
  if (n.opcode() != OpCode::CallFunction) {
    n.set_target(target.cast<std::string>());
  } else if (&op_from(target) != &n.op()) {
    n.set_target(op_from(target).name);  // explains that it cannot be changed
  }
}

py::dict users_of(const Node& n) {
  py::dict users;
  for (Node* user : n.users()) users[py::cast(node_handle(user))] = py::none();
  return users;
}

py::list handles(const std::vector<Node*>& nodes) {
  py::list out;
  for (Node* n : nodes) out.append(py::cast(node_handle(n)));
  return out;
}

// FX returns the users that were changed.
py::list replace_all_uses(Node& n, Node& other, const py::object& filter) {
  const std::vector<Node*> users = n.users();
  std::unordered_set<Node*> keep;
  std::vector<Node*> changed;
  for (Node* user : users) {
    const bool take = filter.is_none() || filter(py::cast(node_handle(user))).cast<bool>();
    if (take && user != &other) {
      changed.push_back(user);
    } else {
      keep.insert(user);
    }
  }
  n.replace_all_uses_with(&other, keep);
  return handles(changed);
}

void update_arg(Node& n, int64_t index, const py::object& value) {
  n.set_arg(static_cast<size_t>(index), value_from_python(value));
}

std::string format_node(const Node& n) {
  return cat("%", n.name(), " : [num_users=", n.users().size(), "] = ", opcode_name(n.opcode()),
             "[target=", n.target(), "](args = ", std::string(py::str(node_args(n))),
             ", kwargs = ", std::string(py::str(node_kwargs(n))), ")");
}

}  // namespace

py::tuple node_args(const Node& n) {
  size_t count = n.args().size();
  if (n.op_or_null() != nullptr) {
    const auto& args = n.op().schema.args;
    count = n.op().schema.positional_count();
    while (count > 0 && args[count - 1].has_default &&
           args[count - 1].default_value == n.arg(count - 1)) {
      --count;
    }
  }
  py::tuple out(count);
  for (size_t i = 0; i < count; ++i) out[i] = value_to_python(n.arg(i));
  if (n.opcode() == OpCode::Output && count == 1 && PyList_Check(py::object(out[0]).ptr())) {
    out[0] = py::tuple(py::object(out[0]));  // FX graphs return tuples
  }
  return out;
}

py::dict node_kwargs(const Node& n) {
  py::dict out;
  if (n.op_or_null() == nullptr) return out;
  const auto& args = n.op().schema.args;
  for (size_t i = n.op().schema.positional_count(); i < args.size(); ++i) {
    if (args[i].has_default && args[i].default_value == n.arg(i)) continue;
    if (args[i].type == ArgType::Generator && n.arg(i).is_none()) continue;
    out[py::str(args[i].name)] = value_to_python(n.arg(i));
  }
  return out;
}

void set_node_call(Node& n, const py::object& args, const py::object& kwargs) {
  std::vector<Value> values;
  for (const py::handle arg : args) values.push_back(value_from_python(arg));
  if (n.op_or_null() == nullptr) {
    n.set_args(std::move(values));
    return;
  }
  std::map<std::string, Value> named;
  for (const auto& item : py::dict(kwargs)) {
    named[item.first.cast<std::string>()] = value_from_python(item.second);
  }
  n.set_args(normalize_args(n.op(), std::move(values), named));
}

void bind_node(py::module_& m) {
  py::class_<Node, std::shared_ptr<Node>> cls(m, "Node", "A node of a Graph, as torch.fx.Node.");
  cls.def_property_readonly("graph", [](const Node& n) { return n.graph().shared_from_this(); })
      .def_property_readonly("op", [](const Node& n) { return opcode_name(n.opcode()); })
      .def_property("target", &target_of, &set_target)
      .def_property_readonly("name", &Node::name)
      .def_property_readonly("type", [](const Node&) { return py::none(); })
      .def_property("args", &node_args,
                    [](Node& n, const py::object& v) { set_node_call(n, v, node_kwargs(n)); })
      .def_property("kwargs", &node_kwargs,
                    [](Node& n, const py::object& v) { set_node_call(n, node_args(n), v); })
      .def_property_readonly("users", &users_of)
      .def_property_readonly("all_input_nodes",
                             [](const Node& n) { return handles(n.input_nodes()); })
      .def_property_readonly("next", [](const Node& n) { return node_handle(n.next()); })
      .def_property_readonly("prev", [](const Node& n) { return node_handle(n.prev()); })
      .def_property_readonly("_erased", &Node::erased)
      .def("update_arg", &update_arg, py::arg("idx"), py::arg("arg"))
      .def(
          "replace_input_with", [](Node& n, Node& a, Node& b) { n.replace_input_with(&a, &b); },
          py::arg("old_input"), py::arg("new_input"))
      .def("replace_all_uses_with", &replace_all_uses, py::arg("replace_with"),
           py::arg("delete_user_cb") = py::none(), "Returns the users that were changed.")
      .def(
          "prepend", [](Node& n, Node& other) { n.graph().move_before(&other, &n); }, py::arg("x"),
          "Moves x in front of this node.")
      .def(
          "append", [](Node& n, Node& other) { n.graph().move_before(&other, n.next()); },
          py::arg("x"), "Moves x behind this node.")
      .def("is_impure",
           [](const Node& n) {
             return n.opcode() == OpCode::Placeholder || n.opcode() == OpCode::Output ||
                    n.opcode() == OpCode::CallModule || n.is_impure();
           })
      .def("format_node", &format_node)
      .def("__lt__", [](const Node& a, const Node& b) { return a.before(&b); })
      .def("__gt__", [](const Node& a, const Node& b) { return b.before(&a); })
      .def("__eq__",
           [](const Node& a, const py::object& b) {
             return py::isinstance<Node>(b) && b.cast<Node*>() == &a;
           })
      .def("__hash__", [](const Node& n) { return std::hash<const Node*>()(&n); })
      .def("__copy__", [](const py::object& self) { return self; })
      .def("__deepcopy__", [](const py::object& self, const py::object&) { return self; })
      .def("__repr__", &Node::name);
}

}  // namespace pt2q::python
