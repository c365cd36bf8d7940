// Steps of int8 add, mul and concatenation.
#include "base/strings.h"
#include "kernels/qadd.h"
#include "kernels/qconcat.h"
#include "onednn/float_ops.h"
#include "onednn/kernel_step.h"
#include "onednn/plan_join.h"
#include "onednn/step_makers.h"
#include "ops/support/lowered_binary.h"

namespace pt2q {
namespace {

bool is_byte(DType dtype) { return dtype == DType::UInt8 || dtype == DType::Int8; }

template <QuantBinary kOp>
bool make_binary(PlanBuilder& builder, const Node& node, std::string*) {
  int a = builder.tensor_arg(node, 0);
  int b = builder.tensor_arg(node, 3);
  if (a < 0 || b < 0 || !is_byte(builder.value(a).dtype) || !is_byte(builder.value(b).dtype) ||
      builder.value(a).sizes != builder.value(b).sizes) {
    return false;
  }
  a = builder.as_dense(a);
  const PlanValue av = builder.value(a);
  b = builder.as_layout(b, av.strides);
  const std::vector<Value> args = builder.plain_args(node);
  QuantOperand x{nullptr, av.dtype == DType::Int8, ops::read_operand(args, 1)};
  QuantOperand y{nullptr, builder.value(b).dtype == DType::Int8, ops::read_operand(args, 4)};
  const bool relu = args[6].to_bool();
  const ops::QuantOutput to = ops::read_quant_output(args, ops::kQBinaryTail);
  const int out = builder.new_value(av.sizes, av.strides, to.dtype);
  const int64_t n = numel_of(av.sizes);
  auto step = std::make_unique<KernelStep>([=](RunContext& ctx) {
    QuantOperand left = x, right = y;
    left.data = ctx.data(a);
    right.data = ctx.data(b);
    if (to.dtype == DType::UInt8) {
      quantized_binary(kOp, left, right, n, relu, to.params, ctx.data<uint8_t>(out));
    } else if (to.dtype == DType::Int8) {
      quantized_binary(kOp, left, right, n, relu, to.params, ctx.data<int8_t>(out));
    } else {
      quantized_binary(kOp, left, right, n, relu, to.params, ctx.data<float>(out));
    }
  });
  step->in_place_input = a;
  step->info = builder.describe(node, kOp == QuantBinary::add ? "pt2q add" : "pt2q mul", out);
  step->info.dtype = cat(dtype_name(av.dtype), " -> ", dtype_name(to.dtype));
  step->info.note = "exact";
  builder.add(std::move(step), {a, b}, {out});
  builder.bind(node, out);
  return true;
}

// A step that writes the parts side by side into the rows of `out`, a value or a slice of one.
void add_concat(PlanBuilder& builder, const Node& node, const std::vector<JoinPart>& given,
                const std::vector<ConcatPart>& parts, const JoinShape& shape,
                const ops::QuantOutput& to, int out) {
  std::vector<int> inputs;
  for (const JoinPart& part : given) {
    const Shape s = builder.value(part.value).sizes;
    inputs.push_back(builder.as_layout(part.value, shape.strides_of(s)));
  }
  const int64_t whole = shape.sizes[shape.dim];
  const int64_t pixels = shape.rows();
  auto step = std::make_unique<RowKernelStep>([=](RunContext& ctx, const Rows& rows) {
    const int64_t stride = rows.stride != 0 ? rows.stride : whole;
    std::vector<ConcatPart> now = parts;
    for (size_t i = 0; i < now.size(); ++i) now[i].data = ctx.data(inputs[i]);
    if (to.dtype == DType::UInt8) {
      concat_channels(now, pixels, to.params, ctx.data<uint8_t>(out), stride);
    } else {
      concat_channels(now, pixels, to.params, ctx.data<int8_t>(out), stride);
    }
  });
  step->info = builder.describe(node, "pt2q concat", out);
  step->info.note = "exact";
  builder.add(std::move(step), inputs, {out});
}

bool make_cat(PlanBuilder& builder, const Node& node, std::string*) {
  const std::vector<Value> args = builder.plain_args(node);
  const ops::QuantOutput to = ops::read_quant_output(args, ops::kQCatTail);
  const Shape sizes = builder.result_sizes(node);
  const auto rank = static_cast<int64_t>(sizes.size());
  if (!is_byte(to.dtype) || rank < 2) return false;
  // Channels of NHWC data, or the last dimension of row-major data, lie innermost.
  const int64_t dim = wrap_dim(args[1].to_int(), rank);
  const bool channels = rank == 4 && dim == 1;
  if (!channels && dim != rank - 1) return false;
  const Shape strides = channels ? channels_last_of(sizes) : contiguous_strides(sizes);
  const JoinShape shape{sizes, strides, static_cast<size_t>(dim)};
  std::vector<JoinPart> inputs;
  std::vector<ConcatPart> parts;
  const Value::List& given = node.arg(0).list();
  for (size_t i = 0; i < given.size(); ++i) {
    const int id = builder.value_of(given[i]);
    if (id < 0 || !is_byte(builder.value(id).dtype)) return false;
    ConcatPart part;
    part.is_signed = builder.value(id).dtype == DType::Int8;
    part.channels = builder.value(id).sizes[static_cast<size_t>(dim)];
    part.params.scale = args[2].list()[i].to_double();
    part.params.zero_point = static_cast<int32_t>(args[3].list()[i].to_int());
    // Equal parameters mean a copy.
    part.params.quant_min = to.params.quant_min;
    part.params.quant_max = to.params.quant_max;
    const bool same =
        part.params.scale == to.params.scale && part.params.zero_point == to.params.zero_point;
    parts.push_back(part);
    inputs.push_back({same ? given[i].as<Node*>() : nullptr, id});
  }
  const Joined joined = join_parts(builder, inputs, shape, to.dtype, node.name());
  if (joined.out < 0) {
    const int out = builder.new_value(sizes, strides, to.dtype);
    add_concat(builder, node, inputs, parts, shape, to, out);
    builder.bind(node, out);
    return true;
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    if (joined.slices[i] >= 0)
      add_concat(builder, node, {inputs[i]}, {parts[i]}, shape, to, joined.slices[i]);
  }
  builder.bind(node, joined.out);
  return true;
}

template <typename In>
void run_requantize(const In* x, int64_t n, const QuantParams& from, const ops::QuantOutput& to,
                    void* y) {
  if (to.dtype == DType::UInt8) {
    requantize(x, n, from, to.params, static_cast<uint8_t*>(y));
  } else {
    requantize(x, n, from, to.params, static_cast<int8_t*>(y));
  }
}

bool make_requantize(PlanBuilder& builder, const Node& node, std::string*) {
  int x = builder.tensor_arg(node, 0);
  if (x < 0 || !is_byte(builder.value(x).dtype)) return false;
  x = builder.as_dense(x);
  const PlanValue v = builder.value(x);
  const std::vector<Value> args = builder.plain_args(node);
  const QuantParams from = ops::read_operand(args, 1);
  const ops::QuantOutput to = ops::read_quant_output(args, ops::kRequantizeTail);
  if (!is_byte(to.dtype)) return false;
  const int out = builder.new_value(v.sizes, v.strides, to.dtype);
  const int64_t n = numel_of(v.sizes);
  const bool is_signed = v.dtype == DType::Int8;
  auto step = std::make_unique<KernelStep>([=](RunContext& ctx) {
    is_signed ? run_requantize(ctx.data<const int8_t>(x), n, from, to, ctx.data(out))
              : run_requantize(ctx.data<const uint8_t>(x), n, from, to, ctx.data(out));
  });
  step->in_place_input = x;
  step->info = builder.describe(node, "pt2q requantize", out);
  step->info.note = "exact";
  builder.add(std::move(step), {x}, {out});
  builder.bind(node, out);
  return true;
}

}  // namespace

void add_qbinary_steps(StepMakerMap& makers) {
  makers["pt2q.qadd.default"] = make_binary<QuantBinary::add>;
  makers["pt2q.qmul.default"] = make_binary<QuantBinary::mul>;
  makers["pt2q.qcat.default"] = make_cat;
  makers["pt2q.requantize.default"] = make_requantize;
}

}  // namespace pt2q
