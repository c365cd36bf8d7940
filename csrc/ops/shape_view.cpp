// Operators that rearrange or re-describe a tensor: their results view the input when strides
// allow.
#include <algorithm>
#include <limits>
#include <utility>

#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/operands.h"
#include "ops/support/view_row.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

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
  for (const char* overload : {"default", "dim", "dims"})
    t.define_inplace_view(cat("aten.squeeze_.", overload), cat("aten.squeeze.", overload));
  t.define_inplace_view("aten.unsqueeze_.default", "aten.unsqueeze.default");
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

}  // namespace

void register_shape_view(OpTable& t) {
  register_reshapes(t);
  register_permutations(t);
  register_sizes(t);
}

}  // namespace pt2q
