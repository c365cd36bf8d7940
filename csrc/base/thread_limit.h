// How many threads kernels use when one thread calls them: the process's number, or less.
#pragma once

namespace pt2q {

// While in scope, num_threads() gives this thread at most n (n >= 1). Scopes nest; the narrowest
// holds.
class ThreadLimit {
 public:
  explicit ThreadLimit(int n);
  ~ThreadLimit();
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

  // Whether one is in scope on this thread.
  static bool active();

 private:
  int outer_;
};

}  // namespace pt2q
