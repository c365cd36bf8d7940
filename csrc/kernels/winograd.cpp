// The driver of Winograd convolutions: blocks of tiles go through input transform, 36 matrix
// products, output transform and epilogue while they are in the cache.
#include "kernels/winograd.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/parallel.h"
#include "base/strings.h"
#include "kernels/qconv_plan.h"
#include "kernels/qconv_spec.h"
#include "kernels/winograd_kernel.h"
#include "pt2q/error.h"

namespace pt2q::kernels {
namespace {

constexpr const char* kKind = "winograd";
constexpr int64_t kBlockBytes = 320 << 10;  // points of a block of tiles, of 16 bits: L2 holds them
constexpr int64_t kMostTiles = 20;          // of a block
constexpr int64_t kFewTiles = 12;           // per thread; below, threads divide channels
constexpr int kPixels = kWinogradOut * kWinogradOut;

const WinogradTable& table_for(Isa isa, bool real) {
  switch (isa) {
    case Isa::portable:
      return winograd_table_portable(real);
    case Isa::avx2:
      return winograd_table_avx2(real);
    default:
      return winograd_table_avx512(real, isa >= Isa::avx512_vnni);
  }
}

// Cycles that things take on an instruction set; fitted to ResNet's, SqueezeNet's layers on Zen 4.
struct Costs {
  double direct;     // 64 products without the method, in 16 channels
  double products;   // 32 products within it
  double transform;  // input and output of a tile's channel, together
  double bytes;      // of filters that L2 does not hold, per byte
};

Costs costs_of(Isa isa, bool real) {
  if (real) return {4.2, 2.1, 20, 0.01};
  if (isa >= Isa::avx512_vnni) return {1.07, 1.02, 10, 0.02};
  if (isa == Isa::avx512) return {1.75, 1.15, 10, 0.02};
  return {2.0, 1.45, 15, 0.055};
}

bool turned_off() {
  static const char* const value = std::getenv("PT2Q_WINOGRAD");
  return value != nullptr && std::strcmp(value, "0") == 0;
}

int64_t tiles_along(int64_t size) { return ceil_div(size, kWinogradOut); }

// What does not depend on the input's size; plans for other sizes share it.
struct WinogradConstants {
  QConvSpec spec;  // without its epilogue
  std::shared_ptr<const PackedWinograd> weights;
  Epilogue epilogue;
  const WinogradTable* table = nullptr;
  SharedArray<int32_t> init;  // per padded channel, before the epilogue
  SharedArray<int32_t> zeros;
  SharedArray<uint8_t> pad_pixel;  // as stored in the source

  int64_t src_bytes() const { return weights->real ? 4 : 1; }
  int64_t point_bytes() const { return weights->real ? 4 : 2; }
  void set(const QConvSpec& given, std::shared_ptr<const PackedWinograd> packed);
};

void WinogradConstants::set(const QConvSpec& given, std::shared_ptr<const PackedWinograd> packed) {
  check_spec(kKind, given);
  const ConvShape& s = given.shape;
  if (!winograd_fits(s) || given.scaled_rows)
    throw ValueError(cat(kKind, " ", shape_text(s),
                         ": not a 3x3 convolution of stride 1 and one "
                         "group with whole sixteens of input channels"),
                     "use QConv");
  if (packed->shape.out_c != s.out_c || packed->shape.in_c != s.in_c)
    throw ValueError(cat(kKind, " ", shape_text(s), ": the weights were packed for another shape"));
  spec = planned_spec(given);
  weights = std::move(packed);
  table = &table_for(weights->isa, weights->real);
  EpilogueSpec end = given.epilogue;
  if (weights->real) {
    if (given.src_is_s8 || given.src_zero_point != 0 || end.out != ElemType::f32)
      throw ValueError(cat(kKind, " ", shape_text(s), ": float32 weights with quantized values"));
    end.scale = {1.0F};
  }
  epilogue = make_epilogue(end, s.out_c, 1, static_cast<double>(s.in_c * 9 * 255 * 128));
  const int32_t zero = u8_zero_point(spec);
  std::vector<int32_t> start;
  for (const int32_t sum : weights->sums) start.push_back(-zero * sum);
  zeros = SharedArray<int32_t>(std::vector<int32_t>(static_cast<size_t>(16 * weights->panels), 0));
  init = weights->real ? zeros : SharedArray<int32_t>(std::move(start));
  pad_pixel = SharedArray<uint8_t>(std::vector<uint8_t>(static_cast<size_t>(s.in_c * src_bytes()),
                                                        static_cast<uint8_t>(spec.src_zero_point)));
}

}  // namespace

struct WinogradConv::Plan : WinogradConstants {
  int threads = 1;
  int64_t tile_rows = 0, tile_columns = 0, tiles = 0;  // of the whole batch
  int64_t block_tiles = 1;
  int64_t tile_tasks = 0, panel_tasks = 1;
  int64_t panels_at_once = 1;
  int64_t point_stride = 0;  // bytes between points
  int64_t sum_stride = 0;    // elements between points
  int64_t points_bytes = 0, sums_bytes = 0, slot_bytes = 0;

  struct Run {
    const uint8_t* src;
    uint8_t* dst;
    const uint8_t* residual;
  };
  struct Slot {
    uint8_t* points;
    int32_t* sums;
    int32_t* acc;
  };
  struct Tile {
    int64_t image, y, x;  // y, x: of its first output pixel
  };

  void build();
  void run_task(const Run& r, int64_t task, const Slot& slot) const;
  void transform_tiles(const Run& r, int64_t first, int64_t count, const Slot& slot) const;
  void multiply(int64_t count, int64_t panel, int64_t panel_count, const Slot& slot) const;
  void finish_tiles(const Run& r, int64_t first, int64_t count, int64_t panel, int64_t panel_count,
                    const Slot& slot) const;
  EpilogueBlock block_at(const Run& r, int64_t panel, int64_t panel_count) const;
  Tile tile_at(int64_t index) const {
    return {index / (tile_rows * tile_columns), index / tile_columns % tile_rows * kWinogradOut,
            index % tile_columns * kWinogradOut};
  }
};

void WinogradConv::Plan::build() {
  const ConvShape& s = spec.shape;
  threads = std::max(1, spec.threads != 0 ? spec.threads : num_threads());
  tile_rows = tiles_along(s.out_h());
  tile_columns = tiles_along(s.out_w());
  tiles = s.batch * tile_rows * tile_columns;
  const int64_t fitting = kBlockBytes / (kWinogradPoints * s.in_c * 2);
  const int64_t most = std::clamp<int64_t>(fitting, 8, kMostTiles);
  const int64_t ways = tiles >= kFewTiles * threads ? threads : 1;  // that divide tiles
  const int64_t blocks = round_up(ceil_div(tiles, most), ways);
  block_tiles = tiles == 0 ? 1 : ceil_div(tiles, blocks);
  tile_tasks = ceil_div(tiles, block_tiles);
  // Few pixels per panel: more panels share their loads.
  const DotTable& dot = *table->dot;
  const int64_t wide = block_tiles <= dot.max_pixels[dot.max_panels - 1] ? dot.max_panels : 2;
  panels_at_once = std::min<int64_t>({wide, dot.max_panels, weights->panels});
  panel_tasks =
      ways == threads ? 1 : std::min<int64_t>(threads, ceil_div(weights->panels, panels_at_once));
  // The extra line keeps the points of a channel out of each other's cache sets.
  point_stride = block_tiles * s.in_c * point_bytes() + 64;
  sum_stride = block_tiles * 16 * panels_at_once + 16;
  points_bytes = round_up(kWinogradPoints * point_stride, 64);
  sums_bytes = round_up(kWinogradPoints * sum_stride * 4, 64);
  slot_bytes = points_bytes + sums_bytes + kPixels * 16 * panels_at_once * 4;
}

// The points of tiles [first, first + count).
void WinogradConv::Plan::transform_tiles(const Run& r, int64_t first, int64_t count,
                                         const Slot& slot) const {
  const ConvShape& s = spec.shape;
  WinogradInput in;
  in.channels = s.in_c;
  in.flip = spec.src_is_s8 ? 0x80 : 0;
  in.point_stride = point_stride;
  for (int64_t i = 0; i < count; ++i) {
    const Tile t = tile_at(first + i);
    const int64_t step = spec.src_stride * src_bytes();
    const uint8_t* const image = r.src + t.image * s.in_h * s.in_w * step;
    for (int64_t y = 0; y < kWinogradIn; ++y) {
      const int64_t h = t.y - s.pad_top + y;
      for (int64_t x = 0; x < kWinogradIn; ++x) {
        const int64_t w = t.x - s.pad_left + x;
        const bool inside = h >= 0 && h < s.in_h && w >= 0 && w < s.in_w;
        in.pixels[y * kWinogradIn + x] =
            inside ? image + (h * s.in_w + w) * step : pad_pixel.data();
      }
    }
    in.points = slot.points + i * s.in_c * point_bytes();
    table->input(in);
  }
}

// Panels [panel, panel + panel_count) of all points of `count` tiles.
void WinogradConv::Plan::multiply(int64_t count, int64_t panel, int64_t panel_count,
                                  const Slot& slot) const {
  const int64_t in_c = spec.shape.in_c;
  const DotTable& dot = *table->dot;
  const KPiece piece{0, static_cast<int32_t>(in_c * point_bytes() / 4)};
  const int64_t panel_bytes = in_c * point_bytes() * 16;
  DotArgs args;
  args.step = in_c * point_bytes();
  args.pieces = &piece;
  args.piece_count = 1;
  args.panel_stride = panel_bytes;
  args.init = args.first_init = args.last_init = zeros.data();
  const int64_t blocks = ceil_div(count, dot.max_pixels[panel_count - 1]);
  for (int64_t point = 0; point < kWinogradPoints; ++point) {
    args.weights = reinterpret_cast<const int8_t*>(weights->data.data()) +
                   (point * weights->panels + panel) * panel_bytes;
    const uint8_t* from = slot.points + point * point_stride;
    int32_t* to = slot.sums + point * sum_stride;
    const int64_t next = point + 1 < kWinogradPoints ? weights->panels * panel_bytes : 0;
    for (int64_t b = 0, tile = 0; b < blocks; ++b) {
      // One of the panels of the next point arrives while this block computes.
      args.ahead = next + b % panel_count * panel_bytes;
      const int64_t pixels = count * (b + 1) / blocks - tile;
      args.src = from + tile * args.step;
      args.acc = to + tile * 16 * panel_count;
      dot.fn[panel_count - 1][pixels - 1](args);
      tile += pixels;
    }
  }
}

EpilogueBlock WinogradConv::Plan::block_at(const Run& r, int64_t panel, int64_t panel_count) const {
  EpilogueBlock b;
  b.acc_stride = 16 * panel_count;
  b.channels = static_cast<int>(std::min<int64_t>(16 * panel_count, spec.shape.out_c - 16 * panel));
  b.scale = epilogue.scale.data() + 16 * panel;
  b.bias = epilogue.bias.data() + 16 * panel;
  b.dst = r.dst + 16 * panel * elem_bytes(epilogue.out);
  b.dst_stride = spec.dst_stride;
  if (epilogue.has_add) {
    b.residual = r.residual + 16 * panel * elem_bytes(epilogue.add.residual_type);
    b.residual_stride = spec.residual_stride;
  }
  return b;
}

void WinogradConv::Plan::finish_tiles(const Run& r, int64_t first, int64_t count, int64_t panel,
                                      int64_t panel_count, const Slot& slot) const {
  const ConvShape& s = spec.shape;
  const int64_t out_h = s.out_h(), out_w = s.out_w();
  WinogradOutput out;
  out.point_stride = sum_stride;
  out.channels = 16 * panel_count;
  out.init = init.data() + 16 * panel;
  out.acc = slot.acc;
  const EpilogueBlock start = block_at(r, panel, panel_count);
  const int64_t dst_step = spec.dst_stride * elem_bytes(epilogue.out);
  const int64_t residual_step = spec.residual_stride * elem_bytes(epilogue.add.residual_type);
  for (int64_t i = 0; i < count; ++i) {
    out.sums = slot.sums + i * out.channels;
    table->output(out);
    const Tile t = tile_at(first + i);
    EpilogueBlock block = start;
    block.rows = static_cast<int>(std::min<int64_t>(kWinogradOut, out_w - t.x));
    for (int64_t y = 0; y < std::min<int64_t>(kWinogradOut, out_h - t.y); ++y) {
      const int64_t pixel = (t.image * out_h + t.y + y) * out_w + t.x;
      block.acc = slot.acc + y * kWinogradOut * out.channels;
      if (weights->real) block.real_acc = reinterpret_cast<const float*>(block.acc);
      block.dst = static_cast<uint8_t*>(start.dst) + pixel * dst_step;
      if (start.residual != nullptr)
        block.residual = static_cast<const uint8_t*>(start.residual) + pixel * residual_step;
      table->epilogue(epilogue, block);
    }
  }
}

void WinogradConv::Plan::run_task(const Run& r, int64_t task, const Slot& slot) const {
  const int64_t first = task % tile_tasks * block_tiles;
  const int64_t count = std::min(block_tiles, tiles - first);
  const int64_t groups = ceil_div(weights->panels, panels_at_once);
  const int64_t part = task / tile_tasks;
  transform_tiles(r, first, count, slot);
  for (int64_t g = groups * part / panel_tasks; g < groups * (part + 1) / panel_tasks; ++g) {
    const int64_t panel = g * panels_at_once;
    const int64_t panel_count = std::min(panels_at_once, weights->panels - panel);
    multiply(count, panel, panel_count, slot);
    finish_tiles(r, first, count, panel, panel_count, slot);
  }
}

bool winograd_fits(const ConvShape& s) {
  return s.kernel_h == 3 && s.kernel_w == 3 && s.stride_h == 1 && s.stride_w == 1 &&
         s.dilation_h == 1 && s.dilation_w == 1 && s.groups == 1 && s.in_c % 16 == 0;
}

bool winograd_pays(const ConvShape& s, Isa isa, bool real) {
  constexpr double kHeld = 768 << 10;  // bytes of filters that stay in L2
  constexpr double kMost = 10 << 20;   // bytes that no cache holds beside the other layers
  constexpr double kDisturbs = 60e3;   // cycles that layers behind lose, since points fill L2
  constexpr double kMargin = 0.92;     // eight times the weights' memory must be worth it
  constexpr double kBlock = 16;        // tiles that use a filter while it is in L1
  if (isa == Isa::portable || (isa >= Isa::amx && !real) || !winograd_fits(s) || s.batch == 0 ||
      turned_off())
    return false;
  const Costs cost = costs_of(isa, real);
  const auto in_c = static_cast<double>(s.in_c), out_c = static_cast<double>(s.out_c);
  const auto h = static_cast<double>(s.out_h()), w = static_cast<double>(s.out_w());
  const auto batch = static_cast<double>(s.batch);
  // QConv leaves products with padding out.
  const double seen = (1 - 2 / (3 * h)) * (1 - 2 / (3 * w));
  const double direct = batch * h * w * seen * in_c * out_c * 9 / 64 * cost.direct;
  const double tiles = batch * static_cast<double>(tiles_along(s.out_h()) * tiles_along(s.out_w()));
  const double products = tiles * kWinogradPoints * in_c * out_c / 32 * (cost.products + 5 / in_c);
  const double transforms = tiles * cost.transform * (in_c + out_c * 1.25);
  const double bytes = kWinogradPoints * in_c * out_c * (real ? 4 : 2);
  if (bytes > kMost) return false;
  const double filters = bytes <= kHeld ? 0 : bytes * cost.bytes * std::max(1.0, tiles / kBlock);
  return products + transforms + filters + kDisturbs < kMargin * direct;
}

WinogradConv::WinogradConv(const QConvSpec& spec, std::shared_ptr<const PackedWinograd> weights)
    : plan_(std::make_unique<Plan>()) {
  if (weights == nullptr) throw ValueError("winograd: no weights");
  plan_->set(spec, std::move(weights));
  plan_->build();
}

WinogradConv::WinogradConv(std::unique_ptr<Plan> plan) : plan_(std::move(plan)) {}

WinogradConv WinogradConv::resized(int64_t batch, int64_t in_h, int64_t in_w) const {
  return WinogradConv(resized_plan<Plan, WinogradConstants>(kKind, *plan_, batch, in_h, in_w));
}

WinogradConv::~WinogradConv() = default;
WinogradConv::WinogradConv(WinogradConv&&) noexcept = default;
WinogradConv& WinogradConv::operator=(WinogradConv&&) noexcept = default;

size_t WinogradConv::scratch_bytes() const {
  return static_cast<size_t>(plan_->slot_bytes) * static_cast<size_t>(plan_->threads);
}

void WinogradConv::run(const void* src, void* dst, void* scratch, const void* residual) const {
  const Plan& p = *plan_;
  check_residual(kKind, p.spec, p.epilogue, residual);
  const Plan::Run r{static_cast<const uint8_t*>(src), static_cast<uint8_t*>(dst),
                    static_cast<const uint8_t*>(residual)};
  const int64_t tasks = p.tile_tasks * p.panel_tasks;
  const int64_t slots = std::min<int64_t>(p.threads, tasks);
  parallel_for(slots, 1, [&](int64_t first, int64_t last) {
    for (int64_t n = first; n < last; ++n) {
      uint8_t* const memory = static_cast<uint8_t*>(scratch) + n * p.slot_bytes;
      const Plan::Slot slot{memory, reinterpret_cast<int32_t*>(memory + p.points_bytes),
                            reinterpret_cast<int32_t*>(memory + p.points_bytes + p.sums_bytes)};
      for (int64_t t = tasks * n / slots; t < tasks * (n + 1) / slots; ++t) p.run_task(r, t, slot);
    }
  });
}

void WinogradConv::set_dst_stride(int64_t elements) {
  change_dst_stride(kKind, elements, &plan_->spec);
}

std::string WinogradConv::describe() const {
  return cat(isa_label(plan_->weights->isa), plan_->weights->real ? " float32" : "", " winograd ",
             shape_text(plan_->spec.shape));
}

// Products of 16-bit numbers are added in 32 bits on every instruction set.
Saturation WinogradConv::saturation() const { return {}; }

}  // namespace pt2q::kernels
