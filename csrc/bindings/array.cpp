#include "bindings/array.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/strings.h"
#include "bindings/dtype_caster.h"
#include "bindings/handle.h"
#include "pt2q/error.h"

namespace pt2q::python {
namespace {

// Struct-module format of one native element; null for dtypes that have none.
const char* format_of(DType dtype) {
  switch (dtype) {
    case DType::Float32:
      return "f";
    case DType::Float64:
      return "d";
    case DType::Float16:
      return "e";
    case DType::UInt8:
    case DType::QUInt8:
    case DType::QUInt4x2:
      return "B";
    case DType::Int8:
    case DType::QInt8:
      return "b";
    case DType::UInt16:
      return "H";
    case DType::Int16:
      return "h";
    case DType::Int32:
    case DType::QInt32:
      return "i";
    case DType::Int64:
      return "q";
    case DType::Bool:
      return "?";
    default:
      return nullptr;
  }
}

// False for formats pt2q has no dtype for. Sets *swapped for the foreign byte order.
bool dtype_of_format(const char* format, Py_ssize_t size, DType* out, bool* swapped) {
  std::string f = format == nullptr ? "B" : format;
  *swapped = false;
  if (!f.empty() && std::strchr("@=<>!", f[0]) != nullptr) {
    *swapped = (f[0] == '>' || f[0] == '!') && size > 1;
    f = f.substr(1);
  }
  if (f.size() != 1) return false;
  static const std::string kCodes = "?bBhHilqefd";
  static constexpr DType kTypes[] = {DType::Bool,    DType::Int8,    DType::UInt8,  DType::Int16,
                                     DType::UInt16,  DType::Int32,   DType::Int64,  DType::Int64,
                                     DType::Float16, DType::Float32, DType::Float64};
  const size_t at = kCodes.find(f[0]);
  if (at == std::string::npos) return false;
  *out = f[0] == 'l' && size == 4 ? DType::Int32 : kTypes[at];
  return static_cast<size_t>(size) == itemsize(*out);
}

// Owns one buffer view; released with the GIL held.
std::shared_ptr<Py_buffer> acquire_buffer(py::handle object) {
  auto view = std::make_unique<Py_buffer>();
  if (PyObject_GetBuffer(object.ptr(), view.get(), PyBUF_RECORDS_RO) != 0) {
    PyErr_Clear();
    return nullptr;
  }
  return {view.release(), [](Py_buffer* v) {
            if (Py_IsInitialized() != 0) {
              const py::gil_scoped_acquire gil;
              PyBuffer_Release(v);
            }
            delete v;
          }};
}

[[noreturn]] void unsupported(py::handle object) {
  std::string dtype = "unknown";
  if (py::hasattr(object, "dtype")) dtype = py::str(object.attr("dtype"));
  throw TypeError(cat("an array of dtype ", dtype, " cannot become a tensor"),
                  "convert it first, e.g. array.astype('float32')");
}

// Strides in elements when the memory can be shared as it is.
bool shareable(const Py_buffer& view, Shape* strides) {
  const auto address = reinterpret_cast<uintptr_t>(view.buf);
  if (address % static_cast<uintptr_t>(view.itemsize) != 0) return false;
  for (int i = 0; i < view.ndim; ++i) {
    if (view.strides[i] % view.itemsize != 0) return false;
    if (view.strides[i] < 0 && view.shape[i] > 1) return false;
    strides->push_back(std::max<int64_t>(0, view.strides[i] / view.itemsize));
  }
  return true;
}

Tensor tensor_from_view(const std::shared_ptr<Py_buffer>& view, DType dtype) {
  const Shape sizes(view->shape, view->shape + view->ndim);
  Shape strides;
  if (shareable(*view, &strides)) {
    return Tensor::from_blob(view->buf, sizes, strides, dtype, view, view->readonly != 0);
  }
  Tensor copy = Tensor::empty(sizes, dtype);
  if (PyBuffer_ToContiguous(copy.raw_mutable_data(), view.get(), view->len, 'C') != 0) {
    throw py::error_already_set();
  }
  return copy;
}

// bfloat16 and float8 arrays (ml_dtypes) have no buffer format: they are viewed as integers.
std::optional<Tensor> tensor_from_extended(py::handle object) {
  DType dtype{};
  if (!py::hasattr(object, "dtype") || !py::hasattr(object, "view") ||
      !dtype_from(object.attr("dtype"), &dtype) || format_of(dtype) != nullptr) {
    return std::nullopt;
  }
  const py::object bits = object.attr("view")(itemsize(dtype) == 2 ? "uint16" : "uint8");
  const auto view = acquire_buffer(bits);
  if (view == nullptr) return std::nullopt;
  return tensor_from_view(view, dtype);
}

Tensor tensor_from_buffer(py::handle object, const std::shared_ptr<Py_buffer>& view) {
  DType dtype{};
  bool swapped = false;
  if (!dtype_of_format(view->format, view->itemsize, &dtype, &swapped)) unsupported(object);
  if (!swapped) return tensor_from_view(view, dtype);
  const py::object native =
      object.attr("astype")(object.attr("dtype").attr("newbyteorder")("="));  // a copy
  return tensor_from_view(acquire_buffer(native), dtype);
}

}  // namespace

bool is_array(py::handle object) {
  if (PyBytes_Check(object.ptr()) || PyByteArray_Check(object.ptr()) ||
      PyUnicode_Check(object.ptr()) || PyType_Check(object.ptr())) {
    return false;
  }
  return PyObject_CheckBuffer(object.ptr()) != 0 || py::hasattr(object, "__dlpack__") ||
         py::hasattr(object, "__array__");
}

Tensor tensor_from_array(py::handle object) {
  if (PyObject_CheckBuffer(object.ptr()) != 0) {
    if (const auto view = acquire_buffer(object)) return tensor_from_buffer(object, view);
  }
  if (auto tensor = tensor_from_extended(object)) return *tensor;
  if (py::hasattr(object, "__dlpack__") && !py::hasattr(object, "__array_interface__")) {
    return tensor_from_dlpack(object);
  }
  if (py::hasattr(object, "__array__")) {
    const py::object array = object.attr("__array__")();
    if (const auto view = acquire_buffer(array)) return tensor_from_buffer(array, view);
    if (auto tensor = tensor_from_extended(array)) return *tensor;
  }
  unsupported(object);
}

py::object numpy_from_tensor(const Tensor& tensor) {
  // Kept for good: modules may be gone when static objects are destroyed. The interpreter lock
  // guards it; a guarded static could wait for a thread that waits for the lock.
  static py::handle asarray;
  if (!asarray) asarray = py::object(py::module_::import("numpy").attr("asarray")).release();
  if (format_of(tensor.dtype()) != nullptr) {
    PyObject* view = PyMemoryView_FromObject(py::cast(tensor).ptr());
    if (view == nullptr) throw py::error_already_set();
    return asarray(py::reinterpret_steal<py::object>(view));
  }
  py::object type;
  try {
    type = py::module_::import("ml_dtypes").attr(dtype_name(tensor.dtype()));
  } catch (py::error_already_set&) {
    throw TypeError(cat("NumPy has no ", dtype_name(tensor.dtype()), " without ml_dtypes"),
                    "pip install ml_dtypes, or convert with .float()");
  }
  const bool wide = itemsize(tensor.dtype()) == 2;
  const Tensor bits = Tensor::from_blob(const_cast<void*>(tensor.raw_data()), tensor.sizes(),
                                        tensor.strides(), wide ? DType::UInt16 : DType::UInt8,
                                        std::make_shared<Tensor>(tensor), tensor.is_read_only());
  return numpy_from_tensor(bits).attr("view")(type);
}

int tensor_getbuffer(PyObject* self, Py_buffer* view, int flags) {
  try {
    const auto& tensor = py::cast<const Tensor&>(py::handle(self));
    const char* format = format_of(tensor.dtype());
    if (format == nullptr) {
      PyErr_Format(PyExc_BufferError, "a %s tensor has no buffer format: use .numpy()",
                   dtype_name(tensor.dtype()));
      return -1;
    }
    if (tensor.is_read_only() && (flags & PyBUF_WRITABLE) == PyBUF_WRITABLE) {
      PyErr_SetString(PyExc_BufferError, "this tensor is read-only");
      return -1;
    }
    const bool wants_strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES;
    if (!wants_strides && !tensor.is_contiguous()) {
      PyErr_SetString(PyExc_BufferError, "this tensor is not contiguous");
      return -1;
    }
    const auto size = static_cast<Py_ssize_t>(itemsize(tensor.dtype()));
    const void* data = tensor.raw_data();
    auto* layout = new std::vector<Py_ssize_t>(tensor.sizes().begin(), tensor.sizes().end());
    for (const int64_t stride : tensor.strides()) layout->push_back(stride * size);
    view->buf = const_cast<void*>(data);
    view->obj = self;
    Py_INCREF(self);
    view->len = tensor.nbytes();
    view->itemsize = size;
    view->readonly = tensor.is_read_only() ? 1 : 0;
    view->ndim = static_cast<int>(tensor.dim());
    view->format = (flags & PyBUF_FORMAT) == PyBUF_FORMAT ? const_cast<char*>(format) : nullptr;
    view->shape = (flags & PyBUF_ND) == PyBUF_ND ? layout->data() : nullptr;
    view->strides = wants_strides ? layout->data() + tensor.dim() : nullptr;
    view->suboffsets = nullptr;
    view->internal = layout;
    return 0;
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_BufferError, e.what());
    return -1;
  }
}

void tensor_releasebuffer(PyObject*, Py_buffer* view) {
  delete static_cast<std::vector<Py_ssize_t>*>(view->internal);
}

}  // namespace pt2q::python
