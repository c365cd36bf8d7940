#include "io/pt2_attributes.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/op.h"

namespace pt2q {
namespace {

bool is_quantized(const GraphModule& model) {
  const auto nodes = model.graph().nodes();
  return std::any_of(nodes.begin(), nodes.end(), [](const Node* n) {
    return n->opcode() == OpCode::CallFunction &&
           n->op().namespace_name() == "quantized_decomposed";
  });
}

}  // namespace

std::vector<SavedAttr> attributes_to_save(const GraphModule& model) {
  std::set<std::string> used;
  std::set<std::string> names;
  for (const Node* n : model.graph().nodes()) {
    names.insert(n->name());
    if (n->opcode() == OpCode::GetAttr) used.insert(n->target());
  }
  const bool only_used = is_quantized(model);
  std::vector<SavedAttr> out;
  for (const std::string& name : model.attr_names()) {
    const Attr& attr = model.attr(name);
    if (only_used && used.count(name) == 0) continue;
    if (!attr.tensor.defined()) throw ValueError(cat("attribute '", name, "' has no value"));
    const char* prefix = attr.kind == AttrKind::Parameter  ? "p_"
                         : attr.kind == AttrKind::Constant ? "c_"
                                                           : "b_";
    std::string input = prefix + name;
    for (char& c : input) {
      if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
    }
    while (!names.insert(input).second) input += "_";
    out.push_back({name, input, attr.kind, attr.tensor});
  }
  const auto rank = [](AttrKind kind) {
    return kind == AttrKind::Parameter ? 0 : kind == AttrKind::Constant ? 2 : 1;
  };
  std::stable_sort(out.begin(), out.end(), [&](const SavedAttr& a, const SavedAttr& b) {
    return rank(a.kind) < rank(b.kind);
  });
  return out;
}

}  // namespace pt2q
