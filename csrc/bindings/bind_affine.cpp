// The affine (per-block) observers, AffineFakeQuantize and LearnableFakeQuantize.
#include <pybind11/stl.h>

#include "base/strings.h"
#include "bindings/affine_caster.h"
#include "bindings/bindings.h"
#include "bindings/dtype_caster.h"
#include "bindings/observer_class.h"
#include "bindings/qscheme_caster.h"
#include "observers/learnable_fake_quantize.h"

namespace pt2q::python {
namespace {

py::object affine_types(const char* name) {
  return py::module_::import("pt2q.ao.quantization._affine_types").attr(name);
}

std::vector<int64_t> numbers_of(py::handle granularity) {
  for (const char* field : {"axis", "group_size", "dim"}) {
    if (py::hasattr(granularity, field)) return {granularity.attr(field).cast<int64_t>()};
  }
  if (py::hasattr(granularity, "block_size")) {
    return py::list(granularity.attr("block_size")).cast<std::vector<int64_t>>();
  }
  return {};
}

std::string type_name_of(py::handle object) {
  return py::str(py::type::of(object).attr("__name__"));
}

}  // namespace

std::string enum_member_name(py::handle object, const char* what) {
  if (py::isinstance<py::str>(object)) return object.cast<std::string>();
  if (!object.is_none() && py::hasattr(object, "name")) return py::str(object.attr("name"));
  throw TypeError(
      cat(what, " must be a member of its enumeration, got ", std::string(py::repr(object))));
}

Granularity granularity_from_python(py::handle object) {
  if (object.is_none()) throw AssertionError("granularity is None");
  return Granularity::parse(type_name_of(object), numbers_of(object));
}

py::object granularity_to_python(const Granularity& granularity) {
  const std::string text = granularity.to_string();
  const py::object type = affine_types(text.substr(0, text.find('(')).c_str());
  if (granularity.kind == Granularity::Kind::PerBlock) {
    return type(py::tuple(py::cast(granularity.values)));
  }
  return granularity.values.empty() ? type() : type(granularity.values[0]);
}

py::object enum_member(const char* enumeration, const std::string& name) {
  return affine_types(enumeration)[py::str(name)];
}

bool affine_kwarg_from_python(py::handle object, Value* out) {
  if (py::isinstance(object, affine_types("MappingType")) ||
      py::isinstance(object, affine_types("ZeroPointDomain"))) {
    *out = Value(enum_member_name(object, "argument"));
    return true;
  }
  if (!py::isinstance(object, affine_types("Granularity"))) return false;
  Value::List items = {Value(type_name_of(object))};
  for (const int64_t v : numbers_of(object)) items.emplace_back(v);
  *out = Value(std::move(items));
  return true;
}

py::object affine_kwarg_to_python(const std::string& name, const Value& value) {
  if (name == "mapping_type" && value.is<std::string>()) {
    return enum_member("MappingType", value.as<std::string>());
  }
  if (name == "zero_point_domain" && value.is<std::string>()) {
    return enum_member("ZeroPointDomain", value.as<std::string>());
  }
  if (name != "granularity" || !value.is<Value::List>()) return py::none();
  const Value::List& items = value.list();
  Shape numbers;
  for (size_t i = 1; i < items.size(); ++i) numbers.push_back(items[i].to_int());
  return granularity_to_python(Granularity::parse(items.at(0).as<std::string>(), numbers));
}

namespace {

using OptionalInt = std::optional<int64_t>;
using OptionalDType = std::optional<DType>;

AffineArgs make_args(const py::object& mapping_type, DType target_dtype,
                     const py::object& granularity, OptionalInt quant_min, OptionalInt quant_max,
                     std::optional<double> eps, OptionalDType scale_dtype,
                     OptionalDType zero_point_dtype, bool preserve_zero,
                     const py::object& zero_point_domain, bool is_dynamic) {
  AffineArgs args;
  args.mapping_type = parse_mapping_type(enum_member_name(mapping_type, "mapping_type"));
  args.target_dtype = target_dtype;
  args.granularity = granularity_from_python(granularity);
  args.quant_min = quant_min;
  args.quant_max = quant_max;
  args.eps = eps;
  args.scale_dtype = scale_dtype;
  args.zero_point_dtype = zero_point_dtype;
  args.preserve_zero = preserve_zero;
  args.zero_point_domain =
      zero_point_domain.is_none()
          ? ZeroPointDomain::None
          : parse_zero_point_domain(enum_member_name(zero_point_domain, "zero_point_domain"));
  args.is_dynamic = is_dynamic;
  return args;
}

// Constructor parameters that all affine observers end with.
#define PT2Q_AFFINE_HEAD \
  const py::object &mapping_type, DType target_dtype, const py::object &granularity
#define PT2Q_AFFINE_TAIL                                                         \
  OptionalDType scale_dtype, OptionalDType zero_point_dtype, bool preserve_zero, \
      const py::object &zero_point_domain, const py::kwargs &
#define PT2Q_AFFINE_RANGE OptionalInt quant_min, OptionalInt quant_max, std::optional<double> eps
#define PT2Q_AFFINE_ARGS(DYNAMIC)                                                            \
  make_args(mapping_type, target_dtype, granularity, quant_min, quant_max, eps, scale_dtype, \
            zero_point_dtype, preserve_zero, zero_point_domain, DYNAMIC)
#define PT2Q_AFFINE_HEAD_NAMES \
  py::arg("mapping_type"), py::arg("target_dtype"), py::arg("granularity")
#define PT2Q_AFFINE_RANGE_NAMES \
  py::arg("quant_min") = py::none(), py::arg("quant_max") = py::none(), py::arg("eps") = py::none()
#define PT2Q_AFFINE_TAIL_NAMES                                                   \
  py::arg("scale_dtype") = py::none(), py::arg("zero_point_dtype") = py::none(), \
  py::arg("preserve_zero") = true, py::arg("zero_point_domain") = "INT"

void bind_affine_base(py::module_& m) {
  using Base = AffineQuantizedObserverBase;
  py::class_<Base, StatefulObserver, PyObserver<Base>, std::shared_ptr<Base>> cls(
      m, "AffineQuantizedObserverBase",
      "Base of observers with one scale and zero point per block of any granularity. Derive from "
      "it "
      "and define forward(self, x) and calculate_qparams(self).");
  cls.def(py::init([](PT2Q_AFFINE_HEAD, PT2Q_AFFINE_RANGE, PT2Q_AFFINE_TAIL) {
            return new PyObserver<Base>(PT2Q_AFFINE_ARGS(false));
          }),
          PT2Q_AFFINE_HEAD_NAMES, PT2Q_AFFINE_RANGE_NAMES, PT2Q_AFFINE_TAIL_NAMES);
  copy_constructor<Base>(cls);
  cls.def_property_readonly("mapping_type",
                            [](const Base& o) {
                              return enum_member("MappingType",
                                                 mapping_type_name(o.args().mapping_type));
                            })
      .def_property_readonly("zero_point_domain",
                             [](const Base& o) {
                               return enum_member(
                                   "ZeroPointDomain",
                                   zero_point_domain_name(o.args().zero_point_domain));
                             })
      .def_property_readonly(
          "granularity", [](const Base& o) { return granularity_to_python(o.args().granularity); })
      .def_property_readonly("target_dtype", [](const Base& o) { return o.args().target_dtype; })
      .def_property_readonly("quant_min", [](const Base& o) { return o.args().quant_min; })
      .def_property_readonly("quant_max", [](const Base& o) { return o.args().quant_max; })
      .def_property_readonly("eps", [](const Base& o) { return o.args().eps; })
      .def_property_readonly("scale_dtype", [](const Base& o) { return o.args().scale_dtype; })
      .def_property_readonly("zero_point_dtype",
                             [](const Base& o) { return o.args().zero_point_dtype; })
      .def_property_readonly("preserve_zero", [](const Base& o) { return o.args().preserve_zero; })
      .def_property_readonly("is_dynamic", &Base::is_dynamic)
      .def_property_readonly("block_size",
                             [](const Base& o) -> py::object {
                               if (!o.block_size()) return py::none();
                               return py::tuple(py::cast(*o.block_size()));
                             })
      .def_property_readonly("original_dtype", [](const Base& o) { return o.original_dtype(); })
      .def(
          "convert", [](Base& o, GraphModule& model, Node& node) { o.Base::convert(model, &node); },
          py::arg("model"), py::arg("observer_node"),
          "Replaces the observer's node by torchao.quantize_affine and dequantize_affine.");
}

void bind_affine_observers(py::module_& m) {
  using Base = AffineQuantizedObserverBase;
  using Plain = AffineQuantizedMinMaxObserver;
  py::class_<Plain, Base, PyObserver<Plain>, std::shared_ptr<Plain>> plain(
      m, "AffineQuantizedMinMaxObserver", "Smallest and largest value of every block.");
  constructor<Plain>(
      plain,
      [](auto tag) {
        return [tag](PT2Q_AFFINE_HEAD, PT2Q_AFFINE_RANGE, PT2Q_AFFINE_TAIL) {
          return new typename decltype(tag)::type(PT2Q_AFFINE_ARGS(false));
        };
      },
      PT2Q_AFFINE_HEAD_NAMES, PT2Q_AFFINE_RANGE_NAMES, PT2Q_AFFINE_TAIL_NAMES);
  copy_constructor<Plain>(plain);

  using Average = AffineQuantizedMovingAverageMinMaxObserver;
  py::class_<Average, Plain, PyObserver<Average>, std::shared_ptr<Average>> average(
      m, "AffineQuantizedMovingAverageMinMaxObserver", "A moving average of every block's range.");
  constructor<Average>(
      average,
      [](auto tag) {
        return [tag](PT2Q_AFFINE_HEAD, double averaging_constant, PT2Q_AFFINE_RANGE,
                     bool is_dynamic, PT2Q_AFFINE_TAIL) {
          return new typename decltype(tag)::type(averaging_constant, PT2Q_AFFINE_ARGS(is_dynamic));
        };
      },
      PT2Q_AFFINE_HEAD_NAMES, py::arg("averaging_constant") = 0.01, PT2Q_AFFINE_RANGE_NAMES,
      py::arg("is_dynamic") = false, PT2Q_AFFINE_TAIL_NAMES);
  copy_constructor<Average>(average);
  average.def_property_readonly("averaging_constant", &Average::averaging_constant);

  using Holder = AffineQuantizedPlaceholderObserver;
  py::class_<Holder, Base, PyObserver<Holder>, std::shared_ptr<Holder>> holder(
      m, "AffineQuantizedPlaceholderObserver",
      "Observes nothing; when dynamic, parameters are chosen at run time.");
  constructor<Holder>(
      holder,
      [](auto tag) {
        return [tag](PT2Q_AFFINE_HEAD, PT2Q_AFFINE_RANGE, bool is_dynamic, PT2Q_AFFINE_TAIL) {
          return new typename decltype(tag)::type(PT2Q_AFFINE_ARGS(is_dynamic));
        };
      },
      PT2Q_AFFINE_HEAD_NAMES, PT2Q_AFFINE_RANGE_NAMES, py::arg("is_dynamic") = false,
      PT2Q_AFFINE_TAIL_NAMES);
  copy_constructor<Holder>(holder);
}

// Keywords for the observer; what C++ cannot hold stays with a partial of the recipe in Python.
ObserverCtr split_kwargs(const py::object& observer, const py::kwargs& kwargs, KwArgs* out) {
  py::dict opaque;
  for (const auto& [key, value] : kwargs) {
    Value converted;
    if (kwarg_from_python(value, &converted)) {
      (*out)[key.cast<std::string>()] = converted;
    } else {
      opaque[key] = value;
    }
  }
  return recipe_from_python(
      opaque.empty() ? observer
                     : py::module_::import("functools").attr("partial")(observer, **opaque));
}

void bind_affine_fake_quantize(py::module_& m) {
  using Fake = AffineFakeQuantize;
  py::class_<Fake, FakeQuantizeBase, PyObserver<Fake>, std::shared_ptr<Fake>> cls(
      m, "AffineFakeQuantize", "Fake-quantizes with the blocks of an affine observer.");
  constructor<Fake>(
      cls,
      [](auto tag) {
        return [tag](const py::object& observer, bool is_dynamic, const py::kwargs& kwargs) {
          KwArgs own;
          const py::object recipe =
              observer.is_none()
                  ? py::module_::import("pt2q._core").attr("AffineQuantizedMinMaxObserver")
                  : observer;
          const ObserverCtr ctr = split_kwargs(recipe, kwargs, &own);
          return new typename decltype(tag)::type(ctr, is_dynamic, own);
        };
      },
      py::arg("observer") = py::none(), py::arg("is_dynamic") = false);
  copy_constructor<Fake>(cls);
  buffer_property(cls, "scale", "float32, [1] or one per block");
  buffer_property(cls, "zero_point", "int32 (float32 in the floating domain), shape of scale");
  const auto observer = [](const Fake& f) { return py::cast(f.activation_post_process()); };
  cls.def_property_readonly("activation_post_process", observer);
  for (const char* name : {"target_dtype", "quant_min", "quant_max", "zero_point_domain",
                           "mapping_type", "granularity", "block_size"}) {
    cls.def_property_readonly(
        name, [observer, name](const Fake& f) -> py::object { return observer(f).attr(name); });
  }
  cls.def_property_readonly("is_dynamic", &Fake::is_dynamic)
      .def(
          "convert", [](Fake& f, GraphModule& model, Node& node) { f.Fake::convert(model, &node); },
          py::arg("model"), py::arg("observer_node"));
}

// None before the first batch.
template <class Cls>
void optional_buffer(Cls& cls, const char* name) {
  const std::string key = name;
  cls.def_property(
      name,
      [key](const LearnableFakeQuantize& f) -> py::object {
        return f.has_buffer(key) ? py::cast(f.buffer(key)) : py::object(py::none());
      },
      [key](LearnableFakeQuantize& f, const Tensor& t) {
        f.register_buffer(key, t.to(DType::Float32));
      });
}

void bind_learnable(py::module_& m) {
  using Fake = LearnableFakeQuantize;
  py::class_<Fake, FakeQuantizeBase, PyObserver<Fake>, std::shared_ptr<Fake>> cls(
      m, "LearnableFakeQuantize",
      "Fake-quantizes with a scale and zero point that start from an observer and may be learned.");
  constructor<Fake>(
      cls,
      [](auto tag) {
        return [tag](const py::object& observer, int64_t quant_min, int64_t quant_max,
                     bool use_grad_scaling, const py::kwargs& kwargs) {
          KwArgs own;
          const ObserverCtr ctr = split_kwargs(observer, kwargs, &own);
          return new typename decltype(tag)::type(ctr, quant_min, quant_max, use_grad_scaling, own);
        };
      },
      py::arg("observer"), py::arg("quant_min") = 0, py::arg("quant_max") = 255,
      py::arg("use_grad_scaling") = false);
  copy_constructor<Fake>(cls);
  optional_buffer(cls, "scale");
  optional_buffer(cls, "zero_point");
  buffer_property(cls, "learning_enabled", "1 while scale and zero point are learned.");
  buffer_property(cls, "eps", "Smallest scale.");
  cls.def("enable_range_learning", &Fake::enable_range_learning,
          "Lets scale and zero point be learned; stops the observer.")
      .def("disable_range_learning", &Fake::disable_range_learning)
      .def("enable_observer", &Fake::enable_observer, py::arg("enabled") = true)
      .def("disable_observer", [](Fake& f) { f.enable_observer(false); })
      .def_property_readonly("activation_post_process", &Fake::activation_post_process)
      .def_property_readonly("dtype", &Fake::dtype)
      .def_property_readonly("qscheme", &Fake::qscheme)
      .def_property_readonly("quant_min", &Fake::quant_min)
      .def_property_readonly("quant_max", &Fake::quant_max)
      .def_property_readonly("is_dynamic", &Fake::is_dynamic)
      .def_property_readonly("use_grad_scaling", &Fake::use_grad_scaling)
      .def_property_readonly("ch_axis", [](const Fake& f) { return f.ch_axis().value_or(-1); });
}

}  // namespace

void bind_affine(py::module_& m) {
  bind_affine_base(m);
  bind_affine_observers(m);
  bind_affine_fake_quantize(m);
  bind_learnable(m);
  m.def(
      "get_block_size",
      [](const std::vector<int64_t>& shape, const py::object& granularity) {
        return py::tuple(py::cast(granularity_from_python(granularity).block_size(shape)));
      },
      py::arg("input_shape"), py::arg("granularity"),
      "The block of a tensor of that shape which shares one scale.");
}

}  // namespace pt2q::python
