// softmax, log_softmax, and the safe softmax of decomposed attention (a row of -inf gives zeros).
#include <cmath>
#include <limits>

#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/reduction.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

template <typename T>
void softmax_line(const T* x, T* y, int64_t n, int64_t step, bool log, bool safe) {
  T top = x[0];
  for (int64_t i = 1; i < n; ++i) top = std::max(top, x[i * step]);
  if (safe && top == -std::numeric_limits<T>::infinity()) {
    for (int64_t i = 0; i < n; ++i) y[i * step] = 0;
    return;
  }
  T sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const T e = std::exp(x[i * step] - top);
    y[i * step] = e;
    sum += e;
  }
  if (log) {
    const T shift = top + std::log(sum);
    for (int64_t i = 0; i < n; ++i) y[i * step] = x[i * step] - shift;
  } else {
    for (int64_t i = 0; i < n; ++i) y[i * step] /= sum;
  }
}

Value softmax(const Args& args, bool log, bool safe) {
  const TensorMeta meta = infer_output(args);
  return visit_float(meta.dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    const Tensor x = dense<T>(args.tensor(0));
    Tensor y = make_output(with_dtype(meta, DTypeOf<T>::value));
    for_each_line<T>(x, y, wrap_dim(args.integer(1), x.dim()),
                     [log, safe](const T* in, T* out, int64_t n, int64_t step) {
                       softmax_line(in, out, n, step, log, safe);
                     });
    return y.to(meta.dtype);
  });
}

Value infer_softmax(const Args& args) {
  TensorMeta meta = args.meta(0);
  wrap_dim(args.integer(1), rank(meta));
  if (args.value(2).is<bool>()) {  // core ATen form: half_to_float
    if (args.boolean(2)) meta.dtype = DType::Float32;
  } else {
    meta.dtype = args.dtype(2, meta.dtype);
  }
  if (!is_floating_point(meta.dtype)) {
    throw TypeError(cat("softmax is not implemented for ", dtype_name(meta.dtype)),
                    "pass dtype=float32 or convert the input");
  }
  return meta;
}

void define_softmax(OpTable& t, const std::string& name, const char* last, bool log,
                    bool safe = false) {
  OpDef& op = t.define("aten." + name, cat("(Tensor self, int dim, ", last, ") -> Tensor"));
  op.infer = infer_softmax;
  op.reference = [log, safe](const Args& args) { return softmax(args, log, safe); };
  if (!log) op.quant = fixed(1.0 / 256, 0);
}

}  // namespace

void register_softmax(OpTable& t) {
  define_softmax(t, "softmax.int", "ScalarType? dtype=None", false);
  define_softmax(t, "log_softmax.int", "ScalarType? dtype=None", true);
  // Differs from softmax only in rows that are -inf throughout.
  define_softmax(t, "_safe_softmax.default", "ScalarType? dtype=None", false, true);
  define_softmax(t, "_softmax.default", "bool half_to_float", false);
  define_softmax(t, "_log_softmax.default", "bool half_to_float", true);
}

}  // namespace pt2q
