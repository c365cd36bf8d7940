// Arguments of operator rows: dtype promotion with Python numbers, and the outputs that a reference
// kernel fills. `infer` is the one place where shapes and dtypes are computed and checked: kernels
// allocate what it says.
#pragma once

#include <vector>

#include "ops/support/shapes.h"
#include "pt2q/op.h"
#include "tensor/strided.h"

namespace pt2q::ops {

// Description of a tensor, a tensor description, or a number (0-dimensional, its Python dtype).
TensorMeta meta_of(const Value& value);
bool is_number(const Value& value);

// torch.result_type of any mix of tensors, tensor descriptions and numbers (None is skipped):
// tensors with dimensions win over 0-dimensional ones, those over numbers, within one category.
DType result_type(const std::vector<Value>& operands);
// float32 for integers and bool, else the dtype itself.
DType to_float(DType dtype);

// Where arithmetic on `dtype` is done: float32, float64 or int64.
DType compute_dtype(DType dtype);
// Calls fn(T{}) with float, double or int64_t.
template <typename Fn>
decltype(auto) visit_compute(DType dtype, Fn&& fn) {
  switch (compute_dtype(dtype)) {
    case DType::Float32:
      return fn(float{});
    case DType::Float64:
      return fn(double{});
    default:
      return fn(int64_t{});
  }
}
// Calls fn(T{}) with float or double.
template <typename Fn>
decltype(auto) visit_float(DType dtype, Fn&& fn) {
  if (dtype == DType::Float64) return fn(double{});
  return fn(float{});
}

// The tensor (or number, as a 0-dimensional tensor) converted to `dtype`.
Tensor as_tensor(const Value& value, DType dtype);
// Row-major float, double or int64 data of `t`: itself when it already is so.
template <typename T>
Tensor dense(const Tensor& t) {
  return t.to(DTypeOf<T>::value).contiguous();
}

// What op.infer says for these run-time arguments.
Value infer_outputs(const Args& args);
TensorMeta infer_output(const Args& args);
// Uninitialised tensor of that description; `like` gives the memory layout when it has the shape.
Tensor make_output(const TensorMeta& meta, const Tensor& like = Tensor());
Tensor empty_like(const Tensor& like, DType dtype);  // keeps a channels_last order
// `computed` in the dtype that infer promises.
Value finish(const Args& args, const Tensor& computed);

// Shape inference that returns argument 0 unchanged, or with float32 for integers.
Value same_as_input(const Args& args);
Value same_as_input_float(const Args& args);

}  // namespace pt2q::ops
