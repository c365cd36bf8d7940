#include "onednn/steps_cast.h"

#include "base/parallel.h"
#include "base/strings.h"
#include "kernels/bfloat16.h"
#include "onednn/kernel_step.h"
#include "onednn/step_makers.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

bool is_either(DType dtype) { return dtype == DType::Float32 || dtype == DType::BFloat16; }

bool is_integer(DType dtype) {
  return dtype == DType::Bool || dtype == DType::UInt8 || dtype == DType::Int8 ||
         dtype == DType::Int32 || dtype == DType::Int64;
}

template <typename T>
void to_float(const T* x, int64_t n, float* y) {
  parallel_for(n, 1 << 15, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = static_cast<float>(x[i]);
  });
}

void run_to_float(DType dtype, const void* x, int64_t n, float* y) {
  switch (dtype) {
    case DType::Bool:
      return to_float(static_cast<const bool*>(x), n, y);
    case DType::UInt8:
      return to_float(static_cast<const uint8_t*>(x), n, y);
    case DType::Int8:
      return to_float(static_cast<const int8_t*>(x), n, y);
    case DType::Int32:
      return to_float(static_cast<const int32_t*>(x), n, y);
    default:
      return to_float(static_cast<const int64_t*>(x), n, y);
  }
}

bool add_integer_conversion(PlanBuilder& builder, const Node& node, int x) {
  x = builder.as_dense(x);
  const PlanValue v = builder.value(x);
  const int out = builder.new_value(v.sizes, v.strides, DType::Float32);
  const int64_t n = numel_of(v.sizes);
  auto step = std::make_unique<KernelStep>([=, dtype = v.dtype](RunContext& ctx) {
    run_to_float(dtype, ctx.data(x), n, ctx.data<float>(out));
  });
  step->info = builder.describe(node, "pt2q convert", out);
  step->info.dtype = cat(dtype_name(v.dtype), " -> float32");
  builder.add(std::move(step), {x}, {out});
  builder.bind(node, out);
  return true;
}

// aten.to.dtype and relatives between the two.
bool make_to(PlanBuilder& builder, const Node& node, std::string*) {
  const int x = builder.tensor_arg(node, 0);
  const DType to = builder.result_meta(node).dtype;
  if (x >= 0 && to == DType::Float32 && is_integer(builder.value(x).dtype))
    return add_integer_conversion(builder, node, x);
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
