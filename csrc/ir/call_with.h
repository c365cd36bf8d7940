// call() with a choice of who computes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "pt2q/op.h"

namespace pt2q {

// As call() (op.h); outside of capture `run` computes the result.
using OpRunner = Value (*)(const OpDef& op, const std::vector<Value>& args);
Value call_with(OpRunner run, const OpDef& op, std::vector<Value> args,
                const std::map<std::string, Value>& kwargs);

}  // namespace pt2q
