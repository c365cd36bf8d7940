#include "io/pt2_functionalize.h"

#include "base/strings.h"

namespace pt2q {
namespace {

const std::set<std::string>& view_operators() {
  static const std::set<std::string> names = {
      "view",      "view_as",      "_unsafe_view", "permute",     "transpose", "t",
      "numpy_T",   "slice",        "select",       "squeeze",     "unsqueeze", "expand",
      "expand_as", "broadcast_to", "split",        "chunk",       "unbind",    "split_with_sizes",
      "narrow",    "unflatten",    "movedim",      "swapaxes",    "swapdims",  "as_strided",
      "diagonal",  "unfold",       "unsafe_split", "unsafe_chunk"};
  return names;
}
const std::set<std::string>& same_operators() {
  static const std::set<std::string> names = {
      "dropout", "feature_dropout", "alpha_dropout",  "alias",
      "detach",  "lift_fresh",      "requires_grad_", "feature_alpha_dropout"};
  return names;
}
const std::set<std::string>& maybe_operators() {
  static const std::set<std::string> names = {"reshape",    "reshape_as", "flatten",
                                              "contiguous", "to",         "type_as",
                                              "ravel",      "type",       "expand_copy"};
  return names;
}

std::string base_of(const std::string& target) {
  const auto parts = split(target, '.');
  return parts.size() > 1 && parts[0] == "aten" ? parts[1] : "";
}

}  // namespace

bool is_inplace(const std::string& target) {
  const std::string base = base_of(target);
  return base.size() > 1 && base.back() == '_' && base[base.size() - 2] != '_';
}

AliasKind alias_kind(const FileNode& node) {
  const std::string base = base_of(node.target);
  if (is_inplace(node.target) || same_operators().count(base) > 0) return AliasKind::Same;
  if (view_operators().count(base) > 0) return AliasKind::View;
  return maybe_operators().count(base) > 0 ? AliasKind::Maybe : AliasKind::None;
}

const std::string& first_reference(const FileNode& node) {
  static const std::string none;
  const bool found =
      !node.inputs.empty() && node.inputs[0].second.kind == FileValue::Kind::Reference;
  return found ? node.inputs[0].second.name : none;
}

AliasSets::AliasSets(const std::vector<FileNode>& nodes) {
  const auto links_values = [](const FileNode& node) {
    return !first_reference(node).empty() && alias_kind(node) != AliasKind::None;
  };
  for (const FileNode& node : nodes) {
    if (!links_values(node)) continue;
    const std::string& source = first_reference(node);
    for (const FileValue& output : node.outputs) {
      for_each_reference(output, [&](const std::string& name) {
        const std::string a = representative(name);
        const std::string b = representative(source);
        if (a != b) parent_[a] = b;
      });
    }
  }
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (links_values(nodes[i])) links_[representative(first_reference(nodes[i]))].push_back(i);
  }
}

std::string AliasSets::representative(const std::string& name) const {
  std::string at = name;
  for (auto it = parent_.find(at); it != parent_.end(); it = parent_.find(at)) {
    const auto above = parent_.find(it->second);
    if (above != parent_.end()) it->second = above->second;
    at = it->second;
  }
  return at;
}

const std::vector<size_t>& AliasSets::links(const std::string& name) const {
  const auto it = links_.find(representative(name));
  return it == links_.end() ? none_ : it->second;
}

Liveness find_liveness(const FileGraph& graph, const AliasSets& aliases) {
  Liveness out;
  const size_t count = graph.nodes.size();
  out.needed.assign(count, false);
  std::set<std::string> live_sets;
  const auto use = [&](const FileValue& value, size_t at) {
    for_each_reference(value, [&](const std::string& name) {
      if (out.last_use.emplace(name, at).second) live_sets.insert(aliases.representative(name));
    });
  };
  for (const FileValue& output : graph.outputs) use(output, count);
  for (size_t i = count; i-- > 0;) {
    const FileNode& node = graph.nodes[i];
    bool needed = false;
    for (const FileValue& output : node.outputs) {
      for_each_reference(output, [&](const std::string& name) {
        needed = needed || out.last_use.count(name) > 0;
      });
    }
    // What an in-place operator writes may be seen through any alias.
    if (is_inplace(node.target))
      needed = needed || live_sets.count(aliases.representative(first_reference(node))) > 0;
    out.needed[i] = needed;
    if (!needed) continue;
    for (const auto& input : node.inputs) use(input.second, i);
  }
  return out;
}

}  // namespace pt2q
