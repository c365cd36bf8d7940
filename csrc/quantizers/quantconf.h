// What calibration by call and conversion by configuration agree on.
#pragma once

#include <string>
#include <vector>

#include "pt2q/op.h"

namespace pt2q {

// Operators that QuantConf has entries for, by the name they are called by ("relu_").
bool is_recorded_name(const std::string& name);
// Argument positions of the activations of such an operator.
std::vector<size_t> recorded_inputs(const OpDef& op);

}  // namespace pt2q
