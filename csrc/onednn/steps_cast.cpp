#include "onednn/steps_cast.h"

#include "base/strings.h"
#include "kernels/bfloat16.h"
#include "onednn/kernel_step.h"
#include "onednn/step_makers.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

bool is_either(DType dtype) { return dtype == DType::Float32 || dtype == DType::BFloat16; }

// aten.to.dtype and relatives between the two.
bool make_to(PlanBuilder& builder, const Node& node, std::string*) {
  const int x = builder.tensor_arg(node, 0);
  const DType to = builder.result_meta(node).dtype;
  if (x < 0 || !is_either(builder.value(x).dtype) || !is_either(to)) return false;
  builder.bind(node, builder.as_dtype(x, to));
  return true;
}

}  // namespace

std::unique_ptr<Step> make_conversion(int in, DType from, int out, DType to, int64_t n) {
  if (!is_either(from) || !is_either(to) || from == to)
    throw InternalError(cat("no conversion from ", dtype_name(from), " to ", dtype_name(to)));
  std::unique_ptr<Step> step;
  if (to == DType::Float32) {
    step = std::make_unique<KernelStep>([=](RunContext& ctx) {
      kernels::bfloat16_to_float(ctx.data<const uint16_t>(in), n, ctx.data<float>(out));
    });
  } else {
    step = std::make_unique<KernelStep>([=](RunContext& ctx) {
      kernels::float_to_bfloat16(ctx.data<const float>(in), n, ctx.data<uint16_t>(out));
    });
  }
  step->info.kernel = "pt2q convert";
  step->info.dtype = cat(dtype_name(from), " -> ", dtype_name(to));
  return step;
}

void add_cast_steps(StepMakerMap& makers) {
  makers["aten.to.dtype"] = make_to;
  makers["aten._to_copy.default"] = make_to;
}

}  // namespace pt2q
