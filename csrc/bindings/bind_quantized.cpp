#include <pybind11/stl.h>

#include "base/strings.h"
#include "bindings/array.h"
#include "bindings/bindings.h"
#include "bindings/caster.h"
#include "bindings/op_objects.h"
#include "bindings/overload.h"
#include "bindings/qscheme_caster.h"
#include "bindings/quantized.h"
#include "pt2q/error.h"
#include "pt2q/trace.h"

namespace pt2q::python {
namespace {

bool is_quantized(py::handle object) { return py::isinstance<PyQuantized>(object); }

bool is_sequence(py::handle object) {
  return PyList_Check(object.ptr()) || PyTuple_Check(object.ptr());
}

// Arguments with quantized tensors replaced by their integers, which are remembered.
class Unwrapper {
 public:
  Value value(py::handle object) {
    if (is_quantized(object)) {
      const auto& q = object.cast<const PyQuantized&>();
      numpy = numpy || q.numpy;
      quantized[q.tensor.values().id()] = q.tensor;
      return q.tensor.values();
    }
    if (!is_sequence(object)) return value_from_python(object);
    Value::List items;
    for (const py::handle item : object) items.push_back(value(item));
    return Value(std::move(items));
  }

  std::map<const void*, QuantizedTensor> quantized;
  bool numpy = false;
};

py::object wrap(const Value& value, const QuantizedTensor& like, bool numpy) {
  if (value.is<Tensor>()) return py::cast(PyQuantized{like.with_values(value.as<Tensor>()), numpy});
  if (!value.is<Value::List>()) return result_to_python(value);
  py::list items;
  for (const Value& item : value.list()) items.append(wrap(item, like, numpy));
  return py::tuple(items);
}

Value tensor_value(const py::object& x, bool* numpy) {
  const Value v = value_from_python(x);
  if (!v.is<Tensor>()) throw TypeError(cat("a tensor is needed, got ", v.kind_name()));
  if (!is_floating_point(v.as<Tensor>().dtype())) {
    throw TypeError(
        cat("Quantize only works on Float Tensor, got ", dtype_name(v.as<Tensor>().dtype())));
  }
  *numpy = !py::isinstance<Tensor>(x);
  return v;
}

// Runs without the GIL; capture needs it for the source lines.
template <class Body>
auto compute(const Body& body) {
  if (Tracer::current() != nullptr) return body();
  const py::gil_scoped_release release;
  return body();
}

double number(const py::object& v) {
  const Value value = value_from_python(v);
  return value.is<Tensor>() ? value.as<Tensor>().to(DType::Float64).item() : value.to_double();
}

PyQuantized quantize(const py::object& x, const py::object& scale, const py::object& zero_point,
                     DType dtype) {
  bool numpy = false;
  const Value v = tensor_value(x, &numpy);
  const OutputQParams to{number(scale), static_cast<int64_t>(number(zero_point)), dtype};
  return {compute([&] { return QuantizedTensor::quantize(v.as<Tensor>(), to); }), numpy};
}

PyQuantized quantize_channels(const py::object& x, const Tensor& scales, const Tensor& zero_points,
                              int64_t axis, DType dtype) {
  bool numpy = false;
  const Value v = tensor_value(x, &numpy);
  return {compute([&] {
            return QuantizedTensor::quantize_per_channel(v.as<Tensor>(), scales, zero_points, axis,
                                                         dtype);
          }),
          numpy};
}

py::object dequantized(const PyQuantized& q) {
  const Tensor t = compute([&] { return q.tensor.dequantize(); });
  return q.numpy && t.node() == nullptr ? numpy_from_tensor(t) : py::cast(t);
}

Tensor int_repr(const PyQuantized& q) { return q.tensor.values(); }

py::object item(const py::object& self, const py::object& key) {
  const auto& q = self.cast<const PyQuantized&>();
  if (q.tensor.per_channel()) {
    throw NotImplementedError("indexing of per-channel quantized tensors", "dequantize() first");
  }
  const py::object values = py::cast(q.tensor.values())[key];
  return py::cast(PyQuantized{q.tensor.with_values(values.cast<const Tensor&>()), q.numpy});
}

// Any operator as a method: q.relu(), q.reshape(2, -1).
py::object method(const py::object& self, const std::string& name) {
  const std::string packet = "aten." + name;
  if (op_table().overloads(packet).empty()) {
    throw py::attribute_error(cat("'QuantizedTensor' object has no attribute '", name, "'"));
  }
  return py::cpp_function([self, packet](const py::args& args, const py::kwargs& kwargs) {
    return call_on_quantized(packet, nullptr, py::args(py::make_tuple(self) + args), kwargs);
  });
}

std::string representation(const py::object& self) {
  const auto& q = self.cast<const PyQuantized&>();
  const Tensor& values = q.tensor.values();
  std::string out;
  if (values.node() != nullptr) {
    out = cat("tensor(..., size=", list_to_string(values.sizes()));
  } else {
    out = py::repr(py::cast(q.tensor.dequantize())).cast<std::string>();
    out.pop_back();  // ')'
    std::vector<std::string> sizes;
    for (const int64_t size : values.sizes()) sizes.push_back(std::to_string(size));
    out += cat(", size=(", join(sizes, ", "), sizes.size() == 1 ? ",)" : ")");
  }
  out += cat(", dtype=pt2q.", dtype_name(q.tensor.dtype()), ",\n       quantization_scheme=pt2q.");
  if (!q.tensor.per_channel()) {
    return out + cat("per_tensor_affine, scale=",
                     py::repr(py::float_(q.tensor.scale())).cast<std::string>(),
                     ", zero_point=", q.tensor.zero_point(), ")");
  }
  const auto text = [](const Tensor& t) { return py::repr(py::cast(t)).cast<std::string>(); };
  return out + cat("per_channel_affine, scale=", text(q.tensor.scales()),
                   ", zero_point=", text(q.tensor.zero_points()), ", axis=", q.tensor.axis(), ")");
}

void bind_tensor_class(py::module_& m) {
  py::class_<PyQuantized> cls(m, "QuantizedTensor",
                              "Integers with a scale and zero point, as PyTorch's quantized "
                              "tensors: what eager-mode quantized modules pass on.");
  const auto yes = [](const PyQuantized&) { return true; };
  cls.def("int_repr", &int_repr, "The integers: uint8, int8 or int32.")
      .def("dequantize", &dequantized, "float32; an array when made from an array.")
      .def("q_scale", [](const PyQuantized& q) { return q.tensor.scale(); })
      .def("q_zero_point", [](const PyQuantized& q) { return q.tensor.zero_point(); })
      .def("q_per_channel_scales", [](const PyQuantized& q) { return q.tensor.scales(); })
      .def("q_per_channel_zero_points", [](const PyQuantized& q) { return q.tensor.zero_points(); })
      .def("q_per_channel_axis", [](const PyQuantized& q) { return q.tensor.axis(); })
      .def("qscheme",
           [](const PyQuantized& q) {
             return q.tensor.per_channel() ? QScheme::PerChannelAffine : QScheme::PerTensorAffine;
           })
      .def_property_readonly("dtype", [](const PyQuantized& q) { return q.tensor.dtype(); })
      .def_property_readonly("is_quantized", yes)
      .def("dim", [](const PyQuantized& q) { return q.tensor.values().dim(); })
      .def("numel", [](const PyQuantized& q) { return q.tensor.values().numel(); })
      .def_property_readonly("shape",
                             [](const PyQuantized& q) -> py::object {
                               return py::cast(q.tensor.values()).attr("shape");
                             })
      .def_property_readonly("ndim", [](const PyQuantized& q) { return q.tensor.values().dim(); })
      .def_property_readonly("device",
                             [](const PyQuantized& q) { return q.tensor.values().device(); })
      .def(
          "size",
          [](const PyQuantized& q, const py::args& args) -> py::object {
            return py::cast(q.tensor.values()).attr("size")(*args);
          },
          "The shape, or one size.")
      .def("cpu", [](const py::object& self) { return self; })
      .def("detach", [](const py::object& self) { return self; })
      .def("__getitem__", &item)
      .def("__len__", [](const PyQuantized& q) { return q.tensor.values().size(0); })
      .def("__getattr__", &method)
      .def("__repr__", &representation)
      .def("__copy__", [](const py::object& self) { return self; })
      .def("__deepcopy__", [](const PyQuantized& q, const py::object&) {
        return PyQuantized{q.tensor.with_values(q.tensor.values().clone()), q.numpy};
      });
  // PyTorch refuses these too: the result would need a scale.
  for (const char* name : {"add", "sub", "mul", "truediv"}) {
    const std::string packet = cat("aten.", std::string(name) == "truediv" ? "div" : name);
    const auto operation = [packet](const py::object& a, const py::object& b) {
      return call_on_quantized(packet, nullptr, py::args(py::make_tuple(a, b)), py::kwargs());
    };
    cls.def(cat("__", name, "__").c_str(), operation);
  }
}

std::vector<QuantizedTensor> tensors_of(const py::sequence& inputs, bool* numpy) {
  std::vector<QuantizedTensor> out;
  for (const py::handle input : inputs) {
    if (!is_quantized(input)) {
      throw TypeError(cat("a quantized tensor is needed, got an object of type ",
                          std::string(py::str(py::type::of(input).attr("__name__")))),
                      "quantize the input first: QuantStub, or pt2q.quantize_per_tensor");
    }
    const auto& q = input.cast<const PyQuantized&>();
    *numpy = *numpy || q.numpy;
    out.push_back(q.tensor);
  }
  return out;
}

OutputQParams output_of(const std::vector<QuantizedTensor>& inputs, double scale,
                        int64_t zero_point, std::optional<DType> dtype) {
  if (inputs.empty()) throw ValueError("a quantized operator needs at least one input");
  return {scale, zero_point, dtype.value_or(inputs[0].dtype())};
}

PyQuantized call_quantized_op(QuantizedOp& op, const py::sequence& inputs, double scale,
                              int64_t zero_point, std::optional<DType> dtype) {
  bool numpy = false;
  const auto tensors = tensors_of(inputs, &numpy);
  const OutputQParams out = output_of(tensors, scale, zero_point, dtype);
  return {compute([&] { return op(tensors, out); }), numpy};
}

void bind_quantized_op(py::module_& m) {
  py::class_<QuantizedOp, std::shared_ptr<QuantizedOp>>(
      m, "QuantizedOp", "One operator on quantized tensors, compiled at first use.")
      .def(py::init([](const std::string& op, const py::list& args, const std::string& unary) {
             return std::make_shared<QuantizedOp>(op, value_from_python(args).list(), unary);
           }),
           py::arg("op"), py::arg("args"), py::arg("unary") = "")
      .def(
          "set_weight",
          [](QuantizedOp& op, size_t position, const PyQuantized& weight) {
            op.set_weight(position, weight.tensor);
          },
          py::arg("position"), py::arg("weight"))
      .def("__call__", &call_quantized_op, py::arg("inputs"), py::arg("scale"),
           py::arg("zero_point"), py::arg("dtype") = py::none(),
           "The result, quantized with this scale and zero point; dtype None: as the first input.")
      .def(
          "explain",
          [](QuantizedOp& op, const py::sequence& inputs, double scale, int64_t zero_point,
             std::optional<DType> dtype) {
            bool numpy = false;
            const auto tensors = tensors_of(inputs, &numpy);
            const OutputQParams out = output_of(tensors, scale, zero_point, dtype);
            return compute([&] { return op.explain(tensors, out); });
          },
          py::arg("inputs"), py::arg("scale"), py::arg("zero_point"),
          py::arg("dtype") = py::none());
}

void bind_dynamic_linear(py::module_& m) {
  py::class_<DynamicLinear, std::shared_ptr<DynamicLinear>>(
      m, "DynamicLinear", "A linear layer that quantizes its float input at each call.")
      .def(py::init([](const PyQuantized& weight, const std::optional<Tensor>& bias, bool relu) {
             return std::make_shared<DynamicLinear>(weight.tensor, bias.value_or(Tensor()), relu);
           }),
           py::arg("weight"), py::arg("bias"), py::arg("relu") = false)
      .def(
          "__call__",
          [](const DynamicLinear& op, const Tensor& x) { return compute([&] { return op(x); }); },
          py::arg("x"));
}

}  // namespace

bool holds_quantized(const py::args& args) {
  for (const py::handle arg : args) {
    if (is_quantized(arg)) return true;
    if (is_sequence(arg) && PySequence_Size(arg.ptr()) > 0 &&
        is_quantized(py::reinterpret_borrow<py::sequence>(arg)[0])) {
      return true;
    }
  }
  return false;
}

py::object call_on_quantized(const std::string& packet, const OpDef* op, const py::args& args,
                             const py::kwargs& kwargs) {
  Unwrapper unwrap;
  std::vector<Value> values;
  for (const py::handle arg : args) values.push_back(unwrap.value(arg));
  KwValues named;
  for (const auto& kw : kwargs) named[kw.first.cast<std::string>()] = unwrap.value(kw.second);
  if (op == nullptr) op = &resolve_overload(packet, values, named);
  adapt_call(*op, &values, &named);
  const QuantizedResult result =
      compute([&] { return call_quantized(*op, std::move(values), named, unwrap.quantized); });
  if (!result.value.is<Tensor>() && !result.value.is<Value::List>()) {
    return result_to_python(result.value);
  }
  // In place: the object takes the new values, so that other names for it see them too.
  if (!op->functional.empty() && args.size() > 0 && is_quantized(args[0])) {
    auto& self = args[0].cast<PyQuantized&>();
    self.tensor = self.tensor.with_values(result.value.as<Tensor>());
    return py::reinterpret_borrow<py::object>(args[0]);
  }
  const QuantizedTensor like(Tensor::empty({1}, DType::UInt8), result.qparams.scale,
                             result.qparams.zero_point);
  return wrap(result.value, like, unwrap.numpy);
}

void bind_quantized(py::module_& m) {
  bind_tensor_class(m);
  bind_quantized_op(m);
  bind_dynamic_linear(m);
  m.def("quantize_per_tensor", &quantize, py::arg("input"), py::arg("scale"), py::arg("zero_point"),
        py::arg("dtype"), "clamp(rint(input / scale) + zero_point) as a QuantizedTensor.");
  m.def("quantize_per_channel", &quantize_channels, py::arg("input"), py::arg("scales"),
        py::arg("zero_points"), py::arg("axis"), py::arg("dtype"),
        "quantize_per_tensor with a scale and zero point for each index of `axis`.");
  m.def(
      "dequantize", [](const PyQuantized& q) { return dequantized(q); }, py::arg("tensor"));
  m.def(
      "_make_per_tensor_quantized_tensor",
      [](const Tensor& values, double scale, int64_t zero_point) {
        return PyQuantized{QuantizedTensor(values, scale, zero_point), false};
      },
      py::arg("input"), py::arg("scale"), py::arg("zero_point"));
  m.def(
      "_make_per_channel_quantized_tensor",
      [](const Tensor& values, const Tensor& scales, const Tensor& zero_points, int64_t axis) {
        return PyQuantized{QuantizedTensor(values, scales, zero_points, axis), false};
      },
      py::arg("input"), py::arg("scale"), py::arg("zero_point"), py::arg("axis"));
}

}  // namespace pt2q::python
