// Pointwise operations on three tensors: addcmul, addcdiv, lerp.
#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/pointwise.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

Value infer_ternary(const Args& args) {
  const TensorMeta& a = args.meta(0);
  const TensorMeta b = meta_of(args.value(1)), c = meta_of(args.value(2));
  return TensorMeta{broadcast(a.sizes, broadcast(b.sizes, c.sizes)),
                    result_type({args.value(0), args.value(1), args.value(2)}), a.device};
}

template <typename Fn>
Value ternary(const Args& args, Fn fn) {
  const TensorMeta meta = infer_output(args);
  return visit_compute(meta.dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    const Tensor a = operand<T>(args.value(0), meta.dtype);
    const Tensor b = operand<T>(args.value(1), meta.dtype);
    const Tensor c = operand<T>(args.value(2), meta.dtype);
    Tensor out = make_output(with_dtype(meta, DTypeOf<T>::value), a);
    map3<T, T, T>(a, b, c, out, fn);
    return out.to(meta.dtype);
  });
}

OpDef& define_ternary(OpTable& t, const std::string& base, const std::string& overload,
                      const std::string& schema, KernelFn kernel) {
  const std::string name = cat("aten.", base, ".", overload);
  OpDef& op = t.define(name, schema);
  op.infer = infer_ternary;
  op.reference = std::move(kernel);
  op.traits.pointwise = true;
  t.define_inplace(cat("aten.", base, "_.", overload), name);
  return op;
}

// As PyTorch: exact at both ends.
const auto interpolate = [](auto a, auto b, auto w) {
  using T = decltype(a);
  const T half = static_cast<T>(0.5);
  return (w < half && w > -half) ? a + w * (b - a) : b - (b - a) * (T(1) - w);
};

}  // namespace

void register_ternary(OpTable& t) {
  define_ternary(t, "addcmul", "default",
                 "(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor",
                 [](const Args& args) {
                   const double value = args.number(3);
                   return ternary(args, [value](auto a, auto b, auto c) {
                     return a + static_cast<decltype(a)>(value) * b * c;
                   });
                 });
  define_ternary(t, "addcdiv", "default",
                 "(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor",
                 [](const Args& args) {
                   if (!is_floating_point(infer_output(args).dtype)) {
                     throw TypeError("Integer division with addcdiv is no longer supported",
                                     "convert the operands to a floating-point dtype");
                   }
                   const double value = args.number(3);
                   return ternary(args, [value](auto a, auto b, auto c) {
                     return a + static_cast<decltype(a)>(value) * b / c;
                   });
                 });
  const KernelFn lerp = [](const Args& args) { return ternary(args, interpolate); };
  define_ternary(t, "lerp", "Scalar", "(Tensor self, Tensor end, Scalar weight) -> Tensor", lerp);
  define_ternary(t, "lerp", "Tensor", "(Tensor self, Tensor end, Tensor weight) -> Tensor", lerp);
}

}  // namespace pt2q
