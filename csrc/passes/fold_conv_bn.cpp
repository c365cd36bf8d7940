// Folding of batch norms into the weights and bias of the operator in front (SPEC 4.1).
//   r = 1/sqrt(var + eps);  W' = W * (gamma * r) per output channel;  b' = (b - mean) * r * gamma +
//   beta
// in float32 and in this order, so that the result has PyTorch's bits.
#include <cmath>
#include <cstring>
#include <unordered_map>

#include "base/log.h"
#include "base/strings.h"
#include "passes/pt2e_passes.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

bool is_conv(const std::string& base) {
  return base == "conv1d" || base == "conv2d" || base == "conv3d";
}
bool is_conv_transpose(const std::string& base) { return starts_with(base, "conv_transpose"); }

struct BatchNorm {
  Node* node = nullptr;
  Node* weight = nullptr;  // gamma, null: ones
  Node* bias = nullptr;    // beta, null: zeros
  Node* mean = nullptr;
  Node* var = nullptr;
  double eps = 0.0;

  // Batch norms of equal key scale alike.
  std::string key() const {
    const auto name = [](const Node* n) { return n == nullptr ? std::string() : n->target(); };
    return cat(name(weight), "|", name(bias), "|", name(mean), "|", name(var), "|",
               double_to_string(eps));
  }
};

bool is_constant(const Node* n) { return n == nullptr || n->opcode() == OpCode::GetAttr; }

// Fills `bn` from a batch_norm node; false for other nodes or computed statistics.
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
  return bn->mean != nullptr && bn->var != nullptr && is_constant(bn->weight) &&
         is_constant(bn->bias) && is_constant(bn->mean) && is_constant(bn->var);
}

std::vector<float> floats(const GraphModule& module, const Node* node, size_t count, float fill) {
  if (node == nullptr) return std::vector<float>(count, fill);
  const Tensor t = module.attr_of(*node).to(DType::Float32).contiguous();
  if (t.numel() != static_cast<int64_t>(count)) {
    throw ValueError(cat("expected ", count, " channels, got ", describe(t))).at_node(node->name());
  }
  const float* p = t.data<float>();
  return std::vector<float>(p, p + count);
}

struct Folded {
  Tensor weight;
  Tensor bias;
};

class Folder {
 public:
  explicit Folder(GraphModule& module) : module_(module), graph_(module.graph()) {}

  bool run() {
    for (Node* node : graph_.nodes()) {
      if (!node->erased()) try_fold(node);
    }
    if (changed_) graph_.eliminate_dead_code();
    return changed_;
  }

 private:
  void try_fold(Node* node) {
    BatchNorm bn;
    if (!read_batch_norm(node, &bn)) return;
    Node* root = node->arg_node(0);
    if (root == nullptr || root->op_or_null() == nullptr || !can_fold(root)) return;
    // Other users of the root would see the normalised value.
    for (Node* user : root->users()) {
      if (user != node) return;
    }
    fold(root, bn);
    replace(bn.node, root);
    changed_ = true;
  }

  bool can_fold(const Node* root) const {
    const std::string base = root->op().base_name();
    const bool linear = base == "linear" && root->op().namespace_name() == "aten";
    if (!linear && !is_conv(base) && !is_conv_transpose(base)) return false;
    const Node* weight = root->arg_node(1);
    if (weight == nullptr || weight->opcode() != OpCode::GetAttr || !is_constant(root->arg_node(2)))
      return false;
    if (!is_floating_point(module_.attr_of(*weight).dtype())) return false;
    if (!linear) return true;
    // Linear works on the last dimension, batch norm on dimension 1: the same for 2-D input only.
    const Node* input = root->arg_node(0);
    if (input != nullptr && input->meta.val.is<TensorMeta>() &&
        input->meta.val.as<TensorMeta>().sizes.size() > 2) {
      warn(cat("Not fusing linear+bn for node '", root->name(), "': the linear input is ",
               input->meta.val.as<TensorMeta>().sizes.size(),
               "-D so Linear and BatchNorm operate on different dimensions"));
      return false;
    }
    return true;
  }

  Folded folded_values(const Node* root, const BatchNorm& bn) const {
    const Tensor weight = module_.attr_of(*root->arg_node(1));
    const Node* bias = root->arg_node(2);
    const auto channels = static_cast<size_t>(module_.attr_of(*bn.var).numel());
    const auto gamma = floats(module_, bn.weight, channels, 1.0F);
    const auto beta = floats(module_, bn.bias, channels, 0.0F);
    const auto mean = floats(module_, bn.mean, channels, 0.0F);
    const auto var = floats(module_, bn.var, channels, 1.0F);
    const auto b = floats(module_, bias, channels, 0.0F);
    std::vector<float> scale(channels);
    std::vector<float> shift(channels);
    const auto eps = static_cast<float>(bn.eps);
    const bool linear = root->op().base_name() == "linear";
    for (size_t c = 0; c < channels; ++c) {
      const float r = 1.0F / std::sqrt(var[c] + eps);
      scale[c] = gamma[c] * r;
      // PyTorch multiplies in another order for linears.
      shift[c] = linear ? (b[c] - mean[c]) * scale[c] + beta[c]
                        : (b[c] - mean[c]) * r * gamma[c] + beta[c];
    }
    const DType bias_type = bias != nullptr ? module_.attr_of(*bias).dtype() : weight.dtype();
    return {scaled_weight(root, weight, scale),
            Tensor::from_vector(shift, {static_cast<int64_t>(channels)}).to(bias_type)};
  }

  static Tensor scaled_weight(const Node* root, const Tensor& weight,
                              const std::vector<float>& scale) {
    Tensor out = weight.to(DType::Float32).contiguous().clone();
    float* p = out.mutable_data<float>();
    const bool transposed = is_conv_transpose(root->op().base_name());
    // Blocks of `inner` numbers of one output channel. Transposed weights are [in, out/groups, ...]
    // with the groups one after the other along `in`.
    const int64_t axis = transposed ? 1 : 0;
    const int64_t blocks = transposed ? out.size(0) * out.size(1) : out.size(0);
    const int64_t inner = blocks == 0 ? 0 : out.numel() / blocks;
    const int64_t per_group = out.size(axis);
    const int64_t groups = transposed ? static_cast<int64_t>(scale.size()) / per_group : 1;
    const int64_t in_per_group = transposed ? out.size(0) / groups : 1;
    for (int64_t i = 0; i < blocks; ++i) {
      const int64_t channel =
          transposed ? (i / per_group / in_per_group) * per_group + i % per_group : i;
      const float s = scale.at(static_cast<size_t>(channel));
      for (int64_t k = 0; k < inner; ++k) p[i * inner + k] *= s;
    }
    return out.to(weight.dtype());
  }

  // Everything that uses this weight is normalised alike: the weight may be changed in place.
  bool sole_norm_of(const std::string& weight, const std::string& key) {
    if (weight_uses_.empty()) collect_weight_uses();
    for (const std::string& other : weight_uses_[weight]) {
      if (other != key) return false;
    }
    return true;
  }

  void collect_weight_uses() {
    for (Node* n : graph_.nodes()) {
      if (n->opcode() != OpCode::GetAttr) continue;
      auto& uses = weight_uses_[n->target()];
      for (Node* user : n->users()) {
        BatchNorm bn;
        const bool normalised = user->users().size() == 1 &&
                                read_batch_norm(user->users()[0], &bn) &&
                                bn.node->arg_node(0) == user && user->arg_node(1) == n;
        uses.push_back(normalised ? bn.key() : "not normalised: " + user->name());
      }
    }
  }

  void fold(Node* root, const BatchNorm& bn) {
    const std::string weight = root->arg_node(1)->target();
    const std::string key = weight + "|" + bn.key();
    const auto done = folded_.find(key);
    if (done != folded_.end()) {
      use(root, done->second.first, done->second.second);
      return;
    }
    const Folded values = folded_values(root, bn);
    const Node* bias = root->arg_node(2);
    // The names PyTorch uses; fresh ones where other users need the old values.
    const bool sole = sole_norm_of(weight, bn.key());
    const std::string weight_name = sole ? weight : module_.unique_attr(weight + "_folded");
    std::string bias_name = bias != nullptr ? bias->target() : weight + "_bias";
    const bool keep =
        bias != nullptr ? shared_bias_is_alike(bias, bn) : !module_.has_attr(bias_name);
    if (!keep) bias_name = module_.unique_attr(bias_name + "_folded");
    module_.set_attr(weight_name, values.weight, AttrKind::Parameter);
    module_.set_attr(bias_name, values.bias, AttrKind::Parameter);
    folded_[key] = {weight_name, bias_name};
    use(root, weight_name, bias_name);
  }

  // A bias used by several operators with the same batch norm (one module called several times).
  static bool shared_bias_is_alike(const Node* bias, const BatchNorm& bn) {
    for (Node* user : bias->users()) {
      BatchNorm other;
      if (user->users().size() != 1 || !read_batch_norm(user->users()[0], &other) ||
          other.key() != bn.key())
        return false;
    }
    return true;
  }

  void use(Node* root, const std::string& weight, const std::string& bias) {
    const auto point = graph_.inserting_before(root);
    for (const auto& [i, name] : {std::pair<size_t, std::string>{1, weight}, {2, bias}}) {
      Node* old = root->arg_node(i);
      if (old != nullptr && old->target() == name) continue;
      Node* attr = graph_.get_attr(name);
      const Tensor value = module_.attr(name).tensor;
      attr->meta.val = TensorMeta{to_sym(value.sizes()), value.dtype(), value.device()};
      root->set_arg(i, attr);
    }
  }

  void replace(Node* bn, Node* root) {
    if (bn->is_call("aten.batch_norm.default")) {
      bn->replace_all_uses_with(root);
      graph_.erase_node(bn);
      return;
    }
    const std::vector<Node*> users = bn->users();
    for (Node* user : users) {  // getitem 0 is the normalised value
      if (!user->is_call("_operator.getitem") || user->arg(1).to_int() != 0) continue;
      user->replace_all_uses_with(root);
      graph_.erase_node(user);
    }
    if (bn->users().empty()) graph_.erase_node(bn);
  }

  GraphModule& module_;
  Graph& graph_;
  bool changed_ = false;
  std::unordered_map<std::string, std::vector<std::string>> weight_uses_;
  std::unordered_map<std::string, std::pair<std::string, std::string>> folded_;
};

}  // namespace

bool fold_conv_bn(GraphModule& module) { return Folder(module).run(); }

}  // namespace pt2q
