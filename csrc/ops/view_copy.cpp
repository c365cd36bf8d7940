// The view operators in the form that owns its memory: permute_copy, view_copy, squeeze_copy, ...
#include <string>

#include "ops/support/facts.h"
#include "pt2q/error.h"
#include "pt2q/op.h"

namespace pt2q {
namespace {

void define_copied_view(OpTable& t, const std::string& name, const std::string& schema,
                        const std::string& view) {
  const OpDef& viewed = t.get(view);
  OpDef& op = t.define(name, schema);
  op.infer = viewed.infer;
  op.reference = [compute = viewed.reference](const Args& args) -> Value {
    const Tensor out = compute(args).as<Tensor>().contiguous();
    return out.shares_storage(args.tensor(0)) ? out.clone() : out;
  };
  op.quant = ops::shares_input();
}

}  // namespace

void register_view_copy(OpTable& t) {
  define_copied_view(t, "aten.permute_copy.default", "(Tensor self, int[] dims) -> Tensor",
                     "aten.permute.default");
  define_copied_view(t, "aten.view_copy.default", "(Tensor self, SymInt[] size) -> Tensor",
                     "aten.view.default");
  define_copied_view(t, "aten.squeeze_copy.dim", "(Tensor self, int dim) -> Tensor",
                     "aten.squeeze.dim");
  define_copied_view(
      t, "aten.slice_copy.Tensor",
      "(Tensor self, int dim=0, SymInt? start=None, SymInt? end=None, SymInt step=1) "
      "-> Tensor",
      "aten.slice.Tensor");
}

}  // namespace pt2q
