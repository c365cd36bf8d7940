// The convolution driver: frame mode and task grid at planning, then frames, blocks and epilogue.
#include "kernels/qconv.h"

#include <algorithm>
#include <string>

#include "base/parallel.h"
#include "base/strings.h"
#include "kernels/qconv_plan.h"
#include "kernels/qconv_spec.h"
#include "pt2q/error.h"

namespace pt2q::kernels {
namespace {

constexpr int64_t kFrameTarget = 256 << 10;  // frame bytes per task that stay in L2 with weights
constexpr int64_t kWindowTarget = 20 << 10;  // im2col windows that stay in L1
constexpr int64_t kMinTaskPixels = 96;       // below this, threads split channels, not pixels

constexpr const char* kKind = "qconv";

void check(const QConvSpec& spec, const PackedWeights& w) {
  check_spec(kKind, spec);
  const ConvShape& s = spec.shape;
  const auto fail = [&](const std::string& what) {
    throw ValueError(cat(kKind, " ", shape_text(s), ": ", what));
  };
  const WeightShape want = weight_shape(s);
  const WeightShape& got = w.shape;
  if (want.out_c != got.out_c || want.in_c != got.in_c || want.kernel_h != got.kernel_h ||
      want.kernel_w != got.kernel_w || want.groups != got.groups ||
      want.dilation_w != got.dilation_w)
    fail("the weights were packed for another shape");
  const int32_t zero = u8_zero_point(spec);
  if (w.route.dot == DotKind::mixed && zero > w.src_max)
    fail(cat("the source zero point ", zero, " is above ", w.src_max,
             ", the largest input the weights were packed for"));
  if (spec.scaled_rows && (zero != 0 || s.pad_top + s.pad_left + s.pad_bottom + s.pad_right != 0))
    fail("rows with parameters of their own have neither a zero point nor padding");
}

bool is_pointwise(const ConvShape& s) {
  return s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1 &&
         s.pad_top + s.pad_left + s.pad_bottom + s.pad_right == 0;
}

// Stride 1 can go either way: expanded frames waste no columns, but are KW times as large to write
// and to read again through the L1 cache.
bool expanded_is_faster(const ConvShape& s, const PackedWeights& w) {
  if (!w.route.tiles()) return s.out_w() < 24 && s.dilation_w == 1;
  return s.out_w() < 6;
}

// Few channels: copying what each pixel sees costs more than the products of the gaps in K.
bool reads_rows(const ConvShape& s, const PackedWeights& w) {
  return !w.route.tiles() && s.groups == 1 && s.dilation_w == 1 && s.kernel_w * s.in_c <= 32;
}

bool allows(FrameMode mode, const QConvSpec& spec, const PackedWeights& w) {
  const ConvShape& s = spec.shape;
  if (w.im2col || mode == FrameMode::im2col) return w.im2col && mode == FrameMode::im2col;
  if (mode == FrameMode::direct) return is_pointwise(s) && !spec.src_is_s8 && w.shape.in_c >= 4;
  if (mode == FrameMode::window) return window_fits(spec, w);
  if (mode == FrameMode::flat) return reads_rows(s, w) || (s.stride_h == 1 && s.stride_w == 1);
  return mode == FrameMode::expanded;
}

FrameMode choose_mode(const QConvSpec& spec, const PackedWeights& w) {
  const ConvShape& s = spec.shape;
  if (spec.choice.mode >= 0 && spec.choice.mode != QConvChoice::kWinograd) {
    const auto chosen = static_cast<FrameMode>(spec.choice.mode);
    if (allows(chosen, spec, w)) return chosen;
  }
  if (w.im2col) return FrameMode::im2col;
  if (is_pointwise(s) && !spec.src_is_s8 && w.shape.in_c >= 4) return FrameMode::direct;
  if (window_fits(spec, w)) return FrameMode::window;
  if (reads_rows(s, w)) return FrameMode::flat;
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

void ConvConstants::set(const QConvSpec& given, std::shared_ptr<const PackedWeights> packed) {
  check(given, *packed);
  spec = planned_spec(given);
  weights = std::move(packed);
  const ConvShape& s = spec.shape;
  const int32_t zero = u8_zero_point(spec);
  const double depth = static_cast<double>(weights->shape.in_c * s.kernel_h * s.kernel_w);
  epilogue = make_epilogue(given.epilogue, s.out_c, s.groups, depth * 255 * 128);
  if (spec.scaled_rows) {
    epilogue.fast = epilogue.real = false;
    epilogue.curve = nullptr;
  }
  epilogue_fn = epilogue_for(weights->route);
  dot = dot_table_for(weights->route);
  stores = dot->stores && (epilogue.fast || epilogue.real) &&
           (dot->stores_half || epilogue.out != ElemType::bf16);
  if (weights->route.tiles()) {
    tile = weights->route.emulated ? &tile_table_portable() : &tile_table_amx();
    fused = epilogue.fast && tile->flush[0] != nullptr;
  }
  set_narrow();
  std::vector<int32_t> start;
  for (const int32_t sum : weights->sums) start.push_back(-zero * sum);
  zero_init = std::all_of(start.begin(), start.end(), [](int32_t x) { return x == 0; });
  init = SharedArray<int32_t>(start);
}

void ConvPlan::build() {
  threads = std::max(1, spec.threads != 0 ? spec.threads : num_threads());
  plan_tasks();
  frame.pad_value = static_cast<uint8_t>(spec.src_zero_point);
  frame.flip = spec.src_is_s8;
}

void ConvPlan::plan_tasks() {
  const ConvShape& s = spec.shape;
  const FrameMode mode = choose_mode(spec, *weights);
  const bool direct = mode == FrameMode::direct;
  images = direct ? 1 : s.batch;
  rows = direct ? s.batch * s.out_h() * s.out_w() : s.out_h();
  width = direct ? 1 : s.out_w();
  panels = s.groups * weights->panels_per_group;
  if (images * rows * width == 0) {  // an empty batch
    pixel_tasks = 0;
    frame = make_frame_layout(s, *weights, mode, 1);
    return;
  }

  // Threads divide pixels, unless there are few or the weights outweigh the input.
  const int64_t pixels = images * rows * width;
  const int64_t in_bytes = s.batch * s.in_h * s.in_w * s.in_c;
  const int64_t weight_bytes = panels * weights->panel_bytes;
  int64_t pixel_ways = std::min<int64_t>(threads, std::max<int64_t>(1, pixels / kMinTaskPixels));
  if (weight_bytes > 2 * in_bytes && panels >= 4 * threads) pixel_ways = 1;
  if (spec.choice.pixel_ways > 0) {
    pixel_ways = std::min({spec.choice.pixel_ways, int64_t{threads}, std::max<int64_t>(1, pixels)});
  }
  panel_tasks = std::min(ceil_div(threads, pixel_ways), std::max<int64_t>(1, panels / 2));

  const FrameLayout one = make_frame_layout(s, *weights, mode, 1);
  const FrameLayout two = make_frame_layout(s, *weights, mode, 2);
  int64_t per_row = std::max<int64_t>(1, two.bytes - one.bytes);
  if (direct) per_row = spec.src_stride;
  if (mode == FrameMode::window) per_row = s.stride_h * s.in_w * spec.src_stride;
  const bool small = mode == FrameMode::im2col && !weights->route.tiles();
  int64_t target = small ? kWindowTarget : kFrameTarget;
  if (spec.choice.frame_bytes > 0) target = spec.choice.frame_bytes;
  const int64_t fitting = std::max<int64_t>(1, target / per_row);
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
  frame = make_frame_layout(s, *weights, mode, row_block);
  if (direct) frame.step = spec.src_stride;
  if (mode == FrameMode::window) plan_window();
  place_weights();
  if (direct) tile_rows = std::max<int64_t>(1, std::min(kTileRows, rows));
  slot_bytes = 2 * kAccInts * 4 + kTilePixels * 64 +
               round_up(frame.bytes, 64) * (has_frames() ? image_block : 0);
}

// Vector kernels read the weights of a frame's pieces one after the other.
void ConvPlan::place_weights() {
  const std::vector<int64_t>& taps = weights->tap_quads;
  const auto tap_at = [&](int64_t quad) {
    return static_cast<int32_t>(std::lower_bound(taps.begin(), taps.end(), quad) - taps.begin());
  };
  int32_t quad = 0;
  for (KPiece& piece : frame.pieces) {
    piece.weights = quad * 64;
    piece.tap = tap_at(quad);
    quad += piece.quads;
    piece.tap_end = tap_at(quad);
  }
}

ConvPlan::Strip ConvPlan::strip(const Run& r, const Task& t, int64_t image, uint8_t* slot) const {
  if (frame.mode == FrameMode::direct) return {r.src, image, t.row, t.count};
  if (frame.mode == FrameMode::window) {
    const ConvShape& s = spec.shape;
    return {r.src + image * s.in_h * s.in_w * spec.src_stride, image, t.row, t.count};
  }
  const int64_t at = (image - t.frame_image) * round_up(frame.bytes, 64);
  return {frames(slot) + at, image, t.row, t.count};
}

void ConvPlan::fill_frames(const Run& r, const Task& t, uint8_t* slot) const {
  if (!has_frames()) return;
  const ConvShape& s = spec.shape;
  FrameSource source;
  source.pixel_stride = spec.src_stride;
  source.end = r.src + ((s.batch * s.in_h * s.in_w - 1) * spec.src_stride + s.in_c);
  for (int64_t image = t.image0; image < t.image1; ++image) {
    source.data = r.src + image * s.in_h * s.in_w * spec.src_stride;
    uint8_t* to = frames(slot) + (image - t.image0) * round_up(frame.bytes, 64);
    fill_frame(frame, s, source, t.row, t.count, to);
  }
}

void ConvPlan::run_task(const Run& r, int64_t index, uint8_t* slot) const {
  const int64_t row_blocks = ceil_div(rows, row_block);
  const int64_t pixel_task = index % pixel_tasks;
  const int64_t panel_task = index / pixel_tasks;
  Task t;
  t.image0 = pixel_task / row_blocks * image_block;
  t.image1 = std::min(images, t.image0 + image_block);
  t.frame_image = t.image0;
  t.row = pixel_task % row_blocks * row_block;
  t.count = std::min(rows - t.row, row_block);
  const int64_t blocks = spec.shape.groups * blocks_per_group();
  t.panel0 = first_panel(blocks * panel_task / panel_tasks);
  t.panel1 = first_panel(blocks * (panel_task + 1) / panel_tasks);
  if (is_narrow()) return narrow_task(r, t, slot);
  fill_frames(r, t, slot);
  tile != nullptr ? tile_task(r, t, slot) : dot_task(r, t, slot);
}

void ConvPlan::run(const Run& r) const {
  const int64_t tasks = pixel_tasks * panel_tasks;
  const int64_t slots = std::min<int64_t>(threads, tasks);
  parallel_for(slots, 1, [&](int64_t first, int64_t last) {
    if (tile != nullptr) tile->configure(static_cast<int>(tile_rows));
    for (int64_t slot = first; slot < last; ++slot) {
      for (int64_t t = tasks * slot / slots; t < tasks * (slot + 1) / slots; ++t) {
        run_task(r, t, r.scratch + slot * slot_bytes);
      }
    }
    if (tile != nullptr) tile->release();
  });
}

std::vector<QConvChoice> qconv_choices(const QConvSpec& spec, const PackedWeights& weights,
                                       const QConvChoice& from, QConvAspect aspect) {
  std::vector<QConvChoice> out;
  const auto add = [&](const QConvChoice& choice) {
    if (!(choice == from)) out.push_back(choice);
  };
  QConvChoice choice = from;
  if (aspect == QConvAspect::mode) {
    const FrameMode usual = choose_mode(spec, weights);
    for (const FrameMode mode : {FrameMode::flat, FrameMode::expanded, FrameMode::window}) {
      if (mode == usual || usual == FrameMode::direct || !allows(mode, spec, weights)) continue;
      choice.mode = static_cast<int>(mode);
      add(choice);
    }
  } else if (aspect == QConvAspect::frame_bytes) {
    for (const int64_t kib : {10, 20, 40, 64, 128, 512}) {
      if (weights.im2col != (kib < 64)) continue;
      choice.frame_bytes = kib << 10;
      add(choice);
    }
  } else {
    const int threads = spec.threads != 0 ? spec.threads : num_threads();
    for (const int ways : {1, threads}) {
      choice.pixel_ways = ways;
      if (threads > 1) add(choice);
    }
  }
  return out;
}

struct QConv::Plan : ConvPlan {};

QConv::QConv(const QConvSpec& spec, std::shared_ptr<const PackedWeights> weights)
    : plan_(std::make_unique<Plan>()) {
  if (weights == nullptr) throw ValueError("qconv: no weights");
  plan_->set(spec, std::move(weights));
  plan_->build();
}

QConv::QConv(std::unique_ptr<Plan> plan) : plan_(std::move(plan)) {}

QConv QConv::resized(int64_t batch, int64_t in_h, int64_t in_w) const {
  return QConv(resized_plan<Plan, ConvConstants>(kKind, *plan_, batch, in_h, in_w));
}

QConv::~QConv() = default;
QConv::QConv(QConv&&) noexcept = default;
QConv& QConv::operator=(QConv&&) noexcept = default;

size_t QConv::scratch_bytes() const {
  return static_cast<size_t>(plan_->slot_bytes) * static_cast<size_t>(plan_->threads);
}

void QConv::run(const void* src, void* dst, void* scratch, const void* residual,
                const RowScales& rows) const {
  check_residual(kKind, plan_->spec, plan_->epilogue, residual);
  if (plan_->spec.scaled_rows != (rows.scale != nullptr)) {
    throw ValueError(cat(kKind, " ", shape_text(plan_->spec.shape),
                         ": parameters of rows are given where the plan has none, or missing"));
  }
  plan_->run({static_cast<const uint8_t*>(src), static_cast<uint8_t*>(dst),
              static_cast<const uint8_t*>(residual), static_cast<uint8_t*>(scratch), rows});
}

void QConv::set_dst_stride(int64_t elements) { change_dst_stride(kKind, elements, &plan_->spec); }

std::string QConv::describe() const {
  static const char* const kModes[] = {"direct", "flat", "expanded", "im2col", "window"};
  return plan_->weights->route.name() + " " +
         (plan_->is_narrow() ? "narrow" : kModes[static_cast<int>(plan_->frame.mode)]) + " " +
         shape_text(plan_->spec.shape);
}

Saturation QConv::saturation() const {
  const PackedWeights& w = *plan_->weights;
  Saturation s;
  s.src_max = w.src_max;
  if (w.route.tiles() || w.route.dot == DotKind::vnni || plan_->is_narrow()) return s;
  s.max_pair_sum = w.max_pair_sum;
  s.kind = w.max_pair_sum <= Saturation::kLimit ? Saturation::Kind::bounded
                                                : Saturation::Kind::exact_route;
  return s;
}

std::string Saturation::text() const {
  if (kind == Kind::impossible) return "instruction cannot saturate";
  const std::string sum = std::to_string(max_pair_sum);
  const std::string inputs = " for inputs <= " + std::to_string(src_max);
  if (kind == Kind::bounded) return "bound proven: " + sum + " <= 32767" + inputs;
  return max_pair_sum < 0 ? "exact route" : "exact route: " + sum + " > 32767" + inputs;
}

}  // namespace pt2q::kernels
