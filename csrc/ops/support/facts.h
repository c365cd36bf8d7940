// Short forms for the quantization facts and traits of operator rows.
#pragma once

#include "pt2q/op.h"

namespace pt2q::ops {

inline QuantFacts own(std::vector<int> activations, int weight = -1, int bias = -1, int axis = 0) {
  QuantFacts facts;
  facts.activations = std::move(activations);
  facts.weight = weight;
  facts.bias = bias;
  facts.weight_channel_axis = axis;
  facts.output = QuantFacts::Output::Own;
  return facts;
}

// Output quantized like the input: operators that only move, select or clip values.
inline QuantFacts shares_input() {
  QuantFacts facts;
  facts.activations = {0};
  facts.output = QuantFacts::Output::SharesInput;
  return facts;
}

// Output range known beforehand: sigmoid and softmax 1/256 at 0, tanh 2/256 at 128.
inline QuantFacts fixed(double scale, int64_t zero_point) {
  QuantFacts facts;
  facts.activations = {0};
  facts.output = QuantFacts::Output::Fixed;
  facts.fixed_scale = scale;
  facts.fixed_zero_point = zero_point;
  return facts;
}

}  // namespace pt2q::ops
