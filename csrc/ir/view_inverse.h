// Writing through a view: what the tensor behind it is afterwards.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pt2q/graph.h"

namespace pt2q {

struct ViewInverse {
  std::string op;
  std::vector<Value> args;
};

// The call that gives the tensor which `view`, a call of a view operator, was taken of, once that
// view has the value `part`; `whole` is the tensor's value until then. Nothing for operators whose
// result repeats elements (expand, as_strided, unfold) or may be a copy (reshape, contiguous).
std::optional<ViewInverse> undo_view(const Node& view, Node* whole, Node* part);

}  // namespace pt2q
