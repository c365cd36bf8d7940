// Steps that any plan may need: reference kernels, observers, layout changes, outputs.
#pragma once

#include "kernels/layout.h"
#include "onednn/plan.h"
#include "pt2q/graph_module.h"

namespace pt2q {

// Runs the operator's reference kernel on tensors; outputs are Held.
class ReferenceStep : public Step {
 public:
  ReferenceStep(const OpDef& op, std::string node, std::vector<Bound> args)
      : op_(op), node_(std::move(node)), args_(std::move(args)) {}
  void run(RunContext& ctx) const override;

 private:
  const OpDef& op_;
  std::string node_;
  std::vector<Bound> args_;
};

// Calls an observer or fake-quantize. Without outputs the result is ignored (it passes its input
// through).
class ModuleStep : public Step {
 public:
  ModuleStep(std::shared_ptr<Module> module, Bound input)
      : module_(std::move(module)), input_(std::move(input)) {}
  void run(RunContext& ctx) const override;

 private:
  std::shared_ptr<Module> module_;
  Bound input_;
};

// Copies inputs[0] to outputs[0], which has the same sizes and dtype and other strides.
class LayoutStep : public Step {
 public:
  void run(RunContext& ctx) const override;
};

// Gives the held tensor inputs[0] the layout of outputs[0] (Held, known); no copy when it has it.
class SettleStep : public Step {
 public:
  void run(RunContext& ctx) const override;
};

// Makes the held value inputs[0] fit to be returned: contiguous, and no view of anything else.
class ReturnStep : public Step {
 public:
  void run(RunContext& ctx) const override;
};

// Contiguous or channels-last data of at least two dimensions as [batch, channels, pixels].
ImageShape image_shape(const Shape& sizes);

// dst = src for strided data of one dtype; parallel for the NCHW <-> NHWC cases.
void copy_layout(const void* src, const Shape& src_strides, void* dst, const Shape& dst_strides,
                 const Shape& sizes, DType dtype);

}  // namespace pt2q
