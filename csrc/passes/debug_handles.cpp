#include <algorithm>

#include "pt2q/debug.h"

namespace pt2q {

namespace {
constexpr const char* kHandleKey = "numeric_debug_handle";
}  // namespace

void generate_numeric_debug_handle(GraphModule& model) {
  int64_t next = 1;
  for (const Node* n : model.graph().nodes()) {
    const auto handle = n->meta.custom.find(kHandleKey);
    if (handle == n->meta.custom.end() || !handle->second.is<int64_t>()) continue;
    next = std::max(next, handle->second.to_int() + 1);
  }
  for (Node* n : model.graph().nodes()) {
    if (n->opcode() != OpCode::CallFunction || n->meta.custom.count(kHandleKey) > 0) continue;
    n->meta.custom[kHandleKey] = Value(next++);
  }
}

}  // namespace pt2q
