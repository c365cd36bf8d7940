// Kernels of a lesser instruction set for a block.
#pragma once

#include "kernels/isa.h"

namespace pt2q::testing {

class IsaCap {
 public:
  explicit IsaCap(kernels::Isa cap) : saved_(kernels::set_isa_cap(cap)) {}
  ~IsaCap() { kernels::set_isa_cap(saved_); }
  IsaCap(const IsaCap&) = delete;
  IsaCap& operator=(const IsaCap&) = delete;

 private:
  kernels::Isa saved_;
};

}  // namespace pt2q::testing
