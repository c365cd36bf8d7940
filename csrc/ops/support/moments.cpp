#include "ops/support/moments.h"

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q::ops {

void check_channels(const Args& args, const TensorMeta& x, std::initializer_list<size_t> params) {
  if (rank(x) < 2) {
    throw ValueError(cat("Expected at least 2 input dimensions, but got shape ", text(x.sizes)));
  }
  for (const size_t i : params) {
    if (args.is_none(i) || same_size(product(args.meta(i).sizes), x.sizes[1])) continue;
    throw ValueError(cat(args.op().schema.args[i].name, " should contain ", x.sizes[1],
                         " elements not ", product(args.meta(i).sizes)));
  }
}

void check_statistics(const Args& args) {
  if (!args.is_none(3) && !args.is_none(4)) return;
  throw ValueError("Expected running_mean and running_var to be defined when training=False");
}

}  // namespace pt2q::ops
