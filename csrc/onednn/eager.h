// Operators that are called one by one, outside of any graph.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "pt2q/op.h"

namespace pt2q {

// As call(), but an operator on large tensors runs through a plan of its own, at the speed it has
// in a graph, instead of its reference kernel. Thread-safe. Plans are kept per operator and shapes.
Value call_planned(const OpDef& op, std::vector<Value> args,
                   const std::map<std::string, Value>& kwargs);

// Whether call_planned() would run this call through a plan with fast steps only: tests, reports.
bool is_planned(const OpDef& op, const std::vector<Value>& args);

}  // namespace pt2q
