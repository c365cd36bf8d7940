// Conversions between float32 and bfloat16.
#pragma once

#include <memory>

#include "onednn/plan.h"

namespace pt2q {

// Converts `n` elements of dense memory. Both dtypes are float32 or bfloat16, and differ.
std::unique_ptr<Step> make_conversion(int in, DType from, int out, DType to, int64_t n);

}  // namespace pt2q
