#include "bindings/caster.h"

#include "base/strings.h"
#include "bindings/array.h"
#include "pt2q/error.h"
#include "pt2q/graph.h"

namespace pt2q::python {
namespace {

std::string type_name_of(py::handle object) {
  return py::str(py::type::of(object).attr("__name__"));
}

int64_t to_int64(py::handle number) {
  int overflow = 0;
  const int64_t value = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
  if (overflow != 0) throw ValueError("an integer does not fit into 64 bits");
  if (value == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  return value;
}

Value list_value(py::handle object) {
  Value::List items;
  for (const py::handle item : py::reinterpret_borrow<py::sequence>(object)) {
    items.push_back(value_from_python(item));
  }
  return Value(std::move(items));
}

// Types of pt2q. False when the object is none of them.
bool own_value(py::handle object, Value* out) {
  if (py::isinstance<Tensor>(object)) {
    *out = Value(object.cast<const Tensor&>());
  } else if (py::isinstance<Node>(object)) {
    *out = Value(object.cast<Node*>());
  } else if (py::isinstance<PySymInt>(object)) {
    const auto& size = object.cast<const PySymInt&>();
    *out = size.node ? Value(size.node.get()) : Value(size.value);
  } else if (is_dtype(object)) {
    DType dtype{};
    dtype_from(object, &dtype);
    *out = Value(dtype);
  } else if (py::isinstance<Device>(object)) {
    *out = Value(object.cast<const Device&>());
  } else if (py::isinstance<TensorMeta>(object)) {
    *out = Value(object.cast<const TensorMeta&>());
  } else {
    MemoryFormat format{};
    Layout layout{};
    if (memory_format_from(object, &format)) {
      *out = Value(format);
    } else if (layout_from(object, &layout)) {
      *out = Value(layout);
    } else {
      return false;
    }
  }
  return true;
}

bool is_numpy_scalar(py::handle object) {
  return PyType_Check(object.ptr()) == 0 && py::hasattr(object, "dtype") &&
         py::hasattr(object, "item") && py::hasattr(object, "ndim") &&
         !py::hasattr(object, "__setitem__") && object.attr("ndim").cast<int>() == 0;
}

}  // namespace

Value value_from_python(py::handle object) {
  PyObject* p = object.ptr();
  if (p == Py_None) return Value();
  if (PyBool_Check(p)) return Value(p == Py_True);
  if (PyLong_Check(p)) return Value(to_int64(object));
  if (PyFloat_Check(p)) return Value(PyFloat_AsDouble(p));
  if (PyUnicode_Check(p)) return Value(object.cast<std::string>());
  if (PyList_Check(p) || PyTuple_Check(p)) return list_value(object);
  Value value;
  if (own_value(object, &value)) return value;
  if (PyRange_Check(p)) return list_value(py::list(py::reinterpret_borrow<py::object>(object)));
  if (is_numpy_scalar(object)) return value_from_python(object.attr("item")());
  if (is_array(object)) return Value(tensor_from_array(object));
  DType dtype{};
  if (dtype_from(object, &dtype)) return Value(dtype);
  if (PyIndex_Check(p) != 0) {
    return Value(to_int64(py::reinterpret_steal<py::object>(PyNumber_Index(p))));
  }
  throw TypeError(cat("an object of type ", type_name_of(object), " cannot be used here"),
                  "operators take tensors, arrays, numbers, strings, dtypes and lists of these");
}

namespace {

enum class Target { GraphArgument, Result };

py::object convert(const Value& value, Target target) {
  struct Visitor {
    Target target;
    py::object operator()(None) const { return py::none(); }
    py::object operator()(bool v) const { return py::bool_(v); }
    py::object operator()(int64_t v) const { return py::int_(v); }
    py::object operator()(double v) const { return py::float_(v); }
    py::object operator()(const std::string& v) const { return py::str(v); }
    py::object operator()(DType v) const { return dtype_object(v); }
    py::object operator()(const Device& v) const { return py::cast(v); }
    py::object operator()(MemoryFormat v) const { return memory_format_object(v); }
    py::object operator()(Layout v) const { return layout_object(v); }
    py::object operator()(const SymInt& v) const { return size_to_python(v); }
    py::object operator()(const Tensor& v) const {
      return v.defined() ? py::cast(v) : py::object(py::none());
    }
    py::object operator()(const TensorMeta& v) const { return py::cast(v); }
    py::object operator()(Node* v) const {
      if (target == Target::GraphArgument) return py::cast(node_handle(v));
      const Value& val = v->meta.val;
      return py::cast(PySymInt{val.to_sym_int(), node_handle(v)});
    }
    py::object operator()(const Value::List& v) const {
      py::list items;
      for (const Value& item : v) items.append(convert(item, target));
      return target == Target::Result ? py::object(py::tuple(items)) : py::object(items);
    }
  };
  return std::visit(Visitor{target}, value.variant());
}

// pt2q.Size, kept by the module; leaked for the same reason as the dtype objects.
py::handle size_type() {
  static PyObject* type =
      py::object(py::module_::import("pt2q._size").attr("Size")).release().ptr();
  return type;
}

}  // namespace

py::object value_to_python(const Value& value) { return convert(value, Target::GraphArgument); }
py::object result_to_python(const Value& value) { return convert(value, Target::Result); }

py::object size_to_python(const SymInt& size) {
  if (size.is_constant()) return py::int_(size.hint());
  return py::cast(PySymInt{size, nullptr});
}

py::object shape_to_python(const SymShape& shape) {
  py::list items;
  for (const SymInt& size : shape) items.append(size_to_python(size));
  return size_type()(items);
}

py::object shape_to_python(const Shape& shape) { return shape_to_python(to_sym(shape)); }

}  // namespace pt2q::python
