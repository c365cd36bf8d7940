// Loop parallelism for kernels. Uses the same OpenMP pool as oneDNN, so the two never
// oversubscribe.
#pragma once

#include <cstdint>
#include <functional>

namespace pt2q {

// Threads a parallel_for of this (calling) thread may use; at least 1.
int num_threads();
// Sets it for the whole process (n >= 1), for oneDNN as well. Throws ValueError for n < 1.
void set_num_threads(int n);

// Calls body(begin, end) on disjoint chunks covering [0, n). A chunk holds at least `grain` items
// unless n is smaller. Runs inline when one chunk suffices or when already inside a parallel
// region. An exception thrown by a body is rethrown here.
// Does not allocate: the body is passed on by reference.
void run_chunks(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body);
template <class Body>
void parallel_for(int64_t n, int64_t grain, const Body& body) {
  run_chunks(n, grain, std::cref(body));
}

}  // namespace pt2q
