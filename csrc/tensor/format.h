// Printing numbers and tensors as PyTorch does: "1e-07", "tensor([0.5000, 1.0000])". Names of
// dtypes are pt2q's: "dtype=pt2q.uint8".
#pragma once

#include <string>

#include "pt2q/tensor.h"

namespace pt2q {

// Python's repr of a float: shortest text that reads back, exponent below 1e-4 and from 1e16.
std::string python_float(double value);
// PyTorch's print of a tensor with its defaults: 4 digits, 80 columns, tensors above 1000 elements
// summarised to 3 elements at each end, the dtype unless float32, int64 or bool.
std::string format_tensor(const Tensor& tensor);
// What an f-string of a tensor gives: the plain number for 0-dimensional ones.
std::string format_value(const Tensor& tensor);

}  // namespace pt2q
