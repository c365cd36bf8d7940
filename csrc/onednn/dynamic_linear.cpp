// Linear layers with int8 weights on float inputs that are quantized at each call, as eager mode
// does it: FBGEMM's parameters and one product of both scales. Captured models
// (pt2q.qlinear_dynamic) take PT2E's parameters instead, which can differ by one step of the zero
// point.
#include <algorithm>

#include "base/strings.h"
#include "kernels/observe.h"
#include "kernels/qconv.h"
#include "kernels/quantize.h"
#include "pt2q/error.h"
#include "pt2q/quantized.h"
#include "pt2q/trace.h"
#include "tensor/qparams.h"

namespace pt2q {
namespace {

// 7 bits, as PyTorch's engines for x86 choose: pairs of products then fit 16 bits.
constexpr int32_t kMax = 127;

bool all_zero(const QuantizedTensor& t) {
  if (!t.per_channel()) return t.zero_point() == 0;
  const Tensor zeros = t.zero_points().to(DType::Float64).contiguous();
  const double* p = zeros.data<double>();
  return std::all_of(p, p + zeros.numel(), [](double z) { return z == 0.0; });
}

std::vector<float> weight_scales(const QuantizedTensor& weight) {
  const int64_t rows = weight.values().size(0);
  if (!weight.per_channel())
    return std::vector<float>(static_cast<size_t>(rows), static_cast<float>(weight.scale()));
  const Tensor scales = weight.scales().to(DType::Float32).contiguous();
  return {scales.data<float>(), scales.data<float>() + scales.numel()};
}

void check_layer(const QuantizedTensor& weight, const Tensor& bias) {
  if (!weight.values().defined() || weight.dtype() != DType::QInt8)
    throw TypeError("dynamic linear: the weight must be a qint8 tensor");
  if (weight.values().dim() != 2 || (weight.per_channel() && weight.axis() != 0))
    throw ValueError("dynamic linear: expected a weight [N, K], per channel along dimension 0");
  if (!all_zero(weight)) {
    throw ValueError("dynamic linear: the weight's zero points must be 0",
                     "observe weights with a symmetric scheme");
  }
  if (bias.defined() &&
      (bias.dtype() != DType::Float32 || bias.sizes() != Shape{weight.values().size(0)})) {
    throw ValueError(cat("dynamic linear: the bias ", describe(bias), " does not fit the weight ",
                         describe(weight.values())));
  }
}

}  // namespace

struct DynamicLinear::Packed {
  std::shared_ptr<const kernels::PackedWeights> weights;
  std::vector<float> scales, bias;
};

DynamicLinear::DynamicLinear(QuantizedTensor weight, Tensor bias, bool relu)
    : weight_(std::move(weight)), bias_(std::move(bias)), relu_(relu) {
  check_layer(weight_, bias_);
  const Tensor w = weight_.values().contiguous();
  auto packed = std::make_shared<Packed>();
  packed->weights =
      kernels::pack_weights(kernels::weight_shape(kernels::linear_shape(1, w.size(1), w.size(0))),
                            w.data<int8_t>(), kMax);
  packed->scales = weight_scales(weight_);
  if (bias_.defined()) {
    const Tensor b = bias_.contiguous();
    packed->bias.assign(b.data<float>(), b.data<float>() + b.numel());
  }
  packed_ = std::move(packed);
}

Tensor DynamicLinear::record(const Tensor& x) const {
  Tracer& tracer = *Tracer::current();
  const Tensor& values = weight_.values();
  if (!tracer.is_traced(values)) {
    tracer.add_attribute(tracer.module().unique_attr("_quantized_weight"), values,
                         AttrKind::Buffer);
  }
  const Value qparams =
      call("quantized_decomposed.choose_qparams.tensor",
           {Value(x), int64_t{0}, int64_t{kMax}, QParamsRule().eps, DType::UInt8});
  std::vector<Value> args = {x,          qparams.list().at(0), qparams.list().at(1),
                             int64_t{0}, int64_t{kMax},        DType::UInt8};
  args[0] = call("quantized_decomposed.quantize_per_tensor.tensor", args);
  const Value real = call("quantized_decomposed.dequantize_per_tensor.tensor", args);
  Value y = call("aten.linear.default",
                 {real, weight_.dequantize(), bias_.defined() ? Value(bias_) : Value()});
  if (relu_) y = call("aten.relu.default", {y});
  return y.as<Tensor>();
}

Tensor DynamicLinear::operator()(const Tensor& x) const {
  if (Tracer* tracer = Tracer::current(); tracer != nullptr && tracer->is_traced(x))
    return record(x);
  const int64_t n = weight_.values().size(0), k = weight_.values().size(1);
  if (x.dtype() != DType::Float32)
    throw TypeError(cat("dynamic linear: expected a float32 input, got ", describe(x)));
  if (x.dim() < 1 || x.sizes().back() != k) {
    throw ValueError(cat("dynamic linear: the input ", describe(x), " does not fit the weight ",
                         describe(weight_.values())));
  }
  Shape sizes = x.sizes();
  sizes.back() = n;
  Tensor out = Tensor::empty(sizes, DType::Float32);
  if (out.numel() == 0) return out;
  const Tensor dense = x.contiguous();
  const MinMax range = min_max(dense.data<float>(), dense.numel());
  const ScaleZeroPoint q = fbgemm_qparams(range.min, range.max, 0, kMax, false);
  const auto zero_point = static_cast<int32_t>(q.zero_point);
  // Too large for a thread's stack; kernels may read a little past the end.
  kernels::AlignedBuffer integers(static_cast<size_t>(dense.numel()) + 64);
  quantize(dense.data<float>(), dense.numel(), {q.scale, zero_point, 0, kMax}, integers.data());

  kernels::QConvSpec spec;
  spec.shape = kernels::linear_shape(k == 0 ? 0 : dense.numel() / k, k, n);
  spec.src_zero_point = zero_point;
  for (const float s : packed_->scales)
    spec.epilogue.scale.push_back(static_cast<float>(q.scale * static_cast<double>(s)));
  spec.epilogue.bias = packed_->bias;
  spec.epilogue.out = kernels::ElemType::f32;
  if (relu_) spec.epilogue.ops.push_back(kernels::PostOp());  // relu
  const kernels::QConv conv(spec, packed_->weights);
  const kernels::AlignedBuffer scratch(conv.scratch_bytes());
  conv.run(integers.data(), out.raw_mutable_data(), scratch.data());
  return out;
}

}  // namespace pt2q
