// Quantization specs, annotations and configurations: PyTorch's frozen dataclasses.
#include <pybind11/stl.h>

#include "base/strings.h"
#include "bindings/bindings.h"
#include "bindings/caster.h"
#include "bindings/observer_caster.h"
#include "bindings/qscheme_caster.h"
#include "bindings/quantizer_caster.h"
#include "pt2q/error.h"

namespace pt2q::python {
namespace {

using Base = QuantizationSpecBase;
using OptionalInt = std::optional<int64_t>;
using OptionalScheme = std::optional<QScheme>;

// The Python function inside DerivedQuantizationSpec::derive_qparams_fn.
struct PythonDerive {
  PyHandle fn;

  QParams operator()(const std::vector<std::shared_ptr<Observer>>& sources) const {
    const py::gil_scoped_acquire gil;
    py::list observers;
    for (const auto& source : sources) observers.append(py::cast(source));
    return qparams_from_python(fn.get()(observers), "derive_qparams_fn");
  }
};

template <typename Class>
size_t hash_text(const Class& value) {
  return std::hash<std::string>()(value.to_string());
}

// Equality and hash by value, printing as a dataclass.
template <typename Class, typename Cls>
void dataclass(Cls& cls) {
  cls.def("__repr__", &Class::to_string).def("__hash__", &hash_text<Class>);
  cls.def("__eq__", [](const std::shared_ptr<Base>& a, const py::object& b) {
    return py::isinstance<Base>(b) && specs_equal(a, b.cast<std::shared_ptr<Base>>());
  });
}

template <typename Class, typename Cls>
void range_fields(Cls& cls) {
  cls.def_property_readonly("dtype", [](const Class& s) { return s.dtype; })
      .def_property_readonly("quant_min", [](const Class& s) { return s.quant_min; })
      .def_property_readonly("quant_max", [](const Class& s) { return s.quant_max; })
      .def_property_readonly("qscheme", [](const Class& s) { return s.qscheme; })
      .def_property_readonly("is_dynamic", [](const Class& s) { return s.is_dynamic; });
}

void bind_plain(py::module_& m) {
  using Spec = QuantizationSpec;
  py::class_<Spec, Base, std::shared_ptr<Spec>> cls(
      m, "QuantizationSpec",
      "How one tensor is quantized.\n\nArgs: dtype; observer_or_fake_quant_ctr: an observer class "
      "or Class.with_args(...); quant_min, quant_max: integer range; qscheme; ch_axis: channel "
      "axis of per-channel schemes; is_dynamic: parameters are computed at run time.\n\nRaises "
      "ValueError when quant_min > quant_max or ch_axis < 0.");
  cls.def(
      py::init([](DType dtype, const py::object& ctr, OptionalInt quant_min, OptionalInt quant_max,
                  OptionalScheme qscheme, OptionalInt ch_axis, bool is_dynamic) {
        auto s = std::make_shared<Spec>();
        s->dtype = dtype;
        s->observer_or_fake_quant_ctr = recipe_from_python(ctr);
        s->quant_min = quant_min;
        s->quant_max = quant_max;
        s->qscheme = qscheme;
        s->ch_axis = ch_axis;
        s->is_dynamic = is_dynamic;
        s->check();
        return s;
      }),
      py::arg("dtype"), py::arg("observer_or_fake_quant_ctr"), py::arg("quant_min") = py::none(),
      py::arg("quant_max") = py::none(), py::arg("qscheme") = py::none(),
      py::arg("ch_axis") = py::none(), py::arg("is_dynamic") = false);
  dataclass<Spec>(cls);
  range_fields<Spec>(cls);
  cls.def_property_readonly("ch_axis", [](const Spec& s) { return s.ch_axis; })
      .def_property_readonly("observer_or_fake_quant_ctr", [](const Spec& s) {
        return recipe_to_python(s.observer_or_fake_quant_ctr);
      });
}

void bind_fixed(py::module_& m) {
  using Spec = FixedQParamsQuantizationSpec;
  py::class_<Spec, Base, std::shared_ptr<Spec>> cls(
      m, "FixedQParamsQuantizationSpec",
      "A tensor with known scale and zero point, e.g. the output of sigmoid.");
  cls.def(py::init([](DType dtype, double scale, int64_t zero_point, OptionalInt quant_min,
                      OptionalInt quant_max, OptionalScheme qscheme, bool is_dynamic) {
            auto s = std::make_shared<Spec>();
            s->dtype = dtype;
            s->scale = scale;
            s->zero_point = zero_point;
            s->quant_min = quant_min;
            s->quant_max = quant_max;
            s->qscheme = qscheme;
            s->is_dynamic = is_dynamic;
            return s;
          }),
          py::arg("dtype"), py::arg("scale"), py::arg("zero_point"),
          py::arg("quant_min") = py::none(), py::arg("quant_max") = py::none(),
          py::arg("qscheme") = py::none(), py::arg("is_dynamic") = false);
  dataclass<Spec>(cls);
  range_fields<Spec>(cls);
  cls.def_property_readonly("scale", [](const Spec& s) { return s.scale; })
      .def_property_readonly("zero_point", [](const Spec& s) { return s.zero_point; });
}

void bind_shared(py::module_& m) {
  using Spec = SharedQuantizationSpec;
  py::class_<Spec, Base, std::shared_ptr<Spec>> cls(
      m, "SharedQuantizationSpec",
      "Quantized with the observer of another edge (producer, consumer) or node (its output).");
  cls.def(py::init([](const py::object& edge_or_node) {
            auto s = std::make_shared<Spec>();
            s->edge_or_node = edge_from_python(edge_or_node);
            return s;
          }),
          py::arg("edge_or_node"), py::keep_alive<1, 2>());
  dataclass<Spec>(cls);
  cls.def_property_readonly("edge_or_node",
                            [](const Spec& s) { return edge_to_python(s.edge_or_node); });
}

void bind_derived(py::module_& m) {
  using Spec = DerivedQuantizationSpec;
  py::class_<Spec, Base, std::shared_ptr<Spec>> cls(
      m, "DerivedQuantizationSpec",
      "Scale and zero point computed from those of other edges or nodes:\nderive_qparams_fn(list "
      "of observers) -> (scale, zero_point).");
  cls.def(py::init([](const py::list& derived_from, const py::function& fn, DType dtype,
                      OptionalInt quant_min, OptionalInt quant_max, OptionalScheme qscheme,
                      OptionalInt ch_axis, bool is_dynamic) {
            auto s = std::make_shared<Spec>();
            for (const py::handle e : derived_from) s->derived_from.push_back(edge_from_python(e));
            s->derive_qparams_fn = PythonDerive{PyHandle(fn)};
            s->dtype = dtype;
            s->quant_min = quant_min;
            s->quant_max = quant_max;
            s->qscheme = qscheme;
            s->ch_axis = ch_axis;
            s->is_dynamic = is_dynamic;
            return s;
          }),
          py::arg("derived_from"), py::arg("derive_qparams_fn"), py::arg("dtype"),
          py::arg("quant_min") = py::none(), py::arg("quant_max") = py::none(),
          py::arg("qscheme") = py::none(), py::arg("ch_axis") = py::none(),
          py::arg("is_dynamic") = false, py::keep_alive<1, 2>());
  dataclass<Spec>(cls);
  range_fields<Spec>(cls);
  cls.def_property_readonly("ch_axis", [](const Spec& s) { return s.ch_axis; })
      .def_property_readonly("derived_from",
                             [](const Spec& s) {
                               py::list out;
                               for (const EdgeOrNode& e : s.derived_from)
                                 out.append(edge_to_python(e));
                               return out;
                             })
      .def_property_readonly("derive_qparams_fn", [](const Spec& s) -> py::object {
        const auto* derive = s.derive_qparams_fn.target<PythonDerive>();
        if (derive != nullptr) return derive->fn.get();
        return py::cpp_function([fn = s.derive_qparams_fn](const py::list& observers) {
          std::vector<std::shared_ptr<Observer>> sources;
          for (const py::handle o : observers) sources.push_back(observer_from_python(o));
          return qparams_to_python(fn(sources));
        });
      });
}

// --- annotation ----------------------------------------------------------------------------------

// annotation.input_qspec_map: a mutable mapping from nodes to specs.
struct SpecMap {
  std::shared_ptr<QuantizationAnnotation> annotation;

  auto& entries() const { return annotation->input_qspec_map; }
  const SpecPtr* find(const Node& n) const { return annotation->find_input(&n); }
  void erase(const Node& n) const {
    auto& list = entries();
    for (auto it = list.begin(); it != list.end(); ++it) {
      if (it->first == &n) {
        list.erase(it);
        return;
      }
    }
  }
};

py::dict to_dict(const SpecMap& map) {
  py::dict out;
  for (const auto& [node, spec] : map.entries()) {
    out[py::cast(node_handle(node))] = spec_to_python(spec);
  }
  return out;
}

void assign(QuantizationAnnotation& annotation, const py::object& mapping) {
  const py::dict values = mapping.is_none() ? py::dict() : py::dict(mapping);
  annotation.input_qspec_map.clear();
  for (const auto& [node, spec] : values) {
    if (!py::isinstance<Node>(node)) {
      throw TypeError(cat("input_qspec_map: keys must be nodes, got ",
                          std::string(py::str(py::type::of(node)))));
    }
    annotation.set_input(node.cast<Node*>(), spec_from_python(spec, "input_qspec_map"));
  }
}

void bind_spec_map(py::module_& m) {
  py::class_<SpecMap> cls(m, "_InputQSpecMap", "Mapping from input nodes to their specs.");
  cls.def("__len__", [](const SpecMap& s) { return s.entries().size(); })
      .def("__contains__",
           [](const SpecMap& s, const py::object& node) {
             return py::isinstance<Node>(node) && s.find(node.cast<Node&>()) != nullptr;
           })
      .def("__getitem__",
           [](const SpecMap& s, Node& node) {
             const SpecPtr* spec = s.find(node);
             if (spec == nullptr)
               throw KeyError(cat("no quantization spec for '", node.name(), "'"));
             return spec_to_python(*spec);
           })
      .def("__setitem__",
           [](const SpecMap& s, Node& node, const py::object& spec) {
             s.annotation->set_input(&node, spec_from_python(spec, "input_qspec_map"));
           })
      .def("__delitem__", [](const SpecMap& s, Node& node) { s.erase(node); })
      .def("__iter__", [](const SpecMap& s) { return py::iter(to_dict(s)); })
      .def("keys", [](const SpecMap& s) { return to_dict(s).attr("keys")(); })
      .def("values", [](const SpecMap& s) { return to_dict(s).attr("values")(); })
      .def("items", [](const SpecMap& s) { return to_dict(s).attr("items")(); })
      .def(
          "get",
          [](const SpecMap& s, Node& node, const py::object& fallback) {
            const SpecPtr* spec = s.find(node);
            return spec == nullptr ? fallback : spec_to_python(*spec);
          },
          py::arg("key"), py::arg("default") = py::none())
      .def("update",
           [](const SpecMap& s, const py::object& other) {
             for (const auto& [node, spec] : py::dict(other)) {
               s.annotation->set_input(node.cast<Node*>(),
                                       spec_from_python(spec, "input_qspec_map"));
             }
           })
      .def("clear", [](const SpecMap& s) { s.entries().clear(); })
      .def("__eq__",
           [](const SpecMap& s, const py::object& other) {
             return to_dict(s).equal(py::isinstance<SpecMap>(other)
                                         ? py::object(to_dict(other.cast<const SpecMap&>()))
                                         : other);
           })
      .def("__repr__", [](const SpecMap& s) { return py::repr(to_dict(s)); });
  py::module_::import("collections.abc").attr("MutableMapping").attr("register")(cls);
}

void bind_annotation(py::module_& m) {
  using A = QuantizationAnnotation;
  py::class_<A, std::shared_ptr<A>> cls(
      m, "QuantizationAnnotation", py::dynamic_attr(),
      "What node.meta['quantization_annotation'] holds: specs of inputs and of the output.");
  cls.def(py::init([](const py::object& map, const py::object& output, bool allow_implicit_sharing,
                      bool annotated) {
            auto a = std::make_shared<A>();
            assign(*a, map);
            a->output_qspec = spec_from_python(output, "output_qspec");
            a->allow_implicit_sharing = allow_implicit_sharing;
            a->annotated = annotated;
            return a;
          }),
          py::arg("input_qspec_map") = py::none(), py::arg("output_qspec") = py::none(),
          py::arg("allow_implicit_sharing") = true, py::arg("_annotated") = false);
  cls.def_property(
         "input_qspec_map", [](const std::shared_ptr<A>& a) { return SpecMap{a}; },
         [](A& a, const py::object& map) { assign(a, map); })
      .def_property(
          "output_qspec", [](const A& a) { return spec_to_python(a.output_qspec); },
          [](A& a, const py::object& spec) {
            a.output_qspec = spec_from_python(spec, "output_qspec");
          })
      .def_readwrite("allow_implicit_sharing", &A::allow_implicit_sharing)
      .def_readwrite("_annotated", &A::annotated)
      .def_readwrite("_is_output_of_quantized_pattern", &A::is_output_of_quantized_pattern)
      .def("__eq__",
           [](const std::shared_ptr<A>& a, const py::object& other) {
             if (!py::isinstance<A>(other)) return false;
             const auto b = other.cast<std::shared_ptr<A>>();
             return to_dict(SpecMap{a}).equal(to_dict(SpecMap{b})) &&
                    specs_equal(a->output_qspec, b->output_qspec) &&
                    a->allow_implicit_sharing == b->allow_implicit_sharing &&
                    a->annotated == b->annotated;
           })
      .def("__repr__", [](const std::shared_ptr<A>& a) {
        return cat(
            "QuantizationAnnotation(input_qspec_map=", std::string(py::repr(to_dict(SpecMap{a}))),
            ", output_qspec=", std::string(py::repr(spec_to_python(a->output_qspec))),
            ", allow_implicit_sharing=", a->allow_implicit_sharing ? "True" : "False",
            ", _annotated=", a->annotated ? "True" : "False", ")");
      });
  cls.attr("__hash__") = py::none();
}

void bind_config(py::module_& m) {
  using C = QuantizationConfig;
  py::class_<C, std::shared_ptr<C>> cls(
      m, "QuantizationConfig",
      "Specs of input and output activations, weights and biases (None: not quantized).");
  cls.def(py::init([](const py::object& input, const py::object& output, const py::object& weight,
                      const py::object& bias, bool is_qat) {
            auto c = std::make_shared<C>();
            c->input_activation = spec_from_python(input, "input_activation");
            c->output_activation = spec_from_python(output, "output_activation");
            c->weight = spec_from_python(weight, "weight");
            c->bias = spec_from_python(bias, "bias");
            c->is_qat = is_qat;
            return c;
          }),
          py::arg("input_activation"), py::arg("output_activation"), py::arg("weight"),
          py::arg("bias"), py::arg("is_qat") = false);
  const auto text = [](const C& c) {
    const auto spec = [](const SpecPtr& s) { return s ? s->to_string() : std::string("None"); };
    return cat("QuantizationConfig(input_activation=", spec(c.input_activation),
               ", output_activation=", spec(c.output_activation), ", weight=", spec(c.weight),
               ", bias=", spec(c.bias), ", is_qat=", c.is_qat ? "True" : "False", ")");
  };
  cls.def_property_readonly("input_activation",
                            [](const C& c) { return spec_to_python(c.input_activation); })
      .def_property_readonly("output_activation",
                             [](const C& c) { return spec_to_python(c.output_activation); })
      .def_property_readonly("weight", [](const C& c) { return spec_to_python(c.weight); })
      .def_property_readonly("bias", [](const C& c) { return spec_to_python(c.bias); })
      .def_property_readonly("is_qat", [](const C& c) { return c.is_qat; })
      .def("__repr__", text)
      .def("__hash__", [text](const C& c) { return std::hash<std::string>()(text(c)); })
      .def("__eq__", [](const C& c, const py::object& other) {
        return py::isinstance<C>(other) && c == other.cast<const C&>();
      });
}

}  // namespace

SpecPtr spec_from_python(py::handle object, const std::string& what) {
  if (object.is_none()) return nullptr;
  if (!py::isinstance<Base>(object)) {
    throw TypeError(cat(what, ": a quantization spec or None is needed, got ",
                        std::string(py::str(py::type::of(object)))));
  }
  if (py::isinstance<SharedQuantizationSpec>(object) ||
      py::isinstance<DerivedQuantizationSpec>(object)) {
    return object.cast<std::shared_ptr<Base>>();  // the Python part keeps a graph alive: no cycle
  }
  return {PyHandle(py::reinterpret_borrow<py::object>(object)).owner(), object.cast<Base*>()};
}

py::object spec_to_python(const SpecPtr& spec) {
  if (!spec) return py::none();
  return py::cast(std::const_pointer_cast<Base>(spec));
}

ConfigPtr config_from_python(py::handle object) {
  if (object.is_none()) return nullptr;
  if (!py::isinstance<QuantizationConfig>(object)) {
    throw TypeError(cat("a QuantizationConfig or None is needed, got ",
                        std::string(py::str(py::type::of(object)))));
  }
  return object.cast<std::shared_ptr<QuantizationConfig>>();
}

py::object config_to_python(const ConfigPtr& config) {
  if (!config) return py::none();
  return py::cast(std::const_pointer_cast<QuantizationConfig>(config));
}

EdgeOrNode edge_from_python(py::handle object) {
  if (py::isinstance<Node>(object)) return EdgeOrNode(object.cast<Node*>());
  if (PyTuple_Check(object.ptr()) && py::len(object) == 2) {
    const auto pair = py::reinterpret_borrow<py::tuple>(object);
    if (py::isinstance<Node>(pair[0]) && py::isinstance<Node>(pair[1])) {
      return {pair[0].cast<Node*>(), pair[1].cast<Node*>()};
    }
  }
  throw TypeError(cat("a node or a pair (producer, consumer) of nodes is needed, got ",
                      std::string(py::repr(object))));
}

py::object edge_to_python(const EdgeOrNode& e) {
  const py::object producer = py::cast(node_handle(e.producer));
  if (!e.is_edge()) return producer;
  return py::make_tuple(producer, py::cast(node_handle(e.consumer)));
}

void bind_specs(py::module_& m) {
  py::class_<Base, std::shared_ptr<Base>>(m, "QuantizationSpecBase",
                                          "Base of all quantization specs.")
      .def("__repr__", &Base::to_string);
  bind_plain(m);
  bind_fixed(m);
  bind_shared(m);
  bind_derived(m);
  bind_spec_map(m);
  bind_annotation(m);
  bind_config(m);
}

}  // namespace pt2q::python
