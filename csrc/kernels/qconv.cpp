// The convolution driver: frame mode and task grid at planning, then frames, blocks and epilogue.
#include "kernels/qconv.h"

#include <algorithm>
#include <string>

#include "base/parallel.h"
#include "kernels/qconv_frame.h"
#include "pt2q/error.h"

namespace pt2q::kernels {
namespace {

constexpr int64_t kFrameTarget = 256 << 10;  // frame bytes per task that stay in L2 with weights
constexpr int64_t kMinTaskPixels = 96;       // below this, threads split channels, not pixels
constexpr int64_t kTileRows = 16;
constexpr int64_t kAccInts = 2 * 16 * 64;  // one block of accumulators

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

std::string shape_text(const ConvShape& s) {
  return std::to_string(s.kernel_h) + "x" + std::to_string(s.kernel_w) + " " +
         std::to_string(s.in_c) + "->" + std::to_string(s.out_c) + " @" + std::to_string(s.in_h) +
         "x" + std::to_string(s.in_w);
}

void check(const QConvSpec& spec, const PackedWeights& w) {
  const ConvShape& s = spec.shape;
  const auto fail = [&](const std::string& what) {
    throw ValueError("qconv " + shape_text(s) + ": " + what);
  };
  if (s.batch < 0 || s.in_h < 1 || s.in_w < 1 || s.in_c < 1) fail("sizes must be positive");
  if (s.stride_h < 1 || s.stride_w < 1 || s.dilation_h < 1) fail("strides must be positive");
  if (s.pad_top < 0 || s.pad_left < 0 || s.pad_bottom < 0 || s.pad_right < 0)
    fail("negative padding");
  if (s.groups < 1 || s.in_c % s.groups != 0) fail("input channels do not divide into groups");
  if (s.out_h() < 1 || s.out_w() < 1) fail("the kernel is larger than the padded input");
  const WeightShape want = weight_shape(s);
  const WeightShape& got = w.shape;
  if (want.out_c != got.out_c || want.in_c != got.in_c || want.kernel_h != got.kernel_h ||
      want.kernel_w != got.kernel_w || want.groups != got.groups ||
      want.dilation_w != got.dilation_w)
    fail("the weights were packed for another shape");
  const int32_t zero = spec.src_zero_point + (spec.src_is_s8 ? 128 : 0);
  if (zero < 0 || zero > 255) fail("source zero point out of range");
  if (w.route.dot == DotKind::maddubs && zero > w.src_max)
    fail("source zero point above the largest input the weights were packed for");
  if ((spec.src_stride != 0 && spec.src_stride < s.in_c) ||
      (spec.dst_stride != 0 && spec.dst_stride < s.out_c) ||
      (spec.residual_stride != 0 && spec.residual_stride < s.out_c))
    fail("a pixel stride is smaller than the channel count");
}

bool is_pointwise(const ConvShape& s) {
  return s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1 &&
         s.pad_top + s.pad_left + s.pad_bottom + s.pad_right == 0;
}

// Copying thrice (expanded) against the columns that flat frames waste, in cycles.
bool expanded_is_faster(const ConvShape& s, const PackedWeights& w) {
  if (!w.route.tiles()) return s.out_w() < 14 && s.dilation_w == 1;
  const int64_t dense = ceil_div(s.out_h() * s.out_w(), kTileRows);
  const int64_t flat =
      ceil_div(s.out_h() * (s.in_w + std::max(s.pad_left, s.pad_right)), kTileRows);
  const int64_t tiles = static_cast<int64_t>(w.pieces.size()) * w.panels_per_group * s.groups;
  const int64_t copied = s.out_h() * s.out_w() * s.in_c;
  return (flat - dense) * tiles * 19 > copied * (s.kernel_w - 1) / 16;
}

FrameMode choose_mode(const QConvSpec& spec, const PackedWeights& w) {
  const ConvShape& s = spec.shape;
  if (w.im2col) return FrameMode::im2col;
  if (is_pointwise(s) && !spec.src_is_s8 && w.shape.in_c >= 4) return FrameMode::direct;
  if (s.stride_h != 1 || s.stride_w != 1) return FrameMode::expanded;
  return expanded_is_faster(s, w) ? FrameMode::expanded : FrameMode::flat;
}

EpilogueFn epilogue_for(const Route& route) {
  if (route.emulated || route.isa == Isa::portable) return &epilogue_portable;
  return route.isa == Isa::avx2 ? &epilogue_avx2 : &epilogue_avx512;
}

const DotTable* dot_table_for(const Route& route) {
  if (route.emulated || route.isa == Isa::portable) return &dot_table_portable(route.dot);
  return route.isa == Isa::avx2 ? &dot_table_avx2(route.dot) : &dot_table_avx512(route.dot);
}

}  // namespace

struct QConv::Plan {
  QConvSpec spec;
  std::shared_ptr<const PackedWeights> weights;
  Epilogue epilogue;
  EpilogueFn epilogue_fn = nullptr;
  const DotTable* dot = nullptr;
  const TileTable* tile = nullptr;
  std::vector<int32_t> init;
  FrameLayout frame;
  // Output geometry of the frames: direct plans see one image of batch * OH * OW rows of width 1.
  int64_t images = 0, rows = 0, width = 0;
  int64_t image_block = 1, row_block = 1;  // images and rows of one task
  int64_t pixel_tasks = 1, panel_tasks = 1;
  int64_t panels = 0;
  int threads = 1;
  int64_t slot_bytes = 0;
  int64_t tile_rows = kTileRows;

  struct Run {
    const uint8_t* src;
    uint8_t* dst;
    const uint8_t* residual;
    uint8_t* scratch;
  };
  // One image's rows [row, row + count) as blocks see them.
  struct Strip {
    const uint8_t* base;
    int64_t image, row, count;
  };

  void build();
  void plan_tasks();
  void run(const Run& r) const;
  void task(const Run& r, int64_t index, uint8_t* slot) const;
  Strip strip(const Run& r, int64_t image, int64_t row, int64_t count, uint8_t* frame) const;
  void dot_strip(const Run& r, const Strip& strip, int64_t group, int64_t panel, int panel_count,
                 int32_t* acc) const;
  void tile_strip(const Run& r, const Strip& strip, int64_t group, int64_t panel, int panel_count,
                  int32_t* acc, uint8_t* tail) const;
  void finish(const Run& r, const Strip& strip, int64_t pixel, int64_t rows_count,
              const int32_t* acc, int64_t group, int64_t panel, int panel_count) const;
  bool dense() const { return frame.pitch == width; }
  const int8_t* panel_data(int64_t index) const {
    return reinterpret_cast<const int8_t*>(weights->data.data() + index * weights->panel_bytes);
  }
};

void QConv::Plan::build() {
  check(spec, *weights);
  const ConvShape& s = spec.shape;
  if (spec.src_stride == 0) spec.src_stride = s.in_c;
  if (spec.dst_stride == 0) spec.dst_stride = s.out_c;
  if (spec.residual_stride == 0) spec.residual_stride = s.out_c;
  const int32_t zero = spec.src_zero_point + (spec.src_is_s8 ? 128 : 0);
  const double depth = static_cast<double>(weights->shape.in_c * s.kernel_h * s.kernel_w);
  epilogue = make_epilogue(spec.epilogue, s.out_c, s.groups, depth * 255 * 128);
  epilogue_fn = epilogue_for(weights->route);
  dot = dot_table_for(weights->route);
  if (weights->route.tiles()) {
    tile = weights->route.emulated ? &tile_table_portable() : &tile_table_amx();
  }
  for (const int32_t sum : weights->sums) init.push_back(-zero * sum);
  threads = std::max(1, spec.threads != 0 ? spec.threads : num_threads());
  plan_tasks();
  frame.pad_value = static_cast<uint8_t>(spec.src_zero_point);
  frame.flip = spec.src_is_s8;
}

void QConv::Plan::plan_tasks() {
  const ConvShape& s = spec.shape;
  const FrameMode mode = choose_mode(spec, *weights);
  const bool direct = mode == FrameMode::direct;
  images = direct ? 1 : s.batch;
  rows = direct ? s.batch * s.out_h() * s.out_w() : s.out_h();
  width = direct ? 1 : s.out_w();
  panels = s.groups * weights->panels_per_group;

  // Threads divide pixels, unless there are few or the weights outweigh the input.
  const int64_t pixels = images * rows * width;
  const int64_t in_bytes = s.batch * s.in_h * s.in_w * s.in_c;
  const int64_t weight_bytes = panels * weights->panel_bytes;
  int64_t pixel_ways = std::min<int64_t>(threads, std::max<int64_t>(1, pixels / kMinTaskPixels));
  if (weight_bytes > 2 * in_bytes && panels >= 4 * threads) pixel_ways = 1;
  panel_tasks = std::min(ceil_div(threads, pixel_ways), std::max<int64_t>(1, panels / 2));

  const FrameLayout one = make_frame_layout(s, *weights, mode, 1);
  const FrameLayout two = make_frame_layout(s, *weights, mode, 2);
  const int64_t per_row = direct ? spec.src_stride : std::max<int64_t>(1, two.bytes - one.bytes);
  const int64_t fitting = std::max<int64_t>(1, kFrameTarget / per_row);
  const int64_t even_rows = ceil_div(images * rows, pixel_ways);  // per thread
  if (fitting >= 2 * rows && images > 1) {
    image_block = std::max<int64_t>(1, std::min(fitting / rows, images / pixel_ways));
    row_block = rows;
  } else {
    row_block = std::min({rows, fitting, even_rows});
    const int64_t blocks = ceil_div(rows, row_block);  // a multiple of the threads for one image
    row_block = ceil_div(rows, images == 1 ? round_up(blocks, pixel_ways) : blocks);
    if (direct) row_block = std::min(rows, round_up(row_block, 2 * kTileRows));
  }
  pixel_tasks = ceil_div(images, image_block) * ceil_div(rows, row_block);
  if (pixels == 0) pixel_tasks = 0;
  frame = make_frame_layout(s, *weights, mode, row_block);
  if (direct) frame.step = spec.src_stride;
  if (direct) tile_rows = std::max<int64_t>(1, std::min(kTileRows, rows));
  slot_bytes = round_up(kAccInts * 4, 64) + 2 * kTileRows * 64 +
               round_up(frame.bytes, 64) * (direct ? 0 : image_block);
}

QConv::Plan::Strip QConv::Plan::strip(const Run& r, int64_t image, int64_t row, int64_t count,
                                      uint8_t* frame_data) const {
  if (frame.mode == FrameMode::direct) return {r.src, 0, row, count};
  const ConvShape& s = spec.shape;
  FrameSource source;
  source.pixel_stride = spec.src_stride;
  source.data = r.src + image * s.in_h * s.in_w * spec.src_stride;
  source.end = r.src + ((s.batch * s.in_h * s.in_w - 1) * spec.src_stride + s.in_c);
  fill_frame(frame, s, source, row, count, frame_data);
  return {frame_data, image, row, count};
}

// Writes `count` neighbouring pixels (of one output row unless dense), the first being pixel
// `pixel` of the image.
void QConv::Plan::finish(const Run& r, const Strip& strip, int64_t pixel, int64_t count,
                         const int32_t* acc, int64_t group, int64_t panel, int panel_count) const {
  const int64_t per_group = spec.shape.out_c / spec.shape.groups;
  const int64_t channel = group * per_group + panel * 16;
  const int64_t padded = (group * weights->panels_per_group + panel) * 16;
  const int64_t at = strip.image * rows * width + pixel;
  EpilogueBlock b;
  b.acc = acc;
  b.acc_stride = 16 * panel_count;
  b.rows = static_cast<int>(count);
  b.channels = static_cast<int>(std::min<int64_t>(16 * panel_count, per_group - panel * 16));
  b.scale = epilogue.scale.data() + padded;
  b.bias = epilogue.bias.data() + padded;
  const int64_t dst_size = epilogue.out == ElemType::f32 ? 4 : 1;
  b.dst = r.dst + (at * spec.dst_stride + channel) * dst_size;
  b.dst_stride = spec.dst_stride;
  if (epilogue.has_add) {
    const int64_t size = epilogue.add.residual_type == ElemType::f32 ? 4 : 1;
    b.residual = r.residual + (at * spec.residual_stride + channel) * size;
    b.residual_stride = spec.residual_stride;
  }
  epilogue_fn(epilogue, b);
}

void QConv::Plan::dot_strip(const Run& r, const Strip& strip, int64_t group, int64_t panel,
                            int panel_count, int32_t* acc) const {
  const int64_t index = group * weights->panels_per_group + panel;
  DotArgs args;
  args.step = frame.step;
  args.pieces = frame.pieces.data();
  args.piece_count = static_cast<int>(frame.pieces.size());
  args.weights = panel_data(index);
  args.panel_stride = weights->panel_bytes;
  args.init = init.data() + index * 16;
  args.acc = acc;
  const uint8_t* base = strip.base + group * weights->shape.in_c;
  if (frame.mode == FrameMode::direct) base += strip.row * frame.step;
  const int64_t segment = dense() ? strip.count * width : width;
  const int64_t segments = dense() ? 1 : strip.count;
  const int64_t blocks = ceil_div(segment, dot->max_pixels[panel_count - 1]);
  for (int64_t i = 0; i < segments; ++i) {
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t from = segment * b / blocks;
      const int64_t count = segment * (b + 1) / blocks - from;
      args.src = base + (i * frame.pitch + from) * frame.step;
      dot->fn[panel_count - 1][count - 1](args);
      finish(r, strip, (strip.row + i) * width + from, count, acc, group, panel, panel_count);
    }
  }
}

void QConv::Plan::tile_strip(const Run& r, const Strip& strip, int64_t group, int64_t panel,
                             int panel_count, int32_t* acc, uint8_t* tail) const {
  const int64_t index = group * weights->panels_per_group + panel;
  const bool direct = frame.mode == FrameMode::direct;
  TileArgs args;
  args.pieces = frame.pieces.data();
  args.piece_count = static_cast<int>(frame.pieces.size());
  args.weights = panel_data(index);
  args.panel_stride = weights->panel_bytes;
  args.init = init.data() + index * 16;
  args.acc = acc;
  const uint8_t* base = strip.base + group * weights->shape.in_c;
  // Virtual pixels [begin, end); direct strips count from the start of the tensor, so that a last
  // tile may reach back for full rows.
  const int64_t begin = direct ? strip.row : 0;
  const int64_t end = direct ? strip.row + strip.count : (strip.count - 1) * frame.pitch + width;
  const int64_t last_start = std::max<int64_t>(0, end - tile_rows);
  // Pieces are 64 bytes: with fewer channels the last pixels must not read past the tensor.
  const int64_t safe = direct && weights->run_bytes < 64
                           ? rows - ceil_div(64 - weights->run_bytes, frame.step)
                           : INT64_MAX;
  for (int64_t m = begin; m < end; m += 2 * tile_rows) {
    const int tiles = m + tile_rows < end ? 2 : 1;
    const int64_t start[2] = {std::min(m, last_start), std::min(m + tile_rows, last_start)};
    const bool copy = start[tiles - 1] + tile_rows > safe;
    args.step = copy ? 64 : frame.step;
    for (int t = 0; t < tiles; ++t) {
      args.src[t] = base + start[t] * frame.step;
      if (!copy) continue;
      uint8_t* to = tail + t * kTileRows * 64;
      for (int64_t i = 0; i < tile_rows; ++i) {
        std::copy_n(args.src[t] + i * frame.step, weights->run_bytes, to + i * 64);
      }
      args.src[t] = to;
    }
    tile->fn[tiles - 1][panel_count - 1](args);
    for (int t = 0; t < tiles; ++t) {
      const int32_t* tile_acc = acc + t * kTileRows * 16 * panel_count;
      int64_t v = m + t * tile_rows;  // a tile that reached back skips what is done
      const int64_t stop = std::min(end, v + tile_rows);
      while (v < stop) {
        const int64_t row = direct || dense() ? 0 : v / frame.pitch;
        const int64_t limit = direct || dense() ? stop : std::min(stop, row * frame.pitch + width);
        if (v < limit) {
          const int64_t pixel =
              direct ? v : strip.row * width + (dense() ? v : row * width + v - row * frame.pitch);
          finish(r, strip, pixel, limit - v, tile_acc + (v - start[t]) * 16 * panel_count, group,
                 panel, panel_count);
        }
        v = direct || dense() ? stop : (row + 1) * frame.pitch;
      }
    }
  }
}

void QConv::Plan::task(const Run& r, int64_t index, uint8_t* slot) const {
  const int64_t row_blocks = ceil_div(rows, row_block);
  const int64_t pixel_task = index % pixel_tasks;
  const int64_t panel_task = index / pixel_tasks;
  const int64_t image0 = pixel_task / row_blocks * image_block;
  const int64_t image1 = std::min(images, image0 + image_block);
  const int64_t row = pixel_task % row_blocks * row_block;
  const int64_t count = std::min(rows - row, row_block);
  auto* acc = reinterpret_cast<int32_t*>(slot);
  uint8_t* tail = slot + kAccInts * 4;
  uint8_t* frames = tail + 2 * kTileRows * 64;
  const int64_t frame_bytes = round_up(frame.bytes, 64);
  const int max_panels = tile != nullptr ? 2 : dot->max_panels;
  const int64_t last = panels * (panel_task + 1) / panel_tasks;
  bool filled = false;
  for (int64_t p = panels * panel_task / panel_tasks; p < last;) {
    const int64_t group = p / weights->panels_per_group;
    const int64_t panel = p % weights->panels_per_group;
    const int64_t left = std::min(last - p, weights->panels_per_group - panel);
    const auto count_now = static_cast<int>(ceil_div(left, ceil_div(left, max_panels)));
    for (int64_t image = image0; image < image1; ++image) {
      uint8_t* data = frames + (image - image0) * frame_bytes;
      const Strip s = filled && frame.mode != FrameMode::direct ? Strip{data, image, row, count}
                                                                : strip(r, image, row, count, data);
      if (tile != nullptr) {
        tile_strip(r, s, group, panel, count_now, acc, tail);
      } else {
        dot_strip(r, s, group, panel, count_now, acc);
      }
    }
    filled = true;
    p += count_now;
  }
}

void QConv::Plan::run(const Run& r) const {
  const int64_t tasks = pixel_tasks * panel_tasks;
  const int64_t slots = std::min<int64_t>(threads, tasks);
  parallel_for(slots, 1, [&](int64_t first, int64_t last) {
    if (tile != nullptr) tile->configure(static_cast<int>(tile_rows));
    for (int64_t slot = first; slot < last; ++slot) {
      for (int64_t t = tasks * slot / slots; t < tasks * (slot + 1) / slots; ++t) {
        task(r, t, r.scratch + slot * slot_bytes);
      }
    }
    if (tile != nullptr) tile->release();
  });
}

QConv::QConv(const QConvSpec& spec, std::shared_ptr<const PackedWeights> weights)
    : plan_(std::make_unique<Plan>()) {
  if (weights == nullptr) throw ValueError("qconv: no weights");
  plan_->spec = spec;
  plan_->weights = std::move(weights);
  plan_->build();
}

QConv::~QConv() = default;
QConv::QConv(QConv&&) noexcept = default;
QConv& QConv::operator=(QConv&&) noexcept = default;

size_t QConv::scratch_bytes() const {
  return static_cast<size_t>(plan_->slot_bytes) * static_cast<size_t>(plan_->threads);
}

void QConv::run(const void* src, void* dst, void* scratch, const void* residual) const {
  if (plan_->epilogue.has_add && residual == nullptr) {
    throw ValueError("qconv " + shape_text(plan_->spec.shape) + ": no residual for the add");
  }
  plan_->run({static_cast<const uint8_t*>(src), static_cast<uint8_t*>(dst),
              static_cast<const uint8_t*>(residual), static_cast<uint8_t*>(scratch)});
}

std::string QConv::describe() const {
  static const char* const kModes[] = {"direct", "flat", "expanded", "im2col"};
  return plan_->weights->route.name() + " " + kModes[static_cast<int>(plan_->frame.mode)] + " " +
         shape_text(plan_->spec.shape);
}

}  // namespace pt2q::kernels
