#include "tensor/compare.h"

#include <cmath>

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {

namespace {

// A NaN is larger than any number.
double larger(double a, double b) { return std::isnan(a) || a > b ? a : b; }

}  // namespace

double Difference::mse() const { return noise / static_cast<double>(count); }

double Difference::sqnr() const { return 20.0 * std::log10(std::sqrt(signal) / std::sqrt(noise)); }

void Difference::add(const Difference& other) {
  signal += other.signal;
  noise += other.noise;
  max_abs = larger(max_abs, other.max_abs);
  count += other.count;
}

Difference difference(const Tensor& actual, const Tensor& reference) {
  if (actual.sizes() != reference.sizes()) {
    throw ValueError(cat("Cannot compare tensors with different shapes: ref=", describe(reference),
                         " vs actual=", describe(actual)),
                     "compare outputs for the same inputs");
  }
  const Tensor a = actual.to(DType::Float32).contiguous();
  const Tensor b = reference.to(DType::Float32).contiguous();
  const float* x = a.data<float>();
  const float* y = b.data<float>();
  Difference out;
  out.count = a.numel();
  for (int64_t i = 0; i < out.count; ++i) {
    const double value = x[i];
    const double error = static_cast<double>(x[i] - y[i]);
    out.signal += value * value;
    out.noise += error * error;
    out.max_abs = larger(out.max_abs, std::abs(error));
  }
  return out;
}

}  // namespace pt2q
