// Elementwise float32 operators in one pass, optionally quantizing the result on the way out, and
// softmax and layer normalisation of rows.
//
// The functions are those of float_math-inl.h: bit-identical for every instruction set and thread
// count, within a few ulp of the true value (stated there). NaN propagates. Input and output may be
// the same array.
#pragma once

#include <cstdint>

#include "kernels/quantize.h"

namespace pt2q {

enum class Unary {
  relu,
  clip,        // min(max(x, alpha), beta): relu6, hardtanh, clamp
  leaky_relu,  // x < 0 ? alpha * x : x
  hardswish,   // x * min(max(x + 3, 0), 6) / 6
  hardsigmoid,
  silu,
  sigmoid,
  tanh,
  mish,  // x * tanh(log(1 + exp(x)))
  gelu_erf,
  gelu_tanh,
  exp,
  erf,
  // Exactly rounded, as the operators' reference kernels:
  floor,
  ceil,
  round,  // halves to even
  trunc,
  frac,  // x - trunc(x)
  abs,
  neg,
  square,
  reciprocal,
  rsqrt,  // 1 / sqrt(x), rounded twice
};

struct UnaryStep {
  Unary op = Unary::relu;
  float alpha = 0.0f;
  float beta = 0.0f;
};

// The definition, one value.
float unary_value(const UnaryStep& step, float x);

void unary(const UnaryStep& step, const float* x, int64_t n, float* y);
// quantize(unary(x)) in one pass; Q is uint8_t or int8_t.
template <typename Q>
void unary_quantize(const UnaryStep& step, const float* x, int64_t n, const QuantParams& to, Q* q);

// The extremes give NaN where an operand is NaN, and of equal operands (0 and -0) the second.
enum class Binary { add, sub, mul, div, maximum, minimum };
float binary_value(Binary op, float a, float b, bool relu);
// y = op(a, b), then relu if asked.
void binary(Binary op, const float* a, const float* b, int64_t n, bool relu, float* y);
void binary_scalar(Binary op, const float* a, float b, int64_t n, bool relu, float* y);

// Rows of x[rows, n]. softmax: exp(x - max) * (1 / sum), the sum in 16 interleaved partial sums,
// added in halves (i and i + 8, then i and i + 4, ...). n = 0 is allowed.
void softmax_rows(const float* x, int64_t rows, int64_t n, float* y);
void softmax_rows_reference(const float* x, int64_t rows, int64_t n, float* y);
// One row before the division: exp(x - max) to y; returns 1 / sum.
float softmax_exponentials_reference(const float* x, int64_t n, float* y);
// quantize(softmax(x)) in one pass over each row.
template <typename Q>
void softmax_rows_quantize(const float* x, int64_t rows, int64_t n, const QuantParams& to, Q* q);

// y = (x - mean) / sqrt(variance + eps) * weight + bias (weight, bias: n values or null), mean and
// (biased) variance of each row in 16 interleaved partial sums.
void layer_norm_rows(const float* x, int64_t rows, int64_t n, const float* weight,
                     const float* bias, float eps, float* y);
// The same and quantize(y) in one pass; y may be null.
template <typename Q>
void layer_norm_rows_quantize(const float* x, int64_t rows, int64_t n, const float* weight,
                              const float* bias, float eps, const QuantParams& to, float* y, Q* q);
void layer_norm_rows_reference(const float* x, int64_t rows, int64_t n, const float* weight,
                               const float* bias, float eps, float* y);

}  // namespace pt2q
