// Choosing the overload of an operator packet ("aten.add") from the arguments of a Python call.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "pt2q/op.h"

namespace pt2q::python {

using KwValues = std::map<std::string, Value>;

// PyTorch's Python spellings in the words of the schema: `input` is `self`, `axis` is `dim`, and
// x.view(2, 3) is x.view([2, 3]). Unknown names are left for the schema check to report.
void adapt_call(const OpDef& op, std::vector<Value>* args, KwValues* kwargs);

// The overload whose schema fits best: exact kinds before conversions. Throws TypeError listing the
// schemas when none fits, NotImplementedError for an unknown packet.
const OpDef& resolve_overload(const std::string& packet, const std::vector<Value>& args,
                              const KwValues& kwargs);

}  // namespace pt2q::python
