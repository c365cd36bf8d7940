// Matrix products: linear, matmul with broadcasting, mm, bmm, addmm ...
#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/gemm.h"
#include "ops/support/pointwise.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

void require_same_dtype(const TensorMeta& a, const TensorMeta& b) {
  if (a.dtype == b.dtype) return;
  throw TypeError(cat("expected both operands to have the same dtype, but got ",
                      dtype_name(a.dtype), " and ", dtype_name(b.dtype)));
}

// y[..., n] = x[..., k] * weight[n, k]^T + bias[n]
Value infer_linear(const Args& args) {
  const TensorMeta& x = args.meta(0);
  const TensorMeta& w = args.meta(1);
  if (rank(w) != 2 && rank(w) != 1) require_rank(w, 2, "weight");
  require_same_dtype(x, w);
  if (rank(x) < 1 || !same_size(x.sizes.back(), w.sizes.back())) {
    throw ValueError(cat("mat1 and mat2 shapes cannot be multiplied (input ", text(x.sizes),
                         " and weight ", text(w.sizes), ")"));
  }
  SymShape out(x.sizes.begin(), x.sizes.end() - 1);
  if (rank(w) == 2) out.push_back(w.sizes[0]);
  if (!args.is_none(2)) out = broadcast(out, args.meta(2).sizes);
  return with_sizes(x, out);
}

Value linear(const Args& args) {
  const TensorMeta meta = infer_output(args);
  return visit_compute(meta.dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    const Tensor x = dense<T>(args.tensor(0));
    const Tensor w = dense<T>(args.tensor(1));
    const int64_t k = w.size(-1), n = w.dim() == 2 ? w.size(0) : 1;
    const Tensor bias = args.is_none(2) ? Tensor() : dense<T>(args.tensor(2).expand({n}));
    Tensor y = make_output(with_dtype(meta, DTypeOf<T>::value));
    if (y.numel() > 0) {
      gemm_transposed(y.numel() / n, n, k, x.data<T>(), w.data<T>(),
                      bias.defined() ? bias.data<T>() : nullptr, y.mutable_data<T>());
    }
    return y.to(meta.dtype);
  });
}

// Batches broadcast; a 1-D operand is a row (left) or a column (right) that is dropped again.
SymShape product_shape(const SymShape& a, const SymShape& b) {
  if (a.empty() || b.empty()) {
    throw ValueError(cat("both arguments to matmul need to be at least 1D, but they are ", a.size(),
                         "D and ", b.size(), "D"));
  }
  const SymInt& inner = b.size() == 1 ? b[0] : b[b.size() - 2];
  if (!same_size(a.back(), inner)) {
    throw ValueError(
        cat("mat1 and mat2 shapes cannot be multiplied (", text(a), " and ", text(b), ")"));
  }
  const auto batch = [](const SymShape& s) {
    return SymShape(s.begin(), s.size() > 2 ? s.end() - 2 : s.begin());
  };
  SymShape out = broadcast(batch(a), batch(b));
  if (a.size() > 1) out.push_back(a[a.size() - 2]);
  if (b.size() > 1) out.push_back(b.back());
  return out;
}

// a @ b in compute type T, as a dense tensor of `sizes`.
template <typename T>
Tensor product(const Tensor& left, const Tensor& right, const Shape& sizes) {
  const Tensor a2 = left.dim() == 1 ? left.unsqueeze(0) : left;
  const Tensor b2 = right.dim() == 1 ? right.unsqueeze(1) : right;
  const int64_t m = a2.size(-2), k = a2.size(-1), n = b2.size(-1);
  const Shape a_batch(a2.sizes().begin(), a2.sizes().end() - 2);
  const Shape b_batch(b2.sizes().begin(), b2.sizes().end() - 2);
  const Shape batch = broadcast_shapes(a_batch, b_batch);
  const auto expand_to = [&](const Tensor& t, int64_t rows, int64_t columns) {
    Shape full = batch;
    full.push_back(rows);
    full.push_back(columns);
    return dense<T>(t).expand(full);
  };
  const Tensor a = expand_to(a2, m, k);
  const Tensor b = expand_to(b2, k, n);
  Tensor out = Tensor::zeros(sizes, DTypeOf<T>::value);
  if (out.numel() == 0 || k == 0) return out;
  const auto strides_of = [](const Tensor& t) {
    return Shape(t.strides().begin(), t.strides().end() - 2);
  };
  int64_t i = 0;
  for (StridedIterator<2> it(batch, {strides_of(a), strides_of(b)}); !it.done(); it.next(), ++i) {
    gemm(m, n, k, a.data<T>() + it.offset(0), k, b.data<T>() + it.offset(1), n,
         out.mutable_data<T>() + i * m * n, n);
  }
  return out;
}

Value infer_matmul(const Args& args) {
  const TensorMeta& a = args.meta(0);
  const TensorMeta& b = args.meta(1);
  require_same_dtype(a, b);
  return with_sizes(a, product_shape(a.sizes, b.sizes));
}

Value matmul(const Args& args) {
  const TensorMeta meta = infer_output(args);
  return visit_compute(meta.dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    return product<T>(args.tensor(0), args.tensor(1), hints(meta.sizes)).to(meta.dtype);
  });
}

// Ranks are fixed for mm, bmm, mv and dot.
InferFn infer_ranked(int64_t left, int64_t right) {
  return [left, right](const Args& args) {
    require_rank(args.meta(0), left, args.op().schema.args[0].name.c_str());
    require_rank(args.meta(1), right, args.op().schema.args[1].name.c_str());
    if (left == 3 && !same_size(args.meta(0).sizes[0], args.meta(1).sizes[0])) {
      throw ValueError(
          cat("batch sizes differ: ", text(args.meta(0).sizes), " and ", text(args.meta(1).sizes)));
    }
    return infer_matmul(args);
  };
}

// beta * self + alpha * (a @ b), self broadcast to the product's shape.
Value infer_added(const Args& args) {
  const TensorMeta& self = args.meta(0);
  const TensorMeta& a = args.meta(1);
  const TensorMeta& b = args.meta(2);
  require_same_dtype(a, b);
  require_same_dtype(self, a);
  SymShape out = product_shape(a.sizes, b.sizes);
  const SymShape both = broadcast(self.sizes, out);
  if (hints(both) != hints(out)) {
    throw ValueError(cat("self of shape ", text(self.sizes), " cannot be expanded to ", text(out)));
  }
  return with_sizes(self, out);
}

Value added(const Args& args) {
  const TensorMeta meta = infer_output(args);
  const double beta = args.number(3), alpha = args.number(4);
  return visit_compute(meta.dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    Tensor out = product<T>(args.tensor(1), args.tensor(2), hints(meta.sizes));
    const Tensor self = args.tensor(0).to(DTypeOf<T>::value);
    map2<T, T>(out, self, out, [=](T p, T s) {
      // beta 0 ignores NaN in self, as BLAS does.
      return static_cast<T>(alpha) * p + (beta == 0 ? T(0) : static_cast<T>(beta) * s);
    });
    return out.to(meta.dtype);
  });
}

void define_product(OpTable& t, const std::string& name, const std::string& schema, InferFn infer,
                    std::vector<int> activations = {0, 1}) {
  OpDef& op = t.define("aten." + name + ".default", schema);
  op.infer = std::move(infer);
  op.reference =
      activations.size() == 2 && activations[0] == 1 ? KernelFn(added) : KernelFn(matmul);
  op.quant = own(std::move(activations));
}

}  // namespace

void register_linear_matmul(OpTable& t) {
  OpDef& op =
      t.define("aten.linear.default", "(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor");
  op.infer = infer_linear;
  op.reference = linear;
  op.quant = own({0}, 1, 2);
  define_product(t, "matmul", "(Tensor self, Tensor other) -> Tensor", infer_matmul);
  define_product(t, "mm", "(Tensor self, Tensor mat2) -> Tensor", infer_ranked(2, 2));
  define_product(t, "bmm", "(Tensor self, Tensor mat2) -> Tensor", infer_ranked(3, 3));
  define_product(t, "mv", "(Tensor self, Tensor vec) -> Tensor", infer_ranked(2, 1));
  define_product(t, "dot", "(Tensor self, Tensor tensor) -> Tensor", infer_ranked(1, 1));
  define_product(t, "addmm",
                 "(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> "
                 "Tensor",
                 infer_added, {1, 2});
  define_product(t, "baddbmm",
                 "(Tensor self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) "
                 "-> Tensor",
                 infer_added, {1, 2});
  define_product(t, "addmv",
                 "(Tensor self, Tensor mat, Tensor vec, *, Scalar beta=1, Scalar alpha=1) -> "
                 "Tensor",
                 infer_added, {1, 2});
  for (const char* name : {"addmm", "baddbmm", "addmv"}) {
    t.define_inplace(cat("aten.", name, "_.default"), cat("aten.", name, ".default"));
  }
}

}  // namespace pt2q
