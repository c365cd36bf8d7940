// Blocks of a few pixels by up to 64 channels on vector registers.
#include <algorithm>

#include "kernels/qconv_plan.h"

namespace pt2q::kernels {
namespace {

constexpr int64_t kDotPixels = 32;          // accumulated before the epilogue runs
constexpr int64_t kPanelTarget = 32 << 10;  // weights of a block that stay in L1

}  // namespace

// The epilogue's view of panels `p` at output pixel `pixel` (counted over all images).
EpilogueBlock ConvPlan::block_at(const Run& r, const Panels& p, int64_t pixel) const {
  const int64_t per_group = spec.shape.out_c / spec.shape.groups;
  const int64_t channel = p.group * per_group + p.panel * 16;
  EpilogueBlock b;
  b.acc_stride = 16 * p.count;
  b.channels = static_cast<int>(std::min<int64_t>(16 * p.count, per_group - p.panel * 16));
  b.scale = epilogue.scale.data() + panel_index(p) * 16;
  b.bias = epilogue.bias.data() + panel_index(p) * 16;
  const int64_t dst_size = epilogue.out == ElemType::f32 ? 4 : 1;
  b.dst = r.dst + (pixel * spec.dst_stride + channel) * dst_size;
  b.dst_stride = spec.dst_stride;
  if (epilogue.has_add) {
    const int64_t size = epilogue.add.residual_type == ElemType::f32 ? 4 : 1;
    b.residual = r.residual + (pixel * spec.residual_stride + channel) * size;
    b.residual_stride = spec.residual_stride;
  }
  return b;
}

void ConvPlan::dot_task(const Run& r, const Task& t, uint8_t* slot) const {
  // Deep sums take two panels by twelve pixels: half the weights to stream per product.
  const int64_t wide = dot->max_panels * weights->panel_bytes <= kPanelTarget ? dot->max_panels : 2;
  const int64_t most = std::min<int64_t>(wide, dot->max_panels);
  for (int64_t p = t.panel0; p < t.panel1;) {
    Panels now{p / weights->panels_per_group, p % weights->panels_per_group, 0};
    const int64_t left = std::min(t.panel1 - p, weights->panels_per_group - now.panel);
    now.count = ceil_div(left, ceil_div(left, most));
    for (int64_t image = t.image0; image < t.image1; ++image) {
      dot_strip(r, strip(r, t, image, slot), now, reinterpret_cast<int32_t*>(slot));
    }
    p += now.count;
  }
}

void ConvPlan::dot_strip(const Run& r, const Strip& s, const Panels& p, int32_t* acc) const {
  DotArgs args;
  args.step = frame.step;
  args.pieces = frame.pieces.data();
  args.piece_count = static_cast<int>(frame.pieces.size());
  args.weights = panel_data(p);
  args.panel_stride = weights->panel_bytes;
  args.init = init.data() + panel_index(p) * 16;
  const uint8_t* base = s.base + p.group * weights->shape.in_c;
  if (frame.mode == FrameMode::direct) base += s.row * frame.step;
  const int64_t segment = dense() ? s.count * width : width;
  const int64_t segments = dense() ? 1 : s.count;
  const int64_t blocks = ceil_div(segment, dot->max_pixels[p.count - 1]);
  EpilogueBlock out = block_at(r, p, (s.image * rows + s.row) * width);
  const int64_t dst_step = spec.dst_stride * (epilogue.out == ElemType::f32 ? 4 : 1);
  const bool wide = epilogue.has_add && epilogue.add.residual_type == ElemType::f32;
  const int64_t residual_step = spec.residual_stride * (wide ? 4 : 1);
  out.acc = acc;
  for (int64_t i = 0; i < segments; ++i) {
    int64_t pending = 0;  // pixels in acc
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t from = segment * b / blocks;
      const int64_t count = segment * (b + 1) / blocks - from;
      args.src = base + (i * frame.pitch + from) * frame.step;
      args.acc = acc + pending * 16 * p.count;
      dot->fn[p.count - 1][count - 1](args);
      pending += count;
      // A few blocks share one call of the epilogue.
      if (b + 1 < blocks && pending + kMaxPixels <= kDotPixels) continue;
      out.rows = static_cast<int>(pending);
      epilogue_fn(epilogue, out);
      out.dst = static_cast<uint8_t*>(out.dst) + pending * dst_step;
      if (out.residual != nullptr)
        out.residual = static_cast<const uint8_t*>(out.residual) + pending * residual_step;
      pending = 0;
    }
  }
}

}  // namespace pt2q::kernels
