#include "ops/support/reduction.h"

namespace pt2q::ops {

Ints dims_argument(const Args& args, size_t i, int64_t ndim) {
  if (args.is_none(i)) return wrap_dims({}, ndim);
  if (args.value(i).is<Value::List>()) return wrap_dims(args.integers(i), ndim);
  return wrap_dims({args.integer(i)}, ndim);
}

}  // namespace pt2q::ops
