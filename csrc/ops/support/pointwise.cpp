#include "ops/support/pointwise.h"

namespace pt2q::ops {

Tensor layout_source(const std::vector<Value>& operands, const Shape& sizes) {
  for (const Value& v : operands) {
    if (v.is<Tensor>() && v.as<Tensor>().sizes() == sizes) return v.as<Tensor>();
  }
  return Tensor();
}

TensorMeta infer_binary(const Args& args) {
  const TensorMeta a = meta_of(args.value(0));
  const TensorMeta b = meta_of(args.value(1));
  const Device device = is_number(args.value(0)) ? b.device : a.device;
  return TensorMeta{broadcast(a.sizes, b.sizes), result_type({args.value(0), args.value(1)}),
                    device};
}

Value infer_binary_promoted(const Args& args) { return infer_binary(args); }

Value infer_binary_float(const Args& args) {
  const TensorMeta meta = infer_binary(args);
  return with_dtype(meta, to_float(meta.dtype));
}

Value infer_binary_bool(const Args& args) { return with_dtype(infer_binary(args), DType::Bool); }

}  // namespace pt2q::ops
