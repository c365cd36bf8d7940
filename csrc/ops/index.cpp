// Advanced indexing: index, index_put, index_select, gather, scatter, masked_fill.
#include <algorithm>
#include <cstring>
#include <utility>

#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/gather.h"
#include "ops/support/pointwise.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

bool is_mask(DType dtype) { return dtype == DType::Bool || dtype == DType::UInt8; }

int64_t wrapped_index(int64_t i, int64_t size, int64_t dim) {
  if (i < -size || i >= size) {
    throw IndexError(
        cat("index ", i, " is out of bounds for dimension ", dim, " with size ", size));
  }
  return i < 0 ? i + size : i;
}

// --- index and index_put -------------------------------------------------------------------------

// What x[indices] looks like: indexed dimensions, the broadcast index shape, the others.
struct IndexPlan {
  Ints indexed;        // dimensions with an index, ascending
  Ints kept;           // the others
  SymShape index;      // shape of the broadcast indices
  int64_t before = 0;  // kept dimensions in front of the index dimensions in the result
};

IndexPlan plan_index(const SymShape& sizes, const std::vector<SymShape>& indices,
                     const std::vector<bool>& given) {
  if (given.size() > sizes.size()) {
    throw IndexError(cat("too many indices for tensor of dimension ", sizes.size(), " (got ",
                         given.size(), ")"));
  }
  IndexPlan plan;
  for (size_t d = 0; d < sizes.size(); ++d) {
    const bool here = d < given.size() && given[d];
    (here ? plan.indexed : plan.kept).push_back(static_cast<int64_t>(d));
    if (here) plan.index = broadcast(plan.index, indices[d]);
  }
  const bool adjacent = !plan.indexed.empty() && plan.indexed.back() - plan.indexed.front() + 1 ==
                                                     static_cast<int64_t>(plan.indexed.size());
  plan.before = adjacent ? plan.indexed.front() : 0;
  return plan;
}

SymShape result_shape(const IndexPlan& plan, const SymShape& sizes) {
  SymShape out = plan.index;
  for (size_t i = 0; i < plan.kept.size(); ++i) {
    const auto at = static_cast<int64_t>(i) < plan.before ? static_cast<int64_t>(i)
                                                          : static_cast<int64_t>(out.size());
    out.insert(out.begin() + at, sizes[idx(plan.kept[i])]);
  }
  return out;
}

// A mask becomes one index tensor for each of its dimensions.
void expand_mask(const Tensor& mask, std::vector<Tensor>* out) {
  for (const Ints& p : true_positions(mask)) {
    out->push_back(Tensor::from_vector(p, {static_cast<int64_t>(p.size())}));
  }
}

std::vector<Tensor> expand_masks(const Tensor& x, const std::vector<Tensor>& indices) {
  std::vector<Tensor> out;
  for (const Tensor& index : indices) {
    if (!index.defined()) {
      out.emplace_back();
    } else if (is_mask(index.dtype())) {
      for (int64_t d = 0; d < index.dim(); ++d) {
        const auto at = static_cast<int64_t>(out.size()) + d;
        if (at >= x.dim() || index.size(d) != x.size(at)) {
          throw IndexError(cat("The shape of the mask ", list_to_string(index.sizes()),
                               " does not match the shape of the indexed tensor ",
                               list_to_string(x.sizes()), " at index ", at));
        }
      }
      expand_mask(index, &out);
    } else {
      out.push_back(index);
    }
  }
  return out;
}

IndexPlan plan_tensors(const Tensor& x, const std::vector<Tensor>& indices) {
  std::vector<SymShape> shapes;
  std::vector<bool> given;
  for (const Tensor& t : indices) {
    given.push_back(t.defined());
    shapes.push_back(t.defined() ? to_sym(t.sizes()) : SymShape());
  }
  return plan_index(to_sym(x.sizes()), shapes, given);
}

// Row number of x (indexed dimensions first) for every element of the broadcast indices.
Ints row_numbers(const Tensor& x, const std::vector<Tensor>& indices, const IndexPlan& plan) {
  const Shape shape = hints(plan.index);
  Ints rows(idx(numel_of(shape)), 0);
  for (const int64_t d : plan.indexed) {
    const Tensor index = dense<int64_t>(indices[idx(d)]).expand(shape).contiguous();
    const int64_t size = x.size(d);
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i] = rows[i] * size + wrapped_index(index.data<int64_t>()[i], size, d);
    }
  }
  return rows;
}

// [indexed..., kept...] as a dense [rows][kept...] tensor.
Tensor rows_of(const Tensor& x, const IndexPlan& plan) {
  Ints order = plan.indexed;
  order.insert(order.end(), plan.kept.begin(), plan.kept.end());
  Shape sizes = {1};
  for (const int64_t d : plan.indexed) sizes[0] *= x.size(d);
  for (const int64_t d : plan.kept) sizes.push_back(x.size(d));
  return x.permute(order).contiguous().reshape(sizes);
}

// Order of dimensions that turns [index..., kept...] into the result.
Ints result_order(const IndexPlan& plan) {
  const auto n = static_cast<int64_t>(plan.index.size());
  const auto total = n + static_cast<int64_t>(plan.kept.size());
  Ints order;
  for (int64_t i = 0; i < plan.before; ++i) order.push_back(n + i);
  for (int64_t i = 0; i < n; ++i) order.push_back(i);
  for (int64_t i = n + plan.before; i < total; ++i) order.push_back(i);
  return order;
}

Value infer_index(const Args& args) {
  const TensorMeta& x = args.meta(0);
  std::vector<SymShape> shapes;
  std::vector<bool> given;
  for (const Value& v : args.value(1).list()) {
    given.push_back(!v.is_none());
    shapes.push_back(v.is_none() ? SymShape() : meta_of(v).sizes);
    if (!v.is_none() && is_mask(meta_of(v).dtype)) {
      throw NotImplementedError("indexing with a mask gives a shape that depends on the values",
                                "use where() or masked_fill() in models that are captured");
    }
  }
  return with_sizes(x, result_shape(plan_index(x.sizes, shapes, given), x.sizes));
}

Value index(const Args& args) {
  const Tensor& x = args.tensor(0);
  const std::vector<Tensor> indices = expand_masks(x, args.tensors(1));
  const IndexPlan plan = plan_tensors(x, indices);
  const Tensor rows = take_slices(rows_of(x, plan), 0, row_numbers(x, indices, plan));
  Shape sizes = hints(plan.index);
  for (const int64_t d : plan.kept) sizes.push_back(x.size(d));
  return rows.reshape(sizes).permute(result_order(plan)).contiguous();
}

// Writes (or adds) values[i] to row rows[i] of `target`; both dense, rows of `length` elements.
void put_rows(const Ints& rows, const Tensor& values, bool accumulate, Tensor* target) {
  const int64_t length = rows.empty() ? 0 : values.numel() / static_cast<int64_t>(rows.size());
  if (!accumulate) {
    const size_t bytes = idx(length) * itemsize(target->dtype());
    auto* to = static_cast<char*>(target->raw_mutable_data());
    const auto* from = static_cast<const char*>(values.raw_data());
    for (size_t i = 0; i < rows.size(); ++i) {
      std::memcpy(to + idx(rows[i]) * bytes, from + i * bytes, bytes);
    }
    return;
  }
  visit_compute(target->dtype(), [&](auto tag) {
    using T = decltype(tag);
    Tensor sums = dense<T>(*target).clone();
    const Tensor terms = dense<T>(values);
    T* to = sums.mutable_data<T>();
    for (size_t i = 0; i < rows.size(); ++i) {
      for (int64_t j = 0; j < length; ++j) {
        to[rows[i] * length + j] += terms.data<T>()[static_cast<int64_t>(i) * length + j];
      }
    }
    target->copy_(sums);
  });
}

Value index_put(const Args& args) {
  const Tensor& x = args.tensor(0);
  const std::vector<Tensor> indices = expand_masks(x, args.tensors(1));
  const IndexPlan plan = plan_tensors(x, indices);
  Tensor rows = rows_of(x, plan);
  if (rows.shares_storage(x)) rows = rows.clone();
  if (args.tensor(2).dtype() != x.dtype()) {
    throw TypeError(cat("Index put requires the source and destination dtypes match, got ",
                        dtype_name(x.dtype()), " for the destination and ",
                        dtype_name(args.tensor(2).dtype()), " for the source."));
  }
  // The values broadcast to the result's shape; back to [index..., kept...] from there.
  const Ints order = result_order(plan);
  Ints back(order.size());
  for (size_t i = 0; i < order.size(); ++i) back[idx(order[i])] = static_cast<int64_t>(i);
  const Shape shape = hints(result_shape(plan, to_sym(x.sizes())));
  const Tensor values = args.tensor(2).expand(shape).permute(back).contiguous();
  put_rows(row_numbers(x, indices, plan), values, args.boolean(3), &rows);
  Shape sizes;
  Ints restore(idx(x.dim()));
  for (const Ints* dims : {&plan.indexed, &plan.kept}) {
    for (const int64_t d : *dims) {
      restore[idx(d)] = static_cast<int64_t>(sizes.size());
      sizes.push_back(x.size(d));
    }
  }
  return rows.reshape(sizes).permute(restore).contiguous();
}

void register_advanced(OpTable& t) {
  OpDef& op = t.define("aten.index.Tensor", "(Tensor self, Tensor?[] indices) -> Tensor");
  op.infer = infer_index;
  op.reference = index;
  OpDef& put = t.define("aten.index_put.default",
                        "(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False) -> "
                        "Tensor");
  put.infer = same_as_input;
  put.reference = index_put;
  t.define_inplace("aten.index_put_.default", "aten.index_put.default");
}

// --- along one dimension -------------------------------------------------------------------------

Ints index_list(const Tensor& index, int64_t size, int64_t dim) {
  const Tensor flat = dense<int64_t>(index);
  Ints out;
  for (int64_t i = 0; i < flat.numel(); ++i) {
    const int64_t v = flat.data<int64_t>()[i];
    if (v < 0 || v >= size) {
      throw IndexError(
          cat("index ", v, " is out of bounds for dimension ", dim, " with size ", size));
    }
    out.push_back(v);
  }
  return out;
}

void register_select(OpTable& t) {
  OpDef& op =
      t.define("aten.index_select.default", "(Tensor self, int dim, Tensor index) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    TensorMeta meta = args.meta(0);
    if (rank(args.meta(2)) > 1)
      throw IndexError("index_select(): Index is supposed to be a vector");
    const int64_t dim = wrap_dim(args.integer(1), rank(meta));
    if (!meta.sizes.empty()) meta.sizes[idx(dim)] = product(args.meta(2).sizes);
    return meta;
  };
  op.reference = [](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    const Tensor x = args.tensor(0).dim() == 0 ? args.tensor(0).reshape({1}) : args.tensor(0);
    const int64_t dim = wrap_dim(args.integer(1), x.dim());
    return take_slices(x, dim, index_list(args.tensor(2), x.size(dim), dim))
        .reshape(hints(meta.sizes));
  };
  // index_add and index_copy: rows of `source` go to the rows that `index` names.
  for (const bool add : {true, false}) {
    OpDef& write = t.define(add ? "aten.index_add.default" : "aten.index_copy.default",
                            cat("(Tensor self, int dim, Tensor index, Tensor source",
                                add ? ", *, Scalar alpha=1" : "", ") -> Tensor"));
    write.infer = same_as_input;
    write.reference = [add](const Args& args) -> Value {
      const Tensor& x = args.tensor(0);
      const int64_t dim = wrap_dim(args.integer(1), x.dim());
      const Ints rows = index_list(args.tensor(2), x.size(dim), dim);
      Tensor out = x.transpose(0, dim).contiguous().clone();
      Shape shape = out.sizes();
      shape[0] = static_cast<int64_t>(rows.size());
      Tensor source = args.tensor(3).transpose(0, dim).contiguous();
      if (source.sizes() != shape) {
        throw ValueError(cat("source has shape ", list_to_string(args.tensor(3).sizes()),
                             ", which does not fit ", rows.size(), " rows of ",
                             list_to_string(x.sizes())));
      }
      if (add && args.number(4) != 1) {
        source = call("aten.mul.Scalar", {source, args.value(4)}).as<Tensor>().to(x.dtype());
      }
      put_rows(rows, source.to(x.dtype()), add, &out);
      return out.transpose(0, dim).contiguous();
    };
    const std::string base = add ? "aten.index_add" : "aten.index_copy";
    t.define_inplace(base + "_.default", base + ".default");
  }
  OpDef& fill = t.define("aten.index_fill.int_Scalar",
                         "(Tensor self, int dim, Tensor index, Scalar value) -> Tensor");
  fill.infer = same_as_input;
  fill.reference = [](const Args& args) -> Value {
    Tensor out = args.tensor(0).clone();
    const int64_t dim = wrap_dim(args.integer(1), out.dim());
    const Tensor value = as_tensor(args.value(3), out.dtype());
    const Tensor rows = dense<int64_t>(args.tensor(2));
    for (int64_t i = 0; i < rows.numel(); ++i) {
      out.select(dim, rows.data<int64_t>()[i]).copy_(value);
    }
    return out;
  };
  t.define_inplace("aten.index_fill_.int_Scalar", "aten.index_fill.int_Scalar");
}

// --- masked_fill ---------------------------------------------------------------------------------

void register_masked_fill(OpTable& t) {
  for (const char* overload : {"Scalar", "Tensor"}) {
    const std::string name = cat("aten.masked_fill.", overload);
    OpDef& op = t.define(name, cat("(Tensor self, Tensor mask, ", overload, " value) -> Tensor"));
    op.infer = [](const Args& args) -> Value {
      const TensorMeta& x = args.meta(0);
      if (!is_mask(args.meta(1).dtype)) {
        throw TypeError(cat("masked_fill only supports boolean masks, but got mask with dtype ",
                            dtype_name(args.meta(1).dtype)));
      }
      if (!meta_of(args.value(2)).sizes.empty()) {
        throw ValueError(
            cat("masked_fill only supports a 0-dimensional value tensor, but got shape ",
                text(meta_of(args.value(2)).sizes)));
      }
      return with_sizes(x, broadcast(x.sizes, args.meta(1).sizes));
    };
    op.reference = [](const Args& args) -> Value {
      const TensorMeta meta = infer_output(args);
      return visit_compute(meta.dtype, [&](auto tag) -> Value {
        using T = decltype(tag);
        const Tensor x = args.tensor(0).to(DTypeOf<T>::value);
        const T value = *as_tensor(args.value(2), DTypeOf<T>::value).template data<T>();
        Tensor out = make_output(with_dtype(meta, DTypeOf<T>::value), x);
        map3<bool, T, T>(args.tensor(1).to(DType::Bool), x, x, out,
                         [value](bool m, T v, T) { return m ? value : v; });
        return out.to(meta.dtype);
      });
    };
    op.traits.pointwise = true;
    t.define_inplace(cat("aten.masked_fill_.", overload), name);
  }
}

}  // namespace

void register_index(OpTable& t) {
  register_advanced(t);
  register_select(t);
  register_masked_fill(t);
}

}  // namespace pt2q
