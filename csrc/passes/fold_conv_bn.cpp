// Folding of batch norms into the weights and bias of the operator in front (SPEC 4.1).
#include <unordered_map>

#include "base/log.h"
#include "base/strings.h"
#include "passes/conv_bn.h"
#include "passes/pt2e_passes.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

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
    if (weight == nullptr || weight->opcode() != OpCode::GetAttr ||
        !is_get_attr_or_none(root->arg_node(2)))
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
    const std::string base = root->op().base_name();
    const ConvParameters parameters{root->arg_node(1), root->arg_node(2), is_conv_transpose(base),
                                    base == "linear"};
    const Folded values = folded_values(module_, parameters, bn);
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
