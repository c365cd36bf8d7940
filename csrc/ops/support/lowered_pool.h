// Lowered average pooling: from operator arguments to the kernels' description.
#pragma once

#include <vector>

#include "kernels/pool.h"
#include "pt2q/error.h"
#include "pt2q/op.h"

namespace pt2q::ops {

// Where the quantization arguments of pt2q.qavg_pool2d and pt2q.qadaptive_avg_pool2d begin.
constexpr size_t kQAvgPoolTail = 7;
constexpr size_t kQAdaptiveAvgPoolTail = 2;

struct PoolQuant {
  QuantParams from, to;
  DType out_dtype = DType::Float32;
};
PoolQuant read_pool_quant(const std::vector<Value>& args, size_t tail);
DType pool_output_dtype(const std::vector<Value>& args, size_t tail);
Pool2d read_avg_pool(const std::vector<Value>& args);

// visitor(In{}, Out{}) with the element types; TypeError for others.
template <typename Visitor>
void visit_pool_types(DType in, DType out, Visitor&& visitor) {
  const auto with_out = [&](auto input) {
    switch (out) {
      case DType::Float32:
        return visitor(input, float{});
      case DType::UInt8:
        return visitor(input, uint8_t{});
      case DType::Int8:
        return visitor(input, int8_t{});
      default:
        throw TypeError("out_dtype: expected uint8, int8 or None");
    }
  };
  if (in == DType::UInt8) return with_out(uint8_t{});
  if (in == DType::Int8) return with_out(int8_t{});
  throw TypeError("argument 'x': expected uint8 or int8");
}

}  // namespace pt2q::ops
