// Which edges and nodes are observed by one observer instance (SPEC 4.2 and 4.3).
#pragma once

#include <unordered_map>
#include <utility>
#include <vector>

#include "pt2q/error.h"
#include "pt2q/quantizer.h"

namespace pt2q {

struct EdgeOrNodeHash {
  size_t operator()(const EdgeOrNode& e) const {
    const std::hash<const void*> hash;
    return hash(e.producer) * 31 + hash(e.consumer);
  }
};
template <typename T>
using EdgeMap = std::unordered_map<EdgeOrNode, T, EdgeOrNodeHash>;

// The specs of all annotations in graph order: first the inputs of a node, then its output.
struct SpecTable {
  std::vector<std::pair<EdgeOrNode, SpecPtr>> entries;
  EdgeMap<size_t> index;

  bool has(const EdgeOrNode& e) const { return index.count(e) > 0; }
  const SpecPtr& spec(const EdgeOrNode& e) const { return entries[index.at(e)].second; }
};
SpecTable collect_specs(const Graph& graph);

// Group number of every entry; entries of one group share an observer. Throws AssertionError for a
// shared spec that refers to something without a spec, ValueError for a cycle of shared specs.
std::vector<size_t> group_entries(const SpecTable& table);

// "... refer to each other in a circle"
ValueError circular_specs(const EdgeOrNode& at);

}  // namespace pt2q
