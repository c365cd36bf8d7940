#include <algorithm>

#include "pt2q/debug.h"

namespace pt2q {

void generate_numeric_debug_handle(GraphModule& model) {
  int64_t next = 1;
  for (const Node* n : model.graph().nodes()) {
    const auto handle = n->meta.custom.find(kNumericDebugHandle);
    if (handle == n->meta.custom.end() || !handle->second.is<int64_t>()) continue;
    next = std::max(next, handle->second.to_int() + 1);
  }
  for (Node* n : model.graph().nodes()) {
    if (n->opcode() != OpCode::CallFunction || n->meta.custom.count(kNumericDebugHandle) > 0)
      continue;
    n->meta.custom[kNumericDebugHandle] = Value(next++);
  }
}

}  // namespace pt2q
