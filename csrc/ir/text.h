// The text form of graphs. parse_graph(g.to_string()) prints the same text again.
//
//   graph(s0=4):
//       %x : float32[s0, 3] = placeholder[x]
//       %w : float32[2, 3] = get_attr[fc.weight]
//       %linear : float32[s0, 2] = aten.linear.default(%x, %w)
//       %obs : float32[s0, 2] = call_module[activation_post_process_0](%linear)
//       return [%obs]
//
// `# ...` is a comment. Metadata other than the value description is not part of the text.
#pragma once

#include <memory>
#include <string>

#include "pt2q/graph.h"

namespace pt2q {

// Throws ValueError naming the line for text that is no graph, NotImplementedError for an unknown
// operator.
std::unique_ptr<Graph> parse_graph(const std::string& source);
// The same, appended to `graph` at its insertion point.
void parse_graph(const std::string& source, Graph& graph);

// The value description printed after ':' ("float32[1, 3]", "(int64[2], int64[2])", "int(s0)").
std::string meta_to_text(const Value& val);

}  // namespace pt2q
