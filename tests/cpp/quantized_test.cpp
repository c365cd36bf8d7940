// Quantized tensors and operators on them.
#include "pt2q/quantized.h"

#include <gtest/gtest.h>

#include "graph_builder.h"
#include "pt2q/error.h"
#include "pt2q/trace.h"
#include "tensor/affine.h"

namespace pt2q {
namespace {

using testing::random_tensor;

QuantizedTensor quantized(const Shape& sizes, unsigned seed,
                          const OutputQParams& q = {0.02, 128, DType::QUInt8}) {
  return QuantizedTensor::quantize(random_tensor(sizes, seed, -2.0F, 2.0F), q);
}

QuantizedTensor channel_weight(const Shape& sizes, unsigned seed) {
  std::vector<float> scales;
  for (int64_t c = 0; c < sizes[0]; ++c) scales.push_back(0.004F + 0.001F * static_cast<float>(c));
  const Tensor s = Tensor::from_vector(scales, {sizes[0]});
  return QuantizedTensor::quantize_per_channel(random_tensor(sizes, seed, -0.5F, 0.5F), s,
                                               Tensor::zeros({sizes[0]}, DType::Int64), 0,
                                               DType::QInt8);
}

// Integers may differ by one where a value lies between two steps: the kernels round once, after a
// fused multiply-add, the float operators after every step.
void expect_close(const Tensor& got, const Tensor& want) {
  ASSERT_EQ(got.sizes(), want.sizes());
  ASSERT_EQ(got.dtype(), want.dtype());
  const Tensor a = got.to(DType::Int32).contiguous(), b = want.to(DType::Int32).contiguous();
  int64_t different = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const int d = std::abs(a.data<int32_t>()[i] - b.data<int32_t>()[i]);
    ASSERT_LE(d, 1) << "element " << i;
    different += d;
  }
  EXPECT_LE(different, 1 + a.numel() / 200);
}

TEST(QuantizedTensor, KeepsItsParameters) {
  const QuantizedTensor q = quantized({2, 3}, 1);
  EXPECT_EQ(q.dtype(), DType::QUInt8);
  EXPECT_EQ(q.scale(), 0.02);
  EXPECT_EQ(q.zero_point(), 128);
  EXPECT_FALSE(q.per_channel());
  EXPECT_THROW(q.scales(), RuntimeError);
  EXPECT_LE(testing::max_difference(q.dequantize(), random_tensor({2, 3}, 1, -2.0F, 2.0F)), 0.0101);
  const QuantizedTensor w = channel_weight({4, 3}, 2);
  EXPECT_EQ(w.axis(), 0);
  EXPECT_THROW(w.scale(), RuntimeError);
  EXPECT_LE(testing::max_difference(w.dequantize(), random_tensor({4, 3}, 2, -0.5F, 0.5F)), 0.004);
}

TEST(QuantizedTensor, RefusesBadParameters) {
  EXPECT_THROW(QuantizedTensor(Tensor::zeros({2}), 0.1, 0), TypeError);
  EXPECT_THROW(QuantizedTensor(Tensor::zeros({2}, DType::UInt8), 0.0, 0), ValueError);
  EXPECT_THROW(QuantizedTensor(Tensor::zeros({2, 3}, DType::Int8), Tensor::zeros({3}),
                               Tensor::zeros({3}, DType::Int64), 0),
               ValueError);
  EXPECT_THROW(QuantizedTensor::quantize(Tensor::zeros({2}), {0.1, 0, DType::Float32}), TypeError);
}

TEST(QuantizedOp, ConvolutionReluRunsOnIntegers) {
  const QuantizedTensor weight = channel_weight({8, 3, 3, 3}, 3);
  const Tensor bias = random_tensor({8}, 4, -0.2F, 0.2F);
  const Value::List one{1, 1};
  QuantizedOp conv("aten.conv2d.default", {Value(), Value(), bias, one, one, one, 1},
                   "aten.relu.default");
  conv.set_weight(1, weight);
  const OutputQParams out{0.03, 5, DType::QUInt8};
  for (const Shape& sizes : {Shape{1, 3, 9, 7}, Shape{2, 3, 12, 12}}) {  // one compilation for both
    const QuantizedTensor x = quantized(sizes, 5);
    const Value y =
        call("aten.conv2d.default", {x.dequantize(), weight.dequantize(), bias, one, one, one, 1});
    const Value relu = call("aten.relu.default", {y});
    const QuantizedTensor got = conv({x}, out);
    EXPECT_EQ(got.scale(), 0.03);
    EXPECT_EQ(got.zero_point(), 5);
    expect_close(got.values(), QuantizedTensor::quantize(relu.as<Tensor>(), out).values());
    EXPECT_NE(conv.explain({x}, out).find("pt2q.qconv.default"), std::string::npos);
  }
}

TEST(QuantizedOp, SignedActivationsAndTwoInputs) {
  const OutputQParams in{0.02, -3, DType::QInt8};
  const QuantizedTensor a = quantized({3, 10}, 6, in), b = quantized({3, 10}, 7, in);
  const OutputQParams out{0.05, 1, DType::QInt8};
  QuantizedOp add("aten.add.Tensor", {Value(), Value()});
  const Value sum = call("aten.add.Tensor", {a.dequantize(), b.dequantize()});
  expect_close(add({a, b}, out).values(),
               QuantizedTensor::quantize(sum.as<Tensor>(), out).values());
  QuantizedOp cat("aten.cat.default", {Value(), 1});
  const Value joined =
      call("aten.cat.default", {Value(Value::List{a.dequantize(), b.dequantize()}), 1});
  expect_close(cat({a, b}, out).values(),
               QuantizedTensor::quantize(joined.as<Tensor>(), out).values());
}

TEST(QuantizedOp, IsRecordedWhileAModelIsCaptured) {
  QuantizedOp linear("aten.linear.default", {Value(), Value(), Value()});
  linear.set_weight(1, channel_weight({4, 6}, 8));
  const OutputQParams out{0.04, 100, DType::QUInt8};
  const Tensor x = random_tensor({2, 6}, 9, -1.0F, 1.0F);
  const auto forward = [&](const Tensor& t) {
    return linear({QuantizedTensor::quantize(t, {0.02, 128, DType::QUInt8})}, out).dequantize();
  };
  GraphModule module;
  {
    Tracer tracer(module);
    const Tracer::Scope scope(&tracer);
    tracer.finish(forward(tracer.add_input("x", TensorMeta{{2, 6}, DType::Float32, {}})));
  }
  const auto compiled = compile(module);
  EXPECT_NE(compiled->print_tabular().find("pt2q.qlinear.default"), std::string::npos);
  EXPECT_TRUE(testing::same_bits((*compiled)({x}).as<Tensor>(), forward(x)));
}

TEST(CallQuantized, KeepsParametersOrRefuses) {
  const QuantizedTensor q = quantized({2, 4, 6, 6}, 10);
  const std::map<const void*, QuantizedTensor> known{{q.values().id(), q}};
  const auto run = [&](const char* op, std::vector<Value> args) {
    return call_quantized(op_table().get(op), std::move(args), {}, known);
  };
  const QuantizedResult relu = run("aten.relu.default", {q.values()});
  EXPECT_EQ(relu.qparams.scale, q.scale());
  expect_close(relu.value.as<Tensor>(),
               QuantizedTensor::quantize(call("aten.relu.default", {q.dequantize()}).as<Tensor>(),
                                         q.qparams())
                   .values());
  EXPECT_EQ(run("aten.flatten.using_ints", {q.values(), 1}).value.as<Tensor>().sizes(),
            (Shape{2, 144}));
  EXPECT_EQ(run("aten.sigmoid.default", {q.values()}).qparams.scale, 1.0 / 256);
  try {
    run("aten.exp.default", {q.values()});
    FAIL() << "exp needs a scale of its own";
  } catch (const NotImplementedError& e) {
    EXPECT_EQ(e.op(), "aten.exp.default");
  }
}

}  // namespace
}  // namespace pt2q
