// New tensors: zeros, ones, full, arange, *_like, new_*, random numbers, triangles.
#include <cmath>
#include <utility>

#include "base/strings.h"
#include "ops/support/operands.h"
#include "pt2q/error.h"
#include "tensor/random.h"

namespace pt2q {
namespace {

using namespace ops;

// Every creation operator ends in "ScalarType? dtype, Layout? layout, Device? device, ...".
constexpr const char* kFactory =
    "*, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None";

Device device_argument(const Args& args, const Device& fallback) {
  const auto i = idx(args.op().schema.index_of("device"));
  return args.is_none(i) ? fallback : args.value(i).as<Device>();
}

DType dtype_argument(const Args& args, DType fallback) {
  return args.dtype(idx(args.op().schema.index_of("dtype")), fallback);
}

DType number_dtype(const Value& v) {
  return v.is<bool>() ? DType::Bool : v.is<double>() ? DType::Float32 : DType::Int64;
}

Tensor filled(const TensorMeta& meta, const Value& value) {
  Tensor out = make_output(meta);
  out.copy_(as_tensor(value, meta.dtype));
  return out;
}

void check_sizes(const SymShape& sizes) {
  for (const SymInt& s : sizes) {
    if (s.hint() < 0) {
      throw ValueError(
          cat("Trying to create tensor with negative dimension ", s, ": ", text(sizes)));
    }
  }
}

// What a created tensor holds: a number from the arguments or by the operator itself.
using FillFn = std::function<Tensor(const Args& args, const TensorMeta& meta)>;

OpDef& define_factory(OpTable& t, const std::string& name, const std::string& schema, InferFn infer,
                      FillFn fill) {
  OpDef& op = t.define("aten." + name, schema);
  op.infer = std::move(infer);
  op.reference = [fill](const Args& args) -> Value { return fill(args, infer_output(args)); };
  return op;
}

// Sizes in argument 0.
Value infer_sized(const Args& args) {
  const SymShape sizes = args.sym_ints(0);
  check_sizes(sizes);
  return TensorMeta{sizes, dtype_argument(args, DType::Float32), device_argument(args, {})};
}

// Like argument 0.
Value infer_like(const Args& args) {
  const TensorMeta& x = args.meta(0);
  return TensorMeta{x.sizes, dtype_argument(args, x.dtype), device_argument(args, x.device)};
}

// new_*: sizes in argument 1, dtype and device of argument 0.
Value infer_new(const Args& args) {
  const TensorMeta& x = args.meta(0);
  const SymShape sizes = args.sym_ints(1);
  check_sizes(sizes);
  return TensorMeta{sizes, dtype_argument(args, x.dtype), device_argument(args, x.device)};
}

void register_constants(OpTable& t) {
  const FillFn zero = [](const Args&, const TensorMeta& meta) { return filled(meta, 0); };
  const FillFn one = [](const Args&, const TensorMeta& meta) { return filled(meta, 1); };
  const FillFn given = [](const Args& args, const TensorMeta& meta) {
    return filled(meta, args.value(1));
  };
  const std::string sized = cat("(SymInt[] size, ", kFactory);
  const std::string like =
      cat("(Tensor self, ", kFactory, ", MemoryFormat? memory_format=None) -> Tensor");
  const std::string fresh = cat("(Tensor self, SymInt[] size, ", kFactory, ") -> Tensor");
  const std::string format = ", MemoryFormat? memory_format=None) -> Tensor";
  define_factory(t, "zeros.default", sized + ") -> Tensor", infer_sized, zero);
  define_factory(t, "ones.default", sized + ") -> Tensor", infer_sized, one);
  // Zeroed rather than uninitialised, so that a graph's results are always the same.
  define_factory(t, "empty.memory_format", sized + format, infer_sized, zero);
  define_factory(t, "empty_permuted.default",
                 cat("(SymInt[] size, int[] physical_layout, ", kFactory, ") -> Tensor"),
                 infer_sized, zero);
  define_factory(t, "zeros_like.default", like, infer_like, zero);
  define_factory(t, "ones_like.default", like, infer_like, one);
  define_factory(t, "empty_like.default", like, infer_like, zero);
  define_factory(t, "new_zeros.default", fresh, infer_new, zero);
  define_factory(t, "new_ones.default", fresh, infer_new, one);
  define_factory(t, "new_empty.default", fresh, infer_new, zero);
  define_factory(
      t, "full.default", cat("(SymInt[] size, Scalar fill_value, ", kFactory, ") -> Tensor"),
      [](const Args& args) -> Value {
        check_sizes(args.sym_ints(0));
        return TensorMeta{args.sym_ints(0), dtype_argument(args, number_dtype(args.value(1))),
                          device_argument(args, {})};
      },
      given);
  define_factory(t, "full_like.default", cat("(Tensor self, Scalar fill_value, ", kFactory, format),
                 infer_like, given);
  define_factory(
      t, "new_full.default",
      cat("(Tensor self, SymInt[] size, Scalar fill_value, ", kFactory, ") -> Tensor"), infer_new,
      [](const Args& args, const TensorMeta& meta) { return filled(meta, args.value(2)); });
  define_factory(
      t, "scalar_tensor.default", cat("(Scalar s, ", kFactory, ") -> Tensor"),
      [](const Args& args) -> Value {
        return TensorMeta{{}, dtype_argument(args, DType::Float32), device_argument(args, {})};
      },
      [](const Args& args, const TensorMeta& meta) { return filled(meta, args.value(0)); });
}

// --- ranges --------------------------------------------------------------------------------------

struct Range {
  Value start = 0, end, step = 1;
};

Range range_of(const Args& args) {
  const Schema& schema = args.op().schema;
  Range r;
  r.end = args.value(idx(schema.index_of("end")));
  if (schema.index_of("start") >= 0) r.start = args.value(idx(schema.index_of("start")));
  if (schema.index_of("step") >= 0) r.step = args.value(idx(schema.index_of("step")));
  return r;
}

bool is_real(const Value& v) { return v.is<double>(); }

// ceil((end - start) / step), symbolic when a bound is.
SymInt range_length(const Range& r) {
  if (is_real(r.start) || is_real(r.end) || is_real(r.step)) {
    const double step = r.step.to_double();
    if (step == 0) throw ValueError("step must be nonzero");
    const auto value = [](const Value& v) {
      return is_real(v) ? v.to_double() : static_cast<double>(v.to_sym_int().hint());
    };
    const double count = std::ceil((value(r.end) - value(r.start)) / step);
    if (count < 0) throw ValueError("upper bound and lower bound inconsistent with step sign");
    return static_cast<int64_t>(count);
  }
  const int64_t step = r.step.to_int();
  if (step == 0) throw ValueError("step must be nonzero");
  const SymInt span = r.end.to_sym_int() - r.start.to_sym_int();
  if ((step > 0) != (span.hint() > 0) && span.hint() != 0) {
    throw ValueError("upper bound and lower bound inconsistent with step sign");
  }
  return step > 0 ? floordiv(span + SymInt(step - 1), step)
                  : floordiv(SymInt(0) - span + SymInt(-step - 1), -step);
}

Value infer_arange(const Args& args) {
  const Range r = range_of(args);
  const bool real = is_real(r.start) || is_real(r.end) || is_real(r.step);
  return TensorMeta{{range_length(r)},
                    dtype_argument(args, real ? DType::Float32 : DType::Int64),
                    device_argument(args, {})};
}

Tensor arange(const Args& args, const TensorMeta& meta) {
  const Range r = range_of(args);
  const int64_t n = meta.sizes[0].constant();
  if (!is_real(r.start) && !is_real(r.step)) {
    Tensor out = Tensor::empty({n}, DType::Int64);
    for (int64_t i = 0; i < n; ++i) {
      out.mutable_data<int64_t>()[i] = r.start.to_int() + i * r.step.to_int();
    }
    return out.to(meta.dtype).set_device(meta.device);
  }
  Tensor out = Tensor::empty({n}, DType::Float64);
  const double start = r.start.to_double(), step = r.step.to_double();
  for (int64_t i = 0; i < n; ++i) {
    out.mutable_data<double>()[i] = start + static_cast<double>(i) * step;
  }
  return out.to(meta.dtype).set_device(meta.device);
}

// From both ends, so that the last value is exactly `end`.
Tensor linspace(const Args& args, const TensorMeta& meta) {
  const int64_t n = meta.sizes[0].constant();
  const double start = args.number(0), end = args.number(1);
  const double step = n > 1 ? (end - start) / static_cast<double>(n - 1) : 0;
  Tensor out = Tensor::empty({n}, DType::Float64);
  for (int64_t i = 0; i < n; ++i) {
    out.mutable_data<double>()[i] = i < n / 2 || n == 1
                                        ? start + step * static_cast<double>(i)
                                        : end - step * static_cast<double>(n - 1 - i);
  }
  return out.to(meta.dtype).set_device(meta.device);
}

void register_ranges(OpTable& t) {
  define_factory(t, "arange.default", cat("(Scalar end, ", kFactory, ") -> Tensor"), infer_arange,
                 arange);
  define_factory(t, "arange.start", cat("(Scalar start, Scalar end, ", kFactory, ") -> Tensor"),
                 infer_arange, arange);
  define_factory(t, "arange.start_step",
                 cat("(Scalar start, Scalar end, Scalar step=1, ", kFactory, ") -> Tensor"),
                 infer_arange, arange);
  define_factory(
      t, "linspace.default", cat("(Scalar start, Scalar end, int steps, ", kFactory, ") -> Tensor"),
      [](const Args& args) -> Value {
        if (args.integer(2) < 0) throw ValueError("number of steps must be non-negative");
        return TensorMeta{{SymInt(args.integer(2))},
                          dtype_argument(args, DType::Float32),
                          device_argument(args, {})};
      },
      linspace);
}

// --- random --------------------------------------------------------------------------------------

// 1 with the probability that each element holds, or with probability p.
Value bernoulli(const Args& args, bool own_probabilities) {
  const Tensor& x = args.tensor(0);
  if (own_probabilities && !is_floating_point(x.dtype())) {
    throw TypeError(
        cat("bernoulli: expected probabilities of a floating dtype, got ", dtype_name(x.dtype())));
  }
  const Tensor p = own_probabilities ? x.to(DType::Float32).contiguous()
                                     : Tensor::full(x.sizes(), args.number(1), DType::Float32);
  Tensor out = Tensor::empty(x.sizes(), DType::Float32);
  current_generator().fill_uniform(&out);
  for (int64_t i = 0; i < out.numel(); ++i) {
    const float chance = p.data<float>()[i];
    if (!(chance >= 0 && chance <= 1))
      throw ValueError(cat("bernoulli: p is a probability in [0, 1], got ", chance));
    out.mutable_data<float>()[i] = out.data<float>()[i] < chance ? 1.0F : 0.0F;
  }
  return out.to(x.dtype());
}

void register_random(OpTable& t) {
  const auto draw = [](void (Generator::*fill)(Tensor*)) -> FillFn {
    return [fill](const Args&, const TensorMeta& meta) {
      const DType drawn = meta.dtype == DType::Float64 ? DType::Float64 : DType::Float32;
      Tensor out = Tensor::empty(hints(meta.sizes), drawn);
      (current_generator().*fill)(&out);
      return out.to(meta.dtype).set_device(meta.device);
    };
  };
  const std::string sized = cat("(SymInt[] size, ", kFactory, ") -> Tensor");
  const std::string like =
      cat("(Tensor self, ", kFactory, ", MemoryFormat? memory_format=None) -> Tensor");
  for (const bool normal : {false, true}) {
    const std::string name = normal ? "randn" : "rand";
    const FillFn fill = draw(normal ? &Generator::fill_normal : &Generator::fill_uniform);
    define_factory(t, name + ".default", sized, infer_sized, fill).traits.impure = true;
    define_factory(t, name + "_like.default", like, infer_like, fill).traits.impure = true;
  }
  const auto define_bernoulli = [&](const char* name, const char* schema, bool own) {
    OpDef& op = t.define(name, schema);
    op.infer = same_as_input;
    op.traits.impure = true;
    op.reference = [own](const Args& args) { return bernoulli(args, own); };
  };
  define_bernoulli("aten.bernoulli.default",
                   "(Tensor self, *, Generator? generator=None) -> Tensor", true);
  define_bernoulli("aten.bernoulli.p",
                   "(Tensor self, float p, *, Generator? generator=None) -> Tensor", false);
  define_factory(
      t, "randint.low",
      "(SymInt low, SymInt high, SymInt[] size, *, ScalarType? dtype=long, Layout? layout=None, "
      "Device? device=None, bool? pin_memory=None) -> Tensor",
      [](const Args& args) -> Value {
        if (args.integer(0) >= args.integer(1)) {
          throw ValueError(cat("random_ expects 'from' to be less than 'to', but got from=",
                               args.integer(0), " >= to=", args.integer(1)));
        }
        check_sizes(args.sym_ints(2));
        return TensorMeta{args.sym_ints(2), dtype_argument(args, DType::Int64),
                          device_argument(args, {})};
      },
      [](const Args& args, const TensorMeta& meta) {
        Tensor out = Tensor::empty(hints(meta.sizes), DType::Int64);
        current_generator().fill_integers(&out, args.integer(0), args.integer(1));
        return out.to(meta.dtype).set_device(meta.device);
      })
      .traits.impure = true;
  define_factory(
      t, "randperm.default",
      "(SymInt n, *, ScalarType? dtype=long, Layout? layout=None, Device? device=None, "
      "bool? pin_memory=None) -> Tensor",
      [](const Args& args) -> Value {
        check_sizes({args.sym_int(0)});
        return TensorMeta{
            {args.sym_int(0)}, dtype_argument(args, DType::Int64), device_argument(args, {})};
      },
      [](const Args&, const TensorMeta& meta) {
        Tensor out = Tensor::empty(hints(meta.sizes), DType::Int64);
        current_generator().fill_permutation(&out);
        return out.to(meta.dtype).set_device(meta.device);
      })
      .traits.impure = true;
}

// --- filling -------------------------------------------------------------------------------------

void define_fill(OpTable& t, const std::string& base, const std::string& overload,
                 const std::string& schema, KernelFn kernel) {
  const std::string name = cat("aten.", base, ".", overload);
  OpDef& op = t.define(name, schema);
  op.infer = same_as_input;
  op.reference = std::move(kernel);
  t.define_inplace(cat("aten.", base, "_.", overload), name);
}

void register_fills(OpTable& t) {
  const auto fill_with = [](size_t i) -> KernelFn {
    return [i](const Args& args) -> Value {
      const Tensor& x = args.tensor(0);
      const Value value = args.value(i);
      if (value.is<Tensor>() && value.as<Tensor>().dim() != 0) {
        throw ValueError(cat("fill_ only supports 0-dimension value tensor but got tensor with ",
                             value.as<Tensor>().dim(), " dimensions."));
      }
      return filled(meta_of(x), value);
    };
  };
  define_fill(t, "fill", "Scalar", "(Tensor self, Scalar value) -> Tensor", fill_with(1));
  define_fill(t, "fill", "Tensor", "(Tensor self, Tensor value) -> Tensor", fill_with(1));
  define_fill(t, "zero", "default", "(Tensor self) -> Tensor",
              [](const Args& args) -> Value { return filled(meta_of(args.tensor(0)), 0); });
  define_fill(t, "copy", "default", "(Tensor self, Tensor src, bool non_blocking=False) -> Tensor",
              [](const Args& args) -> Value {
                Tensor out = make_output(meta_of(args.tensor(0)));
                out.copy_(args.tensor(1));
                return out;
              });
}

}  // namespace

void register_creation(OpTable& t) {
  register_constants(t);
  register_ranges(t);
  register_random(t);
  register_fills(t);
}

}  // namespace pt2q
