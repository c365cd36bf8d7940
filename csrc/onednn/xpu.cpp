#include "pt2q/xpu.h"

#include <atomic>

#include "base/strings.h"
#include "onednn/compat.h"
#include "pt2q/error.h"

namespace pt2q::xpu {
namespace {

std::atomic<bool> fallback{false};

}  // namespace

int device_count() { return onednn::gpu_count(); }

bool is_available() { return device_count() > 0; }

bool allow_cpu_fallback(bool allow) { return fallback.exchange(allow); }

bool cpu_fallback_allowed() { return fallback.load(); }

void require(Device device) {
  if (device.type != DeviceType::XPU) return;
  const int count = device_count();
  if (count == 0 && !cpu_fallback_allowed()) {
    throw RuntimeError(cat("device '", device_name(device), "': oneDNN finds no Intel GPU"),
                       "pt2q.xpu.allow_cpu_fallback() runs the same graph on the CPU engine; on a "
                       "machine with an Intel GPU, install its OpenCL driver (intel-opencl-icd)");
  }
  if (count > 0 && device.index >= count) {
    throw ValueError(
        cat("device '", device_name(device), "' does not exist: there are ", count, " GPUs"));
  }
}

std::string engine_name() {
  return is_available() ? "oneDNN GPU engine" : "CPU engine in place of an Intel GPU";
}

}  // namespace pt2q::xpu
