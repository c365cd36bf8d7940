// Blocks of a few pixels by up to 64 channels on vector registers.
#include <algorithm>

#include "kernels/qconv_plan.h"

namespace pt2q::kernels {
namespace {

constexpr int64_t kDotPixels = 32;            // accumulated before the epilogue runs
constexpr int64_t kPanelTarget = 32 << 10;    // weights of a block that stay in L1
constexpr int64_t kStreamTarget = 160 << 10;  // that stream from L2 for every block
constexpr int64_t kChunkPixels = 192;         // that pass by weights that stay in L1

// Full width first, but no single panel at the end where two narrower blocks can share.
int64_t panels_at_once(int64_t left, int64_t most) {
  if (left <= most) return left;
  return left == most + 1 && most > 2 ? most - 1 : most;
}

int32_t four(int byte) { return static_cast<int32_t>(0x01010101U * static_cast<uint8_t>(byte)); }

}  // namespace

void DotStore::set(const Epilogue& e) {
  const int shift = e.out == ElemType::s8 ? 128 : 0;
  const int residual_shift = e.add.residual_type == ElemType::s8 ? 128 : 0;
  real = e.real;
  half = e.out == ElemType::bf16;
  lean = e.lean();
  lean_add = lean && e.add.residual_type == ElemType::u8 && e.add.residual_zero_point == 0;
  inv_scale = e.inv_scale;
  zero_points = static_cast<int32_t>(0x00010001U * static_cast<uint16_t>(e.zero_point + shift));
  qmins = four(e.qmin + shift);
  qmaxs = four(e.qmax + shift);
  flips = four(shift);
  residual_flip = four(residual_shift);
  residual_zero_point = e.add.residual_zero_point + residual_shift;
  residual_scale = e.add.residual_scale;
}

// The epilogue's view of panels `p` at output pixel `pixel` (counted over all images).
EpilogueBlock ConvPlan::block_at(const Run& r, const Panels& p, int64_t pixel) const {
  const int64_t per_group = spec.shape.out_c / spec.shape.groups;
  const int64_t channel = p.group * per_group + p.panel * 16;
  EpilogueBlock b;
  b.acc_stride = 16 * p.count;
  b.channels = static_cast<int>(std::min<int64_t>(16 * p.count, per_group - p.panel * 16));
  b.scale = epilogue.scale.data() + panel_index(p) * 16;
  b.bias = epilogue.bias.data() + panel_index(p) * 16;
  const int64_t dst_size = elem_bytes(epilogue.out);
  b.dst = r.dst + (pixel * spec.dst_stride + channel) * dst_size;
  b.dst_stride = spec.dst_stride;
  if (epilogue.has_add) {
    const int64_t size = epilogue.add.residual_type == ElemType::f32 ? 4 : 1;
    b.residual = r.residual + (pixel * spec.residual_stride + channel) * size;
    b.residual_stride = spec.residual_stride;
  }
  b.rows_scaled = r.scales.from(pixel);
  b.sums = weights->sums.data() + panel_index(p) * 16;
  return b;
}

// Where the blocks of a strip go: stored by the micro-kernel, or gathered in `acc` for a few blocks
// that share one call of the epilogue.
struct ConvPlan::DotOut {
  EpilogueBlock block;
  ptrdiff_t dst_step = 0, residual_step = 0;  // bytes between pixels
  int64_t pending = 0;                        // pixels in acc
  int32_t* acc = nullptr;
  DotStore store;

  void advance(int64_t pixels) {
    block.dst = static_cast<uint8_t*>(block.dst) + pixels * dst_step;
    if (block.residual != nullptr)
      block.residual = static_cast<const uint8_t*>(block.residual) + pixels * residual_step;
    block.rows_scaled = block.rows_scaled.from(pixels);
  }
};

void ConvPlan::dot_task(const Run& r, const Task& t, uint8_t* slot) const {
  auto* acc = reinterpret_cast<int32_t*>(slot);
  // Weights that stay in L1 pass by every few pixels, so that a pixel's channels are written
  // together; else every pixel of the task passes by the weights that stay.
  const bool few = (t.panel1 - t.panel0) * weights->panel_bytes <= kPanelTarget;
  if (!few) return dot_panels(r, t, t.row, t.count, slot, acc);
  const int64_t rows_at_once = std::max<int64_t>(1, kChunkPixels / width);
  for (int64_t image = t.image0; image < t.image1; ++image) {
    Task one = t;
    one.image0 = image;
    one.image1 = image + 1;
    for (int64_t row = 0; row < t.count; row += rows_at_once) {
      dot_panels(r, one, t.row + row, std::min(rows_at_once, t.count - row), slot, acc);
    }
  }
}

// Panels of a block in segments of so many pixels. Weights that do not stay in L1 are loaded anew
// for every block: blocks of few pixels make too little of them.
int64_t ConvPlan::most_panels(int64_t segment) const {
  if (dot->max_panels <= 2 || dot->max_panels * weights->panel_bytes <= kPanelTarget)
    return dot->max_panels;
  const int64_t blocks = ceil_div(segment, dot->max_pixels[dot->max_panels - 1]);
  const bool full = 2 * segment >= 9 * blocks;
  return full && dot->max_panels * weights->panel_bytes <= kStreamTarget ? dot->max_panels
                                                                         : dot->max_panels - 1;
}

// Output rows [row, row + count) of a task.
void ConvPlan::dot_panels(const Run& r, const Task& t, int64_t row, int64_t count, uint8_t* slot,
                          int32_t* acc) const {
  const int64_t most = most_panels(dense() ? t.count * width : width);
  const bool streams = !mixed() && (t.panel1 - t.panel0) * weights->panel_bytes > kPanelTarget;
  for (int64_t p = t.panel0; p < t.panel1;) {
    Panels now{p / weights->panels_per_group, p % weights->panels_per_group, 0};
    const int64_t left = std::min(t.panel1 - p, weights->panels_per_group - now.panel);
    now.count = mixed() ? std::min(left, weights->block) : panels_at_once(left, most);
    for (int64_t image = t.image0; image < t.image1; ++image) {
      Strip s = strip(r, t, image, slot);
      if (has_frames()) s.base += (row - t.row) * frame.pitch * frame.step;
      s.row = row;
      s.count = count;
      dot_strip(r, s, now, acc, streams && p + now.count < t.panel1 && image == t.image0);
    }
    p += now.count;
  }
}

void ConvPlan::dot_strip(const Run& r, const Strip& s, const Panels& p, int32_t* acc,
                         bool fetch) const {
  const ConvShape& shape = spec.shape;
  DotArgs args;
  args.step = frame.step;
  args.pieces = frame.pieces.data();
  args.piece_count = static_cast<int>(frame.pieces.size());
  args.weights = panel_data(p);
  args.panel_stride = weights->panel_bytes;
  if (mixed()) {
    const auto taps = static_cast<int64_t>(weights->tap_quads.size());
    args.taps = weights->taps.data() + block_index(p) * taps;
    args.runs = weights->dot_runs.data();
    args.quads = weights->dot_quads.data();
  }
  args.init = args.first_init = args.last_init = init.data() + panel_index(p) * 16;
  const uint8_t* base = s.base + p.group * weights->shape.in_c;
  if (frame.mode == FrameMode::direct) base += s.row * frame.step;
  const bool window = frame.mode == FrameMode::window;
  const int64_t segment = dense() ? s.count * width : width;
  const int64_t segments = dense() ? 1 : s.count;
  const int64_t blocks = ceil_div(segment, dot->max_pixels[p.count - 1]);
  const int64_t least = segment / blocks, extra = segment % blocks;
  DotOut out;
  start_out(block_at(r, p, (s.image * rows + s.row) * width), acc, out);
  if (fetch) args.ahead = p.count * weights->panel_bytes;
  for (int64_t i = 0; i < segments; ++i) {
    const uint8_t* row = base + i * frame.pitch * frame.step;
    if (window) {
      const int64_t top = (s.row + i) * shape.stride_h - shape.pad_top;
      row = base + (top * shape.in_w - shape.pad_left) * spec.src_stride;
    }
    // Blocks differ by one pixel at most; those alike go together unless they see other padding.
    for (int64_t b = 0, from = 0; b < blocks; b += args.blocks) {
      const int64_t count = least + (b < extra ? 1 : 0);
      args.blocks = window ? 1 : static_cast<int>(b < extra ? extra : blocks - extra);
      args.src = row + from * frame.step;
      if (window)
        point_window(row_classes[static_cast<size_t>(row_class[static_cast<size_t>(s.row + i)])],
                     from, count, panel_index(p), args);
      dot_blocks(args, p.count, count, b + args.blocks == blocks, out);
      args.fetched += args.blocks;
      from += args.blocks * count;
    }
  }
}

void ConvPlan::start_out(const EpilogueBlock& block, int32_t* acc, DotOut& out) const {
  const bool wide = epilogue.has_add && epilogue.add.residual_type == ElemType::f32;
  out.block = block;
  out.acc = acc;
  out.block.acc = acc;
  out.dst_step = spec.dst_stride * elem_bytes(epilogue.out);
  out.residual_step = spec.residual_stride * (wide ? 4 : 1);
  out.store.set(epilogue);
  out.store.scale = block.scale;
  out.store.bias = block.bias;
  out.store.dst_stride = out.dst_step;
  out.store.residual_stride = out.residual_step;
  out.store.channels = block.channels;
}

// `panel_count` panels of the next args.blocks times `count` pixels; `last`: what follows is no
// neighbour.
void ConvPlan::dot_blocks(DotArgs& args, int64_t panel_count, int64_t count, bool last,
                          DotOut& out) const {
  const DotFn fn = dot->fn[panel_count - 1][count - 1];
  if (stores) {
    out.store.dst = static_cast<uint8_t*>(out.block.dst);
    out.store.residual = static_cast<const uint8_t*>(out.block.residual);
    args.store = &out.store;
    fn(args);
    return out.advance(args.blocks * count);
  }
  DotArgs one = args;
  one.blocks = 1;
  for (int i = 0; i < args.blocks; ++i, one.src += count * one.step) {
    one.acc = out.acc + out.pending * 16 * panel_count;
    fn(one);
    out.pending += count;
    const bool ends = last && i + 1 == args.blocks;
    if (!ends && out.pending + kMaxPixels <= kDotPixels) continue;
    out.block.rows = static_cast<int>(out.pending);
    epilogue_fn(epilogue, out.block);
    out.advance(out.pending);
    out.pending = 0;
  }
}

}  // namespace pt2q::kernels
