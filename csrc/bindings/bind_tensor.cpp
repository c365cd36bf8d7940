// pt2q.Tensor: properties, conversions to Python and exchange with other array libraries. Operators
// are reached through the operator table (bind_ops.cpp); pt2q/_tensor.py adds PyTorch's methods.
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "base/strings.h"
#include "bindings/array.h"
#include "bindings/bindings.h"
#include "bindings/caster.h"
#include "bindings/source.h"
#include "pt2q/error.h"
#include "pt2q/op.h"
#include "pt2q/trace.h"

namespace pt2q::python {
namespace {

py::object scalar_to_python(const Tensor& t) {
  if (is_floating_point(t.dtype())) return py::float_(t.item());
  if (t.dtype() == DType::Bool) return py::bool_(t.item_int() != 0);
  return py::int_(t.item_int());
}

py::object item(const Tensor& t) {
  require_values(t, "item()");
  if (t.numel() != 1) {
    throw RuntimeError(cat("a Tensor with ", t.numel(), " elements cannot be converted to Scalar"));
  }
  return scalar_to_python(t);
}

py::object to_list(const Tensor& t) {
  if (t.dim() == 0) return scalar_to_python(t);
  py::list items;
  for (int64_t i = 0; i < t.size(0); ++i) items.append(to_list(t.select(0, i)));
  return items;
}

const SymShape* symbolic_sizes(const Tensor& t) {
  const Node* node = t.node();
  if (node == nullptr || !node->meta.val.is<TensorMeta>()) return nullptr;
  return &node->meta.val.as<TensorMeta>().sizes;
}

// A dynamic size of a traced tensor is a node of its own, made once.
py::object traced_size(const Tensor& t, int64_t dim) {
  for (Node* user : t.node()->users()) {
    if (user->is_call("aten.sym_size.int") && user->arg(1).to_int() == dim) {
      return result_to_python(Value(user));
    }
  }
  return result_to_python(call("aten.sym_size.int", {Value(t), Value(dim)}));
}

py::object size_at(const Tensor& t, int64_t dim) {
  const int64_t d = wrap_dim(dim, t.dim());
  if (t.dim() == 0) throw IndexError("a 0-dimensional tensor has no sizes");
  const SymShape* sizes = symbolic_sizes(t);
  if (sizes == nullptr || sizes->at(static_cast<size_t>(d)).is_constant()) {
    return py::int_(t.size(d));
  }
  return traced_size(t, d);
}

py::object shape(const Tensor& t) {
  const SymShape* sizes = symbolic_sizes(t);
  if (sizes == nullptr) return shape_to_python(t.sizes());
  py::list items;
  for (int64_t i = 0; i < t.dim(); ++i) items.append(size_at(t, i));
  return py::module_::import("pt2q._size").attr("Size")(items);
}

py::object stride(const Tensor& t, std::optional<int64_t> dim) {
  if (dim) return py::int_(t.strides()[static_cast<size_t>(wrap_dim(*dim, t.dim()))]);
  return py::tuple(py::cast(t.strides()));
}

py::object to_array(const Tensor& t, const py::object& dtype, const py::object& copy) {
  require_values(t, "conversion to a NumPy array");
  const py::object array = numpy_from_tensor(t);
  const bool forced = !copy.is_none() && copy.cast<bool>();
  if (!dtype.is_none()) return array.attr("astype")(dtype, py::arg("copy") = forced);
  return forced ? py::object(array.attr("copy")()) : array;
}

py::object copy_into(py::object self, const py::object& source) {
  auto& t = self.cast<Tensor&>();
  const Value from = value_from_python(source);
  if (Tracer::current() != nullptr) {
    call("aten.copy_.default", {Value(t), from});
  } else if (from.is<Tensor>()) {
    t.copy_(from.as<Tensor>());
  } else {
    t.copy_(Tensor::scalar(from.to_double(), t.dtype()));
  }
  return self;
}

// As torch.Tensor: a tensor is shared, integers are sizes, data becomes float32.
Tensor construct(const py::args& args) {
  if (args.empty()) return Tensor::empty({0});
  const py::handle first = args[0];
  if (args.size() == 1 && py::isinstance<Tensor>(first)) return first.cast<const Tensor&>();
  if (PyLong_Check(first.ptr())) return Tensor::empty(value_from_python(args).to_ints());
  if (args.size() != 1) throw TypeError("Tensor() takes data or integer sizes");
  if (is_array(first)) return tensor_from_array(first);
  return tensor_from_data(first, DType::Float32);
}

// Dense: the strides are a permutation of contiguous strides, so the elements fill one block.
py::bytes to_bytes(const Tensor& t) {
  return {static_cast<const char*>(t.raw_data()), static_cast<size_t>(t.nbytes())};
}

Tensor from_bytes(const py::bytes& data, const Shape& sizes, const Shape& strides, DType dtype) {
  Tensor flat = Tensor::empty({numel_of(sizes)}, dtype);
  const auto view = static_cast<std::string_view>(data);
  int64_t last = 0;
  for (size_t i = 0; i < sizes.size() && i < strides.size(); ++i) {
    if (strides[i] < 0) throw ValueError("a stride is negative");
    last += std::max<int64_t>(0, sizes[i] - 1) * strides[i];
  }
  if (view.size() != static_cast<size_t>(flat.nbytes()) || strides.size() != sizes.size() ||
      (flat.numel() > 0 && last >= flat.numel())) {
    throw ValueError(cat("the data of a tensor of shape ", list_to_string(sizes), " is damaged"));
  }
  std::memcpy(flat.raw_mutable_data(), view.data(), view.size());
  return flat.as_strided(sizes, strides, 0);
}

void bind_properties(py::class_<Tensor>& cls) {
  cls.def_property_readonly("shape", &shape, "Sizes as pt2q.Size.")
      .def_property_readonly("dtype", &Tensor::dtype)
      .def_property_readonly("device", &Tensor::device)
      .def_property_readonly("layout", [](const Tensor&) { return layout_object(Layout::Strided); })
      .def_property_readonly("ndim", &Tensor::dim)
      .def_property_readonly("nbytes", &Tensor::nbytes)
      .def_property_readonly("itemsize", [](const Tensor& t) { return itemsize(t.dtype()); })
      .def("size", &shape, "Sizes as pt2q.Size.")
      .def("size", &size_at, py::arg("dim"), "Size of one dimension.")
      .def("dim", &Tensor::dim)
      .def("ndimension", &Tensor::dim)
      .def("numel", [](const Tensor& t) { return t.numel(); })
      .def("nelement", [](const Tensor& t) { return t.numel(); })
      .def("element_size", [](const Tensor& t) { return itemsize(t.dtype()); })
      .def("stride", &stride, py::arg("dim") = py::none(), "Strides in elements.")
      .def("storage_offset", &Tensor::storage_offset)
      .def("data_ptr", [](const Tensor& t) { return reinterpret_cast<uintptr_t>(t.raw_data()); })
      .def(
          "is_contiguous", [](const Tensor& t, MemoryFormat f) { return t.is_contiguous(f); },
          py::arg_v("memory_format", MemoryFormat::Contiguous, "pt2q.contiguous_format"))
      .def("is_floating_point", [](const Tensor& t) { return is_floating_point(t.dtype()); })
      .def("is_complex", [](const Tensor&) { return false; })
      .def("is_signed", [](const Tensor& t) { return dtype_object(t.dtype()).attr("is_signed"); })
      .def("_is_read_only", &Tensor::is_read_only)
      .def("_is_traced", [](const Tensor& t) { return t.node() != nullptr; })
      .def("_is", &Tensor::is, py::arg("other"), "True for two handles of one tensor.")
      .def("_shares_storage", &Tensor::shares_storage, py::arg("other"))
      .def("_id", [](const Tensor& t) { return std::hash<const void*>()(t.id()) >> 1; })
      .def("_to_bytes", &to_bytes, "The memory of a dense tensor, in its stride order.");
}

void bind_exchange(py::class_<Tensor>& cls) {
  cls.def(
         "numpy", [](const Tensor& t, bool) { return to_array(t, py::none(), py::none()); },
         py::arg("force") = false, "A NumPy array that shares memory with this tensor.")
      .def("__array__", &to_array, py::arg("dtype") = py::none(), py::arg("copy") = py::none())
      .def("__dlpack__",
           [](const Tensor& t, const py::kwargs&) {
             require_values(t, "__dlpack__()");
             return dlpack_from_tensor(t);
           })
      .def("__dlpack_device__", [](const Tensor&) { return py::make_tuple(1, 0); })
      .def("item", &item, "The value of a one-element tensor as a Python number.")
      .def(
          "tolist",
          [](const Tensor& t) {
            require_values(t, "tolist()");
            return to_list(t);
          },
          "Nested lists of Python numbers.")
      .def(
          "_require_values",
          [](const Tensor& t, const std::string& what) { require_values(t, what); },
          py::arg("what"))
      .def("copy_", &copy_into, py::arg("src"), "Copies values with broadcasting and casting.");
  cls.attr("__array_priority__") = 1000;  // array + tensor is a tensor
}

void bind_functions(py::module_& m) {
  m.def(
      "from_numpy", [](const py::object& array) { return tensor_from_array(array); },
      py::arg("array"), "A tensor that shares the array's memory where its layout allows it.");
  m.def(
      "from_dlpack", [](const py::object& producer) { return tensor_from_dlpack(producer); },
      py::arg("ext_tensor"), "A tensor that shares memory with a DLPack producer.");
  m.def(
      "_tensor",
      [](const py::object& data, std::optional<DType> dtype) {
        return tensor_from_data(data, dtype);
      },
      py::arg("data"), py::arg("dtype") = py::none(), "A new tensor with a copy of the data.");
  m.def("_from_bytes", &from_bytes, py::arg("data"), py::arg("shape"), py::arg("stride"),
        py::arg("dtype"));
  m.def("_is_array", &is_array, py::arg("object"));
}

}  // namespace

void bind_tensor(py::module_& m) {
  py::class_<Tensor> cls(m, "Tensor", "A strided array with PyTorch's semantics.",
                         py::custom_type_setup([](PyHeapTypeObject* heap_type) {
                           heap_type->as_buffer.bf_getbuffer = &tensor_getbuffer;
                           heap_type->as_buffer.bf_releasebuffer = &tensor_releasebuffer;
                           heap_type->ht_type.tp_as_buffer = &heap_type->as_buffer;
                         }));
  cls.def(py::init(&construct));
  bind_properties(cls);
  bind_exchange(cls);
  bind_functions(m);
}

}  // namespace pt2q::python
