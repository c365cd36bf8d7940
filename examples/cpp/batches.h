// What the example programs share: cutting an array of samples into batches a model takes.
#pragma once

#include <cmath>
#include <iostream>
#include <vector>

#include "pt2q/pt2q.h"

// The rows of `samples` (dimension 0) in batches: of the size the model was captured with, or of
// `wanted` when its batch dimension is dynamic. A rest that fills no batch is left out.
inline std::vector<pt2q::Tensor> batches_for(const pt2q::GraphModule& model,
                                             const pt2q::Tensor& samples, int64_t wanted = 8) {
  const auto inputs = model.graph().placeholders();
  if (inputs.size() != 1) throw pt2q::ValueError("these examples take models with one input");
  const auto& meta = inputs[0]->meta.val.as<pt2q::TensorMeta>();
  const pt2q::SymInt& batch = meta.sizes.at(0);
  const int64_t size = batch.is_constant() ? batch.constant() : std::min(wanted, samples.size(0));
  std::vector<pt2q::Tensor> out;
  for (int64_t i = 0; i + size <= samples.size(0); i += size)
    out.push_back(samples.slice(0, i, i + size));
  if (out.empty()) {
    throw pt2q::ValueError("the model takes batches of " + std::to_string(size) +
                           ", but there are only " + std::to_string(samples.size(0)) + " samples");
  }
  return out;
}

// Signal-to-noise ratio of `got` against `expected` in decibel: 20 is 10% error, 40 is 1%.
inline double sqnr(const pt2q::Tensor& expected, const pt2q::Tensor& got) {
  const pt2q::Tensor a = expected.contiguous(), b = got.contiguous();
  double signal = 0.0, noise = 0.0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double x = a.data<float>()[i], d = x - b.data<float>()[i];
    signal += x * x;
    noise += d * d;
  }
  return 10.0 * std::log10(signal / noise);
}

// Errors say what is wrong, where and what to do; none of them should end in std::terminate.
template <typename Main>
int guarded(Main&& body) {
  try {
    return body();
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << "\n";
    return 1;
  }
}
