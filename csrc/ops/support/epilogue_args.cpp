#include "ops/support/epilogue_args.h"

#include <cstdlib>

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q::ops {
namespace {

using kernels::PostOp;
using kernels::PostOpKind;

struct Name {
  const char* text;
  PostOpKind kind;
  int parameters;
};
constexpr Name kNames[] = {
    {"relu", PostOpKind::relu, 0},
    {"clip", PostOpKind::clip, 2},
    {"leaky_relu", PostOpKind::leaky_relu, 1},
    {"hardswish", PostOpKind::hardswish, 0},
    {"sigmoid", PostOpKind::sigmoid, 0},
    {"silu", PostOpKind::silu, 0},
    {"tanh", PostOpKind::tanh, 0},
    {"gelu", PostOpKind::gelu_erf, 0},
    {"gelu_tanh", PostOpKind::gelu_tanh, 0},
    {"add", PostOpKind::add, 0},
};

float number(const std::string& text, const std::string& whole) {
  char* end = nullptr;
  const std::string digits = strip(text);
  const float v = std::strtof(digits.c_str(), &end);
  if (digits.empty() || *end != '\0')
    throw ValueError(cat("post_ops: '", text, "' in '", whole, "' is no number"));
  return v;
}

PostOp parse_one(const std::string& text, const std::string& whole) {
  const size_t open = text.find('(');
  const std::string name = strip(text.substr(0, open));
  std::vector<std::string> parameters;
  if (open != std::string::npos) {
    const size_t close = text.find(')', open);
    if (close == std::string::npos) throw ValueError(cat("post_ops: missing ')' in '", whole, "'"));
    parameters = split(text.substr(open + 1, close - open - 1), ',');
  }
  for (const Name& known : kNames) {
    if (name != known.text) continue;
    if (static_cast<int>(parameters.size()) != known.parameters) {
      throw ValueError(cat("post_ops: ", name, " takes ", known.parameters, " parameters, got ",
                           parameters.size(), " in '", whole, "'"));
    }
    PostOp op;
    op.kind = known.kind;
    if (known.parameters > 0) op.alpha = number(parameters[0], whole);
    if (known.parameters > 1) op.beta = number(parameters[1], whole);
    return op;
  }
  throw ValueError(cat("post_ops: unknown operation '", name, "' in '", whole, "'"));
}

}  // namespace

std::vector<PostOp> parse_post_ops(const std::string& text) {
  std::vector<PostOp> out;
  size_t begin = 0;
  int depth = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    const char c = i < text.size() ? text[i] : ',';
    depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    if (c != ',' || depth > 0) continue;
    const std::string part = strip(text.substr(begin, i - begin));
    if (!part.empty()) out.push_back(parse_one(part, text));
    begin = i + 1;
  }
  return out;
}

std::string post_op_text(const PostOp& op) {
  for (const Name& known : kNames) {
    if (op.kind != known.kind) continue;
    if (known.parameters == 0) return known.text;
    std::string text = cat(known.text, "(", double_to_string(static_cast<double>(op.alpha)));
    if (known.parameters > 1) text += ", " + double_to_string(static_cast<double>(op.beta));
    return text + ")";
  }
  throw InternalError("post_op_text: unknown kind");
}

kernels::ElemType elem_type(DType dtype) {
  switch (dtype) {
    case DType::Float32:
      return kernels::ElemType::f32;
    case DType::UInt8:
      return kernels::ElemType::u8;
    case DType::Int8:
      return kernels::ElemType::s8;
    case DType::BFloat16:
      return kernels::ElemType::bf16;
    default:
      throw TypeError(cat("expected float32, bfloat16, uint8 or int8, got ", dtype_name(dtype)));
  }
}

DType epilogue_dtype(const std::vector<Value>& args, size_t first) {
  const Value& dtype = args.at(first + 8);
  return dtype.is_none() ? DType::Float32 : dtype.as<DType>();
}

int32_t read_x_max(const std::vector<Value>& args, size_t first) {
  return static_cast<int32_t>(args.at(first + 9).to_int());
}

kernels::EpilogueSpec read_epilogue(const std::vector<Value>& args, size_t first) {
  kernels::EpilogueSpec spec;
  spec.ops = parse_post_ops(args.at(first + 3).as<std::string>());
  const Value& other = args.at(first);
  for (PostOp& op : spec.ops) {
    if (op.kind != PostOpKind::add) continue;
    if (other.is_none()) throw ValueError("post_ops has 'add', but 'other' is None");
    op.residual_type =
        elem_type(other.is<Tensor>() ? other.as<Tensor>().dtype() : other.as<TensorMeta>().dtype);
    if (op.residual_type == kernels::ElemType::bf16) op.residual_type = kernels::ElemType::f32;
    op.residual_scale = static_cast<float>(args.at(first + 1).to_double());
    op.residual_zero_point = static_cast<int32_t>(args.at(first + 2).to_int());
  }
  spec.out = elem_type(epilogue_dtype(args, first));
  spec.out_scale = static_cast<float>(args.at(first + 4).to_double());
  spec.out_zero_point = static_cast<int32_t>(args.at(first + 5).to_int());
  spec.qmin = static_cast<int32_t>(args.at(first + 6).to_int());
  spec.qmax = static_cast<int32_t>(args.at(first + 7).to_int());
  return spec;
}

void set_scale_and_bias(kernels::EpilogueSpec& spec, double x_scale, const Tensor& w_scale,
                        const Tensor& bias) {
  const Tensor scale = w_scale.to(DType::Float32).contiguous();
  const float* const values = scale.data<float>();
  for (int64_t c = 0; c < scale.numel(); ++c)
    spec.scale.push_back(static_cast<float>(x_scale * static_cast<double>(values[c])));
  if (!bias.defined()) return;
  const Tensor b = bias.to(DType::Float32).contiguous();
  spec.bias.assign(b.data<float>(), b.data<float>() + b.numel());
}

}  // namespace pt2q::ops
