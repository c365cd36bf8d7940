#include "io/pt2_inplace.h"

#include <set>
#include <utility>

#include "base/strings.h"
#include "ir/view_inverse.h"
#include "pt2q/error.h"
#include "pt2q/op.h"

namespace pt2q {
namespace {

using Kind = FileValue::Kind;

DType dtype_of(const FileGraph& file, const std::string& value, DType otherwise) {
  const auto it = file.tensors.find(value);
  return it == file.tensors.end() ? otherwise : it->second.dtype;
}

// Whether the result may be in the memory of the first argument. lift_fresh stands for a constant
// that every call makes anew.
bool shares_memory(const FileGraph& file, const FileNode& node) {
  const AliasKind kind = alias_kind(node);
  if (kind == AliasKind::None || first_reference(node).empty() ||
      starts_with(node.target, "aten.lift_fresh.") ||
      node.target.find("_copy.") != std::string::npos)
    return false;
  if (kind != AliasKind::Maybe || node.outputs.size() != 1) return true;
  const DType from = dtype_of(file, first_reference(node), DType::Float32);
  return dtype_of(file, node.outputs[0].name, from) == from;  // another dtype is a copy
}

[[noreturn]] void refuse_state(const std::string& what) {
  throw NotImplementedError(
      cat("the model changes its ", what,
          " while running; state that outlives a call is not supported"),
      "export the model in evaluation mode, or pass the state as input and output");
}

}  // namespace

InplaceWrites::InplaceWrites(const FileGraph& file, const AliasSets& aliases, const Liveness& live,
                             Values* values, Call call)
    : file_(file), aliases_(aliases), live_(live), values_(*values), call_(std::move(call)) {
  for (const FileNode& node : file_.nodes) {
    if (!shares_memory(file_, node)) continue;
    const std::string memory = owner(first_reference(node));
    for (const FileValue& output : node.outputs)
      for_each_reference(output, [&](const std::string& name) { owner_.emplace(name, memory); });
  }
}

void InplaceWrites::add_attribute(const std::string& value, const std::string& what) {
  attributes_.emplace(value, what);
}

const std::string& InplaceWrites::owner(const std::string& value) const {
  const auto it = owner_.find(value);
  return it == owner_.end() ? value : it->second;
}

// What the attribute is that shares memory with `value`; null: none does.
const std::string* InplaceWrites::written_attribute(const std::string& value) const {
  const auto it = attributes_.find(owner(value));
  return it == attributes_.end() ? nullptr : &it->second;
}

void InplaceWrites::rebind(size_t index, Node* result) {
  const FileNode& node = file_.nodes[index];
  const std::string& written = first_reference(node);
  const std::string* attribute = written_attribute(written);
  const bool changes = !op_table().get(node.target).traits.identity || result->is_impure();
  if (attribute != nullptr && changes) refuse_state(*attribute);
  Values updated = {{written, result}};
  for (const FileValue& output : node.outputs)
    for_each_reference(output, [&](const std::string& name) { updated[name] = result; });
  update_aliases(written, index, &updated);
  for (const auto& [name, value] : updated) values_[name] = value;
}

void InplaceWrites::refuse_lost_write(const FileNode& node) const {
  const OpDef* op = op_table().find(node.target);
  if (op == nullptr || op->functional.empty() || op->traits.identity) return;
  const std::string* attribute = written_attribute(first_reference(node));
  if (attribute != nullptr && !ends_with(*attribute, "num_batches_tracked'"))
    refuse_state(*attribute);
}

bool InplaceWrites::used_after(const std::string& name, size_t index) const {
  const auto it = live_.last_use.find(name);
  return it != live_.last_use.end() && it->second > index;
}

void InplaceWrites::update_aliases(const std::string& written, size_t index, Values* updated) {
  ActiveLinks& active = active_links_[aliases_.representative(written)];
  const auto& links = aliases_.links(written);
  for (; active.next < links.size() && links[active.next] < index; ++active.next) {
    if (live_.needed[links[active.next]]) active.nodes.push_back(links[active.next]);
  }
  drop_unused_links(index, *updated, &active.nodes);
  for (bool changed = true; changed;) {
    changed = false;
    for (const size_t i : active.nodes) changed = update_link(file_.nodes[i], updated) || changed;
  }
  for (const size_t i : active.nodes) refuse_stale_values(file_.nodes[i], written, index, *updated);
}

// Keeps the links on paths from what is used later; the others never matter again.
void InplaceWrites::drop_unused_links(size_t index, const Values& updated,
                                      std::vector<size_t>* links) const {
  std::set<std::string> wanted;
  std::vector<size_t> kept;
  for (auto it = links->rbegin(); it != links->rend(); ++it) {
    const FileNode& node = file_.nodes[*it];
    const std::string& source = first_reference(node);
    bool keep = false;
    for (const FileValue& output : node.outputs) {
      for_each_reference(output, [&](const std::string& name) {
        keep = keep || wanted.count(name) > 0 || updated.count(name) > 0 || used_after(name, index);
      });
    }
    if (!keep && !(updated.count(source) == 0 && used_after(source, index))) continue;
    kept.push_back(*it);
    wanted.insert(source);
  }
  links->assign(kept.rbegin(), kept.rend());
  drop_unused_roots(index, updated, links);
}

// Drops links from values that nothing needs and that lead to one other value only.
void InplaceWrites::drop_unused_roots(size_t index, const Values& updated,
                                      std::vector<size_t>* links) const {
  std::map<std::string, int> children;
  std::set<std::string> results;
  for (const size_t i : *links) {
    ++children[first_reference(file_.nodes[i])];
    for (const FileValue& output : file_.nodes[i].outputs)
      for_each_reference(output, [&](const std::string& name) { results.insert(name); });
  }
  std::vector<size_t> kept;
  for (const size_t i : *links) {
    const std::string& source = first_reference(file_.nodes[i]);
    const bool needed = used_after(source, index) || updated.count(source) > 0 ||
                        results.count(source) > 0 || children[source] > 1;
    if (needed) {
      kept.push_back(i);
      continue;
    }
    for (const FileValue& output : file_.nodes[i].outputs)
      for_each_reference(output, [&](const std::string& name) { results.erase(name); });
  }
  *links = std::move(kept);
}

// Carries the new value over one link: the same tensor in both directions, to views by taking the
// view again, from views by putting them back. True when something was updated.
bool InplaceWrites::update_link(const FileNode& node, Values* updated) {
  if (node.outputs.size() != 1 || node.outputs[0].kind != Kind::Reference) return false;
  const std::string& from = first_reference(node);
  const std::string& to = node.outputs[0].name;
  const auto source = updated->find(from);
  const auto target = updated->find(to);
  if ((source == updated->end()) == (target == updated->end())) return false;
  const AliasKind kind = alias_kind(node);
  if (kind == AliasKind::Same) {
    if (source != updated->end()) {
      (*updated)[to] = source->second;
    } else {
      (*updated)[from] = target->second;
    }
    return true;
  }
  const auto view = views_.find(to);
  if (kind != AliasKind::View || view == views_.end()) return false;
  if (source != updated->end()) {
    std::vector<Value> args = view->second->args();
    args.at(0) = Value(source->second);
    (*updated)[to] = call_(node, node.target, std::move(args), to);
    return true;
  }
  auto undo = undo_view(*view->second, values_.at(from), target->second);
  if (!undo) return false;
  (*updated)[from] = call_(node, undo->op, std::move(undo->args), from);
  return true;
}

void InplaceWrites::refuse_stale_values(const FileNode& node, const std::string& written,
                                        size_t index, const Values& updated) const {
  const auto check = [&](const std::string& name) {
    if (updated.count(name) > 0 || !used_after(name, index)) return;
    throw NotImplementedError(
        cat("'", name, "' shares memory with '", written,
            "', which is written in place; this use of views is not supported"),
        "use the operator's out-of-place variant in the model");
  };
  check(first_reference(node));
  for (const FileValue& output : node.outputs) for_each_reference(output, check);
}

}  // namespace pt2q
