// Clipping between a quantize and a quantize with equal parameters becomes the bounds of the first:
// where a quantizer treats a layer and its activation as two operators (XNNPACK's and hardtanh),
// the layer's own quantize does both.
#include <algorithm>
#include <limits>

#include "kernels/affine.h"
#include "onednn/lower.h"

namespace pt2q {
namespace {

// The integer of `bound`, which all integers of values on its inner side stay on the same side of.
int64_t quantized_bound(double bound, const TensorQuant& q) {
  return static_cast<int64_t>(quantize_real(
      static_cast<float>(bound), inverse_scale(q.scale), static_cast<float>(q.zero_point),
      static_cast<float>(q.quant_min), static_cast<float>(q.quant_max)));
}

bool only_requantized(const GraphModule& module, const Node* clip, const TensorQuant& q) {
  for (const Node* user : clip->users()) {
    const auto again = read_quantize(module, user);
    if (!again || !same_parameters(*again, q)) return false;
  }
  return !clip->users().empty();
}

}  // namespace

std::optional<ClipRange> clip_range_of(const Node* node) {
  if (node->op_or_null() == nullptr) return std::nullopt;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (node->is_call("aten.relu.default")) return ClipRange{0.0, kInfinity};
  if (node->is_call("aten.relu6.default")) return ClipRange{0.0, 6.0};
  if (!node->is_call("aten.hardtanh.default") && !node->is_call("aten.clamp.default"))
    return std::nullopt;
  const Value &low = node->arg(1), &high = node->arg(2);
  if (low.is<Node*>() || high.is<Node*>()) return std::nullopt;
  return ClipRange{low.is_none() ? -kInfinity : low.to_double(),
                   high.is_none() ? kInfinity : high.to_double()};
}

bool clip_in_quantize(GraphModule& module) {
  Graph& graph = module.graph();
  bool changed = false;
  for (Node* clip : graph.nodes()) {
    const auto range = clip->erased() ? std::nullopt : clip_range_of(clip);
    if (!range || range->low > range->high) continue;
    Node* dequantize = clip->arg_node(0);
    const auto dq = read_dequantize(module, dequantize);
    if (!dq || dequantize->users().size() != 1 || dq->input->users().size() != 1) continue;
    Node* first = dq->input;
    const auto q = read_quantize(module, first);
    if (!q || !same_parameters(*q, *dq) || !only_requantized(module, clip, *q)) continue;
    const auto point = graph.inserting_before(first);
    Node* clipped =
        graph.call_function("quantized_decomposed.quantize_per_tensor.default",
                            {q->input, q->scale, q->zero_point, quantized_bound(range->low, *q),
                             quantized_bound(range->high, *q), q->dtype});
    const std::vector<Node*> users(clip->users().begin(), clip->users().end());
    clipped->meta = users[0]->meta;
    for (Node* user : users) {
      user->replace_all_uses_with(clipped);
      graph.erase_node(user);
    }
    for (Node* gone : {clip, dequantize, first}) graph.erase_node(gone);
    changed = true;
  }
  return changed;
}

}  // namespace pt2q
