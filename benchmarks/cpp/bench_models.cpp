// Compiled float32 against compiled int8 on networks with random weights, interleaved.
// One thread is timed by its CPU time, several by the wall clock; the best of all rounds counts.
//   bench_models [resnet18|resnet50] [batch] [threads] [rounds] [--profile]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

#include "graph_builder.h"

namespace {

using pt2q::Value;

// CPU time of this thread when it works alone: other programs do not count. Else wall time.
double now() {
  timespec t{};
  clock_gettime(pt2q::num_threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double seconds_of(pt2q::CompiledModel& model, const pt2q::Tensor& x) {
  const double begin = now();
  model({x});
  return now() - begin;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "resnet18";
  const int64_t batch = argc > 2 ? std::atoi(argv[2]) : 1;
  pt2q::set_num_threads(argc > 3 ? std::atoi(argv[3]) : pt2q::num_threads());
  const int rounds = argc > 4 ? std::atoi(argv[4]) : 20;
  const bool profile = argc > 5 && std::strcmp(argv[5], "--profile") == 0;
  const bool deep = name == "resnet50";
  const auto model = pt2q::testing::make_resnet(
      batch, deep ? std::vector<int>{3, 4, 6, 3} : std::vector<int>{2, 2, 2, 2}, deep, false);
  const pt2q::Tensor x = pt2q::testing::random_tensor({batch, 3, 224, 224}, 5);
  const auto quantized = pt2q::testing::quantize_graph(*model, x);
  auto f32 = pt2q::compile(*model);
  const auto begin = std::chrono::steady_clock::now();
  auto int8 = pt2q::compile(*quantized);
  (*int8)({x});
  std::printf("%s batch %ld, %d threads, %s: compile + first call %.3f s\n", name.c_str(),
              static_cast<long>(batch), pt2q::num_threads(), pt2q::isa_name().c_str(),
              std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  (*f32)({x});
  double best_f32 = 1e9, best_int8 = 1e9;
  for (int i = 0; i < rounds; ++i) {
    best_f32 = std::min(best_f32, seconds_of(*f32, x));
    best_int8 = std::min(best_int8, seconds_of(*int8, x));
  }
  std::printf("float32 %.3f ms, int8 %.3f ms, ratio %.2f\n", best_f32 * 1e3, best_int8 * 1e3,
              best_f32 / best_int8);
  if (profile) {
    std::printf("%s\n%s\n", f32->profile_text({x}, 10).c_str(),
                int8->profile_text({x}, 10).c_str());
  }
  return 0;
}
