// View-making members of Tensor: no data moves, except where reshape must copy.
#include <algorithm>

#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/tensor.h"
#include "tensor/tensor_impl.h"

namespace pt2q {
namespace {

// Strides that express `sizes` over the memory of `t`, or false when a copy is needed.
bool view_strides(const Tensor& t, const Shape& sizes, Shape* out) {
  const Shape& old_sizes = t.sizes();
  const Shape& old_strides = t.strides();
  out->assign(sizes.size(), 0);
  if (t.numel() == 0) {
    *out = contiguous_strides(sizes);
    return true;
  }
  auto view_d = static_cast<int64_t>(sizes.size()) - 1;
  int64_t chunk_stride = old_strides.empty() ? 1 : old_strides.back();
  int64_t old_count = 1;
  int64_t view_count = 1;
  for (auto d = static_cast<int64_t>(old_sizes.size()) - 1; d >= 0; --d) {
    const auto i = static_cast<size_t>(d);
    old_count *= old_sizes[i];
    const bool chunk_ends =
        d == 0 || (old_sizes[i - 1] != 1 && old_strides[i - 1] != old_count * chunk_stride);
    if (!chunk_ends) continue;
    while (view_d >= 0 && (view_count < old_count || sizes[static_cast<size_t>(view_d)] == 1)) {
      (*out)[static_cast<size_t>(view_d)] = view_count * chunk_stride;
      view_count *= sizes[static_cast<size_t>(view_d)];
      --view_d;
    }
    if (view_count != old_count) return false;
    if (d > 0) {
      chunk_stride = old_strides[i - 1];
      old_count = 1;
      view_count = 1;
    }
  }
  for (; view_d >= 0; --view_d) (*out)[static_cast<size_t>(view_d)] = view_count * chunk_stride;
  return true;
}

Shape resolve_reshape(const Tensor& t, Shape sizes) {
  int64_t known = 1;
  int inferred = -1;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == -1 && inferred < 0) {
      inferred = static_cast<int>(i);
    } else if (sizes[i] < 0) {
      throw ValueError(cat("invalid shape ", list_to_string(sizes), " for reshape"));
    } else {
      known *= sizes[i];
    }
  }
  const int64_t total = t.numel();
  if (inferred >= 0 && known > 0 && total % known == 0)
    sizes[static_cast<size_t>(inferred)] = total / known;
  if (numel_of(sizes) != total) {
    throw ValueError(
        cat("shape '", list_to_string(sizes), "' is invalid for input of size ", total));
  }
  return sizes;
}

}  // namespace

Tensor Tensor::permute(const std::vector<int64_t>& dims) const {
  const int64_t n = dim();
  if (static_cast<int64_t>(dims.size()) != n) {
    throw ValueError(
        cat("permute: ", dims.size(), " dims given for a tensor of ", n, " dimensions"));
  }
  Shape sizes(dims.size()), steps(dims.size());
  std::vector<bool> seen(dims.size(), false);
  for (size_t i = 0; i < dims.size(); ++i) {
    const auto d = static_cast<size_t>(wrap_dim(dims[i], n));
    if (seen[d]) throw ValueError(cat("permute: dimension ", d, " appears twice"));
    seen[d] = true;
    sizes[i] = this->sizes()[d];
    steps[i] = strides()[d];
  }
  return as_strided(sizes, steps, storage_offset());
}

void Tensor::become_view(const Tensor& view) {
  if (node() == nullptr && !view.shares_storage(*this))
    throw InternalError("become_view: the storage is another one");
  const Impl from = *view.impl_;
  impl_->sizes = from.sizes;
  impl_->strides = from.strides;
  impl_->offset = from.offset;
}

Tensor Tensor::transpose(int64_t a, int64_t b) const {
  if (dim() == 0) return *this;
  Shape sizes = this->sizes(), steps = strides();
  const auto i = static_cast<size_t>(wrap_dim(a, dim()));
  const auto j = static_cast<size_t>(wrap_dim(b, dim()));
  std::swap(sizes[i], sizes[j]);
  std::swap(steps[i], steps[j]);
  return as_strided(sizes, steps, storage_offset());
}

Tensor Tensor::select(int64_t d, int64_t index) const {
  if (dim() == 0) throw IndexError("select() cannot be applied to a 0-dim tensor.");
  const auto axis = static_cast<size_t>(wrap_dim(d, dim()));
  const int64_t n = sizes()[axis];
  if (index < -n || index >= n) {
    throw IndexError(
        cat("index ", index, " is out of bounds for dimension ", axis, " with size ", n));
  }
  Shape sizes = this->sizes(), steps = strides();
  const int64_t offset = storage_offset() + (index < 0 ? index + n : index) * steps[axis];
  sizes.erase(sizes.begin() + static_cast<int64_t>(axis));
  steps.erase(steps.begin() + static_cast<int64_t>(axis));
  return as_strided(sizes, steps, offset);
}

Tensor Tensor::slice(int64_t d, int64_t start, int64_t end, int64_t step) const {
  const auto axis = static_cast<size_t>(wrap_dim(d, dim()));
  if (step <= 0) throw ValueError(cat("slice step must be positive, got ", step));
  const int64_t n = this->sizes()[axis];
  const auto clamp_index = [n](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + n : i, 0, n); };
  const int64_t first = clamp_index(start);
  const int64_t last = std::max(first, clamp_index(end));
  Shape sizes = this->sizes(), steps = strides();
  sizes[axis] = (last - first + step - 1) / step;
  const int64_t offset = storage_offset() + first * steps[axis];
  steps[axis] *= step;
  return as_strided(sizes, steps, offset);
}

Tensor Tensor::expand(const Shape& wanted) const {
  const int64_t extra = static_cast<int64_t>(wanted.size()) - dim();
  if (extra < 0) {
    throw ValueError(cat("expand: shape ", list_to_string(wanted), " has fewer dimensions than ",
                         list_to_string(sizes())));
  }
  Shape sizes = wanted, steps(wanted.size(), 0);
  for (size_t i = static_cast<size_t>(extra); i < wanted.size(); ++i) {
    const int64_t old = this->sizes()[i - static_cast<size_t>(extra)];
    if (wanted[i] == -1) sizes[i] = old;
    if (old != 1 && sizes[i] != old) {
      throw ValueError(cat("expand: cannot expand shape ", list_to_string(this->sizes()), " to ",
                           list_to_string(wanted)));
    }
    steps[i] = old == 1 && sizes[i] != 1 ? 0 : strides()[i - static_cast<size_t>(extra)];
  }
  if (std::any_of(sizes.begin(), sizes.end(), [](int64_t s) { return s < 0; })) {
    throw ValueError(
        cat("expand: -1 is not allowed in a leading dimension: ", list_to_string(wanted)));
  }
  return as_strided(sizes, steps, storage_offset());
}

Tensor Tensor::squeeze(int64_t d) const {
  if (dim() == 0) return *this;
  const auto axis = static_cast<size_t>(wrap_dim(d, dim()));
  return sizes()[axis] == 1 ? select(static_cast<int64_t>(axis), 0) : *this;
}

Tensor Tensor::unsqueeze(int64_t d) const {
  const auto axis = wrap_dim(d, dim() + 1);
  Shape sizes = this->sizes(), steps = strides();
  const int64_t step =
      axis < dim() ? sizes[static_cast<size_t>(axis)] * steps[static_cast<size_t>(axis)] : 1;
  sizes.insert(sizes.begin() + axis, 1);
  steps.insert(steps.begin() + axis, step);
  return as_strided(sizes, steps, storage_offset());
}

Tensor Tensor::reshape(const Shape& wanted) const {
  const Shape sizes = resolve_reshape(*this, wanted);
  Shape strides;
  if (view_strides(*this, sizes, &strides)) return as_strided(sizes, strides, storage_offset());
  const Tensor copy = contiguous();
  return copy.as_strided(sizes, contiguous_strides(sizes), copy.storage_offset());
}

}  // namespace pt2q
