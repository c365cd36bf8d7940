// What this CPU can do, asked once from CPUID, and how many cores this process may use.
#pragma once

#include <string>

namespace pt2q {

struct CpuFeatures {
  bool avx2 = false;  // AVX2 and FMA3
  bool fma = false;
  bool avx512bw = false;  // AVX-512 F, BW, VL and DQ
  bool avx512vnni = false;
  bool avxvnni = false;
  bool avx512bf16 = false;
  bool amx_int8 = false;  // also permitted by the operating system
  bool amx_bf16 = false;
};

// Features of the running CPU, after asking Linux for the permission to use AMX tile data.
const CpuFeatures& cpu_features();

// The processor's name and version as CPUID gives them: times measured on one hold for its equals.
std::string cpu_name();

// Physical-ish core budget of this process: affinity mask and cgroup v1/v2 CPU quota, at least 1.
int available_cpus();

}  // namespace pt2q
