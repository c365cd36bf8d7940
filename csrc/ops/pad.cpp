// Padding: constant (also negative), reflect, replicate, circular.
#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/gather.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

enum class PadMode { Constant, Reflect, Replicate, Circular };

PadMode parse_mode(const std::string& mode) {
  if (mode == "constant") return PadMode::Constant;
  if (mode == "reflect") return PadMode::Reflect;
  if (mode == "replicate") return PadMode::Replicate;
  if (mode == "circular") return PadMode::Circular;
  throw NotImplementedError(cat("Unrecognised padding mode ", mode));
}

void check_amount(PadMode mode, int64_t amount, const SymInt& size) {
  const bool bad = (mode == PadMode::Reflect && amount >= size.hint()) ||
                   (mode == PadMode::Circular && amount > size.hint());
  if (!bad) return;
  throw ValueError(
      cat("Padding size should be less than the corresponding input dimension, but got "
          "padding ",
          amount, " for a dimension of size ", size));
}

// pad = (last dimension low, high, the one before low, high, ...).
TensorMeta infer_pad(const TensorMeta& x, const SymShape& pad, PadMode mode) {
  if (pad.size() % 2 != 0) throw ValueError("Padding length must be divisible by 2");
  if (pad.size() > 2 * x.sizes.size()) {
    throw ValueError(
        cat("Padding length should be less than or equal to two times the input "
            "dimension but got padding length ",
            pad.size(), " and input of dimension ", x.sizes.size()));
  }
  TensorMeta out = x;
  for (size_t i = 0; i < pad.size() / 2; ++i) {
    SymInt& size = out.sizes[out.sizes.size() - 1 - i];
    check_amount(mode, std::max(pad[2 * i].hint(), pad[2 * i + 1].hint()), size);
    size = size + pad[2 * i] + pad[2 * i + 1];
    if (size.hint() < 0) {
      throw ValueError(cat("The input size ", x.sizes[x.sizes.size() - 1 - i],
                           ", plus negative "
                           "padding ",
                           pad[2 * i], " and ", pad[2 * i + 1],
                           " resulted in a negative output size"));
    }
  }
  return out;
}

// Source index of a padded position, or -1 for the constant.
int64_t source_index(int64_t i, int64_t n, PadMode mode) {
  if (i >= 0 && i < n) return i;
  switch (mode) {
    case PadMode::Reflect:
      return i < 0 ? -i : 2 * (n - 1) - i;
    case PadMode::Replicate:
      return i < 0 ? 0 : n - 1;
    case PadMode::Circular:
      return (i % n + n) % n;
    default:
      return -1;
  }
}

Value pad(const Args& args, PadMode mode, const Value& value) {
  infer_output(args);
  const Ints amounts = args.integers(1);
  Tensor x = args.tensor(0);
  bool moved = false;
  for (size_t i = 0; i < amounts.size() / 2; ++i) {
    const int64_t low = amounts[2 * i], high = amounts[2 * i + 1];
    if (low == 0 && high == 0) continue;
    const int64_t dim = x.dim() - 1 - static_cast<int64_t>(i);
    Ints table;
    for (int64_t j = -low; j < x.size(dim) + high; ++j) {
      table.push_back(source_index(j, x.size(dim), mode));
    }
    x = take_slices(x, dim, table, value);
    moved = true;
  }
  return moved ? x : x.clone();
}

void define_fixed(OpTable& t, const std::string& name, int count, PadMode mode) {
  OpDef& op = t.define("aten." + name + ".default",
                       cat("(Tensor self, SymInt[", count, "] padding) -> Tensor"));
  op.infer = [mode](const Args& args) -> Value {
    return infer_pad(args.meta(0), args.sym_ints(1), mode);
  };
  op.reference = [mode](const Args& args) { return pad(args, mode, 0); };
  op.quant = shares_input();
}

}  // namespace

void register_pad(OpTable& t) {
  OpDef& op = t.define("aten.pad.default",
                       "(Tensor self, SymInt[] pad, str mode=\"constant\", float? value=None) -> "
                       "Tensor");
  op.infer = [](const Args& args) -> Value {
    return infer_pad(args.meta(0), args.sym_ints(1), parse_mode(args.string(2)));
  };
  op.reference = [](const Args& args) {
    return pad(args, parse_mode(args.string(2)), args.is_none(3) ? Value(0) : args.value(3));
  };
  op.quant = shares_input();
  OpDef& constant = t.define("aten.constant_pad_nd.default",
                             "(Tensor self, SymInt[] pad, Scalar value=0) -> Tensor");
  constant.infer = [](const Args& args) -> Value {
    return infer_pad(args.meta(0), args.sym_ints(1), PadMode::Constant);
  };
  constant.reference = [](const Args& args) { return pad(args, PadMode::Constant, args.value(2)); };
  constant.quant = shares_input();
  for (const int n : {1, 2, 3}) {
    define_fixed(t, cat("reflection_pad", n, "d"), 2 * n, PadMode::Reflect);
    define_fixed(t, cat("replication_pad", n, "d"), 2 * n, PadMode::Replicate);
  }
}

}  // namespace pt2q
