// A step that calls one of our own kernels.
#pragma once

#include <functional>

#include "onednn/plan.h"

namespace pt2q {

class KernelStep : public Step {
 public:
  explicit KernelStep(std::function<void(RunContext&)> kernel) : kernel_(std::move(kernel)) {}
  void run(RunContext& ctx) const override { kernel_(ctx); }

 private:
  std::function<void(RunContext&)> kernel_;
};

}  // namespace pt2q
