// pt2q.ao.quantization.observer: the classes. Partials and the default recipes are in Python.
#include "base/strings.h"
#include "bindings/bindings.h"
#include "bindings/dtype_caster.h"
#include "bindings/observer_class.h"
#include "bindings/qscheme_caster.h"
#include "observers/fake_quantize.h"
#include "observers/fixed.h"
#include "observers/grid_histogram.h"
#include "observers/histogram.h"
#include "observers/minmax.h"
#include "observers/per_channel.h"
#include "observers/placeholder.h"
#include "observers/recording.h"

namespace pt2q::python {

namespace {

using OptionalInt = std::optional<int64_t>;

void bind_observer_base(py::module_& m) {
  py::class_<ObserverBase, StatefulObserver, PyObserver<ObserverBase>,
             std::shared_ptr<ObserverBase>>
      cls(m, "ObserverBase",
          "Base of all observers. Derive from it and define forward(self, x), which returns x, and "
          "calculate_qparams(self), which returns (scale, zero_point).");
  cls.def(py::init([](DType dtype, bool dynamic) {
            return new PyObserver<ObserverBase>(dtype, dynamic);
          }),
          py::arg("dtype"), py::arg("is_dynamic") = false);
  copy_constructor<ObserverBase>(cls);
  cls.def_property("dtype", &ObserverBase::dtype, &ObserverBase::set_dtype)
      .def_property(
          "qscheme", [](const ObserverBase& o) { return o.optional_qscheme(); },
          &ObserverBase::set_qscheme)
      .def_property("quant_min", &ObserverBase::quant_min, &ObserverBase::set_quant_min)
      .def_property("quant_max", &ObserverBase::quant_max, &ObserverBase::set_quant_max)
      .def_property("is_dynamic", &ObserverBase::is_dynamic, &ObserverBase::set_is_dynamic)
      .def_property("eps", &ObserverBase::eps, &ObserverBase::set_eps);
}

UniformArgs uniform(DType dtype, QScheme scheme, bool reduce_range, OptionalInt quant_min,
                    OptionalInt quant_max, const py::object&, double eps, bool is_dynamic) {
  UniformArgs args;
  args.dtype = dtype;
  args.qscheme = scheme;
  args.reduce_range = reduce_range;
  args.quant_min = quant_min;
  args.quant_max = quant_max;
  args.eps = eps;
  args.is_dynamic = is_dynamic;
  return args;
}

// Adds the arguments every uniform observer takes to a constructor whose first argument is `First`.
#define PT2Q_UNIFORM_TYPES                                                                      \
  DType dtype, QScheme scheme, bool reduce_range, OptionalInt quant_min, OptionalInt quant_max, \
      const py::object &factory_kwargs, double eps, bool is_dynamic
#define PT2Q_UNIFORM_VALUES \
  uniform(dtype, scheme, reduce_range, quant_min, quant_max, factory_kwargs, eps, is_dynamic)
#define PT2Q_UNIFORM_NAMES(SCHEME)                                               \
  py::arg_v("dtype", DType::QUInt8, "pt2q.quint8"),                              \
      py::arg_v("qscheme", QScheme::SCHEME, "pt2q.qscheme"),                     \
      py::arg("reduce_range") = false, py::arg("quant_min") = py::none(),        \
      py::arg("quant_max") = py::none(), py::arg("factory_kwargs") = py::none(), \
      py::arg("eps") = kFloatEps, py::arg("is_dynamic") = false

void bind_uniform_base(py::module_& m) {
  using Base = UniformObserverBase;
  py::class_<Base, ObserverBase, PyObserver<Base>, std::shared_ptr<Base>> cls(
      m, "UniformQuantizationObserverBase",
      "Base of observers with a range; _calculate_qparams(min, max) gives scale and zero point.");
  cls.def(py::init([](PT2Q_UNIFORM_TYPES) { return new PyObserver<Base>(PT2Q_UNIFORM_VALUES); }),
          PT2Q_UNIFORM_NAMES(PerTensorAffine));
  copy_constructor<Base>(cls);
  buffer_property(cls, "eps", "Smallest scale, float32 [1].");
  cls.def_property_readonly("reduce_range", &Base::reduce_range)
      .def_property_readonly("has_customized_qrange", &Base::has_customized_qrange)
      .def(
          "_calculate_qparams",
          [](const Base& o, const Tensor& min, const Tensor& max) {
            return qparams_to_python(o.calculate_from(min, max));
          },
          py::arg("min_val"), py::arg("max_val"))
      .def(
          "_validate_qmin_qmax",
          [](const Base&, int64_t a, int64_t b) { validate_quant_range(a, b); },
          py::arg("quant_min"), py::arg("quant_max"));
}

template <class Cls>
void range_properties(Cls& cls) {
  buffer_property(cls, "min_val", "Smallest value seen.");
  buffer_property(cls, "max_val", "Largest value seen.");
}

void bind_minmax(py::module_& m) {
  using Plain = MinMaxObserver;
  py::class_<Plain, UniformObserverBase, PyObserver<Plain>, std::shared_ptr<Plain>> plain(
      m, "MinMaxObserver", "Scale and zero point from the smallest and largest value seen.");
  constructor<Plain>(
      plain,
      [](auto tag) {
        return [tag](PT2Q_UNIFORM_TYPES) {
          return new typename decltype(tag)::type(PT2Q_UNIFORM_VALUES);
        };
      },
      PT2Q_UNIFORM_NAMES(PerTensorAffine));
  copy_constructor<Plain>(plain);
  range_properties(plain);

  using Average = MovingAverageMinMaxObserver;
  py::class_<Average, Plain, PyObserver<Average>, std::shared_ptr<Average>> average(
      m, "MovingAverageMinMaxObserver", "MinMaxObserver over a moving average of the ranges.");
  constructor<Average>(
      average,
      [](auto tag) {
        return [tag](double averaging_constant, PT2Q_UNIFORM_TYPES) {
          return new typename decltype(tag)::type(averaging_constant, PT2Q_UNIFORM_VALUES);
        };
      },
      py::arg("averaging_constant") = 0.01, PT2Q_UNIFORM_NAMES(PerTensorAffine));
  copy_constructor<Average>(average);
  average.def_property("averaging_constant", &Average::averaging_constant,
                       &Average::set_averaging_constant);
}

void bind_per_channel(py::module_& m) {
  using Plain = PerChannelMinMaxObserver;
  py::class_<Plain, UniformObserverBase, PyObserver<Plain>, std::shared_ptr<Plain>> plain(
      m, "PerChannelMinMaxObserver", "A range for every index of dimension ch_axis.");
  constructor<Plain>(
      plain,
      [](auto tag) {
        return [tag](int64_t ch_axis, PT2Q_UNIFORM_TYPES) {
          return new typename decltype(tag)::type(ch_axis, PT2Q_UNIFORM_VALUES);
        };
      },
      py::arg("ch_axis") = 0, PT2Q_UNIFORM_NAMES(PerChannelAffine));
  copy_constructor<Plain>(plain);
  range_properties(plain);
  plain.def_property("ch_axis", &Plain::ch_axis, &Plain::set_ch_axis);

  using Average = MovingAveragePerChannelMinMaxObserver;
  py::class_<Average, Plain, PyObserver<Average>, std::shared_ptr<Average>> average(
      m, "MovingAveragePerChannelMinMaxObserver",
      "PerChannelMinMaxObserver over a moving average of the ranges.");
  constructor<Average>(
      average,
      [](auto tag) {
        return [tag](double averaging_constant, int64_t ch_axis, PT2Q_UNIFORM_TYPES) {
          return new typename decltype(tag)::type(averaging_constant, ch_axis, PT2Q_UNIFORM_VALUES);
        };
      },
      py::arg("averaging_constant") = 0.01, py::arg("ch_axis") = 0,
      PT2Q_UNIFORM_NAMES(PerChannelAffine));
  copy_constructor<Average>(average);
  average.def_property("averaging_constant", &Average::averaging_constant,
                       &Average::set_averaging_constant);
}

void bind_histogram(py::module_& m) {
  using Histogram = HistogramObserver;
  py::class_<Histogram, UniformObserverBase, PyObserver<Histogram>, std::shared_ptr<Histogram>> cls(
      m, "HistogramObserver",
      "Scale and zero point from the clipping range with the least squared error, found on a "
      "running histogram.");
  constructor<Histogram>(
      cls,
      [](auto tag) {
        return [tag](int64_t bins, PT2Q_UNIFORM_TYPES) {
          return new typename decltype(tag)::type(bins, PT2Q_UNIFORM_VALUES);
        };
      },
      py::arg("bins") = 2048, PT2Q_UNIFORM_NAMES(PerTensorAffine));
  copy_constructor<Histogram>(cls);
  range_properties(cls);
  buffer_property(cls, "histogram", "Counts, float32 [bins].");
  cls.def_property_readonly("bins", &Histogram::bins)
      .def_property_readonly("dst_nbins", &Histogram::dst_nbins)
      .def_property_readonly("upsample_rate", &Histogram::upsample_rate)
      .def("_non_linear_param_search", [](const Histogram& o) {
        const auto [min, max] = o.search_range();
        return py::make_tuple(Tensor::scalar(static_cast<double>(min)),
                              Tensor::scalar(static_cast<double>(max)));
      });
}

void bind_grid_histogram(py::module_& m) {
  using Grid = GridHistogramObserver;
  py::class_<Grid, UniformObserverBase, PyObserver<Grid>, std::shared_ptr<Grid>> cls(
      m, "GridHistogramObserver",
      "A histogram observer whose result does not depend on how the data are split: bins lie on a "
      "grid of powers of two, and merge is exact. Not in PyTorch.");
  constructor<Grid>(
      cls,
      [](auto tag) {
        return [tag](int64_t bins, PT2Q_UNIFORM_TYPES) {
          return new typename decltype(tag)::type(bins, PT2Q_UNIFORM_VALUES);
        };
      },
      py::arg("bins") = 4096, PT2Q_UNIFORM_NAMES(PerTensorAffine));
  copy_constructor<Grid>(cls);
  range_properties(cls);
  buffer_property(cls, "histogram", "Counts, int64 [bins].");
  cls.def_property_readonly("bins", &Grid::bins)
      .def_property_readonly("exponent", &Grid::exponent, "The bin width is 2 ** exponent.");
}

void bind_fixed(py::module_& m) {
  using Fixed = FixedQParamsObserver;
  py::class_<Fixed, ObserverBase, PyObserver<Fixed>, std::shared_ptr<Fixed>> cls(
      m, "FixedQParamsObserver", "A scale and zero point known beforehand.");
  constructor<Fixed>(
      cls,
      [](auto tag) {
        return [tag](double scale, int64_t zero_point, DType dtype, QScheme scheme,
                     int64_t quant_min, int64_t quant_max, bool is_dynamic) {
          return new typename decltype(tag)::type(scale, zero_point, dtype, scheme, quant_min,
                                                  quant_max, is_dynamic);
        };
      },
      py::arg("scale"), py::arg("zero_point"), py::arg_v("dtype", DType::QUInt8, "pt2q.quint8"),
      py::arg_v("qscheme", QScheme::PerTensorAffine, "pt2q.per_tensor_affine"),
      py::arg("quant_min") = 0, py::arg("quant_max") = 255, py::arg("is_dynamic") = false);
  copy_constructor<Fixed>(cls);
  buffer_property(cls, "scale", "float32 [1]");
  buffer_property(cls, "zero_point", "int32 [1]");
}

template <class C>
C* make_placeholder(DType dtype, const std::string& custom_op_name, const py::object& compute_dtype,
                    OptionalInt quant_min, OptionalInt quant_max, std::optional<QScheme> qscheme,
                    std::optional<double> eps, bool is_dynamic) {
  auto* observer = new C(dtype, is_dynamic, custom_op_name);
  observer->set_quant_min(quant_min);
  observer->set_quant_max(quant_max);
  observer->set_qscheme(qscheme.value_or(QScheme::PerTensorAffine));
  observer->set_eps(eps.value_or(kFloatEps));
  if (!compute_dtype.is_none()) PlaceholderObserver::warn_compute_dtype();
  return observer;
}

void bind_placeholder(py::module_& m) {
  using Holder = PlaceholderObserver;
  py::class_<Holder, ObserverBase, PyObserver<Holder>, std::shared_ptr<Holder>> cls(
      m, "PlaceholderObserver", "Observes nothing and carries the settings to convert.");
  cls.def(py::init(&make_placeholder<Holder>, &make_placeholder<PyObserver<Holder>>),
          py::arg_v("dtype", DType::Float32, "pt2q.float32"), py::arg("custom_op_name") = "",
          py::arg("compute_dtype") = py::none(), py::arg("quant_min") = py::none(),
          py::arg("quant_max") = py::none(), py::arg("qscheme") = py::none(),
          py::arg("eps") = py::none(), py::arg("is_dynamic") = false);
  copy_constructor<Holder>(cls);
  cls.def_property_readonly("custom_op", &Holder::custom_op);

  using Noop = NoopObserver;
  py::class_<Noop, ObserverBase, PyObserver<Noop>, std::shared_ptr<Noop>> noop(
      m, "NoopObserver", "Observes nothing: for conversion to float16.");
  constructor<Noop>(
      noop,
      [](auto tag) {
        return [tag](DType dtype, const std::string& name) {
          return new typename decltype(tag)::type(dtype, name);
        };
      },
      py::arg_v("dtype", DType::Float16, "pt2q.float16"), py::arg("custom_op_name") = "");
  copy_constructor<Noop>(noop);
  noop.def_property_readonly("custom_op", &Noop::custom_op);

  using Reuse = ReuseInputObserver;
  py::class_<Reuse, ObserverBase, PyObserver<Reuse>, std::shared_ptr<Reuse>> reuse(
      m, "ReuseInputObserver", "Marks an output that uses its input's observer.");
  constructor<Reuse>(
      reuse, [](auto tag) { return [tag]() { return new typename decltype(tag)::type(); }; });
  copy_constructor<Reuse>(reuse);

  using Recording = RecordingObserver;
  py::class_<Recording, ObserverBase, PyObserver<Recording>, std::shared_ptr<Recording>> recording(
      m, "RecordingObserver", "Keeps a copy of every tensor it sees.");
  constructor<Recording>(
      recording,
      [](auto tag) {
        return [tag](DType dtype) { return new typename decltype(tag)::type(dtype); };
      },
      py::arg_v("dtype", DType::QUInt8, "pt2q.quint8"));
  copy_constructor<Recording>(recording);
  recording.def("get_tensor_value", &Recording::get_tensor_value)
      .def_property_readonly("tensor_val", &Recording::get_tensor_value);
}

}  // namespace

void bind_observers(py::module_& m) {
  bind_observer_interface(m);
  bind_observer_base(m);
  bind_uniform_base(m);
  bind_minmax(m);
  bind_per_channel(m);
  bind_histogram(m);
  bind_grid_histogram(m);
  bind_fixed(m);
  bind_placeholder(m);
}

}  // namespace pt2q::python
