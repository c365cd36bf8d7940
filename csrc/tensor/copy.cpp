// Members of Tensor that move data: contiguous, clone, to, copy_, full, item.
#include <algorithm>
#include <cstring>

#include "pt2q/error.h"
#include "pt2q/tensor.h"
#include "tensor/strided.h"
#include "tensor/strided_copy.h"

namespace pt2q {
namespace {

// Memory order of the dimensions of `t`, densely packed: what clone() and to() preserve.
Tensor empty_like_layout(const Tensor& t, DType dtype) {
  if (t.dim() == 4 && !t.is_contiguous() && t.is_contiguous(MemoryFormat::ChannelsLast)) {
    return Tensor::empty(t.sizes(), dtype, MemoryFormat::ChannelsLast);
  }
  if (t.dim() == 5 && !t.is_contiguous() && t.is_contiguous(MemoryFormat::ChannelsLast3d)) {
    return Tensor::empty(t.sizes(), dtype, MemoryFormat::ChannelsLast3d);
  }
  return Tensor::empty(t.sizes(), dtype);
}

template <typename To, typename From>
void convert_strided(To* to, const From* from, const CopyLoops& loops) {
  if (loops.sizes.empty()) {
    *to = convert_element<To>(*from);
    return;
  }
  const int64_t n = loops.sizes.back(), to_step = loops.to.back(), from_step = loops.from.back();
  CopyWalk at(loops, 1, 0);
  for (int64_t row = loops.outer(1); row > 0; --row, at.next()) {
    To* out = to + at.to();
    const From* in = from + at.from();
    for (int64_t i = 0; i < n; ++i) out[i * to_step] = convert_element<To>(in[i * from_step]);
  }
}

}  // namespace

void Tensor::copy_(const Tensor& source) {
  if (source.sizes() != sizes()) return copy_(source.expand(sizes()));
  if (numel() == 0) return;
  void* target = raw_mutable_data();
  const void* from = source.raw_data();
  const bool same_order = (is_contiguous() && source.is_contiguous()) ||
                          (dim() == 4 && is_contiguous(MemoryFormat::ChannelsLast) &&
                           source.is_contiguous(MemoryFormat::ChannelsLast));
  if (same_order && dtype() == source.dtype()) {
    std::memmove(target, from, static_cast<size_t>(nbytes()));
    return;
  }
  if (dtype() == source.dtype()) {
    return copy_strided(target, strides(), from, source.strides(), sizes(), itemsize(dtype()));
  }
  const CopyLoops loops(sizes(), strides(), source.strides());
  visit_dtype(dtype(), [&](auto to) {
    using To = decltype(to);
    visit_dtype(source.dtype(), [&](auto tag) {
      convert_strided(static_cast<To*>(target), static_cast<const decltype(tag)*>(from), loops);
    });
  });
}

Tensor Tensor::contiguous(MemoryFormat format) const {
  if (format == MemoryFormat::Preserve || is_contiguous(format)) return *this;
  Tensor out = empty(sizes(), dtype(), format);
  out.set_device(device());
  out.copy_(*this);
  return out;
}

Tensor Tensor::clone() const {
  Tensor out = empty_like_layout(*this, dtype());
  out.set_device(device());
  out.copy_(*this);
  return out;
}

Tensor Tensor::to(DType wanted) const {
  if (dtype() == wanted) return *this;
  Tensor out = empty_like_layout(*this, wanted);
  out.set_device(device());
  out.copy_(*this);
  return out;
}

Tensor Tensor::full(const Shape& sizes, double value, DType dtype) {
  Tensor t = empty(sizes, dtype);
  visit_dtype(dtype, [&](auto tag) {
    using T = decltype(tag);
    auto* out = static_cast<T*>(t.raw_mutable_data());
    std::fill(out, out + t.numel(), convert_element<T>(value));
  });
  return t;
}

Tensor Tensor::scalar(double value, DType dtype) { return full({}, value, dtype); }

Tensor Tensor::scalar_int(int64_t value, DType dtype) {
  Tensor t = empty({}, dtype);
  visit_dtype(dtype, [&](auto tag) {
    using T = decltype(tag);
    *static_cast<T*>(t.raw_mutable_data()) = convert_element<T>(value);
  });
  return t;
}

double Tensor::item() const {
  if (numel() != 1) {
    throw RuntimeError("a Tensor with " + std::to_string(numel()) +
                       " elements cannot be converted to Scalar");
  }
  const void* p = raw_data();
  return visit_dtype(dtype(), [&](auto tag) {
    using T = decltype(tag);
    return convert_element<double>(*static_cast<const T*>(p));
  });
}

int64_t Tensor::item_int() const {
  if (numel() != 1) {
    throw RuntimeError("a Tensor with " + std::to_string(numel()) +
                       " elements cannot be converted to Scalar");
  }
  const void* p = raw_data();
  return visit_dtype(dtype(), [&](auto tag) {
    using T = decltype(tag);
    return convert_element<int64_t>(*static_cast<const T*>(p));
  });
}

}  // namespace pt2q
