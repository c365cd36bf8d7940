// Parts of a tensor as views: slice, select, narrow, unfold, diagonal, as_strided.
#include <algorithm>
#include <limits>

#include "base/strings.h"
#include "ops/support/operands.h"
#include "ops/support/view_row.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

Value infer_slice(const Args& args) {
  TensorMeta meta = args.meta(0);
  if (rank(meta) == 0) throw IndexError("slice() cannot be applied to a 0-dim tensor.");
  SymInt& size = meta.sizes.at(idx(wrap_dim(args.integer(1), rank(meta))));
  size = slice_length(size, args.value(2), args.value(3), args.integer(4));
  return meta;
}

Value slice(const Args& args) {
  infer_output(args);
  const int64_t start = args.is_none(2) ? 0 : args.integer(2);
  const int64_t end = args.is_none(3) ? std::numeric_limits<int64_t>::max() : args.integer(3);
  return args.tensor(0).slice(args.integer(1), start, end, args.integer(4));
}

Value infer_select(const Args& args) {
  TensorMeta meta = args.meta(0);
  if (rank(meta) == 0) throw IndexError("select() cannot be applied to a 0-dim tensor.");
  const int64_t dim = wrap_dim(args.integer(1), rank(meta));
  const int64_t size = meta.sizes[idx(dim)].hint(), index = args.sym_int(2).hint();
  if (index < -size || index >= size) {
    throw IndexError(cat("select(): index ", index, " out of range for tensor of size ",
                         text(meta.sizes), " at dimension ", dim));
  }
  meta.sizes.erase(meta.sizes.begin() + dim);
  return meta;
}

Value infer_narrow(const Args& args) {
  TensorMeta meta = args.meta(0);
  SymInt& size = meta.sizes.at(idx(wrap_dim(args.integer(1), rank(meta))));
  const SymInt start = args.sym_int(2), length = args.sym_int(3);
  const int64_t first = start.hint() < 0 ? start.hint() + size.hint() : start.hint();
  if (length.hint() < 0 || first < 0 || first + length.hint() > size.hint()) {
    throw ValueError(
        cat("start (", start, ") + length (", length, ") exceeds dimension size (", size, ")."));
  }
  size = length;
  return meta;
}

Value infer_unfold(const Args& args) {
  TensorMeta meta = args.meta(0);
  const int64_t size = args.integer(2), step = args.integer(3);
  if (rank(meta) == 0) return with_sizes(meta, {SymInt(size)});
  SymInt& dim = meta.sizes.at(idx(wrap_dim(args.integer(1), rank(meta))));
  if (size < 0 || size > dim.hint()) {
    throw ValueError(cat("maximum size for tensor at dimension ", args.integer(1), " is ", dim,
                         " but size is ", size));
  }
  if (step <= 0) throw ValueError(cat("step is ", step, " but must be > 0"));
  dim = floordiv(dim - SymInt(size), step) + SymInt(1);
  meta.sizes.emplace_back(size);
  return meta;
}

Value unfold(const Args& args) {
  const Tensor& x = args.tensor(0);
  const Shape sizes = hints(infer_output(args).sizes);
  if (x.dim() == 0) return x.reshape({1}).slice(0, 0, args.integer(2));
  Shape strides = x.strides();
  const size_t dim = idx(wrap_dim(args.integer(1), x.dim()));
  strides.push_back(strides[dim]);
  strides[dim] *= args.integer(3);
  return x.as_strided(sizes, strides, x.storage_offset());
}

Value infer_diagonal(const Args& args) {
  TensorMeta meta = args.meta(0);
  const int64_t a = wrap_dim(args.integer(2), rank(meta)),
                b = wrap_dim(args.integer(3), rank(meta));
  if (a == b) throw ValueError("diagonal dimensions cannot be identical");
  const int64_t offset = args.integer(1);
  const SymInt rows = meta.sizes[idx(a)] + SymInt(std::min<int64_t>(offset, 0));
  const SymInt columns = meta.sizes[idx(b)] - SymInt(std::max<int64_t>(offset, 0));
  const SymInt length = min(rows, columns);
  meta.sizes.erase(meta.sizes.begin() + std::max(a, b));
  meta.sizes.erase(meta.sizes.begin() + std::min(a, b));
  meta.sizes.push_back(length.hint() < 0 ? SymInt(0) : length);
  return meta;
}

Value diagonal(const Args& args) {
  const Tensor& x = args.tensor(0);
  const Shape sizes = hints(infer_output(args).sizes);
  const size_t a = idx(wrap_dim(args.integer(2), x.dim()));
  const size_t b = idx(wrap_dim(args.integer(3), x.dim()));
  const int64_t offset = args.integer(1);
  Shape strides = x.strides();
  const int64_t along = strides[a] + strides[b];
  const int64_t start = sizes.back() == 0 ? 0
                        : offset >= 0     ? offset * strides[b]
                                          : -offset * strides[a];
  strides.erase(strides.begin() + static_cast<int64_t>(std::max(a, b)));
  strides.erase(strides.begin() + static_cast<int64_t>(std::min(a, b)));
  strides.push_back(along);
  return x.as_strided(sizes, strides, x.storage_offset() + start);
}

void register_parts(OpTable& t) {
  define_view(t, "slice.Tensor",
              "(Tensor(a) self, int dim=0, SymInt? start=None, SymInt? end=None, SymInt step=1) -> "
              "Tensor(a)",
              infer_slice, slice);
  define_view(t, "select.int", "(Tensor(a) self, int dim, SymInt index) -> Tensor(a)", infer_select,
              [](const Args& args) -> Value {
                infer_output(args);
                return args.tensor(0).select(args.integer(1), args.integer(2));
              });
  define_view(t, "narrow.default",
              "(Tensor(a) self, int dim, SymInt start, SymInt length) -> Tensor(a)", infer_narrow,
              [](const Args& args) -> Value {
                infer_output(args);
                const int64_t n = args.tensor(0).size(args.integer(1));
                const int64_t start = args.integer(2) < 0 ? args.integer(2) + n : args.integer(2);
                return args.tensor(0).slice(args.integer(1), start, start + args.integer(3));
              });
  define_view(t, "unfold.default",
              "(Tensor(a) self, int dimension, int size, int step) -> Tensor(a)", infer_unfold,
              unfold);
  define_view(t, "diagonal.default",
              "(Tensor(a) self, int offset=0, int dim1=0, int dim2=1) -> Tensor(a)", infer_diagonal,
              diagonal);
}

// The strides are those of the row-major tensor the graph was captured with.
void register_as_strided(OpTable& t) {
  OpDef& op = define_view(
      t, "as_strided.default",
      "(Tensor(a) self, SymInt[] size, SymInt[] stride, SymInt? storage_offset=None) -> Tensor(a)",
      [](const Args& args) -> Value { return with_sizes(args.meta(0), args.sym_ints(1)); },
      [](const Args& args) -> Value {
        const Shape sizes = args.integers(1), strides = args.integers(2);
        const Tensor x = args.tensor(0).contiguous();
        const int64_t offset = args.is_none(3) ? 0 : args.integer(3);
        if (sizes.size() != strides.size()) {
          throw ValueError("mismatch in length of strides and shape");
        }
        int64_t last = offset;
        for (size_t i = 0; i < sizes.size(); ++i)
          last += std::max<int64_t>(0, sizes[i] - 1) * strides[i];
        if (numel_of(sizes) > 0 && (offset < 0 || last >= x.numel())) {
          throw ValueError(cat("setStorage: sizes ", list_to_string(sizes), ", strides ",
                               list_to_string(strides), " and storage offset ", offset,
                               " are out of bounds for storage of ", x.numel(), " elements"));
        }
        return x.as_strided(sizes, strides, x.storage_offset() + offset);
      });
  op.quant = QuantFacts();
}

}  // namespace

void register_slice_view(OpTable& t) {
  register_parts(t);
  register_as_strided(t);
}

}  // namespace pt2q
