// Operators that rearrange or re-describe a tensor: their results view the input when strides
// allow.
#include <algorithm>
#include <limits>
#include <utility>

#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/operands.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

OpDef& define_view(OpTable& t, const std::string& name, const std::string& schema, InferFn infer,
                   KernelFn kernel) {
  OpDef& op = t.define("aten." + name, schema);
  op.infer = std::move(infer);
  op.reference = std::move(kernel);
  op.traits.view = true;
  op.quant = shares_input();
  return op;
}

// A kernel that reshapes to what inference says (copies when strides do not allow a view).
Value reshape_to_inferred(const Args& args) {
  return args.tensor(0).reshape(hints(infer_output(args).sizes));
}

// --- reshape -------------------------------------------------------------------------------------

Value infer_view(const Args& args) {
  const TensorMeta& x = args.meta(0);
  return with_sizes(x, resolve_view(x.sizes, args.sym_ints(1)));
}

Value infer_view_as(const Args& args) {
  const TensorMeta& x = args.meta(0);
  return with_sizes(x, resolve_view(x.sizes, args.meta(1).sizes));
}

Value infer_flatten(const Args& args) {
  const TensorMeta& x = args.meta(0);
  const int64_t n = rank(x);
  if (n == 0) return with_sizes(x, {SymInt(1)});
  const int64_t first = wrap_dim(args.integer(1), n), last = wrap_dim(args.integer(2), n);
  if (first > last)
    throw ValueError("flatten() has invalid args: start_dim cannot come after end_dim");
  SymShape out(x.sizes.begin(), x.sizes.begin() + first);
  out.push_back(product(x.sizes, idx(first), idx(last) + 1));
  out.insert(out.end(), x.sizes.begin() + last + 1, x.sizes.end());
  return with_sizes(x, out);
}

Value infer_unflatten(const Args& args) {
  const TensorMeta& x = args.meta(0);
  const int64_t dim = wrap_dim(args.integer(1), rank(x));
  const SymShape parts = resolve_view({x.sizes.at(idx(dim))}, args.sym_ints(2));
  SymShape out(x.sizes.begin(), x.sizes.begin() + dim);
  out.insert(out.end(), parts.begin(), parts.end());
  out.insert(out.end(), x.sizes.begin() + dim + 1, x.sizes.end());
  return with_sizes(x, out);
}

void register_reshapes(OpTable& t) {
  define_view(t, "view.default", "(Tensor(a) self, SymInt[] size) -> Tensor(a)", infer_view,
              reshape_to_inferred);
  define_view(t, "reshape.default", "(Tensor(a) self, SymInt[] shape) -> Tensor(a)", infer_view,
              reshape_to_inferred);
  t.define_alias("aten._unsafe_view.default", "aten.view.default");
  define_view(t, "view_as.default", "(Tensor(a) self, Tensor other) -> Tensor(a)", infer_view_as,
              reshape_to_inferred);
  t.define_alias("aten.reshape_as.default", "aten.view_as.default");
  define_view(t, "flatten.using_ints",
              "(Tensor(a) self, int start_dim=0, int end_dim=-1) -> Tensor(a)", infer_flatten,
              reshape_to_inferred);
  define_view(t, "unflatten.int", "(Tensor(a) self, int dim, SymInt[] sizes) -> Tensor(a)",
              infer_unflatten, reshape_to_inferred);
  define_view(
      t, "ravel.default", "(Tensor(a) self) -> Tensor(a)",
      [](const Args& args) -> Value {
        return with_sizes(args.meta(0), {product(args.meta(0).sizes)});
      },
      reshape_to_inferred);
}

// --- order of dimensions -------------------------------------------------------------------------

// A row whose result is permute(order(rank, args)).
using OrderFn = std::function<Ints(int64_t rank, const Args& args)>;

void define_permutation(OpTable& t, const std::string& name, const std::string& schema,
                        OrderFn order) {
  define_view(
      t, name, schema,
      [order](const Args& args) -> Value {
        const TensorMeta& x = args.meta(0);
        SymShape out;
        for (const int64_t d : order(rank(x), args)) out.push_back(x.sizes.at(idx(d)));
        return with_sizes(x, out);
      },
      [order](const Args& args) -> Value {
        return args.tensor(0).permute(order(args.tensor(0).dim(), args));
      });
}

Ints identity_order(int64_t n) {
  Ints order;
  for (int64_t d = 0; d < n; ++d) order.push_back(d);
  return order;
}

Ints permutation(int64_t n, const Args& args) {
  const Ints dims = args.integers(1);
  if (static_cast<int64_t>(dims.size()) != n) {
    throw ValueError(
        cat("permute(sparse_coo): number of dimensions in the tensor input does not "
            "match the length of the desired ordering of dimensions i.e. input.dim() = ",
            n, " is not equal to len(dims) = ", dims.size()));
  }
  return dims.empty() ? dims : wrap_dims(dims, n);
}

Ints swapped(int64_t n, int64_t a, int64_t b) {
  Ints order = identity_order(n);
  const int64_t i = wrap_dim(a, n), j = wrap_dim(b, n);
  if (n > 0) std::swap(order[idx(i)], order[idx(j)]);
  return order;
}

Ints reversed_matrix(int64_t n, const Args&) {
  if (n > 2)
    throw ValueError(cat("t() expects a tensor with <= 2 dimensions, but self is ", n, "D"));
  return n == 2 ? Ints{1, 0} : identity_order(n);
}

Ints moved(int64_t n, const Ints& source, const Ints& destination) {
  if (source.size() != destination.size()) {
    throw ValueError("movedim: source and destination must have the same number of dimensions");
  }
  Ints order(idx(n), -1);
  const Ints from = source.empty() ? Ints{} : wrap_dims(source, n);
  const Ints to = destination.empty() ? Ints{} : wrap_dims(destination, n);
  for (size_t i = 0; i < from.size(); ++i) order[idx(to[i])] = from[i];
  int64_t next = 0;
  for (int64_t& d : order) {
    if (d >= 0) continue;
    while (std::find(from.begin(), from.end(), next) != from.end()) ++next;
    d = next++;
  }
  return order;
}

void register_permutations(OpTable& t) {
  define_permutation(t, "permute.default", "(Tensor(a) self, int[] dims) -> Tensor(a)",
                     permutation);
  const OrderFn swap = [](int64_t n, const Args& args) {
    return swapped(n, args.integer(1), args.integer(2));
  };
  define_permutation(t, "transpose.int", "(Tensor(a) self, int dim0, int dim1) -> Tensor(a)", swap);
  define_permutation(t, "swapaxes.default", "(Tensor(a) self, int axis0, int axis1) -> Tensor(a)",
                     swap);
  define_permutation(t, "swapdims.default", "(Tensor(a) self, int dim0, int dim1) -> Tensor(a)",
                     swap);
  define_permutation(t, "t.default", "(Tensor(a) self) -> Tensor(a)", reversed_matrix);
  define_permutation(t, "numpy_T.default", "(Tensor(a) self) -> Tensor(a)",
                     [](int64_t n, const Args&) {
                       Ints order = identity_order(n);
                       std::reverse(order.begin(), order.end());
                       return order;
                     });
  const OrderFn last_two = [](int64_t n, const Args&) {
    if (n < 2)
      throw ValueError(
          cat("tensor.mT is only supported on matrices or batches of matrices, got ", n, "-D"));
    return swapped(n, -1, -2);
  };
  define_permutation(t, "mT.default", "(Tensor(a) self) -> Tensor(a)", last_two);
  define_permutation(t, "mH.default", "(Tensor(a) self) -> Tensor(a)", last_two);
  define_permutation(
      t, "movedim.int", "(Tensor(a) self, int source, int destination) -> Tensor(a)",
      [](int64_t n, const Args& args) { return moved(n, {args.integer(1)}, {args.integer(2)}); });
  define_permutation(
      t, "movedim.intlist", "(Tensor(a) self, int[] source, int[] destination) -> Tensor(a)",
      [](int64_t n, const Args& args) { return moved(n, args.integers(1), args.integers(2)); });
}

// --- sizes of 1 and broadcasting -----------------------------------------------------------------

Value infer_squeeze(const TensorMeta& x, const Ints& dims) {
  SymShape out;
  for (size_t i = 0; i < x.sizes.size(); ++i) {
    const bool chosen = std::find(dims.begin(), dims.end(), static_cast<int64_t>(i)) != dims.end();
    if (!(chosen && x.sizes[i] == SymInt(1))) out.push_back(x.sizes[i]);
  }
  return with_sizes(x, out);
}

Value infer_unsqueeze(const Args& args) {
  TensorMeta meta = args.meta(0);
  meta.sizes.insert(meta.sizes.begin() + wrap_dim(args.integer(1), rank(meta) + 1), SymInt(1));
  return meta;
}

Value infer_expand(const Args& args) {
  return with_sizes(args.meta(0), expanded(args.meta(0).sizes, args.sym_ints(1)));
}

Value expand_to_inferred(const Args& args) {
  return args.tensor(0).expand(hints(infer_output(args).sizes));
}

void register_sizes(OpTable& t) {
  define_view(
      t, "squeeze.default", "(Tensor(a) self) -> Tensor(a)",
      [](const Args& args) {
        return infer_squeeze(args.meta(0), wrap_dims({}, rank(args.meta(0))));
      },
      reshape_to_inferred);
  define_view(
      t, "squeeze.dim", "(Tensor(a) self, int dim) -> Tensor(a)",
      [](const Args& args) {
        return infer_squeeze(args.meta(0), wrap_dims({args.integer(1)}, rank(args.meta(0))));
      },
      [](const Args& args) -> Value { return args.tensor(0).squeeze(args.integer(1)); });
  define_view(
      t, "squeeze.dims", "(Tensor(a) self, int[] dim) -> Tensor(a)",
      [](const Args& args) {
        const Ints dims = args.integers(1);
        return infer_squeeze(args.meta(0),
                             dims.empty() ? dims : wrap_dims(dims, rank(args.meta(0))));
      },
      reshape_to_inferred);
  define_view(t, "unsqueeze.default", "(Tensor(a) self, int dim) -> Tensor(a)", infer_unsqueeze,
              [](const Args& args) -> Value { return args.tensor(0).unsqueeze(args.integer(1)); });
  define_view(t, "expand.default",
              "(Tensor(a) self, SymInt[] size, *, bool implicit=False) -> Tensor(a)", infer_expand,
              expand_to_inferred);
  define_view(t, "broadcast_to.default", "(Tensor(a) self, SymInt[] size) -> Tensor(a)",
              infer_expand, expand_to_inferred);
  define_view(
      t, "expand_as.default", "(Tensor(a) self, Tensor other) -> Tensor(a)",
      [](const Args& args) -> Value {
        return with_sizes(args.meta(0), expanded(args.meta(0).sizes, args.meta(1).sizes));
      },
      expand_to_inferred);
}

// --- parts ---------------------------------------------------------------------------------------

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

void register_shape_view(OpTable& t) {
  register_reshapes(t);
  register_permutations(t);
  register_sizes(t);
  register_parts(t);
  register_as_strided(t);
}

}  // namespace pt2q
