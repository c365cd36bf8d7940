// What this machine can do at most: integer and float arithmetic on registers with the best
// instruction it has, and reading from each level of memory. Prints one JSON object.
//   peak [threads]
// Every thread is timed by its own CPU clock and the best of several short windows counts, so other
// programs disturb little. An operation is a multiplication or an addition: a multiply-add is two.
#include <immintrin.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <thread>
#include <vector>

#include "base/cpu.h"

namespace {

constexpr int kWindows = 15;
constexpr double kWindowSeconds = 0.04;

// Twelve independent accumulators: enough to hide the latency of every instruction used here.
#define PT2Q_TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define PT2Q_STEP(i) asm volatile(PT2Q_CODE : "+v"(c##i) : "v"(a), "v"(b), "v"(one) : PT2Q_CLOBBER);
#define PT2Q_CHAIN(name, isa, vector, broadcast)                                           \
  __attribute__((target(isa), noinline)) void name(int64_t n) {                            \
    const vector a = broadcast(0), b = broadcast(0), one = broadcast(0);                   \
    vector c0 = a, c1 = a, c2 = a, c3 = a, c4 = a, c5 = a, c6 = a, c7 = a, c8 = a, c9 = a, \
           c10 = a, c11 = a;                                                               \
    for (int64_t k = 0; k < n; ++k) {                                                      \
      PT2Q_TWELVE(PT2Q_STEP)                                                               \
    }                                                                                      \
  }

#define PT2Q_CODE "vfmadd231ps %2, %1, %0"
#define PT2Q_CLOBBER
PT2Q_CHAIN(fma512, "avx512f", __m512i, _mm512_set1_epi32)
PT2Q_CHAIN(fma256, "avx2,fma", __m256i, _mm256_set1_epi32)
#undef PT2Q_CODE
#define PT2Q_CODE "vpdpbusd %2, %1, %0"
PT2Q_CHAIN(vnni512, "avx512f,avx512vnni", __m512i, _mm512_set1_epi32)
#undef PT2Q_CODE
#define PT2Q_CODE "%{vex%} vpdpbusd %2, %1, %0"
PT2Q_CHAIN(vnni256, "avx2,avxvnni", __m256i, _mm256_set1_epi32)
#undef PT2Q_CODE
#define PT2Q_CODE "vdpbf16ps %2, %1, %0"
PT2Q_CHAIN(bf16_512, "avx512f,avx512bf16", __m512i, _mm512_set1_epi32)
#undef PT2Q_CODE
#undef PT2Q_CLOBBER
// Without VNNI: pairs of products in 16 bits, widened by a multiplication with ones, accumulated.
#define PT2Q_CODE \
  "vpmaddubsw %2, %1, %%zmm31\n\tvpmaddwd %3, %%zmm31, %%zmm31\n\tvpaddd %%zmm31, %0, %0"
#define PT2Q_CLOBBER "xmm31"
PT2Q_CHAIN(maddubs512, "avx512f,avx512bw", __m512i, _mm512_set1_epi32)
#undef PT2Q_CODE
#undef PT2Q_CLOBBER
#define PT2Q_CODE \
  "vpmaddubsw %2, %1, %%ymm15\n\tvpmaddwd %3, %%ymm15, %%ymm15\n\tvpaddd %%ymm15, %0, %0"
#define PT2Q_CLOBBER "xmm15"
PT2Q_CHAIN(maddubs256, "avx2", __m256i, _mm256_set1_epi32)
#undef PT2Q_CODE
#undef PT2Q_CLOBBER

struct alignas(64) TileShapes {
  uint8_t palette = 1, first_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Four tiles of results, two by two tiles of operands.
__attribute__((target("amx-tile,amx-int8"), noinline)) void amx_int8(int64_t n) {
  const TileShapes shapes;
  _tile_loadconfig(&shapes);
  for (int64_t k = 0; k < n; ++k) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  _tile_release();
}

__attribute__((target("amx-tile,amx-bf16"), noinline)) void amx_bf16(int64_t n) {
  const TileShapes shapes;
  _tile_loadconfig(&shapes);
  for (int64_t k = 0; k < n; ++k) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
}

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

void pin_to(int index) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  sched_getaffinity(0, sizeof allowed, &allowed);
  for (int cpu = 0, seen = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(static_cast<size_t>(cpu), &allowed) && seen++ == index) {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(static_cast<size_t>(cpu), &one);
      sched_setaffinity(0, sizeof one, &one);
      return;
    }
  }
}

using Work = std::function<void(int thread, int64_t count)>;

// Units per second of all threads together: `work` does `units` per count.
double rate(int threads, double units, const Work& work) {
  int64_t count = 64;
  for (double spent = 0; spent < kWindowSeconds / 4;) {
    count *= 2;
    const double begin = cpu_seconds();
    work(0, count);
    spent = cpu_seconds() - begin;
    if (spent >= kWindowSeconds / 4) {
      count = static_cast<int64_t>(static_cast<double>(count) * kWindowSeconds / spent) + 1;
    }
  }
  double best = 0;
  for (int window = 0; window < kWindows; ++window) {
    std::atomic<int> waiting{threads};
    std::vector<double> spent(static_cast<size_t>(threads));
    std::vector<std::thread> pool;
    for (int t = 0; t < threads; ++t) {
      pool.emplace_back([&, t] {
        pin_to(t);
        --waiting;
        while (waiting.load() > 0) std::this_thread::yield();
        const double begin = cpu_seconds();
        work(t, count);
        spent[static_cast<size_t>(t)] = cpu_seconds() - begin;
      });
    }
    for (auto& thread : pool) thread.join();
    double sum = 0;
    for (const double s : spent) sum += units * static_cast<double>(count) / s;
    best = std::max(best, sum);
  }
  return best;
}

struct Route {
  const char* name;
  void (*run)(int64_t);
  double operations;  // per count
};

Route best_int8(const pt2q::CpuFeatures& cpu) {
  constexpr double kTile = 4 * 2.0 * 16 * 16 * 64;
  if (cpu.amx_int8) return {"AMX tdpbusd", amx_int8, kTile};
  if (cpu.avx512vnni) return {"AVX-512 vpdpbusd", vnni512, 12 * 128.0};
  if (cpu.avx512bw) return {"AVX-512 vpmaddubsw, vpmaddwd, vpaddd", maddubs512, 12 * 128.0};
  if (cpu.avxvnni) return {"AVX2 vpdpbusd", vnni256, 12 * 64.0};
  return {"AVX2 vpmaddubsw, vpmaddwd, vpaddd", maddubs256, 12 * 64.0};
}

Route best_bf16(const pt2q::CpuFeatures& cpu) {
  if (cpu.amx_bf16) return {"AMX tdpbf16ps", amx_bf16, 4 * 2.0 * 16 * 16 * 32};
  if (cpu.avx512bf16) return {"AVX-512 vdpbf16ps", bf16_512, 12 * 64.0};
  return {"none", nullptr, 0};
}

Route best_float32(const pt2q::CpuFeatures& cpu) {
  if (cpu.avx512bw) return {"AVX-512 vfmadd231ps", fma512, 12 * 32.0};
  return {"AVX2 vfmadd231ps", fma256, 12 * 16.0};
}

__attribute__((target("avx2"))) void read_once(const char* data, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 128) {
    asm volatile(
        "vmovdqa (%0), %%ymm0\n\tvmovdqa 32(%0), %%ymm1\n\t"
        "vmovdqa 64(%0), %%ymm2\n\tvmovdqa 96(%0), %%ymm3"
        :
        : "r"(data + i)
        : "xmm0", "xmm1", "xmm2", "xmm3", "memory");
  }
}

// GB/s of reading `bytes` per thread again and again.
double read_rate(int threads, size_t bytes) {
  std::vector<char*> blocks;
  for (int t = 0; t < threads; ++t) {
    blocks.push_back(static_cast<char*>(std::aligned_alloc(4096, bytes)));
    std::fill_n(blocks.back(), bytes, '\1');
  }
  const double found = rate(threads, 1e-9 * static_cast<double>(bytes), [&](int t, int64_t count) {
    for (int64_t i = 0; i < count; ++i) read_once(blocks[static_cast<size_t>(t)], bytes);
  });
  for (char* block : blocks) std::free(block);
  return found;
}

// What the C library says of a cache; `usual` where it does not know, and never more than `most`:
// virtual machines report the sum over the host.
long cache_bytes(int name, long usual, long most) {
  const long bytes = sysconf(name);
  return bytes > 0 ? std::min(bytes, most) : usual;
}

void print_route(const char* key, int threads, const Route& route) {
  if (route.run == nullptr) return;
  const double operations =
      rate(threads, route.operations, [&](int, int64_t count) { route.run(count); });
  std::printf(" \"%s_gops\": %.1f, \"%s_with\": \"%s\",\n", key, operations * 1e-9, key,
              route.name);
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : pt2q::available_cpus();
  const pt2q::CpuFeatures& cpu = pt2q::cpu_features();
  if (!cpu.avx2) {
    std::fprintf(stderr, "peak: needs a CPU with AVX2\n");
    return 1;
  }
  const char* isa = cpu.amx_int8     ? "AMX"
                    : cpu.avx512vnni ? "AVX512_VNNI"
                    : cpu.avx512bw   ? "AVX512"
                    : cpu.avx2       ? "AVX2"
                                     : "BASELINE";
  std::printf("{\"threads\": %d, \"isa\": \"%s\",\n", threads, isa);
  print_route("int8", threads, best_int8(cpu));
  print_route("bf16", threads, best_bf16(cpu));
  print_route("float32", threads, best_float32(cpu));
  std::printf(" \"l2_bytes\": %ld, \"l3_bytes\": %ld,\n",
              cache_bytes(_SC_LEVEL2_CACHE_SIZE, 1L << 20, 4L << 20),
              cache_bytes(_SC_LEVEL3_CACHE_SIZE, 16L << 20, 32L << 20));
  std::printf(" \"l1_gbs\": %.1f,", read_rate(threads, size_t{16} << 10));
  std::printf(" \"l2_gbs\": %.1f,", read_rate(threads, size_t{256} << 10));
  std::printf(" \"l3_gbs\": %.1f,", read_rate(threads, size_t{6} << 20));
  std::printf(" \"dram_gbs\": %.1f}\n", read_rate(threads, size_t{192} << 20));
  return 0;
}
