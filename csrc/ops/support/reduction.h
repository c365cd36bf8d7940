// Reductions as a loop over rows: the reduced dimensions become the innermost, contiguous ones.
#pragma once

#include "base/parallel.h"
#include "ops/support/operands.h"

namespace pt2q::ops {

// [rows][length] data of type T; rows in row-major order of the kept dimensions.
struct Rows {
  Tensor data;
  int64_t rows = 0;
  int64_t length = 0;
};

// `dims` wrapped; empty reduces nothing (length 1).
template <typename T>
Rows make_rows(const Tensor& x, const Ints& dims) {
  Ints order;
  int64_t length = 1;
  for (int64_t d = 0; d < x.dim(); ++d) {
    if (std::find(dims.begin(), dims.end(), d) == dims.end()) order.push_back(d);
  }
  for (const int64_t d : dims) {
    order.push_back(d);
    length *= x.size(d);
  }
  std::sort(order.end() - static_cast<int64_t>(dims.size()), order.end());
  int64_t rows = 1;
  for (size_t i = 0; i + dims.size() < order.size(); ++i) rows *= x.size(order[i]);
  return {dense<T>(x.permute(order)), rows, length};
}

// out[row] = fn(row pointer, length).
template <typename T, typename Out, typename Fn>
void reduce_rows(const Rows& r, Tensor& out, Fn fn) {
  const T* x = r.data.data<T>();
  Out* y = out.mutable_data<Out>();
  parallel_for(r.rows, std::max<int64_t>(1, (1 << 14) / std::max<int64_t>(1, r.length)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) y[i] = fn(x + i * r.length, r.length);
               });
}

// Dimensions of an "int[1]? dim" or "int? dim" argument; None and [] mean all.
Ints dims_argument(const Args& args, size_t i, int64_t ndim);

// Applies fn(in, out, length, step) to every line along `dim`: `in` and `out` are dense tensors of
// the same shape, elements of a line are `step` apart.
template <typename T, typename Fn>
void for_each_line(const Tensor& in, Tensor& out, int64_t dim, Fn fn) {
  if (in.numel() == 0) return;
  const int64_t length = in.dim() == 0 ? 1 : in.size(dim);
  int64_t step = 1;
  for (int64_t d = dim + 1; d < in.dim(); ++d) step *= in.size(d);
  const T* x = in.data<T>();
  T* y = out.mutable_data<T>();
  parallel_for(in.numel() / length, std::max<int64_t>(1, (1 << 13) / length),
               [&](int64_t begin, int64_t end) {
                 for (int64_t line = begin; line < end; ++line) {
                   const int64_t at = line / step * step * length + line % step;
                   fn(x + at, y + at, length, step);
                 }
               });
}

}  // namespace pt2q::ops
