#include "pt2q/tensor.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/xpu.h"
#include "tensor/tensor_impl.h"

namespace pt2q {
namespace {

constexpr size_t kAlignment = 64;

std::shared_ptr<void> allocate(size_t bytes) {
  const size_t rounded = (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, rounded);
  if (memory == nullptr) {
    throw RuntimeError(cat("out of memory: cannot allocate ", bytes, " bytes for a tensor"));
  }
  return std::shared_ptr<void>(memory, std::free);
}

int64_t checked_numel(const Shape& sizes) {
  int64_t count = 1;
  for (const int64_t size : sizes) {
    if (size < 0) throw ValueError(cat("negative size in shape ", list_to_string(sizes)));
    if (size != 0 && count > std::numeric_limits<int64_t>::max() / 16 / size) {
      throw ValueError(cat("shape ", list_to_string(sizes), " is too large"));
    }
    count *= size;
  }
  return count;
}

}  // namespace

const Tensor::Impl& Tensor::get() const {
  if (!impl_) throw RuntimeError("use of an undefined tensor");
  return *impl_;
}

Tensor Tensor::empty(const Shape& sizes, DType dtype, MemoryFormat format) {
  auto impl = std::make_shared<Impl>();
  const int64_t count = checked_numel(sizes);
  impl->sizes = sizes;
  impl->strides = format == MemoryFormat::ChannelsLast || format == MemoryFormat::ChannelsLast3d
                      ? channels_last_strides(sizes)
                      : contiguous_strides(sizes);
  impl->dtype = dtype;
  impl->storage_bytes = static_cast<size_t>(count) * itemsize(dtype);
  impl->storage = allocate(impl->storage_bytes);
  return Tensor(std::move(impl));
}

Tensor Tensor::zeros(const Shape& sizes, DType dtype) {
  Tensor t = empty(sizes, dtype);
  std::memset(t.raw_mutable_data(), 0, static_cast<size_t>(t.nbytes()));
  return t;
}

Tensor Tensor::from_blob(void* data, const Shape& sizes, const Shape& strides, DType dtype,
                         std::shared_ptr<void> owner, bool read_only) {
  if (sizes.size() != strides.size()) {
    throw ValueError("from_blob: sizes and strides differ in length");
  }
  auto impl = std::make_shared<Impl>();
  checked_numel(sizes);
  impl->sizes = sizes;
  impl->strides = strides;
  impl->dtype = dtype;
  impl->storage = std::shared_ptr<void>(owner, data);
  impl->read_only = read_only;
  int64_t last = 0;
  for (size_t i = 0; i < sizes.size(); ++i) last += std::max<int64_t>(0, sizes[i] - 1) * strides[i];
  impl->storage_bytes = static_cast<size_t>(last + 1) * itemsize(dtype);
  return Tensor(std::move(impl));
}

Tensor Tensor::traced(const Shape& size_hints, DType dtype, Node* node,
                      std::shared_ptr<void> owner) {
  auto impl = std::make_shared<Impl>();
  impl->sizes = size_hints;
  impl->strides = contiguous_strides(size_hints);
  impl->dtype = dtype;
  impl->node = node;
  impl->node_owner = std::move(owner);
  return Tensor(std::move(impl));
}

const Shape& Tensor::sizes() const { return get().sizes; }
const Shape& Tensor::strides() const { return get().strides; }
int64_t Tensor::dim() const { return static_cast<int64_t>(get().sizes.size()); }
int64_t Tensor::size(int64_t d) const {
  return get().sizes[static_cast<size_t>(wrap_dim(d, dim()))];
}
int64_t Tensor::numel() const { return numel_of(get().sizes); }
DType Tensor::dtype() const { return get().dtype; }
Device Tensor::device() const { return get().device; }
int64_t Tensor::nbytes() const { return numel() * static_cast<int64_t>(itemsize(dtype())); }
int64_t Tensor::storage_offset() const { return get().offset; }
bool Tensor::is_read_only() const { return get().read_only; }
Node* Tensor::node() const { return impl_ ? impl_->node : nullptr; }

Tensor& Tensor::set_device(Device device) {
  get();
  xpu::require(device);
  impl_->device = device;
  return *this;
}

bool Tensor::is_contiguous(MemoryFormat format) const {
  const Impl& t = get();
  if (numel() == 0) return true;
  const bool last = format == MemoryFormat::ChannelsLast || format == MemoryFormat::ChannelsLast3d;
  if (last && t.sizes.size() != (format == MemoryFormat::ChannelsLast ? 4U : 5U)) return false;
  // From the innermost dimension outwards, without the vector of strides: this is asked all the
  // time.
  const size_t rank = t.sizes.size();
  int64_t expected = 1;
  for (size_t k = 0; k < rank; ++k) {
    size_t i = rank - 1 - k;
    if (last) i = k == 0 ? 1 : (k == rank - 1 ? 0 : rank - k);
    if (t.sizes[i] != 1 && t.strides[i] != expected) return false;
    expected *= t.sizes[i];
  }
  return true;
}

const void* Tensor::raw_data() const {
  const Impl& t = get();
  if (t.node != nullptr) {
    throw TypeError(
        "the values of this tensor are needed, but it only stands for a value of the model that is "
        "being captured",
        "values are unknown during capture: use tensor operations (where, clamp, ...) instead of "
        "Python control flow, item() or numpy()");
  }
  return static_cast<const char*>(t.storage.get()) +
         t.offset * static_cast<int64_t>(itemsize(t.dtype));
}

void* Tensor::raw_mutable_data() {
  if (get().read_only) {
    throw ValueError("this tensor is read-only (it views read-only memory)", "write to a clone()");
  }
  return const_cast<void*>(raw_data());
}

namespace {
void check_dtype(const Tensor& t, DType wanted) {
  const bool same = t.dtype() == wanted ||
                    (wanted == DType::UInt8 && (t.dtype() == DType::QUInt8)) ||
                    (wanted == DType::Int8 && (t.dtype() == DType::QInt8)) ||
                    (wanted == DType::Int32 && t.dtype() == DType::QInt32);
  if (!same) {
    throw TypeError(cat("expected a tensor of dtype ", dtype_name(wanted), ", got ", describe(t)));
  }
}
}  // namespace

template <typename T>
const T* Tensor::data() const {
  check_dtype(*this, DTypeOf<T>::value);
  return static_cast<const T*>(raw_data());
}

template <typename T>
T* Tensor::mutable_data() {
  check_dtype(*this, DTypeOf<T>::value);
  return static_cast<T*>(raw_mutable_data());
}

template <typename T>
Tensor Tensor::from_vector(const std::vector<T>& values, const Shape& sizes) {
  if (numel_of(sizes) != static_cast<int64_t>(values.size())) {
    throw ValueError(
        cat("from_vector: ", values.size(), " values do not fill shape ", list_to_string(sizes)));
  }
  Tensor t = empty(sizes, DTypeOf<T>::value);
  std::copy(values.begin(), values.end(), t.mutable_data<T>());
  return t;
}

#define PT2Q_INSTANTIATE(T)                  \
  template const T* Tensor::data<T>() const; \
  template T* Tensor::mutable_data<T>();     \
  template Tensor Tensor::from_vector<T>(const std::vector<T>&, const Shape&);
PT2Q_INSTANTIATE(float)
PT2Q_INSTANTIATE(double)
PT2Q_INSTANTIATE(uint8_t)
PT2Q_INSTANTIATE(int8_t)
PT2Q_INSTANTIATE(uint16_t)
PT2Q_INSTANTIATE(int16_t)
PT2Q_INSTANTIATE(int32_t)
PT2Q_INSTANTIATE(int64_t)
PT2Q_INSTANTIATE(bool)
#undef PT2Q_INSTANTIATE

Tensor Tensor::as_strided(const Shape& sizes, const Shape& strides, int64_t offset) const {
  if (node() != nullptr) raw_data();  // throws: views of traced tensors are operators
  auto impl = std::make_shared<Impl>(get());
  impl->sizes = sizes;
  impl->strides = strides;
  impl->offset = offset;
  impl->node = nullptr;
  return Tensor(std::move(impl));
}

bool Tensor::shares_storage(const Tensor& other) const {
  return defined() && other.defined() && !impl_->storage.owner_before(other.impl_->storage) &&
         !other.impl_->storage.owner_before(impl_->storage) && impl_->storage != nullptr;
}

Shape contiguous_strides(const Shape& sizes) {
  Shape strides(sizes.size());
  int64_t step = 1;
  for (size_t i = sizes.size(); i-- > 0;) {
    strides[i] = step;
    step *= std::max<int64_t>(1, sizes[i]);
  }
  return strides;
}

Shape channels_last_strides(const Shape& sizes) {
  if (sizes.size() != 4 && sizes.size() != 5) {
    throw ValueError(
        cat("channels_last needs a 4-D or 5-D tensor, got shape ", list_to_string(sizes)));
  }
  Shape strides(sizes.size());
  strides[1] = 1;
  int64_t step = std::max<int64_t>(1, sizes[1]);
  for (size_t i = sizes.size() - 1; i > 1; --i) {
    strides[i] = step;
    step *= std::max<int64_t>(1, sizes[i]);
  }
  strides[0] = step;
  return strides;
}

int64_t numel_of(const Shape& sizes) {
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  return count;
}

int64_t wrap_dim(int64_t dim, int64_t ndim) {
  const int64_t range = std::max<int64_t>(1, ndim);
  if (dim < -range || dim >= range) {
    throw IndexError(cat("Dimension out of range (expected to be in range of [", -range, ", ",
                         range - 1, "], but got ", dim, ")"));
  }
  return dim < 0 ? dim + range : dim;
}

Shape broadcast_shapes(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()), 1);
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    const int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1) {
      throw ValueError(cat("shapes ", list_to_string(a), " and ", list_to_string(b),
                           " cannot be broadcast together: sizes ", x, " and ", y,
                           " differ at dimension ", -static_cast<int64_t>(i) - 1));
    }
    out[out.size() - 1 - i] = x == 1 ? y : x;
  }
  return out;
}

std::string describe(const Tensor& tensor) {
  if (!tensor.defined()) return "undefined tensor";
  return cat(dtype_name(tensor.dtype()), list_to_string(tensor.sizes()));
}

}  // namespace pt2q
