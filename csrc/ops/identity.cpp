// Operators that return their input in inference: dropout, alias, detach, contiguous, clone; and
// assertions, which return nothing.
#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/pointwise.h"
#include "pt2q/error.h"
#include "tensor/random.h"

namespace pt2q {
namespace {

using namespace ops;

Value pass_through(const Args& args) { return args.tensor(0); }

OpDef& define_identity(OpTable& t, const std::string& name, const std::string& schema,
                       KernelFn kernel = pass_through) {
  OpDef& op = t.define("aten." + name + ".default", schema);
  op.infer = same_as_input;
  op.reference = std::move(kernel);
  op.traits.identity = true;
  op.traits.view = true;
  op.quant = shares_input();
  return op;
}

MemoryFormat format_argument(const Args& args, size_t i) {
  return args.is_none(i) ? MemoryFormat::Preserve : args.value(i).as<MemoryFormat>();
}

// Zeroes elements (or whole channels) with probability p and scales the others by 1/(1-p).
Value dropout(const Args& args, bool whole_channels) {
  const Tensor& x = args.tensor(0);
  const double p = args.number(1);
  if (p < 0 || p > 1) {
    throw ValueError(cat("dropout probability has to be between 0 and 1, but got ", p));
  }
  if (!args.boolean(2) || p == 0) return x;
  Shape sizes = x.sizes();
  for (size_t i = 2; whole_channels && i < sizes.size(); ++i) sizes[i] = 1;
  Tensor mask = Tensor::empty(sizes, DType::Float32);
  current_generator().fill_bernoulli(&mask, 1 - p);
  const float scale = p == 1 ? 0.0F : static_cast<float>(1 / (1 - p));
  Tensor out = ops::empty_like(x, DType::Float32);
  map2<float, float>(x.to(DType::Float32), mask, out,
                     [scale](float v, float keep) { return keep == 0 ? 0 : v * scale; });
  return out.to(x.dtype());
}

void register_dropout(OpTable& t) {
  const char* schema = "(Tensor input, float p, bool train) -> Tensor";
  const auto plain = [](const Args& args) { return dropout(args, false); };
  const auto channels = [](const Args& args) { return dropout(args, true); };
  define_identity(t, "dropout", schema, plain).traits.training_arg = 2;
  t.define_inplace("aten.dropout_.default", "aten.dropout.default").schema.args[0].name = "self";
  define_identity(t, "feature_dropout", schema, channels).traits.training_arg = 2;
  t.define_inplace("aten.feature_dropout_.default", "aten.feature_dropout.default")
      .schema.args[0]
      .name = "self";
  OpDef& native = t.define("aten.native_dropout.default",
                           "(Tensor input, float p, bool? train) -> (Tensor, Tensor)");
  native.infer = [](const Args& args) -> Value {
    return Value::List{args.meta(0), with_dtype(args.meta(0), DType::Bool)};
  };
  native.traits.training_arg = 2;
  native.reference = [](const Args& args) -> Value {
    const Tensor& x = args.tensor(0);
    if (!args.is_none(2) && !args.boolean(2)) {
      return Value::List{x, Tensor::full(x.sizes(), 1, DType::Bool)};
    }
    const double p = args.number(1);
    Tensor mask = Tensor::empty(x.sizes(), DType::Float32);
    current_generator().fill_bernoulli(&mask, 1 - p);
    Tensor out = ops::empty_like(x, DType::Float32);
    const float scale = p == 1 ? 0.0F : static_cast<float>(1 / (1 - p));
    map2<float, float>(x.to(DType::Float32), mask, out,
                       [scale](float v, float keep) { return keep == 0 ? 0 : v * scale; });
    return Value::List{out.to(x.dtype()), mask.to(DType::Bool)};
  };
}

void register_copies(OpTable& t) {
  define_identity(t, "alias", "(Tensor(a) self) -> Tensor(a)");
  define_identity(t, "detach", "(Tensor(a) self) -> Tensor(a)");
  t.define_inplace("aten.detach_.default", "aten.detach.default").reference = pass_through;
  define_identity(t, "contiguous",
                  "(Tensor(a) self, *, MemoryFormat memory_format=contiguous_format) -> Tensor(a)",
                  [](const Args& args) -> Value {
                    return args.tensor(0).contiguous(args.value(1).as<MemoryFormat>());
                  });
  define_identity(t, "clone", "(Tensor self, *, MemoryFormat? memory_format=None) -> Tensor",
                  [](const Args& args) -> Value {
                    const MemoryFormat format = format_argument(args, 1);
                    if (format == MemoryFormat::Preserve) return args.tensor(0).clone();
                    Tensor out =
                        Tensor::empty(args.tensor(0).sizes(), args.tensor(0).dtype(), format);
                    out.set_device(args.tensor(0).device());
                    out.copy_(args.tensor(0));
                    return out;
                  });
  define_identity(t, "lift_fresh_copy", "(Tensor self) -> Tensor",
                  [](const Args& args) -> Value { return args.tensor(0).clone(); });
}

// --- assertions ----------------------------------------------------------------------------------

Value nothing(const Args&) { return Value(); }

void define_assert(OpTable& t, const std::string& name, const std::string& schema,
                   KernelFn kernel) {
  OpDef& op = t.define("aten." + name, schema);
  op.infer = nothing;
  op.reference = std::move(kernel);
  op.traits.impure = true;
}

Value assert_metadata(const Args& args) {
  const Tensor& x = args.tensor(0);
  if (!args.is_none(3) && x.dtype() != args.dtype(3, x.dtype())) {
    throw RuntimeError(cat("Tensor dtype mismatch! Expected: ",
                           dtype_name(args.dtype(3, x.dtype())), ", Got: ", dtype_name(x.dtype())));
  }
  if (!args.is_none(1) && x.sizes() != args.integers(1)) {
    throw RuntimeError(cat("Tensor sizes mismatch! Expected: ", list_to_string(args.integers(1)),
                           ", Got: ", list_to_string(x.sizes())));
  }
  return Value();
}

void register_asserts(OpTable& t) {
  define_assert(t, "_assert_tensor_metadata.default",
                "(Tensor a, SymInt[]? size=None, SymInt[]? stride=None, ScalarType? dtype=None, *, "
                "Device? device=None, Layout? layout=None) -> ()",
                assert_metadata);
  define_assert(t, "_assert_async.msg", "(Tensor self, str assert_msg) -> ()",
                [](const Args& args) -> Value {
                  if (args.tensor(0).item() == 0) throw RuntimeError(args.string(1));
                  return Value();
                });
  define_assert(t, "_assert_scalar.default", "(Scalar self, str assert_msg) -> ()",
                [](const Args& args) -> Value {
                  if (args.number(0) == 0) throw RuntimeError(args.string(1));
                  return Value();
                });
}

}  // namespace

void register_identity(OpTable& t) {
  register_dropout(t);
  register_copies(t);
  register_asserts(t);
}

}  // namespace pt2q
