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

// The same for kernels that can leave gaps between the output's rows.
class RowKernelStep : public Step {
 public:
  using Kernel = std::function<void(RunContext&, const Rows&)>;
  explicit RowKernelStep(Kernel kernel) : kernel_(std::move(kernel)) {}
  void run(RunContext& ctx) const override { kernel_(ctx, rows_); }
  bool can_spread() const override { return true; }
  void spread(const Rows& rows) override { rows_ = rows; }

 private:
  Kernel kernel_;
  Rows rows_;
};

}  // namespace pt2q
