// In-place operators of a file: which values share memory, and which nodes are needed.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "io/pt2_graph.h"

namespace pt2q {

// How the result of a node relates to the memory of its first argument.
enum class AliasKind {
  None,   // new memory
  Same,   // the same values in the same memory (dropout in evaluation, in-place operators)
  View,   // a view, whatever the strides
  Maybe,  // a view or a copy, depending on strides or dtype (reshape, contiguous, to)
};
AliasKind alias_kind(const FileNode& node);

// True for "aten.relu_.default" and other operators that write their first argument.
bool is_inplace(const std::string& target);

// Name of the value a node's first argument refers to; "" when it is no reference.
const std::string& first_reference(const FileNode& node);

class AliasSets {
 public:
  explicit AliasSets(const std::vector<FileNode>& nodes);
  // Nodes that tie values of the set of `name` together, in order.
  const std::vector<size_t>& links(const std::string& name) const;
  // The name that stands for the set of `name`.
  std::string representative(const std::string& name) const;

 private:
  mutable std::map<std::string, std::string> parent_;  // paths are shortened while searching
  std::map<std::string, std::vector<size_t>> links_;
  std::vector<size_t> none_;
};

struct Liveness {
  std::vector<bool> needed;                // by node
  std::map<std::string, size_t> last_use;  // by value; outputs count as node nodes.size()
};
Liveness find_liveness(const FileGraph& graph, const AliasSets& aliases);

}  // namespace pt2q
