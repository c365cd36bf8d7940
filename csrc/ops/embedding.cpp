// Table look-ups.
#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/gather.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

void require_indices(const TensorMeta& indices) {
  if (indices.dtype == DType::Int64 || indices.dtype == DType::Int32) return;
  throw TypeError(
      cat("Expected tensor for argument 'indices' to have one of the following scalar "
          "types: int64, int32; but got ",
          dtype_name(indices.dtype), " instead"));
}

Ints checked_rows(const Tensor& indices, int64_t rows) {
  const Tensor flat = dense<int64_t>(indices);
  const auto* p = flat.data<int64_t>();
  for (int64_t i = 0; i < flat.numel(); ++i) {
    if (p[i] < 0 || p[i] >= rows) {
      throw IndexError(
          cat("index out of range in self: ", p[i], " for an embedding of ", rows, " rows"));
    }
  }
  return Ints(p, p + flat.numel());
}

void register_lookup(OpTable& t) {
  OpDef& op = t.define("aten.embedding.default",
                       "(Tensor weight, Tensor indices, SymInt padding_idx=-1, bool "
                       "scale_grad_by_freq=False, bool sparse=False) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    require_rank(args.meta(0), 2, "weight");
    require_indices(args.meta(1));
    SymShape sizes = args.meta(1).sizes;
    sizes.push_back(args.meta(0).sizes[1]);
    return with_sizes(args.meta(0), sizes);
  };
  op.reference = [](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    const Tensor& weight = args.tensor(0);
    return take_slices(weight, 0, checked_rows(args.tensor(1), weight.size(0)))
        .reshape(hints(meta.sizes));
  };
  op.quant.weight = 0;
  op.quant.weight_channel_axis = 0;
}

}  // namespace

void register_embedding(OpTable& t) { register_lookup(t); }

}  // namespace pt2q
