// The step of a convolution that one of our own kernels computes.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "kernels/qconv.h"
#include "kernels/qdepthwise.h"
#include "kernels/winograd.h"
#include "onednn/plan.h"

namespace pt2q {

// Values of the rows' parameters; -1: known when planned.
struct InputScales {
  int scale = -1, zero = -1;
  int64_t count = 1;
};

inline void run_conv(const kernels::QConv& conv, const void* x, void* out, RunContext& ctx,
                     const void* other, const InputScales& rows) {
  kernels::RowScales scales;
  if (rows.scale >= 0) {
    scales = {ctx.data<const float>(rows.scale), ctx.data<const int32_t>(rows.zero),
              rows.count == 1 ? 0 : 1};
  }
  conv.run(x, out, ctx.scratchpad, other, scales);
}
inline void run_conv(const kernels::QDepthwise& conv, const void* x, void* out, RunContext&,
                     const void* other, const InputScales&) {
  conv.run(x, out, other);
}
inline void run_conv(const kernels::WinogradConv& conv, const void* x, void* out, RunContext& ctx,
                     const void* other, const InputScales&) {
  conv.run(x, out, ctx.scratchpad, other);
}
inline size_t scratch_bytes(const kernels::WinogradConv& conv) { return conv.scratch_bytes(); }
inline size_t scratch_bytes(const kernels::QConv& conv) { return conv.scratch_bytes(); }
inline size_t scratch_bytes(const kernels::QDepthwise&) { return 0; }

class QConvStepBase : public Step {
 public:
  // The same step for an input of another size.
  virtual std::unique_ptr<QConvStepBase> resized(const kernels::ConvShape& shape) const = 0;
  virtual size_t scratch() const = 0;
};

template <typename Conv>
class QConvStep : public QConvStepBase {
 public:
  explicit QConvStep(Conv conv, const InputScales& rows = {})
      : conv_(std::move(conv)), rows_(rows) {
    info.kernel = "pt2q " + conv_.describe();
    info.saturation = conv_.saturation();
  }
  void run(RunContext& ctx) const override {
    const size_t first_row = rows_.scale < 0 ? inputs.size() : inputs.size() - 2;
    const void* other = first_row > 1 ? ctx.data(inputs[1]) : nullptr;
    run_conv(conv_, ctx.data(inputs[0]), ctx.data(outputs[0]), ctx, other, rows_);
  }
  bool can_spread() const override { return true; }
  void spread(const Rows& rows) override { conv_.set_dst_stride(rows.stride); }
  std::unique_ptr<QConvStepBase> resized(const kernels::ConvShape& s) const override {
    auto step = std::make_unique<QConvStep>(conv_.resized(s.batch, s.in_h, s.in_w));
    step->info.tuning = info.tuning;
    return step;
  }
  size_t scratch() const override { return scratch_bytes(conv_); }

 private:
  Conv conv_;
  InputScales rows_;
};

}  // namespace pt2q
