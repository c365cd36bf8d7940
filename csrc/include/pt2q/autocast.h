// Autocast to bfloat16, a setting of the calling thread and a device type: calls of convolutions
// and matrix products take their float32 operands in bfloat16, and compile() makes int8-mixed-bf16
// models (CompileOptions::bfloat16). Which operators, and which dtypes come out, is PyTorch's CPU
// policy on every device.
#pragma once

#include "pt2q/dtype.h"

namespace pt2q {

bool autocast_enabled(DeviceType device);
// Returns the previous setting.
bool set_autocast_enabled(DeviceType device, bool enabled);

// Switches it for a block. Belongs to the thread that made it.
class Autocast {
 public:
  explicit Autocast(DeviceType device = DeviceType::CPU, bool enabled = true)
      : device_(device), saved_(set_autocast_enabled(device, enabled)) {}
  ~Autocast() { set_autocast_enabled(device_, saved_); }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  DeviceType device_;
  bool saved_;
};

}  // namespace pt2q
