// DLPack exchange (https://dmlc.github.io/dlpack/latest/c_api.html), ABI version without
// DLManagedTensorVersioned: what NumPy >= 1.22, torch, jax and cupy all speak.
#include <vector>

#include "base/strings.h"
#include "bindings/array.h"
#include "bindings/handle.h"
#include "pt2q/error.h"

namespace pt2q::python {
namespace {

struct DLDevice {
  int32_t device_type;
  int32_t device_id;
};
struct DLDataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor*);
};

constexpr int32_t kCpu = 1;
enum Code : uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBfloat = 4, kBool = 6 };
constexpr const char* kName = "dltensor";
constexpr const char* kUsedName = "used_dltensor";

DLDataType type_of(DType dtype) {
  const auto bits = static_cast<uint8_t>(itemsize(dtype) * 8);
  switch (dtype) {
    case DType::BFloat16:
      return {kBfloat, bits, 1};
    case DType::Bool:
      return {kBool, bits, 1};
    case DType::Float32:
    case DType::Float64:
    case DType::Float16:
      return {kFloat, bits, 1};
    case DType::UInt8:
    case DType::UInt16:
      return {kUInt, bits, 1};
    case DType::Int8:
    case DType::Int16:
    case DType::Int32:
    case DType::Int64:
      return {kInt, bits, 1};
    default:
      throw TypeError(cat("DLPack has no dtype for ", dtype_name(dtype)));
  }
}

DType dtype_of(DLDataType type) {
  for (const DType d :
       {DType::Float32, DType::Float64, DType::Float16, DType::BFloat16, DType::UInt8, DType::Int8,
        DType::UInt16, DType::Int16, DType::Int32, DType::Int64, DType::Bool}) {
    const DLDataType known = type_of(d);
    if (known.code == type.code && known.bits == type.bits && type.lanes == 1) return d;
  }
  throw TypeError(cat("DLPack dtype code ", static_cast<int>(type.code), " with ",
                      static_cast<int>(type.bits), " bits is not supported"));
}

struct Export {
  Tensor tensor;
  std::vector<int64_t> shape, strides;
  DLManagedTensor managed;
};

void delete_export(DLManagedTensor* managed) { delete static_cast<Export*>(managed->manager_ctx); }

// A capsule nobody consumed still owns its tensor.
void destroy_capsule(PyObject* capsule) {
  if (PyCapsule_IsValid(capsule, kName) == 0) return;
  auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, kName));
  if (managed->deleter != nullptr) managed->deleter(managed);
}

}  // namespace

py::capsule dlpack_from_tensor(const Tensor& tensor) {
  if (tensor.is_read_only()) {
    throw ValueError("a read-only tensor cannot be exported through DLPack", "export a clone()");
  }
  auto owned = std::make_unique<Export>();
  owned->tensor = tensor;
  owned->shape = tensor.sizes();
  owned->strides = tensor.strides();
  owned->managed.dl_tensor = {const_cast<void*>(tensor.raw_data()),
                              {kCpu, 0},
                              static_cast<int32_t>(tensor.dim()),
                              type_of(tensor.dtype()),
                              owned->shape.data(),
                              owned->strides.data(),
                              0};
  owned->managed.manager_ctx = owned.get();
  owned->managed.deleter = &delete_export;
  PyObject* capsule = PyCapsule_New(&owned->managed, kName, &destroy_capsule);
  if (capsule == nullptr) throw py::error_already_set();
  owned.release();  // NOLINT: the capsule owns it
  return py::reinterpret_steal<py::capsule>(capsule);
}

Tensor tensor_from_dlpack(py::handle producer) {
  const py::tuple device = producer.attr("__dlpack_device__")();
  const auto kind = device[0].attr("__int__")().cast<int>();
  if (kind != kCpu) {
    throw TypeError(cat("a tensor on DLPack device type ", kind, " cannot be used"),
                    "move it to the CPU first");
  }
  const py::object capsule = producer.attr("__dlpack__")();
  auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), kName));
  if (managed == nullptr) throw py::error_already_set();
  const DLTensor& t = managed->dl_tensor;
  const DType dtype = dtype_of(t.dtype);
  const Shape sizes(t.shape, t.shape + t.ndim);
  const Shape strides =
      t.strides != nullptr ? Shape(t.strides, t.strides + t.ndim) : contiguous_strides(sizes);
  PyCapsule_SetName(capsule.ptr(), kUsedName);
  std::shared_ptr<void> owner(managed, [](void* p) {
    auto* m = static_cast<DLManagedTensor*>(p);
    if (m->deleter == nullptr || Py_IsInitialized() == 0) return;
    const py::gil_scoped_acquire gil;
    m->deleter(m);
  });
  char* data = static_cast<char*>(t.data) + t.byte_offset;
  return Tensor::from_blob(data, sizes, strides, dtype, std::move(owner));
}

}  // namespace pt2q::python
