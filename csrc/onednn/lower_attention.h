// What the passes that recognise attention share.
#pragma once

#include "pt2q/graph.h"

namespace pt2q {

// Batch dimensions of two operands agree.
bool same_batch(const SymShape& a, const SymShape& b);
// A float32 mask that does not enlarge the scores.
bool mask_fits(const Node* mask, const SymShape& scores);

}  // namespace pt2q
