#include "base/log.h"

#include <mutex>
#include <utility>

namespace pt2q {
namespace {

struct HandlerSlot {
  std::mutex mutex;
  WarningHandler handler;
};

HandlerSlot& slot() {
  static HandlerSlot instance;
  return instance;
}

}  // namespace

WarningHandler set_warning_handler(WarningHandler handler) {
  const std::lock_guard<std::mutex> lock(slot().mutex);
  return std::exchange(slot().handler, std::move(handler));
}

void warn(const std::string& message) {
  WarningHandler handler;
  {
    const std::lock_guard<std::mutex> lock(slot().mutex);
    handler = slot().handler;
  }
  if (handler) handler(message);  // outside the lock: a handler may warn or install another
}

}  // namespace pt2q
