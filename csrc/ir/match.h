// Patterns: graph text whose free names are variables. The one matcher behind rewrite rules.
//
//   %q = quantized_decomposed.quantize_per_tensor.default(%x, $s, $z, $lo, $hi, $t)
//   %dq = quantized_decomposed.dequantize_per_tensor.default(%q, $s, $z, ...)
//   return %dq
//
// - A %name that no statement defines stands for any node; %name? also for None (or an argument
//   left out); $name for any value without nodes; _ for anything; `...` for all further arguments.
//   The same name twice must be the same node or an equal value.
// - Arguments left out must have their default value, unless `...` ends the list.
// - "aten.{relu,gelu}.default" and "a|b" are alternatives. "get_attr" and "call_module" without
//   [target] match any target. A keyword names an argument: dim=$d.
// - Commutative operators match in both orders of their first two arguments.
// - Nodes between inputs and results must not be used outside the match. `return %a, %b`: the first
//   result is the root of the match and must depend on all others.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "pt2q/graph.h"

namespace pt2q {

struct Match {
  std::map<std::string, Node*> nodes;   // every %name bound to a node, inputs included
  std::map<std::string, Value> values;  // every $name; None for an absent %name?
  std::vector<Node*> interior;          // nodes matched by statements, root last

  Node* node(const std::string& name) const;          // KeyError when absent
  Node* node_or_null(const std::string& name) const;  // for %name?
  const Value& value(const std::string& name) const;  // KeyError when absent
  Node* root() const { return interior.back(); }
};

class Pattern {
 public:
  // Throws ValueError for bad text, NotImplementedError for an unknown operator.
  explicit Pattern(const std::string& source);
  ~Pattern();
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;

  // The match whose root (first result) is `root`.
  std::optional<Match> match_at(Node* root) const;
  // All matches that do not overlap, in graph order of their roots.
  std::vector<Match> find_all(const Graph& graph) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Graph text whose %names and $names come from a match; `return` gives what replaces the root.
class Replacement {
 public:
  explicit Replacement(const std::string& source);
  ~Replacement();
  Replacement(Replacement&&) noexcept;
  Replacement& operator=(Replacement&&) noexcept;

  // Creates the nodes in front of the root, moves all uses of the root to the result and erases
  // what the match leaves without users. New nodes get their value description by inference and the
  // root's module stack. Returns the node that stands for the root.
  Node* apply(Graph& graph, const Match& match) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pt2q
