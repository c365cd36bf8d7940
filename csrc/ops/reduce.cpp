// Sums, means, products, variances and norms over dimensions; cumulative sums.
#include <cmath>
#include <utility>

#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/reduction.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

constexpr int kNoArg = -1;

// Where a row keeps its arguments; kNoArg where it has none.
struct ReduceArgs {
  int dim = kNoArg;
  int keepdim = kNoArg;
  int dtype = kNoArg;
};

Ints reduced_dims(const Args& args, const ReduceArgs& where, int64_t ndim) {
  return where.dim == kNoArg ? wrap_dims({}, ndim) : dims_argument(args, idx(where.dim), ndim);
}

SymShape reduced_shape(const Args& args, const ReduceArgs& where) {
  const TensorMeta& x = args.meta(0);
  const bool keep = where.keepdim != kNoArg && args.boolean(idx(where.keepdim));
  return reduced(x.sizes, reduced_dims(args, where, rank(x)), keep);
}

// How the result's dtype follows from the input's.
enum class Dtype { Sum, Float, Same, Bool, Index };

DType result_dtype(const Args& args, const ReduceArgs& where, Dtype rule) {
  const DType in = args.meta(0).dtype;
  if (where.dtype != kNoArg && !args.is_none(idx(where.dtype))) {
    return args.dtype(idx(where.dtype), in);
  }
  switch (rule) {
    case Dtype::Sum:
      return is_floating_point(in) ? in : DType::Int64;
    case Dtype::Bool:
      return in == DType::UInt8 ? DType::UInt8 : DType::Bool;
    case Dtype::Index:
      return DType::Int64;
    case Dtype::Float:
      if (!is_floating_point(in)) {
        throw TypeError(
            cat("could not infer output dtype. Input dtype must be a floating point "
                "dtype. Got: ",
                dtype_name(in)));
      }
      return in;
    default:
      return in;
  }
}

InferFn infer_reduce(ReduceArgs where, Dtype rule) {
  return [=](const Args& args) -> Value {
    return TensorMeta{reduced_shape(args, where), result_dtype(args, where, rule),
                      args.meta(0).device};
  };
}

// out = fn(row, length) in the compute type of the result.
template <typename Fn>
KernelFn reduce_kernel(ReduceArgs where, Fn fn) {
  return [=](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    const Tensor& x = args.tensor(0);
    const Ints dims = reduced_dims(args, where, x.dim());
    return visit_compute(meta.dtype, [&](auto tag) -> Value {
      using T = decltype(tag);
      Tensor out = make_output(with_dtype(meta, DTypeOf<T>::value));
      reduce_rows<T, T>(make_rows<T>(x, dims), out, fn);
      return out.to(meta.dtype);
    });
  };
}

template <typename T>
T sum_of(const T* x, int64_t n) {
  if constexpr (std::is_integral_v<T>) {
    T sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += x[i];
    return sum;
  } else {
    constexpr int64_t kLanes = 8;
    double sums[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      for (int64_t l = 0; l < kLanes; ++l) sums[l] += static_cast<double>(x[i + l]);
    }
    for (; i < n; ++i) sums[0] += static_cast<double>(x[i]);
    double total = 0;
    for (const double s : sums) total += s;
    return static_cast<T>(total);
  }
}

void define_reduction(OpTable& t, const std::string& name, const std::string& schema, InferFn infer,
                      KernelFn kernel, QuantFacts quant = {}) {
  OpDef& op = t.define("aten." + name, schema);
  op.infer = std::move(infer);
  op.reference = std::move(kernel);
  op.quant = std::move(quant);
}

void register_sums(OpTable& t) {
  const auto sum = [](const auto* x, int64_t n) { return sum_of(x, n); };
  const auto mean = [](const auto* x, int64_t n) {
    using T = std::decay_t<decltype(*x)>;
    return static_cast<T>(static_cast<double>(sum_of(x, n)) / static_cast<double>(n));
  };
  const auto product = [](const auto* x, int64_t n) {
    std::decay_t<decltype(*x)> out = 1;
    for (int64_t i = 0; i < n; ++i) out *= x[i];
    return out;
  };
  const char* all = "(Tensor self, *, ScalarType? dtype=None) -> Tensor";
  const char* dims =
      "(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor";
  const ReduceArgs whole{kNoArg, kNoArg, 1}, some{1, 2, 3};
  define_reduction(t, "sum.default", all, infer_reduce(whole, Dtype::Sum),
                   reduce_kernel(whole, sum));
  define_reduction(t, "sum.dim_IntList", dims, infer_reduce(some, Dtype::Sum),
                   reduce_kernel(some, sum));
  define_reduction(t, "mean.default", all, infer_reduce(whole, Dtype::Float),
                   reduce_kernel(whole, mean), shares_input());
  define_reduction(t, "mean.dim", dims, infer_reduce(some, Dtype::Float), reduce_kernel(some, mean),
                   shares_input());
  define_reduction(t, "prod.default", all, infer_reduce(whole, Dtype::Sum),
                   reduce_kernel(whole, product));
  define_reduction(
      t, "prod.dim_int",
      "(Tensor self, int dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
      infer_reduce(some, Dtype::Sum), reduce_kernel(some, product));
}

// --- truth ---------------------------------------------------------------------------------------

KernelFn truth_kernel(ReduceArgs where, bool all) {
  return [=](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    const Tensor& x = args.tensor(0);
    Tensor out = make_output(with_dtype(meta, DType::Bool));
    reduce_rows<bool, bool>(make_rows<bool>(x, reduced_dims(args, where, x.dim())), out,
                            [all](const bool* row, int64_t n) {
                              for (int64_t i = 0; i < n; ++i) {
                                if (row[i] != all) return !all;
                              }
                              return all;
                            });
    return out.to(meta.dtype);
  };
}

void register_truth(OpTable& t) {
  const ReduceArgs whole{}, some{1, 2, kNoArg};
  for (const bool all : {true, false}) {
    const std::string name = all ? "all" : "any";
    define_reduction(t, name + ".default", "(Tensor self) -> Tensor",
                     infer_reduce(whole, Dtype::Bool), truth_kernel(whole, all));
    define_reduction(t, name + ".dim", "(Tensor self, int dim, bool keepdim=False) -> Tensor",
                     infer_reduce(some, Dtype::Bool), truth_kernel(some, all));
    define_reduction(t, name + ".dims",
                     "(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor",
                     infer_reduce(some, Dtype::Bool), truth_kernel(some, all));
  }
}

// --- variance ------------------------------------------------------------------------------------

struct Variance {
  ReduceArgs where;
  int unbiased = kNoArg;    // bool argument
  int correction = kNoArg;  // Scalar? argument, None: 1
};

double correction_of(const Args& args, const Variance& v) {
  if (v.unbiased != kNoArg) return args.boolean(idx(v.unbiased)) ? 1 : 0;
  return args.is_none(idx(v.correction)) ? 1 : args.number(idx(v.correction));
}

template <typename T>
T variance_of(const T* x, int64_t n, double correction) {
  const auto count = static_cast<double>(n);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]);
  const double mean = sum / count;
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double d = static_cast<double>(x[i]) - mean;
    squares += d * d;
  }
  return static_cast<T>(squares / std::max(0.0, count - correction));
}

KernelFn variance_kernel(Variance v, bool root) {
  return [=](const Args& args) -> Value {
    const double correction = correction_of(args, v);
    return reduce_kernel(v.where, [=](const auto* x, int64_t n) {
      using T = std::decay_t<decltype(*x)>;
      const T var = variance_of(x, n, correction);
      return root ? static_cast<T>(std::sqrt(var)) : var;
    })(args);
  };
}

void register_variance(OpTable& t) {
  for (const bool root : {false, true}) {
    const std::string name = root ? "std" : "var";
    const Variance whole{{}, 1, kNoArg}, dim{{1, 3, kNoArg}, 2, kNoArg},
        corrected{{1, 3, kNoArg}, kNoArg, 2};
    define_reduction(t, name + ".default", "(Tensor self, bool unbiased=True) -> Tensor",
                     infer_reduce(whole.where, Dtype::Float), variance_kernel(whole, root));
    define_reduction(t, name + ".dim",
                     "(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> Tensor",
                     infer_reduce(dim.where, Dtype::Float), variance_kernel(dim, root));
    define_reduction(t, name + ".correction",
                     "(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool "
                     "keepdim=False) -> Tensor",
                     infer_reduce(corrected.where, Dtype::Float), variance_kernel(corrected, root));
  }
}

// --- norms ---------------------------------------------------------------------------------------

template <typename T>
T norm_of(const T* x, int64_t n, double order) {
  double total = 0;
  if (std::isinf(order)) {
    total = order > 0 ? 0 : std::numeric_limits<double>::infinity();
    for (int64_t i = 0; i < n; ++i) {
      const double v = std::abs(static_cast<double>(x[i]));
      if (v != v) return static_cast<T>(v);
      total = order > 0 ? std::max(total, v) : std::min(total, v);
    }
    return static_cast<T>(total);
  }
  for (int64_t i = 0; i < n; ++i) {
    const double v = std::abs(static_cast<double>(x[i]));
    total += order == 2   ? v * v
             : order == 1 ? v
             : order == 0 ? (v != 0 ? 1.0 : 0.0)
                          : std::pow(v, order);
  }
  if (order == 0 || order == 1) return static_cast<T>(total);
  return static_cast<T>(order == 2 ? std::sqrt(total) : std::pow(total, 1 / order));
}

KernelFn norm_kernel(ReduceArgs where) {
  return [=](const Args& args) -> Value {
    const double order = args.is_none(1) ? 2 : args.number(1);
    return reduce_kernel(where,
                         [=](const auto* x, int64_t n) { return norm_of(x, n, order); })(args);
  };
}

void register_norms(OpTable& t) {
  const ReduceArgs full{2, 3, 4}, whole{}, dims{2, 3, kNoArg};
  define_reduction(
      t, "linalg_vector_norm.default",
      "(Tensor self, Scalar ord=2, int[1]? dim=None, bool keepdim=False, *, ScalarType? "
      "dtype=None) -> Tensor",
      infer_reduce(full, Dtype::Float), norm_kernel(full));
  define_reduction(t, "norm.Scalar", "(Tensor self, Scalar p=2) -> Tensor",
                   infer_reduce(whole, Dtype::Float), norm_kernel(whole));
  define_reduction(t, "norm.ScalarOpt_dim",
                   "(Tensor self, Scalar? p, int[1] dim, bool keepdim=False) -> Tensor",
                   infer_reduce(dims, Dtype::Float), norm_kernel(dims));
  const ReduceArgs some{1, 2, kNoArg};
  define_reduction(
      t, "logsumexp.default", "(Tensor self, int[1] dim, bool keepdim=False) -> Tensor",
      [=](const Args& args) -> Value {
        return TensorMeta{reduced_shape(args, some), to_float(args.meta(0).dtype),
                          args.meta(0).device};
      },
      reduce_kernel(some, [](const auto* x, int64_t n) {
        using T = std::decay_t<decltype(*x)>;
        double top = -std::numeric_limits<double>::infinity();
        for (int64_t i = 0; i < n; ++i) top = std::max(top, static_cast<double>(x[i]));
        if (std::isinf(top)) return static_cast<T>(top);
        double sum = 0;
        for (int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(x[i]) - top);
        return static_cast<T>(top + std::log(sum));
      }));
}

// --- cumulative ----------------------------------------------------------------------------------

void define_cumulative(OpTable& t, const std::string& name, bool product) {
  OpDef& op = t.define("aten." + name + ".default",
                       "(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    wrap_dim(args.integer(1), rank(args.meta(0)));
    return with_dtype(args.meta(0), result_dtype(args, {kNoArg, kNoArg, 2}, Dtype::Sum));
  };
  op.reference = [product](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    return visit_compute(meta.dtype, [&](auto tag) -> Value {
      using T = decltype(tag);
      using Sum = std::conditional_t<std::is_integral_v<T>, int64_t, double>;
      const Tensor x = dense<T>(args.tensor(0));
      Tensor out = make_output(with_dtype(meta, DTypeOf<T>::value));
      for_each_line<T>(x, out, wrap_dim(args.integer(1), x.dim()),
                       [product](const T* in, T* y, int64_t n, int64_t step) {
                         Sum total = product ? 1 : 0;
                         for (int64_t i = 0; i < n; ++i) {
                           const auto v = static_cast<Sum>(in[i * step]);
                           total = product ? total * v : total + v;
                           y[i * step] = static_cast<T>(total);
                         }
                       });
      return out.to(meta.dtype);
    });
  };
  t.define_inplace("aten." + name + "_.default", "aten." + name + ".default");
}

}  // namespace

void register_reduce(OpTable& t) {
  register_sums(t);
  register_truth(t);
  register_variance(t);
  register_norms(t);
  define_cumulative(t, "cumsum", false);
  define_cumulative(t, "cumprod", true);
}

}  // namespace pt2q
