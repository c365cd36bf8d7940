// Elementwise float32 operators with our own kernels; broadcasting ones through oneDNN.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/parallel.h"
#include "base/strings.h"
#include "kernels/elementwise.h"
#include "onednn/dnnl_step.h"
#include "onednn/kernel_step.h"
#include "onednn/step_makers.h"

namespace pt2q {
namespace {

// A step that may write over its first input.
void finish_in_place(PlanBuilder& builder, const Node& node, std::unique_ptr<Step> step,
                     std::vector<int> inputs, int out) {
  step->in_place_input = inputs[0];
  step->info = builder.describe(node, cat("pt2q ", node.op().base_name()), out);
  builder.add(std::move(step), std::move(inputs), {out});
  builder.bind(node, out);
}

// --- one operand ---------------------------------------------------------------------------------

// The upper bound wins over a lower one above it.
bool clamp_bounds(const PlanBuilder& b, const Node& node, UnaryStep* step) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto bound = [&](const char* name, float none) {
    const int at = node.op().schema.index_of(name);
    if (at < 0) return none;
    const Value given = b.plain_arg(node, static_cast<size_t>(at));
    return given.is_none() ? none : static_cast<float>(given.to_double());
  };
  step->beta = bound("max", kInfinity);
  step->alpha = std::min(bound("min", -kInfinity), step->beta);
  return !std::isnan(step->alpha) && !std::isnan(step->beta);
}

// The kernel of a node, with its parameters; nothing when an argument is not supported.
bool unary_of(const PlanBuilder& b, const Node& node, UnaryStep* step) {
  static const std::unordered_map<std::string, Unary> kNames = {
      {"relu", Unary::relu},
      {"relu6", Unary::clip},
      {"hardtanh", Unary::clip},
      {"clamp", Unary::clip},
      {"leaky_relu", Unary::leaky_relu},
      {"hardswish", Unary::hardswish},
      {"hardsigmoid", Unary::hardsigmoid},
      {"silu", Unary::silu},
      {"sigmoid", Unary::sigmoid},
      {"tanh", Unary::tanh},
      {"mish", Unary::mish},
      {"gelu", Unary::gelu_erf},
      {"exp", Unary::exp},
      {"erf", Unary::erf},
      {"clip", Unary::clip},
      {"clamp_min", Unary::clip},
      {"clamp_max", Unary::clip},
      {"floor", Unary::floor},
      {"ceil", Unary::ceil},
      {"round", Unary::round},
      {"trunc", Unary::trunc},
      {"fix", Unary::trunc},
      {"frac", Unary::frac},
      {"abs", Unary::abs},
      {"absolute", Unary::abs},
      {"neg", Unary::neg},
      {"negative", Unary::neg},
      {"square", Unary::square},
      {"reciprocal", Unary::reciprocal},
      {"rsqrt", Unary::rsqrt},
  };
  const std::string base = node.op().base_name();
  step->op = kNames.at(base);
  const auto number = [&](size_t i) {
    return static_cast<float>(b.plain_arg(node, i).to_double());
  };
  if (base == "relu6") step->beta = 6.0F;
  if (base == "hardtanh") {
    step->alpha = number(1);
    step->beta = number(2);
  }
  if (base == "clamp" || base == "clip" || base == "clamp_min" || base == "clamp_max")
    return clamp_bounds(b, node, step);
  if (base == "leaky_relu") step->alpha = number(1);
  if (base == "gelu" && b.plain_arg(node, 1).as<std::string>() == "tanh")
    step->op = Unary::gelu_tanh;
  return true;
}

// Kernels of one tensor: `kernel`(x, elements, y), which may be the same array.
template <class Kernel>
bool add_elementwise(PlanBuilder& builder, const Node& node, int x, Kernel kernel) {
  x = builder.as_dense(x);
  const PlanValue v = builder.value(x);
  const int out = builder.new_value(v.sizes, v.strides, DType::Float32);
  const int64_t n = numel_of(v.sizes);
  finish_in_place(builder, node, std::make_unique<KernelStep>([=](RunContext& ctx) {
                    kernel(ctx.data<const float>(x), n, ctx.data<float>(out));
                  }),
                  {x}, out);
  return true;
}

bool make_unary(PlanBuilder& builder, const Node& node, std::string*) {
  const int x = builder.tensor_arg(node, 0);
  UnaryStep step;
  if (!is_float32(builder, x) || builder.result_meta(node).dtype != DType::Float32 ||
      !unary_of(builder, node, &step)) {
    return false;
  }
  return add_elementwise(
      builder, node, x, [=](const float* from, int64_t n, float* to) { unary(step, from, n, to); });
}

// --- two operands --------------------------------------------------------------------------------

// add and mul with a smaller second operand: oneDNN broadcasts.
bool add_broadcast(PlanBuilder& builder, const Node& node, int a, int b, bool multiply) {
  const Shape sizes = builder.result_sizes(node);
  if (builder.value(a).sizes != sizes) std::swap(a, b);
  const Shape b_sizes = builder.value(b).sizes;
  if (builder.value(a).sizes != sizes || b_sizes.size() > sizes.size() || sizes.empty())
    return false;
  a = builder.as_dense(a);
  const PlanValue av = builder.value(a);
  b = builder.as_contiguous(b);
  Shape padded(sizes.size() - b_sizes.size(), 1);
  padded.insert(padded.end(), b_sizes.begin(), b_sizes.end());
  const auto a_desc = onednn::desc_of(sizes, av.strides, DType::Float32);
  const auto b_desc = onednn::desc_of(padded, contiguous_strides(padded), DType::Float32);
  const auto primitive = onednn::make_binary_add(a_desc, b_desc, a_desc, multiply);
  if (!primitive) return false;
  const int out = builder.new_value(sizes, av.strides, DType::Float32);
  auto step = std::make_unique<DnnlStep>(primitive);
  step->bind(DNNL_ARG_SRC_0, a_desc, a);
  step->bind(DNNL_ARG_SRC_1, b_desc, b);
  step->bind(DNNL_ARG_DST, a_desc, out);
  step->in_place_input = a;
  step->info = builder.describe(node, step->kernel(), out);
  add_dnnl_step(builder, std::move(step), {a, b}, {out});
  builder.bind(node, out);
  return true;
}

// The second operand holds one value per row of the last dimension.
bool add_per_row(PlanBuilder& builder, const Node& node, int a, int b, Binary op) {
  Shape per_row = builder.value(a).sizes;
  if (per_row.empty()) return false;
  per_row.back() = 1;
  if (builder.value(b).sizes != per_row) return false;
  a = builder.as_contiguous(a);
  b = builder.as_contiguous(b);
  const PlanValue v = builder.value(a);
  const int64_t n = v.sizes.back(), rows = numel_of(per_row);
  const int out = builder.new_value(v.sizes, v.strides, DType::Float32);
  finish_in_place(builder, node, std::make_unique<KernelStep>([=](RunContext& ctx) {
                    parallel_for(rows, (1 << 15) / n + 1, [&](int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; ++i) {
                        binary_scalar(op, ctx.data<const float>(a) + i * n,
                                      ctx.data<const float>(b)[i], n, false,
                                      ctx.data<float>(out) + i * n);
                      }
                    });
                  }),
                  {a, b}, out);
  return true;
}

bool is_number(const Value& v) { return v.is<double>() || v.is<int64_t>(); }

// number - x.
bool make_reversed(PlanBuilder& builder, const Node& node, std::string*) {
  const int x = builder.tensor_arg(node, 0);
  const Value number = builder.plain_arg(node, 1);
  if (!is_float32(builder, x) || builder.result_meta(node).dtype != DType::Float32 ||
      !is_number(number) || builder.plain_arg(node, 2).to_double() != 1.0) {
    return false;
  }
  const auto whole = static_cast<float>(number.to_double());
  return add_elementwise(builder, node, x, [=](const float* from, int64_t n, float* to) {
    binary_scalar(Binary::mul, from, -1.0F, n, false, to);
    binary_scalar(Binary::add, to, whole, n, false, to);
  });
}

template <Binary kOp>
bool make_binary(PlanBuilder& builder, const Node& node, std::string*) {
  int a = builder.tensor_arg(node, 0);
  if (!is_float32(builder, a) || builder.result_meta(node).dtype != DType::Float32) return false;
  constexpr bool kHasAlpha = kOp == Binary::add || kOp == Binary::sub;
  if (kHasAlpha && builder.plain_arg(node, 2).to_double() != 1.0) return false;
  const Value second = builder.plain_arg(node, 1);
  if (is_number(second)) {
    const auto scalar = static_cast<float>(second.to_double());
    return add_elementwise(builder, node, a, [=](const float* from, int64_t n, float* to) {
      binary_scalar(kOp, from, scalar, n, false, to);
    });
  }
  int b = builder.tensor_arg(node, 1);
  if (!is_float32(builder, b)) return false;
  if (builder.value(a).sizes != builder.value(b).sizes) {
    if ((kOp == Binary::sub || kOp == Binary::div) && add_per_row(builder, node, a, b, kOp))
      return true;
    return (kOp == Binary::add || kOp == Binary::mul) &&
           add_broadcast(builder, node, a, b, kOp == Binary::mul);
  }
  a = builder.as_dense(a);
  const PlanValue v = builder.value(a);
  b = builder.as_layout(b, v.strides);
  const int out = builder.new_value(v.sizes, v.strides, DType::Float32);
  const int64_t n = numel_of(v.sizes);
  finish_in_place(builder, node, std::make_unique<KernelStep>([=](RunContext& ctx) {
                    binary(kOp, ctx.data<const float>(a), ctx.data<const float>(b), n, false,
                           ctx.data<float>(out));
                  }),
                  {a, b}, out);
  return true;
}

}  // namespace

void add_pointwise_steps(StepMakerMap& makers) {
  for (const char* name :
       {"relu",      "relu6",       "hardtanh", "clamp",      "clip",  "clamp_min",
        "clamp_max", "leaky_relu",  "silu",     "tanh",       "gelu",  "hardswish",
        "exp",       "hardsigmoid", "sigmoid",  "erf",        "floor", "ceil",
        "round",     "trunc",       "fix",      "frac",       "abs",   "absolute",
        "neg",       "negative",    "square",   "reciprocal", "rsqrt", "mish"}) {
    makers[cat("aten.", name, ".default")] = make_unary;
  }
  makers["aten.rsub.Scalar"] = make_reversed;
  for (const char* overload : {"Tensor", "Scalar"}) {
    makers[cat("aten.add.", overload)] = make_binary<Binary::add>;
    makers[cat("aten.sub.", overload)] = make_binary<Binary::sub>;
    makers[cat("aten.mul.", overload)] = make_binary<Binary::mul>;
    makers[cat("aten.div.", overload)] = make_binary<Binary::div>;
  }
  makers["aten.maximum.default"] = make_binary<Binary::maximum>;
  makers["aten.minimum.default"] = make_binary<Binary::minimum>;
}

}  // namespace pt2q
