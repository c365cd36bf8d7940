// Vector blocks that read the tensor in place: no frame is copied, and products with padding are
// left out. Per class of output rows (which kernel rows see input) and of blocks (does it hold the
// first or last column) the pieces of K that count, and the accumulator start that fits them.
#include <algorithm>

#include "kernels/qconv_plan.h"

namespace pt2q::kernels {
namespace {

// Output columns whose tap `kw` falls left and right of the input.
struct Outside {
  int64_t left = 0, right = 0;
};

Outside columns_outside(const ConvShape& s, int64_t kw) {
  const int64_t width = s.out_w();
  const int64_t first = kw * s.dilation_w - s.pad_left;  // input column that output column 0 sees
  const auto columns_before = [&](int64_t column) {      // output columns that see one left of it
    return std::clamp<int64_t>(ceil_div(std::max<int64_t>(0, column - first), s.stride_w), 0,
                               width);
  };
  return {columns_before(0), width - columns_before(s.in_w)};
}

}  // namespace

bool window_fits(const QConvSpec& spec, const PackedWeights& w) {
  const ConvShape& s = spec.shape;
  if (w.route.tiles() || w.im2col || spec.src_is_s8 || w.shape.in_c % 4 != 0) return false;
  for (int64_t kw = 0; kw < s.kernel_w; ++kw) {
    const Outside out = columns_outside(s, kw);
    if (out.left > 1 || out.right > 1 || out.left + out.right > 1) return false;
  }
  return true;
}

void ConvPlan::plan_window() {
  const ConvShape& s = spec.shape;
  frame.mode = FrameMode::window;
  frame.step = s.stride_w * spec.src_stride;
  row_class.clear();
  for (int64_t oh = 0; oh < s.out_h(); ++oh) {
    const int64_t top = oh * s.stride_h - s.pad_top;
    RowClass c;
    while (c.kh0 < s.kernel_h && top + c.kh0 * s.dilation_h < 0) ++c.kh0;
    c.kh1 = s.kernel_h;
    while (c.kh1 > c.kh0 && top + (c.kh1 - 1) * s.dilation_h >= s.in_h) --c.kh1;
    const auto same = [&](const RowClass& o) { return o.kh0 == c.kh0 && o.kh1 == c.kh1; };
    const auto at = std::find_if(row_classes.begin(), row_classes.end(), same);
    row_class.push_back(static_cast<int>(at - row_classes.begin()));
    if (at == row_classes.end()) row_classes.push_back(c);
  }
  for (RowClass& c : row_classes) {
    for (int edges = 0; edges < 4; ++edges) list_pieces(c, edges);
    if (!zero_init) start_sums(c);
  }
}

// Taps that are neighbours in memory become one piece.
void ConvPlan::list_pieces(RowClass& c, int edges) const {
  const ConvShape& s = spec.shape;
  const bool adjacent = s.groups == 1 && s.dilation_w == 1 && spec.src_stride == s.in_c;
  const int64_t quads = weights->shape.in_c / 4;
  std::vector<KPiece>& out = c.pieces[edges];
  for (int64_t kh = c.kh0; kh < c.kh1; ++kh) {
    for (int64_t kw = 0; kw < s.kernel_w; ++kw) {
      const Outside outside = columns_outside(s, kw);
      KPiece piece;
      piece.offset =
          static_cast<int32_t>((kh * s.dilation_h * s.in_w + kw * s.dilation_w) * spec.src_stride);
      piece.quads = static_cast<int32_t>(quads);
      piece.tap = static_cast<int32_t>(kh * s.kernel_w + kw);
      piece.tap_end = piece.tap + 1;
      piece.weights = static_cast<int32_t>(piece.tap * quads * 64);
      if (outside.left != 0 && (edges & kLeft) != 0) piece.skip = Skip::first;
      if (outside.right != 0 && (edges & kRight) != 0) piece.skip = Skip::last;
      const bool joins = adjacent && kw > 0 && piece.skip == Skip::none && !out.empty() &&
                         out.back().skip == Skip::none && out.back().tap_end == piece.tap;
      if (joins) {
        out.back().tap_end = piece.tap_end;
        out.back().quads += piece.quads;
      } else {
        out.push_back(piece);
      }
    }
  }
}

// -zero_point times the sum of the weights that see input, for a pixel with `edges`.
void ConvPlan::start_sums(RowClass& c) const {
  const ConvShape& s = spec.shape;
  for (int edges = 0; edges < 4; ++edges) {
    std::vector<int32_t>& out = c.init[edges];
    out.assign(init.size(), 0);
    for (int64_t kh = c.kh0; kh < c.kh1; ++kh) {
      for (int64_t kw = 0; kw < s.kernel_w; ++kw) {
        const Outside outside = columns_outside(s, kw);
        if (outside.left != 0 && (edges & kLeft) != 0) continue;
        if (outside.right != 0 && (edges & kRight) != 0) continue;
        const int32_t* tap = weights->tap_sums.data() + (kh * s.kernel_w + kw) * panels * 16;
        for (size_t i = 0; i < out.size(); ++i) out[i] -= spec.src_zero_point * tap[i];
      }
    }
  }
}

// The pieces and starts of a block of `count` pixels from column `from` on.
void ConvPlan::point_window(const RowClass& c, int64_t from, int64_t count, int64_t panel,
                            DotArgs& args) const {
  const int left = from == 0 ? kLeft : 0;
  const int right = from + count == width ? kRight : 0;
  const std::vector<KPiece>& pieces = c.pieces[left | right];
  args.pieces = pieces.data();
  args.piece_count = static_cast<int>(pieces.size());
  if (zero_init) return;
  args.init = c.init[0].data() + panel * 16;
  args.first_init = c.init[count == 1 ? left | right : left].data() + panel * 16;
  args.last_init = c.init[right].data() + panel * 16;
}

}  // namespace pt2q::kernels
