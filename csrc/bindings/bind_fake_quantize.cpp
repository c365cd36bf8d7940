// pt2q.ao.quantization.fake_quantize: the classes.
#include "bindings/bindings.h"
#include "bindings/dtype_caster.h"
#include "bindings/observer_class.h"
#include "bindings/qscheme_caster.h"
#include "observers/fake_quantize.h"

namespace pt2q::python {
namespace {

using OptionalInt = std::optional<int64_t>;

// Python subclasses of FakeQuantizeBase keep their settings in Python attributes, or leave them to
// their activation_post_process.
class PyFakeQuantizeBase : public PyObserver<FakeQuantizeBase> {
 public:
  using PyObserver<FakeQuantizeBase>::PyObserver;

  DType dtype() const override { return setting<DType>("dtype", DType::QUInt8); }
  QScheme qscheme() const override { return setting<QScheme>("qscheme", QScheme::PerTensorAffine); }
  OptionalInt quant_min() const override { return setting<OptionalInt>("quant_min", {}); }
  OptionalInt quant_max() const override { return setting<OptionalInt>("quant_max", {}); }
  OptionalInt ch_axis() const override { return setting<OptionalInt>("ch_axis", {}); }
  bool is_dynamic() const override { return setting<bool>("is_dynamic", false); }
  double eps() const override { return kFloatEps; }

 private:
  template <typename T>
  T setting(const char* name, T fallback) const {
    const py::gil_scoped_acquire gil;
    const py::handle self = python_self(static_cast<const FakeQuantizeBase*>(this));
    if (!self) return fallback;
    for (const py::handle owner :
         {self, py::handle(py::getattr(self, "activation_post_process", py::none()))}) {
      const py::object value = py::getattr(owner, name, py::none());
      if (!value.is_none()) return value.cast<T>();
    }
    return fallback;
  }
};

void bind_base(py::module_& m) {
  using Base = FakeQuantizeBase;
  py::class_<Base, StatefulObserver, PyFakeQuantizeBase, std::shared_ptr<Base>> cls(
      m, "FakeQuantizeBase",
      "Base of fake-quantize modules. Derive from it and define forward(self, x) and "
      "calculate_qparams(self); attributes dtype, qscheme, quant_min, quant_max and ch_axis, or "
      "those of activation_post_process, are what convert_pt2e reads.");
  cls.def(py::init([] { return new PyFakeQuantizeBase(); }));
  cls.def(py::init([](const Base& other) {
            auto* copy = new PyFakeQuantizeBase(other);
            copy->own_buffers();
            return copy;
          }),
          py::arg("other"));
  buffer_property(cls, "fake_quant_enabled", "1 while values are quantized and dequantized.");
  buffer_property(cls, "observer_enabled", "1 while statistics are collected.");
  cls.def("enable_fake_quant", &Base::enable_fake_quant, py::arg("enabled") = true)
      .def("disable_fake_quant", &Base::disable_fake_quant)
      .def("enable_observer", &Base::enable_observer, py::arg("enabled") = true)
      .def("disable_observer", &Base::disable_observer);
}

// Arguments of the observer. What C++ cannot hold stays with a partial of the observer in Python.
FakeQuantizeArgs fake_quantize_args(const py::object& observer, OptionalInt quant_min,
                                    OptionalInt quant_max, bool is_dynamic,
                                    const py::kwargs& observer_kwargs) {
  FakeQuantizeArgs args;
  args.quant_min = quant_min;
  args.quant_max = quant_max;
  args.is_dynamic = is_dynamic;
  py::dict opaque;
  for (const auto& [key, value] : observer_kwargs) {
    Value converted;
    if (kwarg_from_python(value, &converted)) {
      args.observer_kwargs[key.cast<std::string>()] = converted;
    } else {
      opaque[key] = value;
    }
  }
  const py::object recipe =
      observer.is_none() ? py::module_::import("pt2q._core").attr("MovingAverageMinMaxObserver")
                         : observer;
  args.observer = recipe_from_python(
      opaque.empty() ? recipe : py::module_::import("functools").attr("partial")(recipe, **opaque));
  return args;
}

void bind_fake_quantize_class(py::module_& m) {
  using Fake = FakeQuantize;
  py::class_<Fake, FakeQuantizeBase, PyObserver<Fake>, std::shared_ptr<Fake>> cls(
      m, "FakeQuantize",
      "Observes its input, then quantizes and dequantizes it: (clamp(rint(x / scale) + zero_point) "
      "- zero_point) * scale.");
  // First: an instance is callable, so the other constructor would refuse it as a recipe.
  copy_constructor<Fake>(cls);
  constructor<Fake>(
      cls,
      [](auto tag) {
        return [tag](const py::object& observer, OptionalInt quant_min, OptionalInt quant_max,
                     bool is_dynamic, const py::kwargs& observer_kwargs) {
          return new typename decltype(tag)::type(
              fake_quantize_args(observer, quant_min, quant_max, is_dynamic, observer_kwargs));
        };
      },
      py::arg("observer") = py::none(), py::arg("quant_min") = py::none(),
      py::arg("quant_max") = py::none(), py::arg("is_dynamic") = false);
  buffer_property(cls, "scale", "float32 [1] or [channels]");
  buffer_property(cls, "zero_point", "int32 (float32 for float-qparams), shape of scale");
  cls.def_property_readonly("activation_post_process", &Fake::activation_post_process)
      .def_property_readonly("dtype", &Fake::dtype)
      .def_property_readonly("qscheme", &Fake::qscheme)
      .def_property_readonly("quant_min", &Fake::quant_min)
      .def_property_readonly("quant_max", &Fake::quant_max)
      .def_property_readonly("is_dynamic", &Fake::is_dynamic)
      .def_property_readonly("ch_axis", [](const Fake& f) { return f.ch_axis().value_or(-1); })
      .def_property_readonly("is_per_channel",
                             [](const Fake& f) { return is_per_channel(f.qscheme()); });
}

void bind_fixed(py::module_& m) {
  using Fixed = FixedQParamsFakeQuantize;
  py::class_<Fixed, FakeQuantize, PyObserver<Fixed>, std::shared_ptr<Fixed>> cls(
      m, "FixedQParamsFakeQuantize", "FakeQuantize with the scale of a FixedQParamsObserver.");
  copy_constructor<Fixed>(cls);
  constructor<Fixed>(
      cls,
      [](auto tag) {
        return [tag](const ObserverCtr& observer) {
          return new typename decltype(tag)::type(observer);
        };
      },
      py::arg("observer"));
}

void bind_fused(py::module_& m) {
  using Fused = FusedMovingAvgObsFakeQuantize;
  py::class_<Fused, FakeQuantize, PyObserver<Fused>, std::shared_ptr<Fused>> cls(
      m, "FusedMovingAvgObsFakeQuantize",
      "Observes by moving average and fake-quantizes in one step, with FBGEMM's scale.");
  copy_constructor<Fused>(cls);
  constructor<Fused>(
      cls,
      [](auto tag) {
        return [tag](const py::object& observer, OptionalInt quant_min, OptionalInt quant_max,
                     const py::kwargs& observer_kwargs) {
          py::kwargs rest = observer_kwargs;
          const bool is_dynamic =
              rest.contains("is_dynamic") && rest.attr("pop")("is_dynamic").cast<bool>();
          return new typename decltype(tag)::type(
              fake_quantize_args(observer, quant_min, quant_max, is_dynamic, rest));
        };
      },
      py::arg("observer") = py::none(), py::arg("quant_min") = 0, py::arg("quant_max") = 255);
  cls.def_property_readonly("is_symmetric_quant",
                            [](const Fused& f) { return is_symmetric(f.qscheme()); });
}

}  // namespace

void bind_fake_quantize(py::module_& m) {
  bind_base(m);
  bind_fake_quantize_class(m);
  bind_fixed(m);
  bind_fused(m);
}

}  // namespace pt2q::python
