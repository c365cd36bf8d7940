// Syntax of graph text (what Graph::to_string prints) and of patterns: statements before they
// become nodes. Internal to csrc/ir.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "pt2q/graph.h"

namespace pt2q::text {

// One argument as written. Only patterns use Optional, Variable, Any and Ellipsis.
struct Expr {
  enum class Kind {
    Literal,   // 1, 0.5, None, [..] of literals, s0*2
    Ref,       // %name
    Optional,  // %name?: a node or None
    Variable,  // $name: any value that is not a node (or a list with nodes)
    Any,       // _
    List,      // [a, b]
    Ellipsis,  // ...
  };
  Kind kind = Kind::Literal;
  Value literal;
  std::string name;
  std::vector<Expr> items;
  int line = 0;
};

struct Statement {
  std::string name;  // "" for return
  Value val;         // meta after ':'; None when absent
  OpCode opcode = OpCode::CallFunction;
  std::vector<std::string> targets;  // several: alternatives (patterns)
  std::vector<Expr> args;
  std::vector<std::pair<std::string, Expr>> kwargs;
  int line = 0;
};

struct Document {
  std::map<std::string, int64_t> symbols;  // dynamic sizes and their example values
  std::vector<Statement> statements;
};

// Parses "graph(s0=4):" (optional), statements and "return". Throws ValueError with the line.
Document parse(const std::string& source);

}  // namespace pt2q::text
