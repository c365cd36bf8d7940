// pt2q.fx.Graph with FX's methods.
#include <pybind11/stl.h>

#include "base/strings.h"
#include "bindings/bindings.h"
#include "bindings/caster.h"
#include "bindings/node_args.h"
#include "bindings/op_objects.h"
#include "bindings/python_code.h"
#include "ir/text.h"
#include "pt2q/error.h"
#include "pt2q/graph_module.h"

namespace pt2q::python {
namespace {

// `with graph.inserting_before(node):`
class InsertScope {
 public:
  InsertScope(std::shared_ptr<Graph> graph, std::unique_ptr<Graph::InsertPoint> point)
      : graph_(std::move(graph)), point_(std::move(point)) {}
  void leave() { point_.reset(); }

 private:
  std::shared_ptr<Graph> graph_;
  std::unique_ptr<Graph::InsertPoint> point_;
};

InsertScope inserting_before(const std::shared_ptr<Graph>& g, Node* node) {
  Node* before = node != nullptr ? node : g->first();
  return {g,
          std::unique_ptr<Graph::InsertPoint>(new Graph::InsertPoint(g->inserting_before(before)))};
}

InsertScope inserting_after(const std::shared_ptr<Graph>& g, Node* node) {
  return {g, std::unique_ptr<Graph::InsertPoint>(new Graph::InsertPoint(g->inserting_after(node)))};
}

// A new node knows its shape when its inputs do; graphs under construction may not yet.
std::shared_ptr<Node> described(Node* node) {
  try {
    if (node->op_or_null() != nullptr) node->meta.val = infer_node(*node);
  } catch (const Error&) {
    node->meta.val = Value();
  }
  return node_handle(node);
}

std::vector<Value> values_of(const py::object& args) {
  std::vector<Value> out;
  if (args.is_none()) return out;
  for (const py::handle arg : args) out.push_back(value_from_python(arg));
  return out;
}

std::map<std::string, Value> named_values_of(const py::object& kwargs) {
  std::map<std::string, Value> out;
  if (kwargs.is_none()) return out;
  for (const auto& item : py::dict(kwargs)) {
    out[item.first.cast<std::string>()] = value_from_python(item.second);
  }
  return out;
}

std::string text_of(const py::object& name) {
  return name.is_none() ? std::string() : name.cast<std::string>();
}

std::shared_ptr<Node> call_function(Graph& g, const py::object& target, const py::object& args,
                                    const py::object& kwargs, const py::object& name) {
  return described(g.call_function(op_from(target).name, values_of(args), named_values_of(kwargs),
                                   text_of(name)));
}

std::shared_ptr<Node> create_node(Graph& g, const std::string& op, const py::object& target,
                                  const py::object& args, const py::object& kwargs,
                                  const py::object& name, const py::object&) {
  if (op == "call_function") return call_function(g, target, args, kwargs, name);
  const auto text = target.cast<std::string>();
  if (op == "placeholder") return node_handle(g.placeholder(text, text_of(name)));
  if (op == "get_attr") return node_handle(g.get_attr(text, text_of(name)));
  if (op == "call_module") return node_handle(g.call_module(text, values_of(args), text_of(name)));
  if (op == "output") {
    const std::vector<Value> values = values_of(args);
    if (values.size() != 1) throw ValueError("an output node has exactly one argument");
    return node_handle(g.output(values[0], name.is_none() ? "output" : text_of(name)));
  }
  throw ValueError(cat("'", op, "' is not an opcode"),
                   "use placeholder, get_attr, call_function, call_module or output");
}

std::shared_ptr<Node> copy_node(Graph& g, const Node& node, const py::object& transform) {
  std::unordered_map<const Node*, Node*> mapping;
  for (Node* input : node.input_nodes()) {
    mapping[input] =
        transform.is_none() ? input : transform(py::cast(node_handle(input))).cast<Node*>();
  }
  return node_handle(g.copy_node(node, mapping));
}

py::list nodes_of(const Graph& g) {
  py::list out;
  for (Node* n : g.nodes()) out.append(py::cast(node_handle(n)));
  return out;
}

py::list find_nodes(const Graph& g, const std::string& op, const py::object& target) {
  py::list out;
  for (Node* n : g.nodes()) {
    if (opcode_name(n->opcode()) != op) continue;
    const bool matches = target.is_none() ||
                         (n->op_or_null() != nullptr ? &op_from(target) == n->op_or_null()
                                                     : n->target() == target.cast<std::string>());
    if (matches) out.append(py::cast(node_handle(n)));
  }
  return out;
}

// A graph a user edited may be wrong: that is their error, not a defect of pt2q.
void lint(const Graph& g) {
  try {
    g.lint();
  } catch (const InternalError& e) {
    std::string message = e.message();
    const std::string prefix = "internal error: ";
    if (starts_with(message, prefix)) message = message.substr(prefix.size());
    throw RuntimeError(message, "nodes must stand after the nodes they use");
  }
}

void bind_creation(py::class_<Graph, std::shared_ptr<Graph>>& cls) {
  cls.def("create_node", &create_node, py::arg("op"), py::arg("target"),
          py::arg("args") = py::none(), py::arg("kwargs") = py::none(),
          py::arg("name") = py::none(), py::arg("type_expr") = py::none())
      .def(
          "placeholder",
          [](Graph& g, const std::string& name) { return node_handle(g.placeholder(name)); },
          py::arg("name"))
      .def(
          "get_attr",
          [](Graph& g, const std::string& name) { return node_handle(g.get_attr(name)); },
          py::arg("qualified_name"))
      .def(
          "call_function",
          [](Graph& g, const py::object& target, const py::object& args, const py::object& kwargs) {
            return call_function(g, target, args, kwargs, py::none());
          },
          py::arg("the_function"), py::arg("args") = py::none(), py::arg("kwargs") = py::none())
      .def(
          "call_module",
          [](Graph& g, const std::string& name, const py::object& args) {
            return node_handle(g.call_module(name, values_of(args)));
          },
          py::arg("module_name"), py::arg("args") = py::none())
      .def(
          "output",
          [](Graph& g, const py::object& result) {
            return node_handle(g.output(value_from_python(result)));
          },
          py::arg("result"))
      .def("node_copy", &copy_node, py::arg("node"), py::arg("arg_transform") = py::none());
}

}  // namespace

void bind_graph(py::module_& m) {
  py::class_<InsertScope>(m, "_InsertPoint")
      .def("__enter__", [](const py::object& self) { return self; })
      .def("__exit__", [](InsertScope& s, const py::args&) { s.leave(); });
  py::class_<Graph, std::shared_ptr<Graph>> cls(m, "Graph", "A graph of nodes, as torch.fx.Graph.");
  cls.def(py::init<>());
  bind_creation(cls);
  cls.def_property_readonly("nodes", &nodes_of, "All nodes in order (a snapshot).")
      .def("inserting_before", &inserting_before, py::arg("n") = py::none())
      .def("inserting_after", &inserting_after, py::arg("n") = py::none())
      .def(
          "erase_node", [](Graph& g, Node& n) { g.erase_node(&n); }, py::arg("to_erase"))
      .def("find_nodes", &find_nodes, py::kw_only(), py::arg("op"), py::arg("target") = py::none())
      .def("output_node", [](const Graph& g) { return node_handle(g.output_node()); })
      .def("eliminate_dead_code", &Graph::eliminate_dead_code)
      .def("lint", &lint, "Throws RuntimeError naming a node that is inconsistent.")
      .def("python_code", &python_code, py::arg("root_module") = "self",
           "The graph as a Python function.")
      .def(
          "print_tabular", [](const Graph& g) { py::print(tabular(g)); },
          "Prints opcode, name, target, args and kwargs of every node.")
      .def("__len__", &Graph::size)
      .def("__str__", &Graph::to_string)
      .def("__repr__", &Graph::to_string);
  m.def(
      "parse_graph",
      [](const std::string& text) { return std::shared_ptr<Graph>(parse_graph(text)); },
      py::arg("text"), "The graph of a text as str(graph) prints it.");
}

}  // namespace pt2q::python
