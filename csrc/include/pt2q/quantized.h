// Tensors of integers with a scale and zero point, and operators on them: what eager-mode models
// compute with after convert (torch.quantization.convert). All arithmetic runs through the graph
// pipeline: an operator is a small dequantize → operator → quantize graph, compiled once.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pt2q/op.h"
#include "pt2q/runtime.h"

namespace pt2q {

// Scale, zero point and element type of a per-tensor quantized result.
struct OutputQParams {
  double scale = 1.0;
  int64_t zero_point = 0;
  DType dtype = DType::QUInt8;  // QUInt8, QInt8 or QInt32
};

// uint8, int8 or int32 values; x = (q - zero_point) * scale, per tensor or per index of one
// dimension. Copying copies handles; as thread-safe as Tensor. Works while a model is captured too.
class QuantizedTensor {
 public:
  QuantizedTensor() = default;
  // Throws TypeError for values of another dtype.
  QuantizedTensor(Tensor values, double scale, int64_t zero_point);
  // scales and zero_points: one entry per index of `axis` (ValueError otherwise).
  QuantizedTensor(Tensor values, Tensor scales, Tensor zero_points, int64_t axis);

  // Rounds `x` (floating point): clamp(rint(x / scale) + zero_point) over the whole dtype.
  static QuantizedTensor quantize(const Tensor& x, const OutputQParams& to);
  static QuantizedTensor quantize_per_channel(const Tensor& x, const Tensor& scales,
                                              const Tensor& zero_points, int64_t axis, DType dtype);
  Tensor dequantize() const;  // float32

  const Tensor& values() const { return values_; }
  // The same scale and zero point on other values (a view of them, usually).
  QuantizedTensor with_values(Tensor values) const;
  DType dtype() const;  // QUInt8, QInt8, QInt32
  bool per_channel() const { return axis_.has_value(); }
  // Per tensor only; RuntimeError otherwise.
  double scale() const;
  int64_t zero_point() const;
  OutputQParams qparams() const { return {scale(), zero_point(), dtype()}; }
  // Per channel only; RuntimeError otherwise.
  const Tensor& scales() const;
  const Tensor& zero_points() const;
  int64_t axis() const;

 private:
  Tensor values_;
  double scale_ = 1.0;
  int64_t zero_point_ = 0;
  Tensor scales_;
  Tensor zero_points_;
  std::optional<int64_t> axis_;
};

// One operator whose activations and result are quantized. The inputs take its first arguments (or
// fill its first argument, where that is a list); the others are fixed. Calls may come from several
// threads at once.
class QuantizedOp {
 public:
  // `unary`: an operator of one tensor that follows ("aten.relu.default"), or "".
  QuantizedOp(const std::string& op, std::vector<Value> args, std::string unary = "");
  // A constant int8 weight in place of argument `position`.
  void set_weight(size_t position, QuantizedTensor weight);

  // Compiled for the inputs' dtypes, ranks and parameters at first use; while a model is captured,
  // the operators are recorded instead.
  QuantizedTensor operator()(const std::vector<QuantizedTensor>& inputs, const OutputQParams& out);
  // What would run for these inputs (CompiledModel::explain).
  std::string explain(const std::vector<QuantizedTensor>& inputs, const OutputQParams& out);

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<CompiledModel> model;
  };
  QuantizedTensor emit(const std::vector<QuantizedTensor>& inputs, const OutputQParams& out) const;
  std::string key_of(const std::vector<QuantizedTensor>& inputs, const OutputQParams& out) const;
  std::shared_ptr<CompiledModel> compiled(const std::vector<QuantizedTensor>& inputs,
                                          const OutputQParams& out);
  std::unique_ptr<GraphModule> capture(const std::vector<QuantizedTensor>& inputs,
                                       const OutputQParams& out) const;
  SymShape input_shape(size_t index, const Tensor& values) const;

  const OpDef& op_;
  std::vector<Value> args_;
  std::string unary_;
  size_t weight_at_ = 0;
  std::optional<QuantizedTensor> weight_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // most recent first
};

// A linear layer with an int8 weight whose float input is quantized at each call, by its own range,
// to 7 bits unsigned: what quantize_dynamic makes of linear layers. Calls may come from several
// threads at once.
class DynamicLinear {
 public:
  // weight: qint8 [N, K], zero points 0; bias: float32 [N] or undefined. Throws TypeError or
  // ValueError for others.
  DynamicLinear(QuantizedTensor weight, Tensor bias, bool relu = false);

  // float32 [..., K] -> float32 [..., N]. While a model is captured, the operators that do it are
  // recorded instead. Throws TypeError or ValueError for another dtype or size.
  Tensor operator()(const Tensor& x) const;

 private:
  struct Packed;
  Tensor record(const Tensor& x) const;

  QuantizedTensor weight_;
  Tensor bias_;
  bool relu_;
  std::shared_ptr<const Packed> packed_;
};

// Calls `op` on quantized tensors, given in `args` as their integer values and in `quantized` by
// the identity of those. Operators that move, select or clip values, and averages, keep the first
// input's parameters; sigmoid, tanh and softmax have fixed ones. Others throw NotImplementedError:
// their result needs a scale of its own.
struct QuantizedResult {
  Value value;  // integers (or a list of them), or what is no tensor
  OutputQParams qparams;
};
QuantizedResult call_quantized(const OpDef& op, std::vector<Value> args,
                               const std::map<std::string, Value>& kwargs,
                               const std::map<const void*, QuantizedTensor>& quantized);

}  // namespace pt2q
