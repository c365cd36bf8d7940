#include "passes/conv_bn.h"

#include <cmath>

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {

bool is_conv(const std::string& base) {
  return base == "conv1d" || base == "conv2d" || base == "conv3d";
}
bool is_conv_transpose(const std::string& base) { return starts_with(base, "conv_transpose"); }

std::string BatchNorm::key() const {
  const auto name = [](const Node* n) { return n == nullptr ? std::string() : n->target(); };
  return cat(name(weight), "|", name(bias), "|", name(mean), "|", name(var), "|",
             double_to_string(eps));
}

bool is_get_attr_or_none(const Node* n) { return n == nullptr || n->opcode() == OpCode::GetAttr; }

bool read_batch_norm(Node* node, BatchNorm* bn) {
  const bool functional = node->is_call("aten.batch_norm.default");
  if (!functional && !node->is_call("aten._native_batch_norm_legit_no_training.default"))
    return false;
  bn->node = node;
  bn->weight = node->arg_node(1);
  bn->bias = node->arg_node(2);
  bn->mean = node->arg_node(3);
  bn->var = node->arg_node(4);
  const int eps_at = node->op().schema.index_of("eps");
  bn->eps = node->arg(static_cast<size_t>(eps_at)).to_double();
  return bn->mean != nullptr && bn->var != nullptr && is_get_attr_or_none(bn->weight) &&
         is_get_attr_or_none(bn->bias) && is_get_attr_or_none(bn->mean) &&
         is_get_attr_or_none(bn->var);
}

namespace {

std::vector<float> floats(const GraphModule& module, const Node* node, size_t count, float fill) {
  if (node == nullptr) return std::vector<float>(count, fill);
  const Tensor t = module.attr_of(*node).to(DType::Float32).contiguous();
  if (t.numel() != static_cast<int64_t>(count)) {
    throw ValueError(cat("expected ", count, " channels, got ", describe(t))).at_node(node->name());
  }
  const float* p = t.data<float>();
  return std::vector<float>(p, p + count);
}

Tensor scaled_weight(const Tensor& weight, bool transposed, const std::vector<float>& scale) {
  Tensor out = weight.to(DType::Float32).contiguous().clone();
  float* p = out.mutable_data<float>();
  if (out.numel() == 0) return out.to(weight.dtype());
  // Blocks of `inner` numbers of one output channel. Transposed weights are [in, out/groups, ...]
  // with the groups one after the other along `in`.
  const int64_t axis = transposed ? 1 : 0;
  const int64_t blocks = transposed ? out.size(0) * out.size(1) : out.size(0);
  const int64_t inner = out.numel() / blocks;
  const int64_t per_group = out.size(axis);
  const auto channels = static_cast<int64_t>(scale.size());
  const int64_t groups = transposed ? channels / per_group : 1;
  if (groups < 1 || groups * per_group != channels || (transposed && out.size(0) % groups != 0)) {
    throw ValueError(cat("a batch norm of ", channels, " channels does not fit the weight ",
                         describe(weight), " in front of it"),
                     "load parameters of the model's own shapes");
  }
  const int64_t in_per_group = transposed ? out.size(0) / groups : 1;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t channel =
        transposed ? (i / per_group / in_per_group) * per_group + i % per_group : i;
    const float s = scale.at(static_cast<size_t>(channel));
    for (int64_t k = 0; k < inner; ++k) p[i * inner + k] *= s;
  }
  return out.to(weight.dtype());
}

}  // namespace

Folded folded_values(const GraphModule& module, const ConvParameters& conv, const BatchNorm& bn) {
  const Tensor weight = module.attr_of(*conv.weight);
  const Node* bias = conv.bias;
  const auto channels = static_cast<size_t>(module.attr_of(*bn.var).numel());
  const auto gamma = floats(module, bn.weight, channels, 1.0F);
  const auto beta = floats(module, bn.bias, channels, 0.0F);
  const auto mean = floats(module, bn.mean, channels, 0.0F);
  const auto var = floats(module, bn.var, channels, 1.0F);
  const auto b = floats(module, bias, channels, 0.0F);
  std::vector<float> scale(channels);
  std::vector<float> shift(channels);
  const auto eps = static_cast<float>(bn.eps);
  for (size_t c = 0; c < channels; ++c) {
    const float r = 1.0F / std::sqrt(var[c] + eps);
    scale[c] = gamma[c] * r;
    // PyTorch multiplies in another order for linears.
    shift[c] = conv.linear ? (b[c] - mean[c]) * scale[c] + beta[c]
                           : (b[c] - mean[c]) * r * gamma[c] + beta[c];
  }
  const DType bias_type = bias != nullptr ? module.attr_of(*bias).dtype() : weight.dtype();
  return {scaled_weight(weight, conv.transposed, scale),
          Tensor::from_vector(shift, {static_cast<int64_t>(channels)}).to(bias_type)};
}

}  // namespace pt2q
