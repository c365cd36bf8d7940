// gather and scatter: element-wise indices along one dimension; searching sorted tensors.
#include <algorithm>

#include "base/strings.h"
#include "ops/support/operands.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

void check_index(const TensorMeta& x, const TensorMeta& index, int64_t dim, bool limited) {
  if (index.dtype != DType::Int64 && index.dtype != DType::Int32) {
    throw TypeError("gather/scatter expected dtype int64 for index");
  }
  const bool ranks = std::max<int64_t>(1, rank(index)) == std::max<int64_t>(1, rank(x));
  bool fits = ranks;
  for (size_t d = 0; fits && d < std::min(index.sizes.size(), x.sizes.size()); ++d) {
    fits = !limited || static_cast<int64_t>(d) == dim || index.sizes[d].hint() <= x.sizes[d].hint();
  }
  if (fits) return;
  throw ValueError(cat("index of shape ", text(index.sizes), " does not fit a tensor of shape ",
                       text(x.sizes), " along dimension ", dim));
}

// Strides of `t` seen with at least one dimension.
Shape strides_of(const Tensor& t) { return t.dim() == 0 ? Shape{0} : t.strides(); }

// Calls fn(offset in data, offset in other) for every element of `index`; data is addressed by the
// index along `dim`, other like the index tensor itself.
template <typename Fn>
void for_each_indexed(const Tensor& data, const Tensor& index, const Tensor& other, int64_t dim,
                      Fn fn) {
  const Shape sizes = index.dim() == 0 ? Shape{1} : index.sizes();
  const int64_t limit = data.dim() == 0 ? 1 : data.size(dim);
  Shape base = strides_of(data);
  const int64_t along = base[idx(dim)];
  base[idx(dim)] = 0;
  const Tensor where = dense<int64_t>(index);
  const auto* at = where.data<int64_t>();
  for (StridedIterator<2> it(sizes, {base, strides_of(other)}); !it.done(); it.next(), ++at) {
    if (*at < 0 || *at >= limit) {
      throw IndexError(
          cat("index ", *at, " is out of bounds for dimension ", dim, " with size ", limit));
    }
    fn(it.offset(0) + *at * along, it.offset(1));
  }
}

void register_gather(OpTable& t) {
  OpDef& op = t.define("aten.gather.default",
                       "(Tensor self, int dim, Tensor index, *, bool sparse_grad=False) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    const int64_t dim = wrap_dim(args.integer(1), rank(args.meta(0)));
    check_index(args.meta(0), args.meta(2), dim, true);
    return with_sizes(args.meta(0), args.meta(2).sizes);
  };
  op.reference = [](const Args& args) -> Value {
    Tensor out = make_output(infer_output(args));
    const Tensor& x = args.tensor(0);
    const size_t bytes = itemsize(x.dtype());
    const auto* from = static_cast<const char*>(x.raw_data());
    auto* to = static_cast<char*>(out.raw_mutable_data());
    for_each_indexed(x, args.tensor(2), out, wrap_dim(args.integer(1), x.dim()),
                     [&](int64_t source, int64_t target) {
                       std::copy_n(from + source * static_cast<int64_t>(bytes), bytes,
                                   to + target * static_cast<int64_t>(bytes));
                     });
    return out;
  };
}

void define_scatter(OpTable& t, const std::string& name, const char* source, bool add) {
  OpDef& op =
      t.define("aten." + name, cat("(Tensor self, int dim, Tensor index, ", source, ") -> Tensor"));
  op.infer = [](const Args& args) -> Value {
    const int64_t dim = wrap_dim(args.integer(1), rank(args.meta(0)));
    check_index(args.meta(0), args.meta(2), dim, true);
    if (args.value(3).is<TensorMeta>()) check_index(args.meta(3), args.meta(2), -1, true);
    return args.meta(0);
  };
  op.reference = [add](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    return visit_compute(meta.dtype, [&](auto tag) -> Value {
      using T = decltype(tag);
      Tensor out = dense<T>(args.tensor(0)).clone();
      Tensor source = as_tensor(args.value(3), meta.dtype).to(DTypeOf<T>::value);
      if (source.dim() == 0) source = source.expand(args.tensor(2).sizes());
      const T* from = source.template data<T>();
      T* to = out.mutable_data<T>();
      for_each_indexed(
          out, args.tensor(2), source, wrap_dim(args.integer(1), out.dim()),
          [&](int64_t target, int64_t at) { to[target] = add ? to[target] + from[at] : from[at]; });
      return out.to(meta.dtype);
    });
  };
}

// Number of boundaries below each value (right: not above it). Both dense; `rows` of boundaries.
template <typename T>
Tensor positions(const Tensor& sorted, const Tensor& values, bool right) {
  Tensor out = Tensor::empty(values.sizes(), DType::Int64);
  const int64_t length = sorted.size(-1);
  const int64_t rows = length == 0 ? 1 : std::max<int64_t>(1, sorted.numel() / length);
  const int64_t per_row = values.numel() / rows;
  for (int64_t i = 0; i < values.numel(); ++i) {
    const T* begin = sorted.data<T>() + (sorted.dim() == 1 ? 0 : i / per_row * length);
    const T v = values.data<T>()[i];
    const T* at = right ? std::upper_bound(begin, begin + length, v)
                        : std::lower_bound(begin, begin + length, v);
    out.mutable_data<int64_t>()[i] = at - begin;
  }
  return out;
}

void define_search(OpTable& t, const std::string& name, const std::string& schema, size_t sorted,
                   size_t values) {
  OpDef& op = t.define("aten." + name, schema);
  op.infer = [=](const Args& args) -> Value {
    const TensorMeta& s = args.meta(sorted);
    const TensorMeta& v = args.meta(values);
    bool fits = rank(s) == 1 || rank(s) == rank(v);
    for (size_t d = 0; fits && rank(s) > 1 && d + 1 < s.sizes.size(); ++d) {
      fits = same_size(s.sizes[d], v.sizes[d]);
    }
    if (!fits) {
      throw ValueError(cat("boundaries of shape ", text(s.sizes), " do not fit values of shape ",
                           text(v.sizes)));
    }
    return with_dtype(v, args.boolean(2) ? DType::Int32 : DType::Int64);
  };
  op.reference = [=](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    bool right = args.boolean(3);
    if (args.size() > 4 && !args.is_none(4)) right = args.string(4) == "right";
    if (args.size() > 5 && !args.is_none(5)) {
      throw NotImplementedError("searchsorted with a sorter is not supported",
                                "gather the sequence with the sorter first");
    }
    const DType common = result_type({args.value(sorted), args.value(values)});
    return visit_compute(common, [&](auto tag) -> Value {
      using T = decltype(tag);
      return positions<T>(dense<T>(args.tensor(sorted)), dense<T>(args.tensor(values)), right)
          .to(meta.dtype);
    });
  };
}

}  // namespace

void register_gather_scatter(OpTable& t) {
  register_gather(t);
  define_scatter(t, "scatter.src", "Tensor src", false);
  define_scatter(t, "scatter.value", "Scalar value", false);
  define_scatter(t, "scatter_add.default", "Tensor src", true);
  t.define_inplace("aten.scatter_.src", "aten.scatter.src");
  t.define_inplace("aten.scatter_.value", "aten.scatter.value");
  t.define_inplace("aten.scatter_add_.default", "aten.scatter_add.default");
  define_search(t, "bucketize.Tensor",
                "(Tensor self, Tensor boundaries, *, bool out_int32=False, bool right=False) -> "
                "Tensor",
                1, 0);
  define_search(t, "searchsorted.Tensor",
                "(Tensor sorted_sequence, Tensor self, *, bool out_int32=False, bool right=False, "
                "str? side=None, Tensor? sorter=None) -> Tensor",
                0, 1);
}

}  // namespace pt2q
