#include "pt2q/streams.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/strings.h"
#include "base/thread_limit.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

struct Call {
  std::shared_ptr<GraphModule> model;
  std::vector<Value> inputs;
  Value result;
  std::exception_ptr error;
  int64_t index = 0;
  bool done = false;
};

// Assigning to the base keeps the type of the error that is thrown on.
[[noreturn]] void rethrow_naming(const std::exception_ptr& error, int64_t index) {
  try {
    std::rethrow_exception(error);
  } catch (Error& e) {
    Error named(cat("item ", index, ": ", e.message()), e.hint());
    named.at_node(e.node());
    named.at_op(e.op());
    e = named;
    throw;
  }
}

}  // namespace

struct StreamPool::State {
  int streams = 1;
  int threads_each = 1;
  mutable std::mutex mutex;
  std::condition_variable work;      // something is waiting, or the pool closes
  std::condition_variable finished;  // a call is done
  std::deque<std::shared_ptr<Call>> waiting;
  std::deque<std::shared_ptr<Call>> in_flight;  // by index
  std::vector<std::thread> workers;
  int64_t next_index = 0;
  int idle = 0;
  bool closed = false;

  void serve();
  void grow();
};

void StreamPool::State::serve() {
  const ThreadLimit limit(threads_each);
  std::unique_lock<std::mutex> lock(mutex);
  while (true) {
    ++idle;
    work.wait(lock, [&] { return closed || !waiting.empty(); });
    --idle;
    if (closed) return;
    const std::shared_ptr<Call> call = std::move(waiting.front());
    waiting.pop_front();
    lock.unlock();
    try {
      call->result = run(*call->model, call->inputs);
    } catch (...) {
      call->error = std::current_exception();
    }
    call->inputs.clear();
    call->model.reset();
    lock.lock();
    call->done = true;
    finished.notify_all();
  }
}

// One more worker, when one more call is more work than idle ones take. Called with the mutex held.
void StreamPool::State::grow() {
  if (static_cast<int>(workers.size()) >= streams) return;
  if (idle > static_cast<int>(waiting.size())) return;
  try {
    workers.emplace_back([this] { serve(); });
  } catch (const std::system_error& e) {
    if (workers.empty()) throw RuntimeError(cat("cannot start a thread: ", e.what()));
  }
}

StreamPool::StreamPool(int streams) : state_(std::make_unique<State>()) {
  if (streams < 0) {
    throw ValueError(
        cat("streams: expected a positive number, or 0 for one per core, got ", streams));
  }
  const int cores = num_threads();
  state_->streams = streams == 0 ? cores : streams;
  state_->threads_each = std::max(1, cores / state_->streams);
}

StreamPool::~StreamPool() { close(); }

int StreamPool::streams() const { return state_->streams; }

void StreamPool::submit(std::shared_ptr<GraphModule> model, std::vector<Value> inputs) {
  if (model == nullptr) throw ValueError("submit: no model");
  auto call = std::make_shared<Call>();
  call->model = std::move(model);
  call->inputs = std::move(inputs);
  const std::lock_guard<std::mutex> lock(state_->mutex);
  if (state_->closed) throw RuntimeError("the stream pool is closed", "make another one");
  state_->grow();  // first: what throws leaves no call behind
  call->index = state_->next_index++;
  state_->waiting.push_back(call);
  state_->in_flight.push_back(std::move(call));
  state_->work.notify_one();
}

size_t StreamPool::in_flight() const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->in_flight.size();
}

bool StreamPool::ready() const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return !state_->in_flight.empty() && state_->in_flight.front()->done;
}

Value StreamPool::take() {
  std::unique_lock<std::mutex> lock(state_->mutex);
  if (state_->in_flight.empty()) throw RuntimeError("no call is in flight", "submit one first");
  const std::shared_ptr<Call> call = state_->in_flight.front();
  state_->finished.wait(lock, [&] { return call->done; });
  state_->in_flight.pop_front();
  lock.unlock();
  if (call->error) rethrow_naming(call->error, call->index);
  return std::move(call->result);
}

void StreamPool::close() {
  std::deque<std::shared_ptr<Call>> dropped;  // freed without the mutex
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->closed = true;
    dropped.swap(state_->in_flight);
    state_->waiting.clear();
  }
  state_->work.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
  state_->workers.clear();
}

void async_map(CompiledModel& model, const std::function<std::optional<std::vector<Value>>()>& next,
               const std::function<bool(Value)>& use, int streams) {
  StreamPool pool(streams);
  const size_t window = 2 * static_cast<size_t>(pool.streams());
  std::exception_ptr failed;  // thrown after the results of the inputs before it
  for (bool more = true; more;) {
    try {
      auto inputs = next();
      more = inputs.has_value();
      if (more) pool.submit(model.shared_module(), std::move(*inputs));
    } catch (...) {
      failed = std::current_exception();
      more = false;
    }
    while (pool.in_flight() > 0 && (!more || pool.in_flight() >= window || pool.ready())) {
      if (!use(pool.take())) return;
    }
  }
  if (failed) std::rethrow_exception(failed);
}

}  // namespace pt2q
