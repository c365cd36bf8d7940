// Operators made of other rows: var_mean, aminmax, median, distances, histogram, weight norm.
#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/reduction.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

// Inference of another row.
Value infer_of(const std::string& name, const std::vector<Value>& args) {
  const OpDef& op = op_table().get(name);
  const std::vector<Value> full = normalize_args(op, args);
  return op.infer(Args(op, full));
}

Tensor run(const std::string& name, std::vector<Value> args) {
  return call(name, std::move(args)).as<Tensor>();
}

// --- pairs of reductions -------------------------------------------------------------------------

// {first(args), second(args)} of two rows over the same dimensions.
using PairArgs = std::vector<Value> (*)(const Args& args, bool first);

void define_pair(OpTable& t, const std::string& name, const std::string& schema,
                 const std::string& first, const std::string& second, PairArgs arguments) {
  OpDef& op = t.define("aten." + name, schema);
  op.infer = [=](const Args& args) -> Value {
    return Value::List{infer_of(first, arguments(args, true)),
                       infer_of(second, arguments(args, false))};
  };
  op.reference = [=](const Args& args) -> Value {
    return Value::List{run(first, arguments(args, true)), run(second, arguments(args, false))};
  };
}

std::vector<Value> corrected(const Args& a, bool first) {
  if (first) return {a.value(0), a.value(1), a.value(2), a.value(3)};
  return {a.value(0), a.value(1), a.value(3)};
}

std::vector<Value> unbiased(const Args& a, bool first) {
  if (first) return {a.value(0), a.value(1), a.value(2), a.value(3)};
  return {a.value(0), a.value(1), a.value(3)};
}

std::vector<Value> extremes(const Args& a, bool) {
  return {a.value(0), a.is_none(1) ? Value(Ints()) : Value(Ints{a.integer(1)}), a.value(2)};
}

void register_pairs(OpTable& t) {
  for (const std::string& base : {std::string("var"), std::string("std")}) {
    define_pair(
        t, base + "_mean.correction",
        "(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> "
        "(Tensor, Tensor)",
        "aten." + base + ".correction", "aten.mean.dim", corrected);
    define_pair(t, base + "_mean.dim",
                "(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> (Tensor, "
                "Tensor)",
                "aten." + base + ".dim", "aten.mean.dim", unbiased);
  }
  define_pair(t, "aminmax.default",
              "(Tensor self, *, int? dim=None, bool keepdim=False) -> (Tensor min, Tensor max)",
              "aten.amin.default", "aten.amax.default", extremes);
}

// --- counting ------------------------------------------------------------------------------------

void define_count(OpTable& t, const std::string& name, const std::string& schema) {
  OpDef& op = t.define("aten." + name, schema);
  op.infer = [](const Args& args) -> Value {
    const TensorMeta& x = args.meta(0);
    return TensorMeta{reduced(x.sizes, dims_argument(args, 1, rank(x)), false), DType::Int64,
                      x.device};
  };
  op.reference = [](const Args& args) -> Value {
    Tensor out = make_output(infer_output(args));
    const Tensor& x = args.tensor(0);
    reduce_rows<bool, int64_t>(make_rows<bool>(x, dims_argument(args, 1, x.dim())), out,
                               [](const bool* row, int64_t n) {
                                 return static_cast<int64_t>(std::count(row, row + n, true));
                               });
    return out;
  };
}

// Bins of equal width over [min, max]; min == max: the range of the data.
void register_histogram(OpTable& t) {
  OpDef& op = t.define("aten.histc.default",
                       "(Tensor self, int bins=100, Scalar min=0, Scalar max=0) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    if (args.integer(1) <= 0) throw ValueError("torch.histc(): bins must be > 0");
    if (!is_floating_point(args.meta(0).dtype)) {
      throw TypeError(cat("histc is not implemented for ", dtype_name(args.meta(0).dtype)));
    }
    return with_sizes(args.meta(0), {SymInt(args.integer(1))});
  };
  op.reference = [](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    const Tensor x = dense<float>(args.tensor(0));
    const auto* p = x.data<float>();
    const int64_t bins = args.integer(1), n = x.numel();
    auto low = static_cast<float>(args.number(2)), high = static_cast<float>(args.number(3));
    if (low == high && n > 0) {
      low = *std::min_element(p, p + n);
      high = *std::max_element(p, p + n);
    }
    if (low == high) {
      low -= 1;
      high += 1;
    }
    if (!std::isfinite(low) || !std::isfinite(high) || low > high) {
      throw ValueError(cat("torch.histc: range of [", low, ", ", high, "] is not finite"));
    }
    Tensor counts = Tensor::zeros({bins});
    for (int64_t i = 0; i < n; ++i) {
      if (!(p[i] >= low && p[i] <= high)) continue;
      const auto bin = static_cast<int64_t>((p[i] - low) * static_cast<float>(bins) / (high - low));
      counts.mutable_data<float>()[std::min(bin, bins - 1)] += 1;
    }
    return counts.to(meta.dtype);
  };
}

// The lower of the two middle elements.
void register_median(OpTable& t) {
  OpDef& whole = t.define("aten.median.default", "(Tensor self) -> Tensor");
  whole.infer = [](const Args& args) -> Value { return with_sizes(args.meta(0), {}); };
  whole.reference = [](const Args& args) -> Value {
    const Tensor flat = args.tensor(0).reshape({-1});
    if (flat.numel() == 0) throw ValueError("median of an empty tensor");
    const Value sorted = call("aten.sort.default", {flat});
    const Tensor& values = sorted.list()[0].as<Tensor>();
    const Tensor last = values.select(0, values.numel() - 1);  // NaN sorts last and wins
    if (is_floating_point(flat.dtype()) && std::isnan(last.item())) return last.clone();
    return values.select(0, (values.numel() - 1) / 2).clone();
  };
  OpDef& dim = t.define("aten.median.dim",
                        "(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor "
                        "indices)");
  dim.infer = [](const Args& args) {
    return infer_of("aten.max.dim", {args.value(0), args.value(1), args.value(2)});
  };
  dim.reference = [](const Args& args) -> Value {
    const Value metas = infer_outputs(args);
    const Shape sizes = hints(metas.list()[0].as<TensorMeta>().sizes);
    const Tensor& x = args.tensor(0);
    const Value sorted = call("aten.sort.default", {x, args.value(1)});
    Value::List out;
    for (const Value& part : sorted.list()) {
      const Tensor& values = part.as<Tensor>();
      const int64_t n = x.dim() == 0 ? 1 : x.size(args.integer(1));
      const Tensor middle = x.dim() == 0 ? values : values.select(args.integer(1), (n - 1) / 2);
      out.emplace_back(middle.contiguous().reshape(sizes));
    }
    return out;
  };
}

// --- distances -----------------------------------------------------------------------------------

void register_distances(OpTable& t) {
  OpDef& cosine = t.define("aten.cosine_similarity.default",
                           "(Tensor x1, Tensor x2, int dim=1, float eps=1e-08) -> Tensor");
  cosine.infer = [](const Args& args) -> Value {
    const TensorMeta product =
        infer_of("aten.mul.Tensor", {args.value(0), args.value(1)}).as<TensorMeta>();
    return infer_of("aten.sum.dim_IntList", {product, Ints{args.integer(2)}});
  };
  cosine.reference = [](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    const Ints dim = {args.integer(2)};
    const auto norm = [&](size_t i, const Shape& sizes) {
      const Tensor length =
          run("aten.linalg_vector_norm.default", {args.tensor(i).expand(sizes), 2, dim});
      return run("aten.clamp_min.default", {length, args.number(3)});
    };
    const Shape sizes = broadcast_shapes(args.tensor(0).sizes(), args.tensor(1).sizes());
    const Tensor product = run("aten.mul.Tensor", {args.tensor(0), args.tensor(1)});
    const Tensor dot = run("aten.sum.dim_IntList", {product, dim});
    const Tensor lengths = run("aten.mul.Tensor", {norm(0, sizes), norm(1, sizes)});
    return run("aten.div.Tensor", {dot, lengths}).to(meta.dtype);
  };
  OpDef& pairwise = t.define("aten.pairwise_distance.default",
                             "(Tensor x1, Tensor x2, float p=2.0, float eps=1e-06, bool "
                             "keepdim=False) -> Tensor");
  pairwise.infer = [](const Args& args) -> Value {
    const Value difference = infer_of("aten.sub.Tensor", {args.value(0), args.value(1)});
    return infer_of("aten.linalg_vector_norm.default",
                    {difference, args.value(2), Ints{-1}, args.value(4)});
  };
  pairwise.reference = [](const Args& args) -> Value {
    const Tensor difference = run("aten.sub.Tensor", {args.tensor(0), args.tensor(1)});
    const Tensor shifted = run("aten.add.Scalar", {difference, args.number(3)});
    return run("aten.linalg_vector_norm.default",
               {shifted, args.value(2), Ints{-1}, args.value(4)});
  };
  OpDef& outer = t.define("aten.outer.default", "(Tensor self, Tensor vec2) -> Tensor");
  outer.infer = [](const Args& args) -> Value {
    require_rank(args.meta(0), 1, "self");
    require_rank(args.meta(1), 1, "vec2");
    return TensorMeta{{args.meta(0).sizes[0], args.meta(1).sizes[0]},
                      result_type({args.value(0), args.value(1)}),
                      args.meta(0).device};
  };
  outer.reference = [](const Args& args) -> Value {
    infer_output(args);
    return run("aten.mul.Tensor", {args.tensor(0).unsqueeze(1), args.tensor(1)});
  };
}

// Distances between all rows of x1 [.., P, M] and x2 [.., R, M]: [.., P, R].
void register_cdist(OpTable& t) {
  OpDef& op = t.define("aten.cdist.default",
                       "(Tensor x1, Tensor x2, float p=2.0, int? compute_mode=None) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    const TensorMeta &a = args.meta(0), &b = args.meta(1);
    if (rank(a) < 2 || rank(b) < 2 || !same_size(a.sizes.back(), b.sizes.back())) {
      throw ValueError(cat("cdist needs matrices with the same number of columns, got ",
                           text(a.sizes), " and ", text(b.sizes)));
    }
    SymShape out = broadcast(SymShape(a.sizes.begin(), a.sizes.end() - 2),
                             SymShape(b.sizes.begin(), b.sizes.end() - 2));
    out.push_back(a.sizes[a.sizes.size() - 2]);
    out.push_back(b.sizes[b.sizes.size() - 2]);
    return with_sizes(a, out);
  };
  op.reference = [](const Args& args) -> Value {
    infer_output(args);
    const Tensor difference =
        run("aten.sub.Tensor", {args.tensor(0).unsqueeze(-2), args.tensor(1).unsqueeze(-3)});
    return run("aten.linalg_vector_norm.default", {difference, args.value(2), Ints{-1}});
  };
}

// v * g / |v|, the norm over all dimensions but one (dim -1: over all).
void register_weight_norm(OpTable& t) {
  OpDef& op = t.define("aten._weight_norm.default", "(Tensor v, Tensor g, int dim=0) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    const Value scaled = infer_of("aten.mul.Tensor", {args.value(0), args.value(1)});
    if (hints(scaled.as<TensorMeta>().sizes) != hints(args.meta(0).sizes)) {
      throw ValueError(cat("g of shape ", text(args.meta(1).sizes), " does not fit v of shape ",
                           text(args.meta(0).sizes)));
    }
    return scaled;
  };
  op.reference = [](const Args& args) -> Value {
    infer_output(args);
    const Tensor& v = args.tensor(0);
    Ints dims;
    for (int64_t d = 0; d < v.dim(); ++d) {
      if (args.integer(2) == -1 || d != wrap_dim(args.integer(2), v.dim())) dims.push_back(d);
    }
    const Tensor norm = run("aten.linalg_vector_norm.default", {v, 2, dims, true});
    return run("aten.mul.Tensor", {v, run("aten.div.Tensor", {args.tensor(1), norm})});
  };
}

// --- differences ---------------------------------------------------------------------------------

// [prepend, self, append] joined along dim; `apply` is infer_of or call. Order 0 takes self alone.
template <class Apply>
Value joined(const Args& args, int64_t dim, const Apply& apply) {
  if (args.integer(1) == 0 || (args.is_none(3) && args.is_none(4))) return args.value(0);
  Value::List parts;
  for (const size_t i : {size_t{3}, size_t{0}, size_t{4}}) {
    if (!args.is_none(i)) parts.push_back(args.value(i));
  }
  return apply("aten.cat.default", {Value(std::move(parts)), Value(dim)});
}

TensorMeta infer_differences(const Args& args) {
  const int64_t n = args.integer(1), dims = rank(args.meta(0));
  if (dims < 1) throw ValueError("diff expects input to be at least one-dimensional");
  if (n < 0) throw ValueError(cat("order must be non-negative but got ", n));
  const int64_t dim = wrap_dim(args.integer(2), dims);
  TensorMeta out = joined(args, dim, infer_of).as<TensorMeta>();
  SymInt& size = out.sizes.at(static_cast<size_t>(dim));
  size = max(size - SymInt(n), SymInt(0));
  return out;
}

// The n-th difference along dim.
void register_differences(OpTable& t) {
  OpDef& op = t.define("aten.diff.default",
                       "(Tensor self, int n=1, int dim=-1, Tensor? prepend=None, Tensor? "
                       "append=None) -> Tensor");
  op.infer = [](const Args& args) -> Value { return infer_differences(args); };
  op.reference = [](const Args& args) -> Value {
    infer_output(args);
    const int64_t dim = wrap_dim(args.integer(2), args.tensor(0).dim());
    const auto apply = [](const std::string& name, std::vector<Value> a) {
      return call(name, std::move(a));
    };
    Tensor x = joined(args, dim, apply).as<Tensor>();
    if (args.integer(1) == 0) return x.clone();
    const char* minus = x.dtype() == DType::Bool ? "aten.logical_xor.default" : "aten.sub.Tensor";
    const int64_t times = std::min(args.integer(1), x.size(dim));
    for (int64_t i = 0; i < times; ++i) {
      x = run(minus, {run("aten.slice.Tensor", {x, dim, int64_t{1}, Value()}),
                      run("aten.slice.Tensor", {x, dim, int64_t{0}, int64_t{-1}})});
    }
    return x;
  };
}

}  // namespace

void register_statistics(OpTable& t) {
  register_differences(t);
  register_pairs(t);
  define_count(t, "count_nonzero.default", "(Tensor self, int? dim=None) -> Tensor");
  define_count(t, "count_nonzero.dim_IntList", "(Tensor self, int[] dim) -> Tensor");
  register_histogram(t);
  register_median(t);
  register_distances(t);
  register_cdist(t);
  register_weight_norm(t);
}

}  // namespace pt2q
