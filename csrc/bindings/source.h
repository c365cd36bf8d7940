// Where in the user's program we are.
#pragma once

#include <string>

#include "pt2q/tensor.h"

namespace pt2q::python {

// 'File "model.py", line 12, in forward' of the innermost frame outside pt2q (model definitions in
// pt2q.vision count as the user's). Empty when there is none. Needs the GIL.
std::string user_source_line();

// Throws TypeError when `tensor` has no values because it is being captured; `what` is the use that
// needs them, e.g. "bool(tensor)". Names the operator behind the tensor and the user's line.
void require_values(const Tensor& tensor, const std::string& what);

}  // namespace pt2q::python
