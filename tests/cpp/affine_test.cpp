// quantized_decomposed operators against PyTorch's recorded results, and the vector kernels behind
// them against the scalar arithmetic.
#include "tensor/affine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "error_message.h"
#include "golden_util.h"
#include "kernels/quantize.h"
#include "pt2q/graph_module.h"
#include "pt2q/op.h"

namespace pt2q {
namespace {

using ::testing::HasSubstr;

Value describe_value(const Value& v) {
  if (v.is<Tensor>()) {
    const Tensor& t = v.as<Tensor>();
    return TensorMeta{to_sym(t.sizes()), t.dtype(), t.device()};
  }
  return v;
}

std::string describe_meta(const Value& v) {
  if (!v.is<Value::List>()) return describe(v.as<TensorMeta>());
  std::string text;
  for (const Value& item : v.list()) text += describe(item.as<TensorMeta>()) + ";";
  return text;
}

// Number of recorded cases of the file; all must be what the operator table computes and infers.
size_t replay(const std::string& file) {
  const auto golden = read_cases(file);
  size_t count = 0;
  for (const auto& c : golden.at("cases")) {
    const std::string op = c.at("op");
    std::vector<Value> args = decode_value(c.at("args")).list();
    std::map<std::string, Value> kwargs;
    if (c.contains("kwargs")) {
      for (const auto& [k, v] : c.at("kwargs").items()) kwargs[k] = decode_value(v);
    }
    SCOPED_TRACE(cat("case ", count++, ": ", op, " ", c.at("args").dump().substr(0, 300)));
    const Value got = call(op, args, kwargs);
    const Value want = decode_value(c.at("out"));
    if (want.is<Tensor>()) {
      EXPECT_EQ(difference(got.as<Tensor>(), want.as<Tensor>()), "");
    } else if (got.list().size() != want.list().size()) {
      ADD_FAILURE() << "number of results: " << got.list().size();
    } else {
      for (size_t i = 0; i < got.list().size(); ++i) {
        EXPECT_EQ(difference(got.list()[i].as<Tensor>(), want.list()[i].as<Tensor>()), "");
      }
    }
    // Inference announces what the kernel returned.
    std::vector<Value> metas = normalize_args(op_table().get(op), args, kwargs);
    for (Value& v : metas) v = describe_value(v);
    Value result = got;
    if (result.is<Value::List>()) {
      for (Value& v : result.as<Value::List>()) v = describe_value(v);
    } else {
      result = describe_value(result);
    }
    const OpDef& def = op_table().get(op);
    EXPECT_EQ(describe_meta(def.infer(Args(def, metas))), describe_meta(result));
  }
  return count;
}

TEST(QuantizedDecomposed, EqualsPyTorchBitForBit) {
  EXPECT_GT(replay("quantization/qdq.json"), 500U);
}

TEST(AffineBlocks, EqualTorchaoBitForBit) { EXPECT_GT(replay("quantization/affine.json"), 300U); }

std::string error_of(const std::string& op, const std::vector<Value>& args) {
  return testing::error_message([&] { call(op, args); });
}

TEST(QuantizedDecomposed, RefusesBadArgumentsWithPyTorchsTexts) {
  const Tensor x = Tensor::zeros({4});
  const Tensor u = Tensor::zeros({4}, DType::UInt8);
  const std::string q = "quantized_decomposed.quantize_per_tensor.default";
  EXPECT_EQ(error_of(q, {x.to(DType::Float64), 1.0, 0, 0, 255, DType::UInt8}),
            "Expecting input to have dtype torch.float32, but got dtype: torch.float64");
  EXPECT_EQ(error_of(q, {x, 1.0, 0, -1, 255, DType::UInt8}),
            "quant_min out of bounds for dtype, quant_min_lower_bound: 0 quant_min: -1");
  EXPECT_EQ(error_of(q, {x, 1.0, 0, 0, 256, DType::UInt8}),
            "quant_max out of bounds for dtype, quant_max_upper_bound: 255 quant_max: 256");
  EXPECT_EQ(error_of(q, {x, 1.0, 0, 0, 255, DType::Int64}), "Unsupported dtype: torch.int64");
  EXPECT_THAT(error_of(q, {x, 0.0, 0, 0, 255, DType::UInt8}), HasSubstr("scale is 0"));
  EXPECT_EQ(error_of("quantized_decomposed.dequantize_per_tensor.default",
                     {x, 1.0, 0, 0, 255, DType::UInt8}),
            "Expecting input to have dtype: torch.uint8, but got torch.float32");
  EXPECT_EQ(error_of("quantized_decomposed.quantize_per_tensor.tensor",
                     {x, Tensor::zeros({2}), Tensor::zeros({1}), 0, 255, DType::UInt8}),
            "Expecting scale tensor to be one element, but received : 2");
  const std::string qc = "quantized_decomposed.quantize_per_channel.default";
  EXPECT_EQ(error_of(qc, {x, Tensor::zeros({2}), Tensor::zeros({2}), 1, 0, 255, DType::UInt8}),
            "Expecting axis to be < 1");
  EXPECT_EQ(error_of(qc, {x, Tensor::zeros({2}), Tensor::zeros({2}), 0, 0, 255, DType::UInt8}),
            "The size of tensor a (4) must match the size of tensor b (2) at non-singleton "
            "dimension 0");
  EXPECT_EQ(error_of("quantized_decomposed.choose_qparams.tensor", {x, 1, 255, 1e-5, DType::UInt8}),
            "Used-specified quantization range must include 0.");
  EXPECT_EQ(error_of("quantized_decomposed.choose_qparams.tensor",
                     {Tensor::zeros({0}), 0, 255, 1e-5, DType::UInt8}),
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no "
            "identity.");
  EXPECT_EQ(error_of("quantized_decomposed.quantize_per_channel_group.default",
                     {Tensor::full({2, 4}, NAN), Tensor::full({2, 1}, 1.0), Tensor::zeros({2, 1}),
                      -8, 7, DType::Int8, 4}),
            "to_quant must not contain NaNs");
  EXPECT_EQ(error_of("quantized_decomposed.dequantize_per_tensor.default",
                     {u.to(DType::Int64), 1.0, 0, 0, 255, DType::Int64}),
            "Unsupported dtype in dequantize_per_tensor: torch.int64");
}

TEST(QuantizedDecomposed, KeepsTheLayoutOfChannelsLastInputs) {
  Tensor x = Tensor::empty({2, 3, 4, 5}, DType::Float32);
  for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<float>()[i] = static_cast<float>(i - 60);
  const Tensor nhwc = x.contiguous(MemoryFormat::ChannelsLast);
  const Tensor scales = Tensor::from_vector<float>({0.5F, 1.0F, 2.0F}, {3});
  const Tensor zps = Tensor::from_vector<int64_t>({1, 2, 3}, {3});
  const QuantRange range{-128, 127};
  const Tensor a = quantize_per_channel(x, scales, zps, 1, range, DType::Int8);
  const Tensor b = quantize_per_channel(nhwc, scales, zps, 1, range, DType::Int8);
  EXPECT_TRUE(b.is_contiguous(MemoryFormat::ChannelsLast));
  EXPECT_EQ(difference(b, a), "");
  const Tensor da = dequantize_per_channel(a, scales, zps, 1, DType::Float32);
  const Tensor db = dequantize_per_channel(b, scales, zps, 1, DType::Float32);
  EXPECT_TRUE(db.is_contiguous(MemoryFormat::ChannelsLast));
  EXPECT_EQ(difference(db, da), "");
  // A view that is neither: every second column.
  const Tensor view = x.slice(3, 0, 5, 2);
  EXPECT_EQ(difference(quantize_per_tensor(view, 0.5, 1, range, DType::Int8),
                       quantize_per_tensor(view.contiguous(), 0.5, 1, range, DType::Int8)),
            "");
}

// Random bit patterns hit every exponent, NaN and infinity.
TEST(Affine, VectorKernelsEqualTheScalarArithmetic) {
  std::mt19937 random(7);
  const int64_t n = 4096 + 13;
  Tensor x = Tensor::empty({n});
  for (int64_t i = 0; i < n; ++i) {
    const auto bits = static_cast<uint32_t>(random());
    float v = static_cast<float>(static_cast<int32_t>(bits)) * 1e-7F;
    if (i % 3 == 0) std::memcpy(&v, &bits, sizeof v);
    if (i % 7 == 0) v = std::nearbyint(v) + 0.5F;
    x.mutable_data<float>()[i] = v;
  }
  for (const double scale : {1.0, 0.0737, 1e-30, 1e30}) {
    for (const int64_t zp : {0, 128, -3}) {
      const float inv = inverse_scale(scale);
      const Tensor q = quantize_per_tensor(x, scale, zp, {3, 200}, DType::UInt8);
      const Tensor f = fake_quantize_per_tensor(x, scale, zp, {3, 200});
      const Tensor d = dequantize_per_tensor(q, scale, zp, DType::Float32);
      for (int64_t i = 0; i < n; ++i) {
        const float v = x.data<float>()[i];
        const float real = quantize_real(v, inv, static_cast<float>(zp), 3.0F, 200.0F);
        const auto want = store_quantized<uint8_t>(real);
        ASSERT_EQ(q.data<uint8_t>()[i], want) << v;
        const float back = dequantize_real(static_cast<float>(want), static_cast<float>(scale),
                                           static_cast<float>(zp));
        ASSERT_EQ(d.data<float>()[i], back);
        const float fake = dequantize_real(std::isnan(real) ? 3.0F : real,
                                           static_cast<float>(scale), static_cast<float>(zp));
        ASSERT_EQ(f.data<float>()[i], fake) << v;
      }
    }
  }
}

TEST(Affine, FakeQuantizePerChannelSendsNonFiniteValuesToTheLowerEnd) {
  const Tensor x = Tensor::from_vector<float>({NAN, INFINITY, -INFINITY, 1.5F, 9.3e18F}, {1, 5});
  const Tensor s = Tensor::full({1}, 0.5);
  const Tensor integral =
      fake_quantize_per_channel(x, s, Tensor::full({1}, 3, DType::Int32), 0, {0, 255});
  const float want[] = {-1.5F, -1.5F, -1.5F, 1.5F, -1.5F};
  for (int i = 0; i < 5; ++i) EXPECT_EQ(integral.data<float>()[i], want[i]) << i;
  // A fractional zero point is added before rounding: rint(3 + 3.3) = 6.
  const Tensor fractional = fake_quantize_per_channel(x, s, Tensor::full({1}, 3.3F), 0, {0, 255});
  EXPECT_EQ(fractional.data<float>()[3],
            static_cast<float>((6.0 - static_cast<double>(3.3F)) * 0.5));
}

}  // namespace
}  // namespace pt2q
