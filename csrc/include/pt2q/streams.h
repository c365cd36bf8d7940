// Many calls at once: results come in the order in which the calls were submitted.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "pt2q/graph_module.h"
#include "pt2q/runtime.h"

namespace pt2q {

// Worker threads that run models. Used by one thread; models may be called elsewhere meanwhile.
class StreamPool {
 public:
  // `streams`: calls that run at once; 0: num_threads(). The process's threads are shared out, so
  // each call is single-threaded from num_threads() streams on. Throws ValueError when negative.
  explicit StreamPool(int streams = 0);
  // Waits for calls that have begun, drops the others.
  ~StreamPool();
  StreamPool(const StreamPool&) = delete;
  StreamPool& operator=(const StreamPool&) = delete;

  int streams() const;
  // Queues one call, see run(), and returns. Throws ValueError for null, RuntimeError after
  // close().
  void submit(std::shared_ptr<GraphModule> model, std::vector<Value> inputs);
  // Calls submitted whose results have not been taken.
  size_t in_flight() const;
  // Whether take() would return at once.
  bool ready() const;
  // The result of the oldest call, waiting for it. An error of that call is thrown here, of the
  // same type, and names the call: "item 3: ...". Throws RuntimeError when nothing is in flight.
  Value take();
  // As the destructor; the pool takes no more calls.
  void close();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Calls `model` on what `next` gives, until that is nullopt, and hands the results to `use` in the
// same order; `use` returns false to stop. At most twice `streams` calls are in flight. `next` and
// `use` are called by this thread. Errors of calls are thrown as by StreamPool::take(), an
// exception of `next` after the results of the inputs before it.
void async_map(CompiledModel& model, const std::function<std::optional<std::vector<Value>>()>& next,
               const std::function<bool(Value)>& use, int streams = 0);

}  // namespace pt2q
