// The device "xpu", and autocast on both devices.
#include "bindings/bindings.h"
#include "pt2q/autocast.h"
#include "pt2q/runtime.h"
#include "pt2q/xpu.h"

namespace pt2q::python {

void bind_xpu(py::module_& m) {
  m.def("_xpu_device_count", &xpu::device_count);
  m.def("_xpu_allow_cpu_fallback", &xpu::allow_cpu_fallback, py::arg("allow") = true);
  m.def("_xpu_cpu_fallback_allowed", &xpu::cpu_fallback_allowed);
  m.def("_xpu_engine_name", &xpu::engine_name);
  m.def(
      "_autocast_enabled", [](const Device& d) { return autocast_enabled(d.type); },
      py::arg("device"));
  m.def(
      "_set_autocast_enabled",
      [](const Device& d, bool enabled) { return set_autocast_enabled(d.type, enabled); },
      py::arg("device"), py::arg("enabled"));
  m.def(
      "_autocast_state",
      [] {
        return int{autocast_enabled(DeviceType::CPU)} | int{autocast_enabled(DeviceType::XPU)} << 1;
      },
      "The devices autocast is on for, on this thread: 1 is the CPU, 2 the XPU, 3 both.");
  m.def("_native_bfloat16", &native_bfloat16,
        "Whether this CPU computes in bfloat16 with instructions for it.");
}

}  // namespace pt2q::python
