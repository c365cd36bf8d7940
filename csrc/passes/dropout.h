// Dropout in its two forms: nothing in inference, random in training.
#pragma once

#include "base/strings.h"
#include "pt2q/graph.h"

namespace pt2q {

// A dropout that draws random numbers: it is no identity.
inline bool is_active_dropout(const Node& node) {
  if (node.op_or_null() == nullptr || !ends_with(node.op().base_name(), "dropout")) return false;
  const int train = node.op().schema.index_of("train");
  if (train < 0) return false;
  const Value& flag = node.arg(static_cast<size_t>(train));
  return flag.is<bool>() && flag.as<bool>();
}

}  // namespace pt2q
