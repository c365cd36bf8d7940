#include "io/storage.h"

#include <algorithm>
#include <cstring>

#include "base/strings.h"
#include "pt2q/error.h"
#include "tensor/tensor_impl.h"

namespace pt2q {

uint64_t checked_bytes(const Shape& sizes, DType dtype, const LoadLimits& limits) {
  if (sizes.size() > limits.dims) {
    throw FileError(
        cat("a tensor has ", sizes.size(), " dimensions, more than the limit of ", limits.dims));
  }
  uint64_t bytes = itemsize(dtype);
  bool empty = false;
  for (const int64_t size : sizes) {
    if (size < 0) throw FileError(cat("negative size in shape ", list_to_string(sizes)));
    if (size == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes) ||
               bytes > limits.tensor_bytes) {
      throw FileError(cat("a tensor of shape ", list_to_string(sizes), " exceeds the limit of ",
                          limits.tensor_bytes, " bytes"));
    }
  }
  return empty ? 0 : bytes;
}

Tensor FileStorage::view(DType dtype, const Shape& sizes, const Shape& strides, int64_t offset,
                         const LoadLimits& limits) {
  if (sizes.size() != strides.size())
    throw FileError(cat("sizes ", list_to_string(sizes), " and strides ", list_to_string(strides),
                        " differ in length"));
  const uint64_t bytes = checked_bytes(sizes, dtype, limits);
  if (bytes == 0) return Tensor::empty(sizes, dtype);
  // Highest element index; all factors are below 2^63, so that 128 bits cannot overflow.
  __extension__ using Wide = __int128;
  const auto elements = static_cast<int64_t>(bytes_.size() / itemsize(dtype));
  Wide last = offset;
  bool bad = offset < 0;
  for (size_t i = 0; i < sizes.size() && !bad; ++i) {
    bad = strides[i] < 0;
    last += static_cast<Wide>(sizes[i] - 1) * strides[i];
    bad = bad || last >= elements;
  }
  if (bad || last >= elements) {
    throw FileError(cat("a tensor of shape ", list_to_string(sizes), ", strides ",
                        list_to_string(strides), " and offset ", offset,
                        " lies outside its storage of ", elements, " elements"));
  }
  if (dtype == DType::Bool) {  // any other byte in a bool is undefined behaviour
    if (bytes_.read_only()) bytes_ = Bytes::copy_of(bytes_.text());
    for (size_t i = 0; i < bytes_.size(); ++i)
      bytes_.mutable_data()[i] = bytes_.data()[i] != 0 ? 1 : 0;
  }
  const Tensor whole = Tensor::from_blob(bytes_.mutable_data(), {elements}, {1}, dtype,
                                         bytes_.owner(), bytes_.read_only());
  Shape steps = strides;  // that of a dimension of size 1 may be anything: keep it harmless
  for (int64_t& step : steps) step = std::min(step, elements);
  return whole.as_strided(sizes, steps, offset);
}

namespace {

struct Span {
  const char* begin = nullptr;
  const char* end = nullptr;
};

Span span_of(const Tensor& t) {
  if (t.numel() == 0) return {};
  const auto* begin = static_cast<const char*>(t.raw_data());
  int64_t last = 0;
  for (size_t i = 0; i < t.sizes().size(); ++i) last += (t.sizes()[i] - 1) * t.strides()[i];
  return {begin, begin + (last + 1) * static_cast<int64_t>(itemsize(t.dtype()))};
}

}  // namespace

std::vector<TensorPlace> group_storages(std::vector<Tensor>* tensors,
                                        std::vector<StorageGroup>* groups) {
  for (Tensor& t : *tensors) {
    const bool negative = std::any_of(t.strides().begin(), t.strides().end(),
                                      [](int64_t stride) { return stride < 0; });
    const Span span = negative ? Span{} : span_of(t);
    if (negative || span.end - span.begin > 2 * std::max<int64_t>(t.nbytes(), 512))
      t = t.contiguous();
  }
  std::vector<size_t> order(tensors->size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::vector<Span> spans;
  for (const Tensor& t : *tensors) spans.push_back(span_of(t));
  // Tensors whose bytes touch belong together; merging needs them sorted by address.
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return spans[a].begin < spans[b].begin; });
  std::vector<size_t> group_of(tensors->size());
  std::vector<Span> merged;
  std::vector<size_t> first_user;
  for (const size_t i : order) {
    const Span& s = spans[i];
    if (merged.empty() || s.begin >= merged.back().end || s.begin == s.end) {
      merged.push_back(s);
      first_user.push_back(i);
    } else {
      merged.back().end = std::max(merged.back().end, s.end);
      first_user.back() = std::min(first_user.back(), i);
    }
    group_of[i] = merged.size() - 1;
  }
  // Groups are numbered in the order of the tensors, so that equal models give equal files.
  std::vector<size_t> by_user(merged.size());
  for (size_t i = 0; i < by_user.size(); ++i) by_user[i] = i;
  std::sort(by_user.begin(), by_user.end(),
            [&](size_t a, size_t b) { return first_user[a] < first_user[b]; });
  std::vector<size_t> number(merged.size());
  groups->clear();
  for (const size_t g : by_user) {
    number[g] = groups->size();
    groups->push_back({merged[g].begin, static_cast<size_t>(merged[g].end - merged[g].begin)});
  }
  std::vector<TensorPlace> places;
  for (size_t i = 0; i < tensors->size(); ++i) {
    const int64_t distance = spans[i].begin - merged[group_of[i]].begin;
    places.push_back(
        {number[group_of[i]], distance / static_cast<int64_t>(itemsize((*tensors)[i].dtype()))});
  }
  return places;
}

}  // namespace pt2q
