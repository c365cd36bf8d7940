// Largest and smallest elements and where they are; sorting.
#include <algorithm>
#include <numeric>
#include <utility>

#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/reduction.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

// NaN is larger than everything (and smaller than everything when looking for the smallest).
template <typename T>
bool beats(T a, T b, bool largest) {
  if (b != b) return false;
  return a != a || (largest ? a > b : a < b);
}

template <typename T>
int64_t extreme_index(const T* x, int64_t n, bool largest) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; ++i) {
    if (beats(x[i], x[best], largest)) best = i;
  }
  return best;
}

void require_elements(const TensorMeta& x, const Ints& dims) {
  for (const int64_t d : dims) {
    if (x.sizes[idx(d)].hint() != 0) continue;
    throw ValueError(cat("Expected reduction dim ", d,
                         " to have non-zero size, but the input has "
                         "shape ",
                         text(x.sizes)));
  }
}

// {values, indices} over one dimension, or over the flattened tensor.
template <typename T>
std::pair<Tensor, Tensor> extremes(const Tensor& x, const Ints& dims, const Shape& sizes,
                                   bool largest) {
  const Rows rows = make_rows<T>(x, dims);
  Tensor values = Tensor::empty(sizes, DTypeOf<T>::value);
  Tensor indices = Tensor::empty(sizes, DType::Int64);
  reduce_rows<T, int64_t>(
      rows, indices, [largest](const T* row, int64_t n) { return extreme_index(row, n, largest); });
  const int64_t* where = indices.data<int64_t>();
  T* out = values.mutable_data<T>();
  for (int64_t r = 0; r < rows.rows; ++r) out[r] = rows.data.data<T>()[r * rows.length + where[r]];
  return {values, indices};
}

Value run_extremes(const Args& args, const TensorMeta& values, const Ints& dims, bool largest,
                   bool want_values, bool want_indices) {
  return visit_compute(args.tensor(0).dtype(), [&](auto tag) -> Value {
    using T = decltype(tag);
    const auto [top, where] = extremes<T>(args.tensor(0), dims, hints(values.sizes), largest);
    if (!want_indices) return top.to(args.tensor(0).dtype());
    if (!want_values) return where;
    return Value::List{top.to(args.tensor(0).dtype()), where};
  });
}

Value infer_over(const Args& args, size_t dim_arg, size_t keep_arg) {
  const TensorMeta& x = args.meta(0);
  const Ints dims = dims_argument(args, dim_arg, rank(x));
  require_elements(x, dims);
  return with_sizes(x, reduced(x.sizes, dims, args.boolean(keep_arg)));
}

void define_extreme(OpTable& t, bool largest) {
  const std::string name = largest ? "max" : "min";
  OpDef& whole = t.define("aten." + name + ".default", "(Tensor self) -> Tensor");
  whole.infer = [](const Args& args) -> Value {
    require_elements(args.meta(0), wrap_dims({}, rank(args.meta(0))));
    return with_sizes(args.meta(0), {});
  };
  whole.reference = [=](const Args& args) {
    const TensorMeta meta = infer_output(args);
    return run_extremes(args, meta, wrap_dims({}, args.tensor(0).dim()), largest, true, false);
  };
  whole.quant = shares_input();
  OpDef& dim = t.define("aten." + name + ".dim",
                        "(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor "
                        "indices)");
  dim.infer = [](const Args& args) -> Value {
    const TensorMeta values = infer_over(args, 1, 2).as<TensorMeta>();
    return Value::List{values, with_dtype(values, DType::Int64)};
  };
  dim.reference = [=](const Args& args) {
    const TensorMeta meta = infer_outputs(args).list()[0].as<TensorMeta>();
    return run_extremes(args, meta, dims_argument(args, 1, args.tensor(0).dim()), largest, true,
                        true);
  };
  OpDef& index = t.define("aten.arg" + name + ".default",
                          "(Tensor self, int? dim=None, bool keepdim=False) -> Tensor");
  index.infer = [](const Args& args) -> Value {
    return with_dtype(infer_over(args, 1, 2).as<TensorMeta>(), DType::Int64);
  };
  index.reference = [=](const Args& args) {
    const TensorMeta meta = infer_output(args);
    return run_extremes(args, meta, dims_argument(args, 1, args.tensor(0).dim()), largest, false,
                        true);
  };
  OpDef& many = t.define(largest ? "aten.amax.default" : "aten.amin.default",
                         "(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor");
  many.infer = [](const Args& args) { return infer_over(args, 1, 2); };
  many.reference = [=](const Args& args) {
    const TensorMeta meta = infer_output(args);
    return run_extremes(args, meta, dims_argument(args, 1, args.tensor(0).dim()), largest, true,
                        false);
  };
  many.quant = shares_input();
}

// --- order ---------------------------------------------------------------------------------------

// Indices of a line in order; stable. NaN counts as the largest.
template <typename T>
void sorted_indices(const T* x, int64_t n, int64_t step, bool descending,
                    std::vector<int64_t>* out) {
  out->resize(idx(n));
  std::iota(out->begin(), out->end(), 0);
  std::stable_sort(out->begin(), out->end(), [&](int64_t a, int64_t b) {
    const T u = x[a * step], v = x[b * step];
    if (u != u || v != v) return descending ? u != u && v == v : u == u && v != v;
    return descending ? u > v : u < v;
  });
}

// The first `count` of each sorted line.
Value sort_lines(const Args& args, int64_t dim_argument, int64_t count, bool descending,
                 bool want_values) {
  const Tensor& input = args.tensor(0);
  const int64_t dim = wrap_dim(dim_argument, input.dim());
  return visit_compute(input.dtype(), [&](auto tag) -> Value {
    using T = decltype(tag);
    const Tensor x = input.dim() == 0 ? dense<T>(input.reshape({1})) : dense<T>(input);
    Tensor values = Tensor::empty(x.sizes(), DTypeOf<T>::value);
    Tensor indices = Tensor::empty(x.sizes(), DType::Int64);
    int64_t* where = indices.mutable_data<int64_t>();
    const T* base = x.template data<T>();
    for_each_line<T>(x, values, dim, [&](const T* in, T* out, int64_t n, int64_t step) {
      std::vector<int64_t> order;
      sorted_indices(in, n, step, descending, &order);
      int64_t* to = where + (in - base);
      for (int64_t i = 0; i < n; ++i) {
        out[i * step] = in[order[idx(i)] * step];
        to[i * step] = order[idx(i)];
      }
    });
    Shape sizes = input.sizes();
    if (input.dim() > 0) sizes[idx(dim)] = count;
    const auto cut = [&](const Tensor& full) {
      return full.slice(dim, 0, count).contiguous().reshape(sizes);
    };
    if (!want_values) return cut(indices);
    return Value::List{cut(values).to(input.dtype()), cut(indices)};
  });
}

Value pair_of(const TensorMeta& values) {
  return Value::List{values, with_dtype(values, DType::Int64)};
}

void register_sorting(OpTable& t) {
  OpDef& topk = t.define("aten.topk.default",
                         "(Tensor self, SymInt k, int dim=-1, bool largest=True, bool sorted=True) "
                         "-> (Tensor values, Tensor indices)");
  topk.infer = [](const Args& args) -> Value {
    TensorMeta meta = args.meta(0);
    const int64_t dim = wrap_dim(args.integer(2), rank(meta));
    const int64_t size = meta.sizes.empty() ? 1 : meta.sizes[idx(dim)].hint();
    const SymInt k = args.sym_int(1);
    if (k.hint() < 0 || k.hint() > size) {
      throw ValueError(
          cat("selected index k out of range: k is ", k, ", the dimension has size ", size));
    }
    if (!meta.sizes.empty()) meta.sizes[idx(dim)] = k;
    return pair_of(meta);
  };
  topk.reference = [](const Args& args) {
    infer_outputs(args);
    return sort_lines(args, args.integer(2), args.integer(1), args.boolean(3), true);
  };
  const auto length = [](const Args& args) {
    const Tensor& x = args.tensor(0);
    return x.dim() == 0 ? int64_t{1} : x.size(args.integer(1));
  };
  OpDef& sort = t.define("aten.sort.default",
                         "(Tensor self, int dim=-1, bool descending=False) -> (Tensor values, "
                         "Tensor indices)");
  sort.infer = [](const Args& args) -> Value {
    wrap_dim(args.integer(1), rank(args.meta(0)));
    return pair_of(args.meta(0));
  };
  sort.reference = [length](const Args& args) {
    return sort_lines(args, args.integer(1), length(args), args.boolean(2), true);
  };
  OpDef& argsort = t.define("aten.argsort.default",
                            "(Tensor self, int dim=-1, bool descending=False) -> Tensor");
  argsort.infer = [](const Args& args) -> Value {
    wrap_dim(args.integer(1), rank(args.meta(0)));
    return with_dtype(args.meta(0), DType::Int64);
  };
  argsort.reference = [length](const Args& args) {
    return sort_lines(args, args.integer(1), length(args), args.boolean(2), false);
  };
}

}  // namespace

void register_extremes(OpTable& t) {
  define_extreme(t, true);
  define_extreme(t, false);
  register_sorting(t);
}

}  // namespace pt2q
