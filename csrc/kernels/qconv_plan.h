// The plan behind QConv: what is decided once per shape, and the loops that run it (qconv.cpp: plan
// and tasks, qconv_dot.cpp: vector blocks, qconv_tile.cpp: AMX blocks).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/qconv.h"
#include "kernels/qconv_frame.h"
#include "kernels/qconv_narrow.h"

namespace pt2q::kernels {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// Whether window mode can run it: vector route, u8, whole quads per tap, padding of one column.
bool window_fits(const QConvSpec& spec, const PackedWeights& weights);

// What does not depend on the input's size; plans for other sizes share it.
struct ConvConstants {
  QConvSpec spec;  // without its epilogue
  std::shared_ptr<const PackedWeights> weights;
  Epilogue epilogue;
  EpilogueFn epilogue_fn = nullptr;
  const DotTable* dot = nullptr;
  const TileTable* tile = nullptr;
  SharedArray<int32_t> init;                     // accumulator start per padded channel
  bool zero_init = false;                        // all of them 0
  bool fused = false;                            // tile blocks are stored by TileTable::fused
  bool stores = false;                           // vector blocks are stored by the micro-kernel
  NarrowFn narrow = nullptr;                     // not null: direct plans use it
  SharedArray<float> narrow_scale, narrow_bias;  // of kNarrowPixels pixels

  void set(const QConvSpec& given, std::shared_ptr<const PackedWeights> packed);

 private:
  void set_narrow();
};

struct ConvPlan : ConvConstants {
  static constexpr int64_t kTileRows = 16;
  static constexpr int64_t kTilePixels = 2 * kTileRows;  // of a block
  // Two accumulator blocks of 32 x 32; the gap keeps stores to one from aliasing loads of the
  // other.
  static constexpr int64_t kAccInts = 32 * 32 + 32 * 16;

  FrameLayout frame;
  // Window mode: output rows by the kernel rows that see input; per row its class.
  enum Edge { kLeft = 1, kRight = 2 };
  struct RowClass {
    int64_t kh0 = 0, kh1 = 0;
    std::vector<KPiece> pieces[4];  // of a block that holds these edges
    std::vector<int32_t> init[4];   // of a pixel on these edges; empty when zero_init
  };
  std::vector<RowClass> row_classes;
  std::vector<int> row_class;
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
    RowScales scales;
  };
  struct Task {
    int64_t image0, image1;  // images
    int64_t frame_image;     // of the first frame
    int64_t row, count;      // output rows
    int64_t panel0, panel1;  // 16-channel panels over all groups
  };
  // One image's rows [row, row + count) as blocks see them.
  struct Strip {
    const uint8_t* base;
    int64_t image, row, count;
  };
  // A run of panels within one group.
  struct Panels {
    int64_t group, panel, count;
  };

  // Plans for spec.shape.
  void build();
  void run(const Run& r) const;
  bool is_narrow() const { return narrow != nullptr && frame.mode == FrameMode::direct; }

 private:
  void plan_tasks();
  void run_task(const Run& r, int64_t index, uint8_t* slot) const;
  void fill_frames(const Run& r, const Task& t, uint8_t* slot) const;
  Strip strip(const Run& r, const Task& t, int64_t image, uint8_t* slot) const;
  uint8_t* frames(uint8_t* slot) const { return slot + 2 * kAccInts * 4 + kTilePixels * 64; }

  struct DotOut;
  void narrow_task(const Run& r, const Task& t, uint8_t* slot) const;
  void dot_task(const Run& r, const Task& t, uint8_t* slot) const;
  void dot_panels(const Run& r, const Task& t, int64_t row, int64_t count, uint8_t* slot,
                  int32_t* acc) const;
  // `fetch`: the weights behind these panels are wanted next.
  void dot_strip(const Run& r, const Strip& s, const Panels& p, int32_t* acc, bool fetch) const;
  void start_out(const EpilogueBlock& block, int32_t* acc, DotOut& out) const;
  void dot_blocks(DotArgs& args, int64_t panel_count, int64_t count, bool last, DotOut& out) const;
  int64_t most_panels(int64_t segment) const;

  void place_weights();
  void plan_window();
  void list_pieces(RowClass& c, int edges) const;
  void start_sums(RowClass& c) const;
  void point_window(const RowClass& c, int64_t from, int64_t count, int64_t panel,
                    DotArgs& args) const;

  struct TilePipe;
  void tile_task(const Run& r, const Task& t, uint8_t* slot) const;
  void tile_strip(const Run& r, const Strip& s, const Panels& p, TilePipe& pipe) const;
  void tile_block(const Panels& p, const EpilogueBlock& first, int tiles, TilePipe& pipe) const;
  void point_tiles(const Strip& s, const Panels& p, const int64_t* start, int tiles,
                   TilePipe& pipe) const;
  void list_rows(const Strip& s, int64_t m, int tiles, const int64_t* start, TileRows& out) const;
  void flush(TileStore& store) const;
  void store_unfused(const TileStore& store) const;
  int fused_kind() const;
  int64_t strip_end(const Strip& s) const;

  EpilogueBlock block_at(const Run& r, const Panels& p, int64_t pixel) const;
  bool has_frames() const {
    return frame.mode != FrameMode::direct && frame.mode != FrameMode::window;
  }
  bool dense() const { return frame.mode != FrameMode::window && frame.pitch == width; }
  // Mixed weights come in blocks of panels.
  bool mixed() const { return weights->route.dot == DotKind::mixed; }
  int64_t blocks_per_group() const {
    return mixed() ? ceil_div(weights->panels_per_group, weights->block)
                   : weights->panels_per_group;
  }
  int64_t block_index(const Panels& p) const {
    return p.group * blocks_per_group() + p.panel / weights->block;
  }
  int64_t first_panel(int64_t block) const {
    const int64_t each = blocks_per_group();
    return block / each * weights->panels_per_group + block % each * weights->block;
  }
  int64_t panel_index(const Panels& p) const {
    return p.group * weights->panels_per_group + p.panel;
  }
  const int8_t* panel_data(const Panels& p) const {
    const int64_t at = mixed() ? weights->block_at[static_cast<size_t>(block_index(p))]
                               : panel_index(p) * weights->panel_bytes;
    return reinterpret_cast<const int8_t*>(weights->data.data() + at);
  }
};

}  // namespace pt2q::kernels
