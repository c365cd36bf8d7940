// node.meta: a dict over pt2q::NodeMeta. Keys that pt2q does not know are kept as Python objects.
#include <pybind11/stl.h>

#include "base/strings.h"
#include "bindings/bindings.h"
#include "bindings/caster.h"
#include "bindings/node_args.h"
#include "pt2q/error.h"
#include "pt2q/quantizer.h"

namespace pt2q::python {
namespace {

struct MetaView {
  std::shared_ptr<Node> node;
  NodeMeta& meta() const { return node->meta; }
};

std::vector<ModuleStackEntry> module_stack_from(const py::object& value) {
  std::vector<ModuleStackEntry> out;
  for (const auto& item : value.cast<py::dict>()) {
    const auto entry = py::reinterpret_borrow<py::tuple>(item.second);
    const py::object type = entry[1];
    out.push_back(
        {entry[0].cast<std::string>(), PyType_Check(type.ptr())
                                           ? cat(std::string(py::str(type.attr("__module__"))), ".",
                                                 std::string(py::str(type.attr("__qualname__"))))
                                           : type.cast<std::string>()});
  }
  return out;
}

py::dict custom_dict(const NodeMeta& meta) {
  py::dict out;
  for (const auto& [key, value] : meta.custom) out[py::str(key)] = value_to_python(value);
  return out;
}

// Null when the node has no such entry.
py::object find(const MetaView& view, const std::string& key) {
  const NodeMeta& meta = view.meta();
  if (key == "val") return meta.val.is_none() ? py::object() : value_to_python(meta.val);
  if (key == "nn_module_stack") {
    return meta.nn_module_stack.empty() ? py::object()
                                        : py::object(module_stack_to_python(meta.nn_module_stack));
  }
  if (key == "stack_trace") {
    return meta.stack_trace.empty() ? py::object() : py::object(py::str(meta.stack_trace));
  }
  if (key == "source_fn_stack") {
    if (meta.source_fn.empty()) return py::object();
    py::list stack;
    stack.append(py::make_tuple(view.node->name(), meta.source_fn));
    return std::move(stack);
  }
  if (key == "quantization_annotation") {
    return meta.quantization_annotation ? py::cast(meta.quantization_annotation) : py::object();
  }
  if (key == "from_node") {
    if (!meta.origin) return py::object();
    py::list sources;
    sources.append(py::cast(meta.origin));
    return std::move(sources);
  }
  if (key == "custom") return meta.custom.empty() ? py::object() : py::object(custom_dict(meta));
  const auto it = meta.extras.find(key);
  if (it == meta.extras.end()) return py::object();
  const auto* handle = std::any_cast<PyHandle>(&it->second);
  return handle != nullptr ? handle->get() : py::object();
}

void set_source(NodeMeta& meta, const py::object& value) {
  const auto stack = value.cast<py::sequence>();
  if (stack.size() == 0) {
    meta.source_fn.clear();
    return;
  }
  const py::object last = stack[stack.size() - 1];
  const py::object fn = PyTuple_Check(last.ptr()) ? py::object(last.cast<py::tuple>()[1]) : last;
  meta.source_fn = py::hasattr(fn, "__name__") ? std::string(py::str(fn.attr("__name__")))
                                               : std::string(py::str(fn));
}

void set(const MetaView& view, const std::string& key, const py::object& value) {
  NodeMeta& meta = view.meta();
  if (key == "val") {
    meta.val = value_from_python(value);
  } else if (key == "nn_module_stack") {
    meta.nn_module_stack = module_stack_from(value);
  } else if (key == "stack_trace") {
    meta.stack_trace = value.is_none() ? "" : value.cast<std::string>();
  } else if (key == "source_fn_stack") {
    set_source(meta, value);
  } else if (key == "quantization_annotation") {
    meta.quantization_annotation =
        value.is_none() ? nullptr : value.cast<std::shared_ptr<QuantizationAnnotation>>();
  } else if (key == "from_node") {
    const auto sources = value.is_none() ? py::list() : py::list(value);
    meta.origin = sources.empty() ? NodeSource() : sources[sources.size() - 1].cast<NodeSource>();
  } else if (key == "custom") {
    meta.custom.clear();
    for (const auto& item : value.cast<py::dict>()) {
      meta.custom[item.first.cast<std::string>()] = value_from_python(item.second);
    }
  } else {
    meta.extras[key] = PyHandle(value);
  }
}

std::vector<std::string> keys(const MetaView& view) {
  std::vector<std::string> out;
  for (const char* key : {"val", "nn_module_stack", "stack_trace", "source_fn_stack",
                          "quantization_annotation", "from_node", "custom"}) {
    if (find(view, key)) out.emplace_back(key);
  }
  for (const auto& [key, value] : view.meta().extras) {
    if (std::any_cast<PyHandle>(&value) != nullptr) out.push_back(key);
  }
  return out;
}

void erase(const MetaView& view, const std::string& key) {
  NodeMeta& meta = view.meta();
  if (key == "val") meta.val = Value();
  if (key == "nn_module_stack") meta.nn_module_stack.clear();
  if (key == "stack_trace") meta.stack_trace.clear();
  if (key == "source_fn_stack") meta.source_fn.clear();
  if (key == "quantization_annotation") meta.quantization_annotation.reset();
  if (key == "from_node") meta.origin = NodeSource();
  if (key == "custom") meta.custom.clear();
  meta.extras.erase(key);
}

py::object get(const MetaView& view, const std::string& key) {
  py::object value = find(view, key);
  if (!value)
    throw KeyError(cat("the metadata of node '", view.node->name(), "' has no '", key, "'"));
  return value;
}

py::dict to_dict(const MetaView& view) {
  py::dict out;
  for (const std::string& key : keys(view)) out[py::str(key)] = find(view, key);
  return out;
}

void update(const MetaView& view, const py::object& other) {
  const py::dict values = py::isinstance<MetaView>(other) ? to_dict(other.cast<const MetaView&>())
                                                          : other.cast<py::dict>();
  for (const auto& item : values) {
    set(view, item.first.cast<std::string>(), py::reinterpret_borrow<py::object>(item.second));
  }
}

void bind_tensor_meta(py::module_& m) {
  py::class_<TensorMeta>(m, "TensorMeta", "Shape and dtype of a tensor in a graph.")
      .def(py::init([](const py::object& shape, DType dtype) {
             return TensorMeta{value_from_python(py::list(shape)).to_sym_ints(), dtype, Device{}};
           }),
           py::arg("shape"), py::arg_v("dtype", DType::Float32, "pt2q.float32"))
      .def_property_readonly("shape", [](const TensorMeta& t) { return shape_to_python(t.sizes); })
      .def_property_readonly("dtype", [](const TensorMeta& t) { return t.dtype; })
      .def_property_readonly("device", [](const TensorMeta& t) { return t.device; })
      .def_property_readonly("ndim", [](const TensorMeta& t) { return t.sizes.size(); })
      .def("dim", [](const TensorMeta& t) { return t.sizes.size(); })
      .def("size", [](const TensorMeta& t) { return shape_to_python(t.sizes); })
      .def("size",
           [](const TensorMeta& t, int64_t dim) {
             const int64_t d = wrap_dim(dim, static_cast<int64_t>(t.sizes.size()));
             return size_to_python(t.sizes.at(static_cast<size_t>(d)));
           })
      .def("numel",
           [](const TensorMeta& t) {
             SymInt count(1);
             for (const SymInt& size : t.sizes) count = count * size;
             return size_to_python(count);
           })
      .def("__eq__",
           [](const TensorMeta& a, const py::object& b) {
             return py::isinstance<TensorMeta>(b) && b.cast<const TensorMeta&>() == a;
           })
      .def("__repr__", [](const TensorMeta& t) { return describe(t); });
}

}  // namespace

py::dict module_stack_to_python(const std::vector<ModuleStackEntry>& stack) {
  py::dict out;
  for (const auto& entry : stack) {
    out[py::str(entry.path)] = py::make_tuple(entry.path, entry.type);
  }
  return out;
}

void bind_meta(py::module_& m) {
  bind_tensor_meta(m);
  py::class_<MetaView> cls(m, "NodeMeta", "The metadata of a node; behaves like a dict.");
  cls.def("__getitem__", &get)
      .def("__setitem__", &set)
      .def("__delitem__",
           [](const MetaView& v, const std::string& key) {
             get(v, key);
             erase(v, key);
           })
      .def("__contains__", [](const MetaView& v,
                              const std::string& key) { return static_cast<bool>(find(v, key)); })
      .def("__len__", [](const MetaView& v) { return keys(v).size(); })
      .def("__iter__", [](const MetaView& v) { return py::iter(py::cast(keys(v))); })
      .def("keys", &keys)
      .def("values", [](const MetaView& v) { return py::list(to_dict(v).attr("values")()); })
      .def("items", [](const MetaView& v) { return py::list(to_dict(v).attr("items")()); })
      .def(
          "get",
          [](const MetaView& v, const std::string& key, const py::object& fallback) {
            py::object value = find(v, key);
            return value ? value : fallback;
          },
          py::arg("key"), py::arg("default") = py::none())
      .def("pop",
           [](const MetaView& v, const std::string& key, const py::args& fallback) {
             py::object value = fallback.empty() ? get(v, key) : find(v, key);
             if (!value) return py::object(fallback[0]);
             erase(v, key);
             return value;
           })
      .def(
          "setdefault",
          [](const MetaView& v, const std::string& key, const py::object& fallback) {
            if (!find(v, key)) set(v, key, fallback);
            return get(v, key);
          },
          py::arg("key"), py::arg("default") = py::none())
      .def("update", &update)
      .def("copy", &to_dict)
      .def("__copy__", &to_dict)
      .def("__eq__",
           [](const MetaView& v, const py::object& other) {
             const py::object d = py::isinstance<MetaView>(other)
                                      ? py::object(to_dict(other.cast<const MetaView&>()))
                                      : other;
             return to_dict(v).equal(d);
           })
      .def("__repr__", [](const MetaView& v) { return py::repr(to_dict(v)); });
  const py::object node = m.attr("Node");
  node.attr("meta") =
      py::module_::import("builtins")
          .attr("property")(
              py::cpp_function([](const std::shared_ptr<Node>& n) { return MetaView{n}; }),
              py::cpp_function([](const std::shared_ptr<Node>& n, const py::object& v) {
                const py::object values = py::isinstance<MetaView>(v)
                                              ? py::object(to_dict(v.cast<const MetaView&>()))
                                              : v;
                n->meta = NodeMeta();
                update(MetaView{n}, values);
              }));
}

}  // namespace pt2q::python
