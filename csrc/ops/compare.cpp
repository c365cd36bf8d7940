// Comparisons, logic, bitwise operations and where.
#include <cmath>
#include <type_traits>
#include <utility>

#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/pointwise.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

DType common_type(const Args& args) { return result_type({args.value(0), args.value(1)}); }

template <typename Fn>
void define_comparison(OpTable& t, const std::string& name, Fn fn) {
  for (const bool tensor : {true, false}) {
    const std::string full = cat("aten.", name, tensor ? ".Tensor" : ".Scalar");
    OpDef& op =
        t.define(full, cat("(Tensor self, ", tensor ? "Tensor" : "Scalar", " other) -> Tensor"));
    op.infer = infer_binary_bool;
    op.reference = [fn](const Args& args) {
      return binary_bool(args, args.value(0), args.value(1), common_type(args), fn);
    };
    op.traits.pointwise = true;
    t.define_inplace(cat("aten.", name, tensor ? "_.Tensor" : "_.Scalar"), full);
  }
}

void register_comparisons(OpTable& t) {
  define_comparison(t, "eq", [](auto a, auto b) { return a == b; });
  define_comparison(t, "ne", [](auto a, auto b) { return a != b; });
  define_comparison(t, "lt", [](auto a, auto b) { return a < b; });
  define_comparison(t, "le", [](auto a, auto b) { return a <= b; });
  define_comparison(t, "gt", [](auto a, auto b) { return a > b; });
  define_comparison(t, "ge", [](auto a, auto b) { return a >= b; });
}

// --- logic on truth values -----------------------------------------------------------------------

Value infer_bool(const Args& args) { return with_dtype(args.meta(0), DType::Bool); }

template <typename Fn>
void define_logical(OpTable& t, const std::string& name, Fn fn) {
  OpDef& op = t.define("aten." + name + ".default", "(Tensor self, Tensor other) -> Tensor");
  op.infer = infer_binary_bool;
  op.reference = [fn](const Args& args) {
    return binary_bool(args, args.value(0), args.value(1), common_type(args),
                       [fn](auto a, auto b) { return fn(a != 0, b != 0); });
  };
  op.traits.pointwise = true;
}

template <typename Fn>
void define_test(OpTable& t, const std::string& name, Fn fn) {
  OpDef& op = t.define("aten." + name + ".default", "(Tensor self) -> Tensor");
  op.infer = infer_bool;
  op.reference = [fn](const Args& args) -> Value {
    const Tensor& x = args.tensor(0);
    return visit_compute(x.dtype(), [&](auto tag) -> Value {
      using T = decltype(tag);
      const Tensor in = x.to(DTypeOf<T>::value);
      Tensor out = ops::empty_like(in, DType::Bool);
      map1<T, bool>(in, out, fn);
      return out;
    });
  };
  op.traits.pointwise = true;
}

void register_logic(OpTable& t) {
  define_logical(t, "logical_and", [](bool a, bool b) { return a && b; });
  define_logical(t, "logical_or", [](bool a, bool b) { return a || b; });
  define_logical(t, "logical_xor", [](bool a, bool b) { return a != b; });
  define_test(t, "logical_not", [](auto x) { return x == 0; });
  define_test(t, "isnan", [](auto x) { return x != x; });
  define_test(t, "isinf", [](auto x) { return std::isinf(static_cast<double>(x)); });
  define_test(t, "isfinite", [](auto x) { return std::isfinite(static_cast<double>(x)); });
}

// --- bits ----------------------------------------------------------------------------------------

Value infer_bits(const Args& args) {
  const TensorMeta meta = infer_binary(args);
  if (is_integral(meta.dtype)) return meta;
  throw TypeError(cat("bitwise operation is not implemented for ", dtype_name(meta.dtype)));
}

template <typename Fn>
KernelFn bits_kernel(Fn fn) {
  return [fn](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    const Tensor a = as_tensor(args.value(0), DType::Int64);
    const Tensor b = as_tensor(args.value(1), DType::Int64);
    Tensor out = make_output(with_dtype(meta, DType::Int64));
    map2<int64_t, int64_t>(a, b, out, fn);
    return out.to(meta.dtype);
  };
}

template <typename Fn>
void define_bits(OpTable& t, const std::string& name, const std::string& dunder, Fn fn) {
  for (const bool tensor : {true, false}) {
    const std::string overload = tensor ? ".Tensor" : ".Scalar";
    for (const std::string& base : {name, dunder}) {
      OpDef& op =
          t.define("aten." + base + overload,
                   cat("(Tensor self, ", tensor ? "Tensor" : "Scalar", " other) -> Tensor"));
      op.infer = infer_bits;
      op.reference = bits_kernel(fn);
      op.traits.pointwise = true;
    }
    t.define_inplace("aten." + name + "_" + overload, "aten." + name + overload);
  }
}

template <typename Fn>
void define_shift(OpTable& t, const std::string& name, const std::string& dunder, Fn fn) {
  const char* const rows[][2] = {{".Tensor", "Tensor"}, {".Tensor_Scalar", "Scalar"}};
  for (const auto& row : rows) {
    OpDef& op =
        t.define("aten." + name + row[0], cat("(Tensor self, ", row[1], " other) -> Tensor"));
    op.infer = infer_bits;
    op.reference = bits_kernel(fn);
    op.traits.pointwise = true;
  }
  t.define_alias("aten." + dunder + ".Scalar", "aten." + name + ".Tensor_Scalar");
  t.define_alias("aten." + dunder + ".Tensor", "aten." + name + ".Tensor");
}

void register_bits(OpTable& t) {
  define_bits(t, "bitwise_and", "__and__", [](int64_t a, int64_t b) { return a & b; });
  define_bits(t, "bitwise_or", "__or__", [](int64_t a, int64_t b) { return a | b; });
  define_bits(t, "bitwise_xor", "__xor__", [](int64_t a, int64_t b) { return a ^ b; });
  define_shift(t, "bitwise_left_shift", "__lshift__", [](int64_t a, int64_t b) {
    return b < 0 || b > 63 ? 0 : static_cast<int64_t>(static_cast<uint64_t>(a) << b);
  });
  define_shift(t, "bitwise_right_shift", "__rshift__",
               [](int64_t a, int64_t b) { return a >> (b < 0 || b > 63 ? 63 : b); });
  OpDef& inverse = t.define("aten.bitwise_not.default", "(Tensor self) -> Tensor");
  inverse.infer = [](const Args& args) -> Value {
    if (is_integral(args.meta(0).dtype)) return args.meta(0);
    throw TypeError(cat("bitwise_not is not implemented for ", dtype_name(args.meta(0).dtype)));
  };
  inverse.reference = [](const Args& args) {
    const bool truth = args.tensor(0).dtype() == DType::Bool;
    return unary_same(args, [truth](auto x) {
      if constexpr (std::is_integral_v<decltype(x)>) {
        return truth ? static_cast<int64_t>(x == 0) : ~x;
      } else {
        return x;
      }
    });
  };
  inverse.traits.pointwise = true;
  t.define_inplace("aten.bitwise_not_.default", "aten.bitwise_not.default");
}

// --- where ---------------------------------------------------------------------------------------

Value infer_where(const Args& args) {
  const TensorMeta a = meta_of(args.value(1)), b = meta_of(args.value(2));
  return TensorMeta{broadcast(args.meta(0).sizes, broadcast(a.sizes, b.sizes)),
                    result_type({args.value(1), args.value(2)}), args.meta(0).device};
}

Value where(const Args& args) {
  const TensorMeta meta = infer_output(args);
  return visit_compute(meta.dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    const Tensor a = as_tensor(args.value(1), meta.dtype).to(DTypeOf<T>::value);
    const Tensor b = as_tensor(args.value(2), meta.dtype).to(DTypeOf<T>::value);
    Tensor out =
        make_output(with_dtype(meta, DTypeOf<T>::value), layout_source({a, b}, hints(meta.sizes)));
    map3<bool, T, T>(args.tensor(0).to(DType::Bool), a, b, out,
                     [](bool c, T x, T y) { return c ? x : y; });
    return out.to(meta.dtype);
  });
}

void register_where(OpTable& t) {
  const char* const rows[][2] = {
      {"aten.where.self", "(Tensor condition, Tensor self, Tensor other) -> Tensor"},
      {"aten.where.ScalarOther", "(Tensor condition, Tensor self, Scalar other) -> Tensor"},
      {"aten.where.ScalarSelf", "(Tensor condition, Scalar self, Tensor other) -> Tensor"},
      {"aten.where.Scalar", "(Tensor condition, Scalar self, Scalar other) -> Tensor"}};
  for (const auto& row : rows) {
    OpDef& op = t.define(row[0], row[1]);
    op.infer = infer_where;
    op.reference = where;
    op.traits.pointwise = true;
  }
}

}  // namespace

void register_compare(OpTable& t) {
  register_comparisons(t);
  register_logic(t);
  register_bits(t);
  register_where(t);
}

}  // namespace pt2q
