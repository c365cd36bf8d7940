// pt2q.fx.GraphModule: the graph with its parameters, buffers and observers, callable like an
// nn.Module.
#include <pybind11/stl.h>

#include "base/strings.h"
#include "bindings/bindings.h"
#include "bindings/call_spec.h"
#include "bindings/caster.h"
#include "bindings/observer_class.h"
#include "bindings/python_code.h"
#include "pt2q/error.h"

namespace pt2q::python {
namespace {

using Handle = std::shared_ptr<GraphModule>;

// A path inside a GraphModule that is no tensor and no module: gm.layer1 of "layer1.0.weight".
struct AttributeScope {
  Handle model;
  std::string prefix;  // ends with '.'
};

py::object attribute(const Handle& model, const std::string& path) {
  if (model->has_attr(path)) return py::cast(model->attr(path).tensor);
  const auto& modules = model->modules();
  const auto found = modules.find(path);
  if (found != modules.end()) return py::cast(found->second);
  const std::string prefix = path + ".";
  for (const std::string& name : model->attr_names()) {
    if (starts_with(name, prefix)) return py::cast(AttributeScope{model, prefix});
  }
  for (const auto& [name, module] : modules) {
    if (starts_with(name, prefix)) return py::cast(AttributeScope{model, prefix});
  }
  throw py::attribute_error(cat("'GraphModule' object has no attribute '", path, "'"));
}

bool is_parameter(const py::object& value) {
  return py::isinstance<Tensor>(value) && !py::type::of(value).is(py::type::of<Tensor>());
}

void set_attribute(const py::object& self, const std::string& name, const py::object& value) {
  auto& model = self.cast<GraphModule&>();
  if (py::isinstance<Tensor>(value)) {
    const AttrKind kind = model.has_attr(name)  ? model.attr(name).kind
                          : is_parameter(value) ? AttrKind::Parameter
                                                : AttrKind::Buffer;
    model.set_attr(name, value.cast<const Tensor&>(), kind);
  } else if (py::isinstance<Module>(value)) {
    model.set_module(name, module_from_python(value));
  } else if (PyObject_GenericSetAttr(self.ptr(), py::str(name).ptr(), value.ptr()) != 0) {
    throw py::error_already_set();
  }
}

void delete_attribute(const py::object& self, const std::string& name) {
  auto& model = self.cast<GraphModule&>();
  if (model.has_attr(name)) {
    model.delete_attr(name);
  } else if (model.modules().count(name) > 0) {
    model.delete_module(name);
  } else if (PyObject_GenericSetAttr(self.ptr(), py::str(name).ptr(), nullptr) != 0) {
    throw py::error_already_set();
  }
}

py::object ordered_dict() { return py::module_::import("collections").attr("OrderedDict")(); }

py::object state_dict(const GraphModule& model) {
  const py::object out = ordered_dict();
  py::dict versions;
  for (const std::string& name : model.attr_names()) {
    const Attr& a = model.attr(name);
    if (a.kind == AttrKind::Parameter || a.kind == AttrKind::Buffer) out[py::str(name)] = a.tensor;
  }
  for (const auto& [name, module] : model.modules()) {
    for (const auto& [key, tensor] : module->state_dict()) out[py::str(name + "." + key)] = tensor;
    if (const auto* observer = dynamic_cast<const Observer*>(module.get())) {
      add_state_versions(name, *observer, &versions);
    }
  }
  out.attr("_metadata") = versions;
  return out;
}

void load_state_dict(GraphModule& model, const py::dict& state, bool strict) {
  std::map<std::string, Tensor> values;
  for (const auto& item : state) {
    const auto key = item.first.cast<std::string>();
    const Value value = value_from_python(item.second);
    if (!value.is<Tensor>()) {
      throw TypeError(cat("load_state_dict: '", key, "' is ", value.kind_name(), ", not a tensor"));
    }
    values[key] = value.as<Tensor>();
  }
  model.load_state_dict(values, strict);
}

py::list named_attrs(const GraphModule& model, bool parameters) {
  py::list out;
  for (const std::string& name : model.attr_names()) {
    const Attr& a = model.attr(name);
    if ((a.kind == AttrKind::Parameter) == parameters) {
      out.append(py::make_tuple(name, a.tensor));
    }
  }
  return out;
}

py::list seconds(const py::list& pairs) {
  py::list out;
  for (const py::handle pair : pairs) out.append(pair.cast<py::tuple>()[1]);
  return out;
}

py::list named_children(const GraphModule& model) {
  py::list out;
  for (const auto& [name, module] : model.modules()) {
    out.append(py::make_tuple(name, py::cast(module)));
  }
  return out;
}

py::list named_modules(const py::object& self) {
  py::list out;
  out.append(py::make_tuple("", self));
  for (const py::handle pair : named_children(self.cast<const GraphModule&>())) out.append(pair);
  return out;
}

// PyTorch's refusal. A graph captured in eval mode is already in it, so eval() has nothing to do.
[[noreturn]] void refuse(const char* mode) {
  throw NotImplementedError(cat("Calling ", mode, "() is not supported for an exported model."),
                            cat("use pt2q.ao.quantization.move_exported_model_to_", mode,
                                "(model), or allow_exported_model_train_eval(model) once"));
}

py::object set_mode(const py::object& self, bool training) {
  const auto& model = self.cast<const GraphModule&>();
  if (model.exported && model.training != training) refuse(training ? "train" : "eval");
  if (model.exported && training) refuse("train");
  self.cast<GraphModule&>().training = training;
  return self;
}

py::object convert(const py::object& self, const py::args& args, const py::kwargs& kwargs) {
  auto& model = self.cast<GraphModule&>();
  std::vector<py::object> wanted;
  for (const py::handle a : args) wanted.push_back(py::reinterpret_borrow<py::object>(a));
  for (const auto& k : kwargs) wanted.push_back(py::reinterpret_borrow<py::object>(k.second));
  for (const py::object& value : wanted) {
    if (is_dtype(value)) {
      const auto dtype = value.cast<DType>();
      const std::vector<std::string> names = model.attr_names();
      for (const std::string& name : names) {
        const Attr a = model.attr(name);
        if (is_floating_point(a.tensor.dtype())) {
          model.set_attr(name, a.tensor.to(dtype), a.kind);
        }
      }
      model.propagate_shapes();
    } else if (!value.is_none() && !PyBool_Check(value.ptr())) {
      value.cast<Device>();  // checks the name; tensors live in host memory
    }
  }
  return self;
}

std::string representation(const GraphModule& model) {
  std::string out = "GraphModule(";
  for (const auto& [name, module] : model.modules()) {
    out += "\n  (" + name + "): " + module->repr();
  }
  out += model.modules().empty() ? ")" : "\n)";
  return out + "\n\n\n\n" + python_code(model.graph());
}

py::object deep_copy(const py::object& self, const py::object& memo) {
  const auto& model = self.cast<const GraphModule&>();
  Handle copy(model.deep_copy());
  const py::object deepcopy = py::module_::import("copy").attr("deepcopy");
  for (const auto& [name, module] : model.modules()) {
    const py::object object = py::cast(module);
    if (py::hasattr(object, "__deepcopy__")) {
      copy->set_module(name, module_from_python(deepcopy(object, memo)));
    }
  }
  py::object out = py::cast(copy);
  memo[py::int_(reinterpret_cast<uintptr_t>(self.ptr()))] = out;
  const py::dict state = self.attr("__dict__");
  for (const auto& item : state) {
    out.attr("__dict__")[item.first] = deepcopy(item.second, memo);
  }
  return out;
}

// The same tensors and observers under a graph of its own.
Handle shallow_copy(const GraphModule& model) {
  auto copy = std::make_shared<GraphModule>();
  std::unordered_map<const Node*, Node*> mapping;
  for (const Node* n : model.graph().nodes()) mapping[n] = copy->graph().copy_node(*n, mapping);
  for (const std::string& name : model.attr_names()) {
    copy->set_attr(name, model.attr(name).tensor, model.attr(name).kind);
  }
  for (const auto& [name, module] : model.modules()) copy->set_module(name, module);
  copy->exported = model.exported;
  copy->training = model.training;
  copy->prepared = model.prepared;
  copy->input_names = model.input_names;
  for (const auto& [key, value] : model.extras) {
    if (key == "call_spec" || starts_with(key, "python.")) copy->extras[key] = value;
  }
  return copy;
}

void set_call_spec(GraphModule& model, const py::object& in_spec, const py::object& out_spec,
                   bool flat_inputs, bool single_output) {
  CallSpec spec;
  if (!in_spec.is_none()) spec.in_spec = PyHandle(in_spec);
  if (!out_spec.is_none()) spec.out_spec = PyHandle(out_spec);
  spec.flat_inputs = flat_inputs;
  spec.single_output = single_output;
  model.extras["call_spec"] = std::move(spec);
}

py::object call_spec(const GraphModule& model) {
  const auto it = model.extras.find("call_spec");
  if (it == model.extras.end()) return py::none();
  const auto& spec = std::any_cast<const CallSpec&>(it->second);
  const auto object = [](const PyHandle& h) {
    return h.empty() ? py::object(py::none()) : h.get();
  };
  return py::make_tuple(object(spec.in_spec), object(spec.out_spec), spec.flat_inputs,
                        spec.single_output);
}

// What is kept for Python alone, e.g. the range constraints of an export.
py::object extra(const GraphModule& model, const std::string& key) {
  const auto it = model.extras.find("python." + key);
  return it == model.extras.end() ? py::object(py::none())
                                  : std::any_cast<const PyHandle&>(it->second).get();
}

void bind_as_module(py::class_<GraphModule, Handle>& cls) {
  cls.def("__call__", &call_model)
      .def("forward", &call_model)
      .def("state_dict", &state_dict, "Parameters, buffers and the state of observers.")
      .def("load_state_dict", &load_state_dict, py::arg("state_dict"), py::arg("strict") = true)
      .def("named_parameters", [](const GraphModule& g) { return named_attrs(g, true); })
      .def("parameters", [](const GraphModule& g) { return seconds(named_attrs(g, true)); })
      .def("named_buffers", [](const GraphModule& g) { return named_attrs(g, false); })
      .def("buffers", [](const GraphModule& g) { return seconds(named_attrs(g, false)); })
      .def("named_children", &named_children)
      .def("children", [](const GraphModule& g) { return seconds(named_children(g)); })
      .def("named_modules", &named_modules)
      .def("modules", [](const py::object& g) { return seconds(named_modules(g)); })
      .def("get_submodule", &attribute, py::arg("target"))
      .def("get_parameter", &attribute, py::arg("target"))
      .def("get_buffer", &attribute, py::arg("target"))
      .def(
          "register_buffer",
          [](GraphModule& g, const std::string& name, const Tensor& tensor, bool persistent) {
            g.set_attr(name, tensor, persistent ? AttrKind::Buffer : AttrKind::NonPersistentBuffer);
          },
          py::arg("name"), py::arg("tensor"), py::arg("persistent") = true)
      .def(
          "register_parameter",
          [](GraphModule& g, const std::string& name, const Tensor& tensor) {
            g.set_attr(name, tensor, AttrKind::Parameter);
          },
          py::arg("name"), py::arg("param"))
      .def(
          "add_submodule",
          [](GraphModule& g, const std::string& name, const py::object& module) {
            if (!py::isinstance<Module>(module)) {
              throw TypeError("add_submodule needs an observer or a GraphModule");
            }
            g.set_module(name, module_from_python(module));
            return true;
          },
          py::arg("target"), py::arg("m"))
      .def("eval", [](const py::object& self) { return set_mode(self, false); })
      .def("train", &set_mode, py::arg("mode") = true)
      .def("to", &convert)
      .def("cpu", [](const py::object& self) { return self; })
      .def(
          "requires_grad_", [](const py::object& self, bool) { return self; },
          py::arg("requires_grad") = true);
}

}  // namespace

void bind_graph_module(py::module_& m) {
  py::class_<Module, std::shared_ptr<Module>>(m, "_Module",
                                              "What a call_module node calls: an observer.")
      .def("_type_name", &Module::type_name)
      .def("_repr", &Module::repr);
  py::class_<AttributeScope>(m, "_AttributeScope")
      .def("__getattr__", [](const AttributeScope& s, const std::string& name) {
        return attribute(s.model, s.prefix + name);
      });
  py::class_<GraphModule, Handle> cls(m, "GraphModule", py::dynamic_attr(),
                                      "A captured model, as torch.fx.GraphModule.");
  cls.def(py::init([](const py::object& root, const std::shared_ptr<Graph>& graph) {
            const auto* from =
                py::isinstance<GraphModule>(root) ? root.cast<GraphModule*>() : nullptr;
            auto model = std::make_shared<GraphModule>();
            if (graph) model->set_graph(graph);
            if (from != nullptr) {
              for (const std::string& name : from->attr_names()) {
                model->set_attr(name, from->attr(name).tensor, from->attr(name).kind);
              }
              for (const auto& [name, module] : from->modules()) model->set_module(name, module);
            } else if (PyDict_Check(root.ptr())) {
              for (const auto& item : py::reinterpret_borrow<py::dict>(root)) {
                model->set_attr(item.first.cast<std::string>(), item.second.cast<const Tensor&>(),
                                AttrKind::Buffer);
              }
            }
            return model;
          }),
          py::arg("root") = py::none(), py::arg("graph") = py::none());
  bind_as_module(cls);
  cls.def_property(
         "graph", [](GraphModule& g) { return g.graph().shared_from_this(); },
         [](GraphModule& g, std::shared_ptr<Graph> graph) { g.set_graph(std::move(graph)); })
      .def_property_readonly("code", [](const GraphModule& g) { return python_code(g.graph()); })
      .def(
          "recompile",
          [](GraphModule& g) {
            g.graph().touch();
            g.propagate_shapes();
          },
          "Call it after changing the graph: shapes are inferred again.")
      .def(
          "print_readable",
          [](const GraphModule& g, bool print) {
            const std::string text =
                "class GraphModule(pt2q.nn.Module):\n" + python_code(g.graph());
            if (print) py::print(text);
            return text;
          },
          py::arg("print_output") = true)
      .def("delete_all_unused_submodules", &GraphModule::delete_unused)
      .def_readwrite("training", &GraphModule::training)
      .def_readwrite("_exported", &GraphModule::exported)
      .def_readwrite("_prepared", &GraphModule::prepared)
      .def("_set_call_spec", &set_call_spec, py::arg("in_spec"), py::arg("out_spec"),
           py::arg("flat_inputs"), py::arg("single_output"))
      .def("_call_spec", &call_spec)
      .def("_shallow_copy", &shallow_copy)
      .def("_extra", &extra, py::arg("key"))
      .def(
          "_set_extra",
          [](GraphModule& g, const std::string& key, const py::object& value) {
            g.extras["python." + key] = PyHandle(value);
          },
          py::arg("key"), py::arg("value"))
      .def(
          "_attr_kind",
          [](const GraphModule& g, const std::string& name) {
            constexpr const char* kNames[] = {"parameter", "buffer", "non_persistent_buffer",
                                              "constant"};
            return kNames[static_cast<size_t>(g.attr(name).kind)];
          },
          py::arg("name"))
      .def("_attr_names", &GraphModule::attr_names)
      .def("__getattr__", &attribute)
      .def("__setattr__", &set_attribute)
      .def("__delattr__", &delete_attribute)
      .def("__repr__", &representation)
      .def("__copy__", [](const py::object& self) { return self; })
      .def("__deepcopy__", &deep_copy, py::arg("memo"));
}

}  // namespace pt2q::python
