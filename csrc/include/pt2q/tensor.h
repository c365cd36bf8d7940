// A strided CPU tensor with shared storage, PyTorch's semantics: copying a Tensor copies a handle.
// Thread safety: distinct handles may be used from several threads; writing to shared storage needs
// outside synchronisation.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "pt2q/dtype.h"

namespace pt2q {

class Node;
using Shape = std::vector<int64_t>;

class Tensor {
 public:
  struct Impl;

  Tensor() = default;  // undefined: defined() is false

  // Uninitialised memory, 64-byte aligned, row-major or channels_last (4-D only).
  static Tensor empty(const Shape& sizes, DType dtype = DType::Float32,
                      MemoryFormat format = MemoryFormat::Contiguous);
  static Tensor zeros(const Shape& sizes, DType dtype = DType::Float32);
  static Tensor full(const Shape& sizes, double value, DType dtype = DType::Float32);
  static Tensor scalar(double value, DType dtype = DType::Float32);  // 0-dimensional
  static Tensor scalar_int(int64_t value, DType dtype = DType::Int64);
  template <typename T>
  static Tensor from_vector(const std::vector<T>& values, const Shape& sizes);
  // A view of foreign memory. `owner` keeps it alive; strides are in elements.
  static Tensor from_blob(void* data, const Shape& sizes, const Shape& strides, DType dtype,
                          std::shared_ptr<void> owner, bool read_only = false);
  // A tensor without storage that stands for `node` while a model is captured (see trace.h).
  // `owner` keeps the node alive.
  static Tensor traced(const Shape& size_hints, DType dtype, Node* node,
                       std::shared_ptr<void> owner = nullptr);

  bool defined() const { return impl_ != nullptr; }
  const Shape& sizes() const;
  const Shape& strides() const;     // in elements
  int64_t size(int64_t dim) const;  // negative dims count from the end; throws IndexError
  int64_t dim() const;
  int64_t numel() const;
  DType dtype() const;
  Device device() const;
  Tensor& set_device(Device device);  // a label: the memory is host memory
  int64_t nbytes() const;             // numel * itemsize
  int64_t storage_offset() const;     // in elements
  bool is_read_only() const;
  bool is_contiguous(MemoryFormat format = MemoryFormat::Contiguous) const;

  // Pointer to the first element. data<T>() checks the dtype; mutable access to read-only memory
  // throws ValueError; access to a traced tensor throws TypeError (its values do not exist yet).
  const void* raw_data() const;
  void* raw_mutable_data();
  template <typename T>
  const T* data() const;
  template <typename T>
  T* mutable_data();

  // Value of a one-element tensor.
  double item() const;
  int64_t item_int() const;

  // The node this tensor stands for while tracing, else null.
  Node* node() const;

  // Views (share storage).
  Tensor as_strided(const Shape& sizes, const Shape& strides, int64_t storage_offset) const;
  Tensor permute(const std::vector<int64_t>& dims) const;
  Tensor transpose(int64_t a, int64_t b) const;
  Tensor select(int64_t dim, int64_t index) const;
  Tensor slice(int64_t dim, int64_t start, int64_t end, int64_t step = 1) const;
  Tensor expand(const Shape& sizes) const;  // -1 keeps a dimension
  Tensor squeeze(int64_t dim) const;
  Tensor unsqueeze(int64_t dim) const;
  // A view when strides allow, else a copy; one size may be -1.
  Tensor reshape(const Shape& sizes) const;

  // Takes sizes, strides and offset of `view`, a view of this tensor, in all handles of this one.
  void become_view(const Tensor& view);

  // Copies.
  Tensor contiguous(MemoryFormat format = MemoryFormat::Contiguous) const;  // itself if already so
  Tensor clone() const;              // keeps the stride order
  Tensor to(DType dtype) const;      // itself if already so; PyTorch's cast semantics
  void copy_(const Tensor& source);  // broadcasts and casts

  // Same tensor object (handle identity).
  bool is(const Tensor& other) const { return impl_ == other.impl_; }
  bool shares_storage(const Tensor& other) const;
  const void* id() const { return impl_.get(); }

 private:
  explicit Tensor(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  const Impl& get() const;

  std::shared_ptr<Impl> impl_;
};

Shape contiguous_strides(const Shape& sizes);
Shape channels_last_strides(const Shape& sizes);  // 4-D: NHWC; 5-D: NDHWC
int64_t numel_of(const Shape& sizes);
// dim in [-ndim, ndim) → [0, ndim); throws IndexError with PyTorch's text.
int64_t wrap_dim(int64_t dim, int64_t ndim);
// NumPy broadcasting of two shapes; throws ValueError naming both.
Shape broadcast_shapes(const Shape& a, const Shape& b);
// "float32[1, 3, 224, 224]"
std::string describe(const Tensor& tensor);

}  // namespace pt2q
