// The device "xpu": Intel GPUs, through oneDNN's GPU engine (OpenCL).
//
// Tensors labelled "xpu" live in host memory; plans move them to the GPU and back. Without an Intel
// GPU every use of the device is a RuntimeError, unless the application allows the CPU engine to
// stand in for it: the same graphs then run there with the same numbers as on "cpu".
// All functions may be called from any thread; the fallback is a setting of the whole process.
#pragma once

#include <string>

#include "pt2q/dtype.h"

namespace pt2q::xpu {

// GPUs oneDNN finds; asked once.
int device_count();
bool is_available();  // device_count() > 0

// Lets the CPU engine run what asks for "xpu" where there is no GPU. Returns the previous setting.
bool allow_cpu_fallback(bool allow = true);
bool cpu_fallback_allowed();

// Throws RuntimeError, saying what is missing and how to opt in, when tensors cannot be placed on
// `device`; ValueError for an index there is no GPU for. Always passes for "cpu".
void require(Device device);

// "oneDNN GPU engine", or "CPU engine in place of an Intel GPU": what runs models of device "xpu".
std::string engine_name();

}  // namespace pt2q::xpu
