// The common part of rows whose result views their input.
#pragma once

#include <utility>

#include "ops/support/facts.h"

namespace pt2q::ops {

inline OpDef& define_view(OpTable& t, const std::string& name, const std::string& schema,
                          InferFn infer, KernelFn kernel) {
  OpDef& op = t.define("aten." + name, schema);
  op.infer = std::move(infer);
  op.reference = std::move(kernel);
  op.traits.view = true;
  op.quant = shares_input();
  return op;
}

}  // namespace pt2q::ops
