// Sizes and tensors as the JSON of PyTorch's export schema describes them.
#pragma once

#include <string>

#include "io/json_reader.h"
#include "pt2q/value.h"

namespace pt2q {

Json size_json(const SymInt& size);
Json float_json(double value);
Json tensor_argument(const std::string& name);

// A schema TensorMeta; strides in elements.
Json tensor_meta_json(const SymShape& sizes, const SymShape& strides, int64_t offset, DType dtype,
                      bool requires_grad);
// That of a contiguous tensor.
Json meta_json(const TensorMeta& meta);

}  // namespace pt2q
