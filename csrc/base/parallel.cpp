#include "base/parallel.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>

#include "base/cpu.h"
#include "base/strings.h"
#include "base/thread_limit.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

std::atomic<int>& thread_count() {
  static std::atomic<int> count = std::max(1, std::min(available_cpus(), omp_get_max_threads()));
  return count;
}

thread_local int limit = 0;  // 0: none

}  // namespace

ThreadLimit::ThreadLimit(int n) : outer_(limit) { limit = outer_ > 0 ? std::min(outer_, n) : n; }
ThreadLimit::~ThreadLimit() { limit = outer_; }
bool ThreadLimit::active() { return limit > 0; }

int num_threads() {
  const int all = thread_count().load(std::memory_order_relaxed);
  return limit > 0 ? std::min(limit, all) : all;
}

void set_num_threads(int n) {
  if (n < 1) throw ValueError(cat("set_num_threads: expected a positive number, got ", n));
  thread_count().store(n);
  omp_set_num_threads(n);
}

void run_chunks(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  if (n <= 0) return;
  const int64_t chunks =
      std::min<int64_t>(num_threads(), std::max<int64_t>(1, n / std::max<int64_t>(1, grain)));
  if (chunks <= 1 || omp_in_parallel() != 0) {
    body(0, n);
    return;
  }
  std::exception_ptr error;
  std::atomic<bool> failed{false};
#pragma omp parallel for num_threads(static_cast <int>(chunks)) schedule(static, 1)
  for (int64_t i = 0; i < chunks; ++i) {
    try {
      body(n * i / chunks, n * (i + 1) / chunks);
    } catch (...) {
      if (!failed.exchange(true)) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace pt2q
