// Operators whose result's shape, or a number the program goes on with, depends on the values:
// they run, but cannot be captured.
#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/gather.h"
#include "ops/support/pointwise.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

InferFn not_captured(const std::string& what) {
  return [what](const Args&) -> Value {
    throw NotImplementedError(
        what, "use where(), masked_fill() or other operators of fixed shape in captured models");
  };
}

Value nonzero(const Args& args) {
  const Tensor& x = args.tensor(0);
  const std::vector<Ints> positions = true_positions(x);
  const int64_t found = positions.empty() ? static_cast<int64_t>(x.item() != 0)
                                          : static_cast<int64_t>(positions[0].size());
  Tensor out = Tensor::empty({found, x.dim()}, DType::Int64);
  auto* to = out.mutable_data<int64_t>();
  for (size_t i = 0; i < idx(found); ++i) {
    for (const Ints& p : positions) *to++ = p[i];
  }
  return out;
}

Value masked_select(const Args& args) {
  const Tensor &x = args.tensor(0), &mask = args.tensor(1);
  if (mask.dtype() != DType::Bool) {
    throw TypeError(
        cat("masked_select: expected BoolTensor for mask, got ", dtype_name(mask.dtype())));
  }
  const Shape sizes = broadcast_shapes(x.sizes(), mask.sizes());
  const Tensor all = x.expand(sizes).reshape({-1});
  const std::vector<Ints> chosen = true_positions(mask.expand(sizes).reshape({-1}));
  return take_slices(all, 0, chosen[0]);
}

Value item(const Args& args) {
  const Tensor& x = args.tensor(0);
  if (x.numel() != 1) {
    throw RuntimeError(cat("a Tensor with ", x.numel(), " elements cannot be converted to Scalar"));
  }
  if (x.dtype() == DType::Bool) return x.item_int() != 0;
  if (is_floating_point(x.dtype())) return x.item();
  return x.item_int();
}

}  // namespace

void register_data_dependent(OpTable& t) {
  const char* shape = "the shape of the result depends on the values";
  OpDef& positions = t.define("aten.nonzero.default", "(Tensor self) -> Tensor");
  positions.infer = not_captured(shape);
  positions.reference = nonzero;
  OpDef& select = t.define("aten.masked_select.default", "(Tensor self, Tensor mask) -> Tensor");
  select.infer = not_captured(shape);
  select.reference = masked_select;
  for (const char* name : {"aten.item.default", "aten._local_scalar_dense.default"}) {
    OpDef& number = t.define(name, "(Tensor self) -> Scalar");
    number.infer = not_captured("the number is the value of a tensor");
    number.reference = item;
  }
}

}  // namespace pt2q
