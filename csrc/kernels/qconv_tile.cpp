// Blocks of 32 pixels by 32 channels on AMX tiles. The epilogue of a block runs inside the tile
// multiplications of the next one, so that vector and tile units work at the same time.
#include <algorithm>

#include "kernels/qconv_plan.h"

namespace pt2q::kernels {
namespace {

// Weights that pass by for every block of pixels: they stream from L2 without loss.
constexpr int64_t kWeightsTarget = 256 << 10;

}  // namespace

// Two blocks in flight: one being multiplied, one being stored.
struct ConvPlan::TilePipe {
  TileArgs args;
  TileRows rows[2];  // of this and the previous pixels
  TileStore store[2];
  int32_t* acc[2];
  uint8_t* tail;
  int rows_now = 0;
  int now = 0;
};

void ConvPlan::tile_task(const Run& r, const Task& t, uint8_t* slot) const {
  TilePipe pipe;
  pipe.acc[0] = reinterpret_cast<int32_t*>(slot);
  pipe.acc[1] = pipe.acc[0] + kAccInts;
  pipe.tail = slot + 2 * kAccInts * 4;
  pipe.args.pieces = frame.pieces.data();
  pipe.args.piece_count = static_cast<int>(frame.pieces.size());
  pipe.args.panel_stride = weights->panel_bytes;
  pipe.args.epilogue = &epilogue;
  const int64_t pairs = std::max<int64_t>(1, kWeightsTarget / (2 * weights->panel_bytes));
  for (int64_t p = t.panel0; p < t.panel1;) {
    Panels now{p / weights->panels_per_group, p % weights->panels_per_group, 0};
    now.count = std::min({2 * pairs, t.panel1 - p, weights->panels_per_group - now.panel});
    for (int64_t image = t.image0; image < t.image1; ++image) {
      tile_strip(r, strip(r, t, image, slot), now, pipe);
    }
    p += now.count;
  }
  flush(pipe.store[1 - pipe.now]);
}

// Virtual pixels end here; direct strips count from the start of the tensor, so that a last tile
// may reach back for full rows.
int64_t ConvPlan::strip_end(const Strip& s) const {
  return frame.mode == FrameMode::direct ? s.row + s.count : (s.count - 1) * frame.pitch + width;
}

void ConvPlan::tile_strip(const Run& r, const Strip& s, const Panels& p, TilePipe& pipe) const {
  const bool direct = frame.mode == FrameMode::direct;
  const int64_t end = strip_end(s);
  const int64_t last = std::max<int64_t>(0, end - tile_rows);
  const EpilogueBlock first = block_at(r, p, s.image * rows * width + (direct ? 0 : s.row * width));
  for (int64_t m = direct ? s.row : 0; m < end; m += 2 * tile_rows) {
    const int tiles = m + tile_rows < end ? 2 : 1;
    const int64_t start[2] = {std::min(m, last), std::min(m + tile_rows, last)};
    point_tiles(s, p, start, tiles, pipe);
    pipe.rows_now = 1 - pipe.rows_now;
    list_rows(s, m, tiles, start, pipe.rows[pipe.rows_now]);
    // The block still pending may use the other row list, but none older.
    tile_block(p, first, tiles, pipe);
  }
}

// All panels of `p` for the pixels that pipe.args.src and pipe.rows name; `first` places panel 0.
void ConvPlan::tile_block(const Panels& p, const EpilogueBlock& first, int tiles,
                          TilePipe& pipe) const {
  const int64_t dst_size = elem_bytes(epilogue.out);
  const int64_t residual_size = epilogue.has_add ? elem_bytes(epilogue.add.residual_type) : 1;
  const int64_t channels = spec.shape.out_c / spec.shape.groups - p.panel * 16;
  TileArgs& args = pipe.args;
  const int32_t* start = zero_init ? nullptr : init.data() + panel_index(p) * 16;
  const int8_t* data = panel_data(p);
  for (int64_t panel = 0; panel < p.count; panel += 2) {
    const int count = p.count - panel >= 2 ? 2 : 1;
    args.weights = data + panel * weights->panel_bytes;
    args.init = start == nullptr ? nullptr : start + panel * 16;
    args.acc = pipe.acc[pipe.now];
    TileStore& store = pipe.store[pipe.now];
    store.rows = &pipe.rows[pipe.rows_now];
    store.acc = args.acc;
    store.dst = static_cast<uint8_t*>(first.dst) + panel * 16 * dst_size;
    if (epilogue.has_add) {
      store.residual = static_cast<const uint8_t*>(first.residual) + panel * 16 * residual_size;
    }
    store.panels = count;
    store.channels = static_cast<int>(std::min<int64_t>(16 * count, channels - panel * 16));
    store.rows_scaled = first.rows_scaled;
    store.sums = first.sums + panel * 16;
    store.scale = first.scale + panel * 16;
    store.bias = first.bias + panel * 16;
    if (!fused) {
      tile->plain[tiles - 1][count - 1](args);
      store_unfused(store);
      store.rows = nullptr;
      continue;
    }
    TileStore& previous = pipe.store[1 - pipe.now];
    if (previous.panels != count || previous.channels != 16 * count) flush(previous);
    args.previous = &previous;
    tile->fused[fused_kind()][tiles - 1][count - 1](args);
    pipe.now = 1 - pipe.now;
  }
}

// Which of TileTable::fused fits the epilogue.
int ConvPlan::fused_kind() const {
  const Epilogue& e = epilogue;
  if (e.has_add) return e.add.residual_type == ElemType::s8 ? 3 : 2;
  return e.lean() ? 0 : 1;
}

void ConvPlan::flush(TileStore& store) const {
  if (store.rows != nullptr) tile->flush[store.panels - 1](epilogue, store);
  store.rows = nullptr;
}

void ConvPlan::point_tiles(const Strip& s, const Panels& p, const int64_t* start, int tiles,
                           TilePipe& pipe) const {
  const uint8_t* base = s.base + p.group * weights->shape.in_c;
  // Pieces are 64 bytes: with fewer channels the last pixels must not read past the tensor.
  const bool direct = frame.mode == FrameMode::direct;
  const int64_t safe = direct && weights->run_bytes < 64
                           ? rows - ceil_div(64 - weights->run_bytes, frame.step)
                           : INT64_MAX;
  const bool copy = start[tiles - 1] + tile_rows > safe;
  pipe.args.step = copy ? 64 : frame.step;
  for (int t = 0; t < tiles; ++t) {
    pipe.args.src[t] = base + start[t] * frame.step;
    if (!copy) continue;
    uint8_t* to = pipe.tail + t * kTileRows * 64;
    for (int64_t i = 0; i < tile_rows; ++i) {
      std::copy_n(pipe.args.src[t] + i * frame.step, weights->run_bytes, to + i * 64);
    }
    pipe.args.src[t] = to;
  }
}

// The rows of the block that are output pixels not stored yet: a tile that reached back skips what
// is done, flat frames have waste columns.
void ConvPlan::list_rows(const Strip& s, int64_t m, int tiles, const int64_t* start,
                         TileRows& out) const {
  const int64_t end = strip_end(s);
  const int64_t dst_step = spec.dst_stride * elem_bytes(epilogue.out);
  const int64_t residual_step =
      epilogue.has_add ? spec.residual_stride * elem_bytes(epilogue.add.residual_type) : 0;
  const bool gaps = frame.mode != FrameMode::direct && !dense();
  int count = 0;
  for (int t = 0; t < tiles; ++t) {
    const int64_t from = m + t * tile_rows;
    const auto n = static_cast<int>(std::min(end - from, tile_rows));
    const auto row = static_cast<int32_t>(t * kTileRows + from - start[t]);
    if (!gaps) {
      for (int i = 0; i < n; ++i) out.acc[count + i] = row + i;
      for (int i = 0; i < n; ++i) out.dst[count + i] = (from + i) * dst_step;
      for (int i = 0; i < n && residual_step != 0; ++i)
        out.residual[count + i] = (from + i) * residual_step;
      count += n;
      continue;
    }
    int64_t column = from % frame.pitch;
    int64_t pixel = from / frame.pitch * width + std::min(column, width);
    for (int i = 0; i < n; ++i) {
      out.acc[count] = row + i;
      out.dst[count] = pixel * dst_step;
      out.residual[count] = pixel * residual_step;
      const bool real = column < width;
      count += real ? 1 : 0;
      pixel += real ? 1 : 0;
      column = column + 1 == frame.pitch ? 0 : column + 1;
    }
  }
  out.count = count;
  for (int i = count; count > 0 && i % 4 != 0; ++i) {
    out.acc[i] = out.acc[count - 1];
    out.dst[i] = out.dst[count - 1];
    out.residual[i] = out.residual[count - 1];
  }
}

void ConvPlan::store_unfused(const TileStore& store) const {
  EpilogueBlock b;
  b.acc_stride = 16 * store.panels;
  b.rows = 1;
  b.channels = store.channels;
  b.scale = store.scale;
  b.bias = store.bias;
  b.sums = store.sums;
  const int64_t dst_step = spec.dst_stride * elem_bytes(epilogue.out);
  for (int i = 0; i < store.rows->count; ++i) {
    b.acc = store.acc + store.rows->acc[i] * b.acc_stride;
    b.dst = store.dst + store.rows->dst[i];
    b.rows_scaled = store.rows_scaled.from(store.rows->dst[i] / dst_step);
    b.residual = epilogue.has_add ? store.residual + store.rows->residual[i] : nullptr;
    epilogue_fn(epilogue, b);
  }
}

}  // namespace pt2q::kernels
