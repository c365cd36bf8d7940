#include "base/cpu.h"

#include <cpuid.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

namespace pt2q {
namespace {

constexpr unsigned long kArchReqXcompPerm = 0x1023;
constexpr unsigned long kXfeatureTileData = 18;

unsigned long long read_xcr0() {
  unsigned int low = 0;
  unsigned int high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<unsigned long long>(high) << 32) | low;
}

bool request_amx() { return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureTileData) == 0; }

CpuFeatures detect() {
  CpuFeatures features;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return features;
  const bool osxsave = (c >> 27) & 1U;
  if (!osxsave) return features;
  const auto xcr0 = read_xcr0();
  const bool ymm = (xcr0 & 0x6) == 0x6;
  const bool zmm = (xcr0 & 0xe6) == 0xe6;
  const bool tiles = (xcr0 & 0x60000) == 0x60000;
  const bool fma = (c >> 12) & 1U;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return features;
  features.fma = ymm && fma;
  features.avx2 = ymm && fma && ((b >> 5) & 1U);
  const bool f = (b >> 16) & 1U, dq = (b >> 17) & 1U, bw = (b >> 30) & 1U, vl = (b >> 31) & 1U;
  features.avx512bw = features.avx2 && zmm && f && dq && bw && vl;
  features.avx512vnni = features.avx512bw && ((c >> 11) & 1U);
  const bool amx_bf16 = (d >> 22) & 1U, amx_tile = (d >> 24) & 1U, amx_int8 = (d >> 25) & 1U;
  unsigned a1 = 0, b1 = 0, c1 = 0, d1 = 0;
  if (a >= 1 && __get_cpuid_count(7, 1, &a1, &b1, &c1, &d1) != 0) {
    features.avxvnni = features.avx2 && ((a1 >> 4) & 1U);
    features.avx512bf16 = features.avx512bw && ((a1 >> 5) & 1U);
  }
  if (tiles && amx_tile && features.avx512vnni && request_amx()) {
    features.amx_int8 = amx_int8;
    features.amx_bf16 = amx_bf16;
  }
  return features;
}

// CPUs allowed by a cgroup quota, or 0 when there is none.
int cgroup_quota() {
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (v2 >> quota >> period && quota != "max" && period > 0) {
    try {
      return std::max(1, static_cast<int>(std::ceil(std::stod(quota) / period)));
    } catch (const std::exception&) {
      return 0;
    }
  }
  std::ifstream v1_quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  double q = 0;
  double p = 0;
  if (v1_quota >> q && v1_period >> p && q > 0 && p > 0) {
    return std::max(1, static_cast<int>(std::ceil(q / p)));
  }
  return 0;
}

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

std::string cpu_name() {
  unsigned r[4] = {0, 0, 0, 0};
  std::string name;
  for (unsigned leaf = 0x80000002; leaf <= 0x80000004; ++leaf) {
    if (__get_cpuid(leaf, &r[0], &r[1], &r[2], &r[3]) == 0) break;
    name.append(reinterpret_cast<const char*>(r), sizeof(r));
  }
  name = name.c_str();  // without the zeros at its end
  if (__get_cpuid(1, &r[0], &r[1], &r[2], &r[3]) != 0) name += " " + std::to_string(r[0]);
  return name;
}

int available_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int count = static_cast<int>(std::thread::hardware_concurrency());
  if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
  const int quota = cgroup_quota();
  if (quota > 0) count = std::min(count, quota);
  return std::max(1, count);
}

}  // namespace pt2q
