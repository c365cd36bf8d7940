// Pooling on NHWC memory with our own kernels: float32, uint8 and int8.
#include "base/strings.h"
#include "kernels/pool.h"
#include "onednn/float_ops.h"
#include "onednn/kernel_step.h"
#include "onednn/step_makers.h"

namespace pt2q {
namespace {

// Only of four dimensions; images without a batch run the reference kernel.
bool nhwc_shape(const Shape& sizes, NhwcShape* out) {
  if (sizes.size() != 4) return false;
  *out = {sizes[0], sizes[2], sizes[3], sizes[1]};
  return true;
}

std::pair<int64_t, int64_t> two(const PlanBuilder& b, const Node& n, size_t i, int64_t fallback) {
  const Value v = b.plain_arg(n, i);
  if (v.is_none()) return {fallback, fallback};
  const auto list = v.to_ints();
  if (list.empty()) return {fallback, fallback};
  return {list[0], list.size() > 1 ? list[1] : list[0]};
}

// Binds the arguments shared by all pools; the kernel gets input, output and the
// distance of output pixels.
template <typename Kernel>
bool add_pool(PlanBuilder& builder, const Node& node, int x, const std::string& name,
              Kernel kernel) {
  const Shape sizes = builder.value(x).sizes;
  const int in = builder.as_layout(x, channels_last_of(sizes));
  const Shape out_sizes = builder.result_sizes(node);
  const int out = builder.new_value(out_sizes, channels_last_of(out_sizes), builder.value(x).dtype);
  auto step = std::make_unique<RowKernelStep>(
      [=](RunContext& ctx, const Rows& rows) { kernel(ctx.data(in), ctx.data(out), rows.stride); });
  step->info = builder.describe(node, name, out);
  builder.add(std::move(step), {in}, {out});
  builder.bind(node, out);
  return true;
}

bool make_max_pool(PlanBuilder& builder, const Node& node, std::string*) {
  const int x = builder.tensor_arg(node, 0);
  NhwcShape shape;
  if (x < 0 || !nhwc_shape(builder.value(x).sizes, &shape)) return false;
  Pool2d pool;
  std::tie(pool.kernel_h, pool.kernel_w) = two(builder, node, 1, 1);
  std::tie(pool.stride_h, pool.stride_w) = two(builder, node, 2, 0);
  if (pool.stride_h == 0) {
    pool.stride_h = pool.kernel_h;
    pool.stride_w = pool.kernel_w;
  }
  std::tie(pool.padding_h, pool.padding_w) = two(builder, node, 3, 0);
  std::tie(pool.dilation_h, pool.dilation_w) = two(builder, node, 4, 1);
  pool.ceil_mode = builder.plain_arg(node, 5).to_bool();
  switch (builder.value(x).dtype) {
    case DType::Float32:
      return add_pool(
          builder, node, x, "pt2q max_pool", [=](const void* in, void* out, int64_t stride) {
            max_pool(static_cast<const float*>(in), shape, pool, static_cast<float*>(out), stride);
          });
    case DType::UInt8:
      return add_pool(builder, node, x, "pt2q max_pool",
                      [=](const void* in, void* out, int64_t stride) {
                        max_pool(static_cast<const uint8_t*>(in), shape, pool,
                                 static_cast<uint8_t*>(out), stride);
                      });
    case DType::Int8:
      return add_pool(builder, node, x, "pt2q max_pool",
                      [=](const void* in, void* out, int64_t stride) {
                        max_pool(static_cast<const int8_t*>(in), shape, pool,
                                 static_cast<int8_t*>(out), stride);
                      });
    default:
      return false;
  }
}

bool make_avg_pool(PlanBuilder& builder, const Node& node, std::string*) {
  const int x = builder.tensor_arg(node, 0);
  NhwcShape shape;
  if (x < 0 || !nhwc_shape(builder.value(x).sizes, &shape) ||
      builder.value(x).dtype != DType::Float32) {
    return false;
  }
  Pool2d pool;
  std::tie(pool.kernel_h, pool.kernel_w) = two(builder, node, 1, 1);
  std::tie(pool.stride_h, pool.stride_w) = two(builder, node, 2, 0);
  if (pool.stride_h == 0) {
    pool.stride_h = pool.kernel_h;
    pool.stride_w = pool.kernel_w;
  }
  std::tie(pool.padding_h, pool.padding_w) = two(builder, node, 3, 0);
  pool.ceil_mode = builder.plain_arg(node, 4).to_bool();
  pool.count_include_pad = builder.plain_arg(node, 5).to_bool();
  const Value divisor = builder.plain_arg(node, 6);
  if (!divisor.is_none()) pool.divisor_override = divisor.to_int();
  return add_pool(
      builder, node, x, "pt2q avg_pool", [=](const void* in, void* out, int64_t stride) {
        avg_pool_f32(static_cast<const float*>(in), shape, pool, static_cast<float*>(out), stride);
      });
}

bool add_adaptive(PlanBuilder& builder, const Node& node, int x, int64_t out_h, int64_t out_w) {
  NhwcShape shape;
  if (x < 0 || !nhwc_shape(builder.value(x).sizes, &shape) ||
      builder.value(x).dtype != DType::Float32) {
    return false;
  }
  return add_pool(builder, node, x, "pt2q avg_pool",
                  [=](const void* in, void* out, int64_t stride) {
                    adaptive_avg_pool_f32(static_cast<const float*>(in), shape, out_h, out_w,
                                          static_cast<float*>(out), stride);
                  });
}

bool make_adaptive_avg_pool(PlanBuilder& builder, const Node& node, std::string*) {
  const auto [h, w] = two(builder, node, 1, 1);
  return add_adaptive(builder, node, builder.tensor_arg(node, 0), h, w);
}

}  // namespace

// Over the two spatial dimensions, kept: a global average pool.
bool make_spatial_mean(PlanBuilder& builder, const Node& node) {
  const int x = builder.tensor_arg(node, 0);
  if (x < 0 || builder.value(x).sizes.size() != 4) return false;
  if (builder.plain_arg(node, 1).is_none() || !builder.plain_arg(node, 2).to_bool()) return false;
  auto dims = builder.plain_arg(node, 1).to_ints();
  for (int64_t& d : dims) d = d < 0 ? d + 4 : d;
  std::sort(dims.begin(), dims.end());
  if (dims != std::vector<int64_t>{2, 3}) return false;
  return add_adaptive(builder, node, x, 1, 1);
}

void add_pool_steps(StepMakerMap& makers) {
  makers["aten.max_pool2d.default"] = make_max_pool;
  makers["aten.avg_pool2d.default"] = make_avg_pool;
  makers["aten.adaptive_avg_pool2d.default"] = make_adaptive_avg_pool;
  makers["aten._adaptive_avg_pool2d.default"] = make_adaptive_avg_pool;
}

}  // namespace pt2q
