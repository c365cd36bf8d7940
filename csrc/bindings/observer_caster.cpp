#include "bindings/observer_caster.h"

#include <algorithm>

#include "base/strings.h"
#include "bindings/affine_caster.h"
#include "bindings/caster.h"
#include "bindings/qscheme_caster.h"
#include "pt2q/error.h"

namespace pt2q::python {
namespace {

std::string type_name_of(py::handle object) {
  return py::str(py::type::of(object).attr("__name__"));
}

// ObserverCtr::create of recipes that live in Python.
struct PythonFactory {
  PyHandle callable;

  std::shared_ptr<Observer> operator()(const ObserverCtr& recipe) const {
    const py::gil_scoped_acquire gil;
    py::dict kwargs;
    for (const auto& [name, value] : recipe.kwargs) {
      kwargs[py::str(name)] = kwarg_to_python(name, value);
    }
    return observer_from_python(callable.get()(**kwargs));
  }
};

py::object core_class(const std::string& name) {
  return py::module_::import("pt2q._core").attr(name.c_str());
}

bool is_built_in(py::handle callable) {
  if (!PyType_Check(callable.ptr())) return false;
  const std::string name = py::str(callable.attr("__name__"));
  const auto names = observer_class_names();
  return std::find(names.begin(), names.end(), name) != names.end() &&
         core_class(name).is(callable);
}

// The innermost callable of nested partials, and all keywords (outer ones win).
struct Flattened {
  py::object callable;
  py::dict keywords;
  bool late = false;  // with_callable_args or positional arguments: must be called in Python
};

void flatten(py::handle object, Flattened* out) {
  if (py::hasattr(object, "p") && py::hasattr(object, "callable_args")) {  // _PartialWrapper
    if (py::len(object.attr("callable_args")) > 0) out->late = true;
    flatten(object.attr("p"), out);
    return;
  }
  if (py::hasattr(object, "func") && py::hasattr(object, "keywords")) {  // functools.partial
    if (py::hasattr(object, "args") && py::len(object.attr("args")) > 0) out->late = true;
    flatten(object.attr("func"), out);
    for (const auto& item : py::dict(object.attr("keywords"))) {
      out->keywords[item.first] = item.second;
    }
    return;
  }
  out->callable = py::reinterpret_borrow<py::object>(object);
}

std::string name_of(py::handle callable) {
  return py::hasattr(callable, "__name__") ? py::str(callable.attr("__name__")).cast<std::string>()
                                           : type_name_of(callable);
}

// The recipe of a built-in class with these keywords; false when a keyword has no C++ counterpart.
bool built_in_recipe(const Flattened& flat, ObserverCtr* out) {
  *out = observer_class(name_of(flat.callable));
  for (const auto& [key, value] : flat.keywords) {
    const auto name = key.cast<std::string>();
    if (name == "observer" && !PyUnicode_Check(value.ptr())) {
      const ObserverCtr nested = recipe_from_python(value);
      const bool plain = nested.kwargs.empty() && !nested.observer &&
                         nested.create.target<PythonFactory>() == nullptr;
      *out = plain ? out->with_args({{"observer", Value(nested.class_name)}})
                   : out->with_observer(nested);
      continue;
    }
    if (name == "factory_kwargs") continue;
    Value converted;
    if (!kwarg_from_python(value, &converted)) return false;
    *out = out->with_args({{name, converted}});
  }
  return true;
}

}  // namespace

bool kwarg_from_python(py::handle object, Value* out) {
  if (affine_kwarg_from_python(object, out)) return true;
  QScheme scheme{};
  if (qscheme_from(object, &scheme)) {
    *out = Value(qscheme_name(scheme));
    return true;
  }
  try {
    *out = value_from_python(object);
    return true;
  } catch (const TypeError&) {
    return false;
  }
}

py::object kwarg_to_python(const std::string& name, const Value& value) {
  if (name == "qscheme" && value.is<std::string>()) {
    return qscheme_object(parse_qscheme(value.as<std::string>()));
  }
  const py::object affine = affine_kwarg_to_python(name, value);
  if (!affine.is_none()) return affine;
  if (name == "observer" && value.is<std::string>()) return core_class(value.as<std::string>());
  return value_to_python(value);
}

std::shared_ptr<Observer> observer_from_python(py::handle object) {
  if (!py::isinstance<Observer>(object)) {
    throw TypeError(cat("an observer or fake-quantize module is needed, got an object of type ",
                        type_name_of(object)),
                    "derive it from pt2q.ao.quantization.observer.ObserverBase");
  }
  auto* raw = object.cast<Observer*>();
  return {PyHandle(py::reinterpret_borrow<py::object>(object)).owner(), raw};
}

std::shared_ptr<Module> module_from_python(py::handle object) {
  if (py::isinstance<Observer>(object)) return observer_from_python(object);
  return object.cast<std::shared_ptr<Module>>();
}

ObserverCtr recipe_from_python(py::handle object) {
  if (PyCallable_Check(object.ptr()) == 0 || py::isinstance<Observer>(object)) {
    throw TypeError(
        cat("an observer class or Class.with_args(...) is needed, got an object of type ",
            type_name_of(object)),
        "pass the class, not an instance");
  }
  Flattened flat;
  flatten(object, &flat);
  ObserverCtr recipe;
  if (!flat.late && is_built_in(flat.callable) && built_in_recipe(flat, &recipe)) return recipe;
  recipe = ObserverCtr();
  recipe.class_name = name_of(flat.callable);
  recipe.create = PythonFactory{PyHandle(py::reinterpret_borrow<py::object>(object))};
  return recipe;
}

py::object recipe_to_python(const ObserverCtr& recipe) {
  if (!recipe) return py::none();
  py::dict kwargs;
  for (const auto& [name, value] : recipe.kwargs) {
    kwargs[py::str(name)] = kwarg_to_python(name, value);
  }
  if (recipe.observer) kwargs["observer"] = recipe_to_python(*recipe.observer);
  const auto* factory = recipe.create.target<PythonFactory>();
  const py::object callable = factory ? factory->callable.get() : core_class(recipe.class_name);
  if (kwargs.empty()) return callable;
  const py::object partial = py::module_::import("pt2q.ao.quantization._partial");
  return partial.attr("with_args")(callable, **kwargs);
}

py::tuple qparams_to_python(const QParams& qparams) {
  const py::object zero_point =
      qparams.zero_point.defined() ? py::cast(qparams.zero_point) : py::object(py::none());
  return py::make_tuple(qparams.scale, zero_point);
}

QParams qparams_from_python(py::handle object, const std::string& whose) {
  if (!py::isinstance<py::sequence>(object) || py::len(object) != 2) {
    throw TypeError(cat(whose, ": calculate_qparams must return the pair (scale, zero_point)"));
  }
  const auto pair = py::reinterpret_borrow<py::sequence>(object);
  const auto tensor = [](const py::object& item, DType number) {
    const Value v = value_from_python(item);
    return v.is<Tensor>() ? v.as<Tensor>() : Tensor::full({1}, v.to_double(), number);
  };
  const py::object zero_point = pair[1];
  return {tensor(pair[0], DType::Float32),
          zero_point.is_none() ? Tensor() : tensor(zero_point, DType::Int64)};
}

}  // namespace pt2q::python
