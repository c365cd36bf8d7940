// Quantizers: the built-in ones, and Python classes derived from any of them.
#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include "base/strings.h"
#include "bindings/bindings.h"
#include "bindings/observer_caster.h"
#include "bindings/op_objects.h"
#include "bindings/quantizer_caster.h"
#include "pt2q/error.h"
#include "pt2q/quantizers.h"

namespace pt2q::python {
namespace {

using Handle = std::shared_ptr<GraphModule>;

std::string type_name_of(py::handle object) {
  return py::str(py::type::of(object).attr("__name__"));
}

// A transform may return another GraphModule: its content becomes that of the model.
void take_over(GraphModule& model, const py::object& result) {
  if (result.is_none()) return;
  auto& other = result.cast<GraphModule&>();
  if (&other == &model) return;
  model.set_graph(other.graph().shared_from_this());
  const std::vector<std::string> old = model.attr_names();
  for (const std::string& name : old) model.delete_attr(name);
  for (const std::string& name : other.attr_names()) {
    model.set_attr(name, other.attr(name).tensor, other.attr(name).kind);
  }
}

py::dict observers_to_python(const Quantizer::ObserverMap& map) {
  py::dict out;
  for (const auto& [key, observer] : map) {
    out[edge_to_python(key)] = observer ? py::cast(observer) : py::none();
  }
  return out;
}

Quantizer::ObserverMap observers_from_python(const py::dict& map) {
  Quantizer::ObserverMap out;
  for (const auto& [key, observer] : map) {
    out.emplace_back(edge_from_python(key),
                     observer.is_none() ? nullptr : observer_from_python(observer));
  }
  return out;
}

// Routes what prepare calls to the methods of a Python subclass.
template <class Base>
class PyQuantizer : public Base {
 public:
  using Base::Base;

  void transform_for_annotation(GraphModule& model) override {
    const py::gil_scoped_acquire gil;
    const py::function method = override_of("transform_for_annotation");
    if (method) {
      take_over(model, method(py::cast(&model, py::return_value_policy::reference)));
    } else {
      Base::transform_for_annotation(model);
    }
  }
  void annotate(GraphModule& model) override {
    const py::gil_scoped_acquire gil;
    const py::function method = override_of("annotate");
    if (method) {
      method(py::cast(&model, py::return_value_policy::reference));
    } else if constexpr (std::is_abstract_v<Base>) {
      throw NotImplementedError(class_name() + " must define annotate(self, model)");
    } else {
      Base::annotate(model);
    }
  }
  void validate(GraphModule& model) override {
    const py::gil_scoped_acquire gil;
    const py::function method = override_of("validate");
    if (method) {
      method(py::cast(&model, py::return_value_policy::reference));
    } else {
      Base::validate(model);
    }
  }
  void prepare_obs_or_fq_callback(GraphModule& model, Quantizer::ObserverMap& map) override {
    const py::gil_scoped_acquire gil;
    const py::function method = override_of("prepare_obs_or_fq_callback");
    if (!method) return Base::prepare_obs_or_fq_callback(model, map);
    const py::dict observers = observers_to_python(map);
    method(py::cast(&model, py::return_value_policy::reference), observers);
    map = observers_from_python(observers);
  }
  std::string class_name() const override {
    const py::gil_scoped_acquire gil;
    return type_name_of(py::cast(static_cast<const Base*>(this)));
  }

 private:
  py::function override_of(const char* name) const {
    return py::get_override(static_cast<const Base*>(this), name);
  }
};

// The methods every quantizer has. Calls are not virtual, so that super().annotate(model) works.
template <class C, class Cls>
void quantizer_methods(Cls& cls) {
  cls.def(
         "transform_for_annotation",
         [](C& q, const py::object& model) {
           q.C::transform_for_annotation(model.cast<GraphModule&>());
           return model;
         },
         py::arg("model"), "May change the graph before it is annotated; returns the model.")
      .def(
          "annotate",
          [](C& q, const py::object& model) {
            if constexpr (std::is_abstract_v<C>) {
              q.annotate(model.cast<GraphModule&>());
            } else {
              q.C::annotate(model.cast<GraphModule&>());
            }
            return model;
          },
          py::arg("model"), "Sets node.meta['quantization_annotation']; returns the model.")
      .def(
          "validate",
          [](C& q, const py::object& model) { q.C::validate(model.cast<GraphModule&>()); },
          py::arg("model"))
      .def(
          "prepare_obs_or_fq_callback",
          [](C& q, const py::object& model, const py::dict& observers) {
            Quantizer::ObserverMap map = observers_from_python(observers);
            q.C::prepare_obs_or_fq_callback(model.cast<GraphModule&>(), map);
            for (const auto& [key, observer] : map) {
              observers[edge_to_python(key)] = observer ? py::cast(observer) : py::none();
            }
          },
          py::arg("model"), py::arg("edge_or_node_to_obs_or_fq"),
          "May change the observers before they are inserted.");
}

py::object operator_config(const OperatorConfig& entry) {
  py::list patterns;
  for (const auto& pattern : entry.operators) patterns.append(py::cast(pattern));
  const py::object type =
      py::module_::import("pt2q.ao.quantization.quantizer.utils").attr("OperatorConfig");
  return type(config_to_python(entry.config), patterns);
}

py::list operator_configs(const std::vector<OperatorConfig>& entries) {
  py::list out;
  for (const OperatorConfig& entry : entries) out.append(operator_config(entry));
  return out;
}

// The list with the table as its text.
py::object capabilities(const std::vector<OperatorConfig>& entries) {
  return py::module_::import("pt2q.ao.quantization.quantizer.utils")
      .attr("QuantizationCapabilities")(operator_configs(entries));
}

constexpr const char* kModuleName =
    "Of all operators inside the module of that path, e.g. 'layer1.0', or inside modules whose "
    "paths match a pattern with *, ? or [], e.g. 'layer*.conv1'.\nWith activation_only=True and "
    "the configuration None, tensors made inside these modules stay in float, while weights are "
    "quantized as the other settings say.";

// PyTorch's class methods that ask what is supported.
template <class C, class Cls>
void supported_queries(Cls& cls) {
  cls.def_static("get_supported_quantization_configs",
                 [] {
                   py::list out;
                   for (const OperatorConfig& entry : C().quantization_capabilities())
                     out.append(config_to_python(entry.config));
                   return out;
                 })
      .def_static(
          "get_supported_operator_for_quantization_config",
          [](const py::object& config) {
            const ConfigPtr wanted = config_from_python(config);
            std::vector<std::vector<std::string>> all;
            for (const OperatorConfig& entry : C().quantization_capabilities()) {
              if (wanted && *entry.config == *wanted) return entry.operators;
              if (!wanted) all.insert(all.end(), entry.operators.begin(), entry.operators.end());
            }
            return all;
          },
          py::arg("quantization_config") = py::none())
      .def_static("get_supported_operators",
                  [] { return operator_configs(C().quantization_capabilities()); });
}

template <class C>
void bind_inductor_variant(py::module_& m, const char* name, const char* doc) {
  py::class_<C, X86InductorQuantizer, PyQuantizer<C>, std::shared_ptr<C>> cls(m, name, doc);
  cls.def(py::init<>());
  supported_queries<C>(cls);
}

void bind_inductor(py::module_& m) {
  using X86 = X86InductorQuantizer;
  py::class_<X86, Quantizer, PyQuantizer<X86>, std::shared_ptr<X86>> cls(
      m, "X86InductorQuantizer",
      "Annotates convolutions and linears with what oneDNN fuses behind them, then operators that "
      "keep int8 data int8.\nSettings by module name win over those by type, those over the global "
      "one. Setters return the quantizer.");
  cls.def(py::init<>());
  quantizer_methods<X86>(cls);
  cls.def(
         "set_global",
         [](const py::object& self, const py::object& config) {
           self.cast<X86&>().set_global(config_from_python(config));
           return self;
         },
         py::arg("quantization_config"))
      .def("get_global_quantization_config",
           [](const X86& q) { return config_to_python(q.get_global_quantization_config()); })
      .def(
          "set_function_type_qconfig",
          [](const py::object& self, const py::object& function, const py::object& config) {
            self.cast<X86&>().set_function_type_qconfig(callable_name(function),
                                                        config_from_python(config));
            return self;
          },
          py::arg("function_type"), py::arg("quantization_config"),
          "Of F.conv2d, torch.matmul, torch.cat ...; None: leave these in float.")
      .def(
          "set_config_for_operator_type",
          [](const py::object& self, const py::object& type, const py::object& config) {
            return self.attr("set_function_type_qconfig")(type, config);
          },
          py::arg("operator_type"), py::arg("quantization_config"),
          "The name set_function_type_qconfig had in PyTorch 2.1.")
      .def(
          "set_module_type_qconfig",
          [](const py::object& self, const py::object& type, const py::object& config) {
            self.cast<X86&>().set_module_type_qconfig(callable_name(type),
                                                      config_from_python(config));
            return self;
          },
          py::arg("module_type"), py::arg("quantization_config"),
          "Of nn.Conv2d, nn.Linear, nn.MaxPool2d ...; None: leave these in float.")
      .def(
          "set_module_name_qconfig",
          [](const py::object& self, const std::string& name, const py::object& config,
             bool activation_only) {
            self.cast<X86&>().set_module_name_qconfig(name, config_from_python(config),
                                                      activation_only);
            return self;
          },
          py::arg("module_name"), py::arg("quantization_config"),
          py::arg("activation_only") = false, kModuleName)
      .def("quantization_capabilities",
           [](const X86& q) { return capabilities(q.quantization_capabilities()); });
  supported_queries<X86>(cls);
  bind_inductor_variant<XPUInductorQuantizer>(
      m, "XPUInductorQuantizer", "As X86InductorQuantizer, for GPUs: max_pool2d stays in float.");
  bind_inductor_variant<ArmInductorQuantizer>(
      m, "ArmInductorQuantizer", "As X86InductorQuantizer: int8 activations, per-tensor weights.");
}

void bind_xnnpack(py::module_& m) {
  using X = XNNPACKQuantizer;
  py::class_<X, Quantizer, PyQuantizer<X>, std::shared_ptr<X>> cls(
      m, "XNNPACKQuantizer",
      "Symmetric int8 quantization of inputs and outputs of every supported operator.\nSetters "
      "return the quantizer.");
  cls.def(py::init<>());
  quantizer_methods<X>(cls);
  cls.def(
         "set_global",
         [](const py::object& self, const py::object& config) {
           self.cast<X&>().set_global(config_from_python(config));
           return self;
         },
         py::arg("quantization_config"))
      .def(
          "set_operator_type",
          [](const py::object& self, const py::object& op, const py::object& config) {
            self.cast<X&>().set_operator_type(callable_name(op), config_from_python(config));
            return self;
          },
          py::arg("operator_type"), py::arg("quantization_config"))
      .def(
          "set_module_type",
          [](const py::object& self, const py::object& type, const py::object& config) {
            self.cast<X&>().set_module_type(full_class_name(type), config_from_python(config));
            return self;
          },
          py::arg("module_type"), py::arg("quantization_config"))
      .def(
          "set_module_name",
          [](const py::object& self, const std::string& name, const py::object& config,
             bool activation_only) {
            self.cast<X&>().set_module_name(name, config_from_python(config), activation_only);
            return self;
          },
          py::arg("module_name"), py::arg("quantization_config"),
          py::arg("activation_only") = false, kModuleName)
      .def(
          "set_object_type",
          [](const py::object& self, const py::object& type, const py::object& config) {
            if (PyType_Check(type.ptr())) {
              self.cast<X&>().set_module_type(full_class_name(type), config_from_python(config));
            } else {
              self.cast<X&>().set_operator_type(callable_name(type), config_from_python(config));
            }
            return self;
          },
          py::arg("object_type"), py::arg("quantization_config"),
          "A module class or a function: set_module_type or set_operator_type.")
      .def(
          "set_filter_function",
          [](const py::object& self, const py::function& filter) {
            self.cast<X&>().set_filter_function([fn = PyHandle(filter)](const Node* n) {
              const py::gil_scoped_acquire gil;
              return fn.get()(node_handle(const_cast<Node*>(n))).cast<bool>();
            });
            return self;
          },
          py::arg("filter_fn"), "Only nodes for which filter_fn(node) holds are annotated.")
      .def("quantization_capabilities",
           [](const X& q) { return capabilities(q.quantization_capabilities()); });
  supported_queries<X>(cls);
}

void bind_embedding(py::module_& m) {
  using E = EmbeddingQuantizer;
  py::class_<E, Quantizer, PyQuantizer<E>, std::shared_ptr<E>> cls(
      m, "EmbeddingQuantizer", "uint8 weights of embeddings, one scale and zero point per row.");
  cls.def(py::init<>());
  quantizer_methods<E>(cls);
  cls.def("quantization_capabilities",
          [](const E& q) { return capabilities(q.quantization_capabilities()); });
  supported_queries<E>(cls);
  m.def("get_embedding_operators_config",
        [] { return operator_config(E::get_supported_operators().front()); });
}

void bind_composable(py::module_& m) {
  using C = ComposableQuantizer;
  py::class_<C, Quantizer, PyQuantizer<C>, std::shared_ptr<C>> cls(
      m, "ComposableQuantizer",
      "Runs several quantizers in order. RuntimeError when one changes or removes annotations of "
      "an earlier one.");
  cls.def(py::init([](const py::list& quantizers) {
            std::vector<std::shared_ptr<Quantizer>> list;
            for (const py::handle q : quantizers) list.push_back(quantizer_from_python(q));
            return std::make_shared<C>(std::move(list));
          }),
          py::arg("quantizers"));
  quantizer_methods<C>(cls);
  cls.def_property_readonly("quantizers", &C::quantizers)
      .def("quantization_capabilities", [](const C& q) {
        const py::object out = capabilities({});
        for (const auto& part : q.quantizers()) {
          const py::object object = py::cast(part);
          if (!py::hasattr(object, "quantization_capabilities")) continue;
          out.attr("extend")(object.attr("quantization_capabilities")());
        }
        return out;
      });
}

}  // namespace

std::shared_ptr<Quantizer> quantizer_from_python(py::handle object) {
  if (!py::isinstance<Quantizer>(object)) {
    throw TypeError(cat("a Quantizer is needed, got an object of type ", type_name_of(object)),
                    "derive it from pt2q.ao.quantization.quantizer.Quantizer");
  }
  auto* raw = object.cast<Quantizer*>();
  return {PyHandle(py::reinterpret_borrow<py::object>(object)).owner(), raw};
}

void bind_quantizers(py::module_& m) {
  py::class_<Quantizer, PyQuantizer<Quantizer>, std::shared_ptr<Quantizer>> cls(
      m, "Quantizer", "Base of quantizers: derive from it and define annotate(self, model).");
  cls.def(py::init<>());
  quantizer_methods<Quantizer>(cls);
  bind_quantizer_settings(m);
  bind_inductor(m);
  bind_xnnpack(m);
  bind_embedding(m);
  bind_composable(m);
}

}  // namespace pt2q::python
