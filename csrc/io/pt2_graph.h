// The graph of a .pt2 file as data: nodes with named inputs and outputs, before operators are
// looked up.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "io/json_reader.h"
#include "pt2q/graph.h"

namespace pt2q {

// An argument: a literal, a reference to a named value, or a list of arguments.
struct FileValue {
  enum class Kind { Literal, Reference, List };
  Kind kind = Kind::Literal;
  Value literal;
  std::string name;
  std::vector<FileValue> items;
};

struct FileNode {
  std::string name;                                       // "" in files that do not store it
  std::string target;                                     // "aten.conv2d.default", "_operator.mul"
  std::vector<std::pair<std::string, FileValue>> inputs;  // schema name (may be empty) and value
  std::vector<FileValue> outputs;  // references, lists of references, or None literals
  NodeMeta meta;
};

struct FileGraph {
  std::vector<FileValue> inputs;
  std::vector<FileValue> outputs;
  std::vector<FileNode> nodes;                // regions that only set a mode are inlined
  std::map<std::string, TensorMeta> tensors;  // what the file says of each tensor
  std::map<std::string, SymInt> sizes;        // named symbolic integers
};

FileGraph parse_file_graph(const Json& graph, const LoadLimits& limits);

// Calls fn(name) for every reference inside `value`.
template <typename Fn>
void for_each_reference(const FileValue& value, Fn&& fn) {
  if (value.kind == FileValue::Kind::Reference) fn(value.name);
  for (const FileValue& item : value.items) for_each_reference(item, fn);
}

}  // namespace pt2q
