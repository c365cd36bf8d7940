#include "quantizers/annotate.h"

#include <algorithm>

#include "pt2q/error.h"

namespace pt2q {

OpSet op_set(const std::vector<std::string>& names) {
  OpSet out;
  for (const std::string& name : names) {
    if (const OpDef* op = op_table().find(name)) out.insert(op);
  }
  return out;
}

bool is_annotated(const Node* node) {
  const auto& annotation = node->meta.quantization_annotation;
  return annotation != nullptr && annotation->annotated;
}

bool is_any_annotated(const std::vector<Node*>& nodes) {
  return std::any_of(nodes.begin(), nodes.end(), [](const Node* n) { return is_annotated(n); });
}

void mark_annotated(Node* node) {
  auto& annotation = node->meta.quantization_annotation;
  if (!annotation) annotation = std::make_shared<QuantizationAnnotation>();
  annotation->annotated = true;
}

QuantizationAnnotation& new_annotation(Node* node) {
  node->meta.quantization_annotation = std::make_shared<QuantizationAnnotation>();
  node->meta.quantization_annotation->annotated = true;
  return *node->meta.quantization_annotation;
}

void annotate_not_quantized(Node* node) { new_annotation(node); }

SpecPtr shared_with(const EdgeOrNode& edge_or_node) {
  auto spec = std::make_shared<SharedQuantizationSpec>();
  spec->edge_or_node = edge_or_node;
  return spec;
}

void check_activation_only(const ConfigPtr& config) {
  if (config) {
    throw ValueError("activation_only=True leaves activations in float and needs no configuration",
                     "give None, and configure the weights with the other setters");
  }
}

bool is_float_tensor(const Node* node) {
  const Value& val = node->meta.val;
  return val.is_none() || (val.is<TensorMeta>() && is_floating_point(val.as<TensorMeta>().dtype));
}

bool is_float32_tensor(const Node* node) {
  const Value& val = node->meta.val;
  return val.is<TensorMeta>() && val.as<TensorMeta>().dtype == DType::Float32;
}

int64_t dims_of(const Node* node) {
  const Value& val = node->meta.val;
  return val.is<TensorMeta>() ? static_cast<int64_t>(val.as<TensorMeta>().sizes.size()) : -1;
}

Node* Chain::last() const {
  if (unary != nullptr) return unary;
  if (binary != nullptr) return binary;
  return batch_norm != nullptr ? batch_norm : root;
}

std::vector<Node*> Chain::nodes() const {
  std::vector<Node*> out;
  for (Node* n : {unary, binary, batch_norm, root}) {
    if (n != nullptr) out.push_back(n);
  }
  return out;
}

namespace {

void extend(Chain chain, const ChainRow& row, int stage,
            const std::function<void(const Chain&)>& fn) {
  static constexpr int kBatchNorm = 0;
  static constexpr int kBinary = 1;
  static constexpr int kDone = 3;
  const OpSet* sets[] = {&row.batch_norm, &row.binary, &row.unary};
  while (stage < kDone && sets[stage]->empty()) ++stage;
  if (stage == kDone) {
    fn(chain);
    return;
  }
  Node* from = chain.last();
  for (Node* user : from->users()) {
    if (!is_in(user, *sets[stage])) continue;
    Chain next = chain;
    if (stage == kBinary) {
      Node* a = user->arg_node(0);
      Node* b = user->arg_node(1);
      if (a == nullptr || b == nullptr) continue;  // a scalar operand
      next.binary = user;
      next.extra = a == from ? b : a;
    } else if (user->arg_node(0) != from) {
      continue;
    } else {
      (stage == kBatchNorm ? next.batch_norm : next.unary) = user;
    }
    extend(next, row, stage + 1, fn);
  }
}

}  // namespace

void for_each_chain(const std::vector<Node*>& roots, const ChainRow& row,
                    const std::function<void(const Chain&)>& fn) {
  for (Node* root : roots) {
    if (!is_in(root, row.roots)) continue;
    Chain chain;
    chain.root = root;
    extend(chain, row, 0, fn);
  }
}

}  // namespace pt2q
