#include "kernels/qconv_frame.h"

#include <algorithm>
#include <cstring>

#include "kernels/qconv.h"

namespace pt2q::kernels {
namespace {

// Tile loads read up to 15 pixels and 63 bytes past the last one of a frame.
constexpr int64_t kSlackPixels = 16;
constexpr int64_t kSlackBytes = 64;
constexpr int64_t kWindowCopy = 32;  // im2col window rows are at most this long

KPiece piece_at(int64_t offset, const PackedWeights::Piece& p) {
  return {static_cast<int32_t>(offset + p.byte), p.quads};
}

void lay_out_flat(const ConvShape& s, const PackedWeights& w, FrameLayout& out) {
  out.step = s.stride_w * s.in_c;
  const int64_t columns =
      (s.in_w + std::max(s.pad_left, s.pad_right) + s.stride_w - 1) / s.stride_w;
  out.pitch = s.stride_h * columns;
  out.row_bytes = columns * out.step;
  const int64_t frame_rows = (out.rows - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1;
  out.bytes = frame_rows * out.row_bytes + (s.pad_left + kSlackPixels) * s.in_c + kSlackBytes;
  for (const auto& p : w.pieces) {
    const auto& run = w.runs[static_cast<size_t>(p.run)];
    const int64_t row = run.kh * s.dilation_h;
    out.pieces.push_back(piece_at(row * out.row_bytes + run.kw * s.dilation_w * s.in_c, p));
  }
}

void lay_out_expanded(const ConvShape& s, const PackedWeights& w, FrameLayout& out) {
  out.step = s.kernel_w * s.in_c;
  out.pitch = s.out_w();
  out.row_bytes = out.pitch * out.step;
  out.phase_row.assign(static_cast<size_t>(s.stride_h), -1);
  out.phase_rows.assign(static_cast<size_t>(s.stride_h), 0);
  for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
    const auto phase = static_cast<size_t>(kh * s.dilation_h % s.stride_h);
    const int64_t rows = out.rows + kh * s.dilation_h / s.stride_h;
    out.phase_rows[phase] = std::max(out.phase_rows[phase], rows);
  }
  int64_t row = 0;
  for (size_t phase = 0; phase < out.phase_row.size(); ++phase) {
    if (out.phase_rows[phase] == 0) continue;
    out.phase_row[phase] = row;
    row += out.phase_rows[phase];
  }
  out.bytes = row * out.row_bytes + kSlackPixels * out.step + kSlackBytes;
  for (const auto& p : w.pieces) {
    const auto& run = w.runs[static_cast<size_t>(p.run)];
    const int64_t at = run.kh * s.dilation_h;
    const int64_t frame_row = out.phase_row[static_cast<size_t>(at % s.stride_h)] + at / s.stride_h;
    out.pieces.push_back(piece_at(frame_row * out.row_bytes + run.kw * s.in_c, p));
  }
}

void lay_out_im2col(const ConvShape& s, const PackedWeights& w, FrameLayout& out) {
  // 32 bytes are written for the last window row too.
  const int64_t written = (s.kernel_h - 1) * s.kernel_w * s.in_c + kWindowCopy;
  // Tile rows that straddle cache lines load at half the speed.
  const int64_t unit = w.route.tiles() ? 64 : 16;
  out.step = (std::max(w.run_bytes, written) + unit - 1) / unit * unit;
  out.pitch = s.out_w();
  out.row_bytes = out.pitch * out.step;
  out.bytes = out.rows * out.row_bytes + kSlackPixels * out.step + kSlackBytes;
  for (const auto& p : w.pieces) out.pieces.push_back(piece_at(0, p));
}

// memcpy for the short runs of frames, without the call: 16 bytes at a time, the last overlapping.
void copy_run(uint8_t* to, const uint8_t* from, int64_t bytes) {
  if (bytes < 16 || bytes > 1024) {
    std::memcpy(to, from, static_cast<size_t>(bytes));
    return;
  }
  for (int64_t i = 0; i + 16 < bytes; i += 16) __builtin_memcpy(to + i, from + i, 16);
  __builtin_memcpy(to + bytes - 16, from + bytes - 16, 16);
}

struct Filler {
  const FrameLayout& layout;
  const ConvShape& s;
  const FrameSource& source;

  const uint8_t* row(int64_t ih) const { return source.data + ih * s.in_w * source.pixel_stride; }

  void copy_pixels(uint8_t* to, const uint8_t* from, int64_t count) const {
    if (source.pixel_stride == s.in_c) {
      copy_run(to, from, count * s.in_c);
      return;
    }
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(to + i * s.in_c, from + i * source.pixel_stride, static_cast<size_t>(s.in_c));
    }
  }

  void pad(uint8_t* to, int64_t bytes) const {
    if (bytes > 0) std::memset(to, layout.pad_value, static_cast<size_t>(bytes));
  }

  void flat(int64_t first, int64_t count, uint8_t* frame) const {
    const int64_t rows = (count - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1;
    for (int64_t r = 0; r < rows; ++r) {
      uint8_t* to = frame + r * layout.row_bytes;
      const int64_t ih = first * s.stride_h - s.pad_top + r;
      if (ih < 0 || ih >= s.in_h) {
        pad(to, layout.row_bytes);
        continue;
      }
      pad(to, s.pad_left * s.in_c);
      copy_pixels(to + s.pad_left * s.in_c, row(ih), s.in_w);
      const int64_t used = (s.pad_left + s.in_w) * s.in_c;
      pad(to + used, layout.row_bytes - used);
    }
    pad(frame + rows * layout.row_bytes, s.pad_left * s.in_c);
  }

  // The KW x C bytes that output column `ow` sees in input row `ih`.
  void cell(int64_t ih, int64_t ow, uint8_t* to) const {
    const int64_t bytes = s.kernel_w * s.in_c;
    if (ih < 0 || ih >= s.in_h) return pad(to, bytes);
    const int64_t iw = ow * s.stride_w - s.pad_left;
    const uint8_t* from = row(ih) + iw * source.pixel_stride;
    if (s.dilation_w == 1) {
      const int64_t kw0 = std::min(s.kernel_w, std::max<int64_t>(0, -iw));
      const int64_t kw1 = std::max(kw0, std::min(s.kernel_w, s.in_w - iw));
      pad(to, kw0 * s.in_c);
      copy_pixels(to + kw0 * s.in_c, from + kw0 * source.pixel_stride, kw1 - kw0);
      return pad(to + kw1 * s.in_c, (s.kernel_w - kw1) * s.in_c);
    }
    for (int64_t kw = 0; kw < s.kernel_w; ++kw) {
      const int64_t at = iw + kw * s.dilation_w;
      if (at < 0 || at >= s.in_w) {
        pad(to + kw * s.in_c, s.in_c);
      } else {
        std::memcpy(to + kw * s.in_c, row(ih) + at * source.pixel_stride,
                    static_cast<size_t>(s.in_c));
      }
    }
  }

  // A row of cells; those that lie inside the input are one copy each.
  void cells(int64_t ih, uint8_t* to) const {
    const int64_t bytes = s.kernel_w * s.in_c;
    const bool contiguous = (s.dilation_w == 1 || s.kernel_w == 1) && source.pixel_stride == s.in_c;
    if (ih < 0 || ih >= s.in_h) return pad(to, layout.pitch * layout.step);
    const int64_t reach = (s.kernel_w - 1) * s.dilation_w;
    int64_t ow = 0;
    for (; ow < layout.pitch && ow * s.stride_w < s.pad_left; ++ow) cell(ih, ow, to + ow * bytes);
    const uint8_t* from = row(ih) + (ow * s.stride_w - s.pad_left) * s.in_c;
    for (; contiguous && ow < layout.pitch && ow * s.stride_w - s.pad_left + reach < s.in_w; ++ow) {
      copy_run(to + ow * bytes, from, bytes);
      from += s.stride_w * s.in_c;
    }
    for (; ow < layout.pitch; ++ow) cell(ih, ow, to + ow * bytes);
  }

  void expanded(int64_t first, int64_t count, uint8_t* frame) const {
    for (int64_t phase = 0; phase < s.stride_h; ++phase) {
      const auto index = static_cast<size_t>(phase);
      if (layout.phase_row[index] < 0) continue;
      const int64_t rows = layout.phase_rows[index] - layout.rows + count;
      uint8_t* base = frame + layout.phase_row[index] * layout.row_bytes;
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t ih = (first + r) * s.stride_h - s.pad_top + phase;
        cells(ih, base + r * layout.row_bytes);
      }
    }
  }

  // Window rows of at most 32 bytes, top down: where the source allows, 32 bytes are copied and the
  // surplus is overwritten by the next window row or never read.
  void im2col(int64_t first, int64_t count, uint8_t* frame) const {
    const int64_t bytes = s.kernel_w * s.in_c;
    const int64_t left = std::min(layout.pitch, (s.pad_left + s.stride_w - 1) / s.stride_w);
    for (int64_t oh = first; oh < first + count; ++oh) {
      for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
        uint8_t* to = frame + (oh - first) * layout.row_bytes + kh * bytes;
        const int64_t ih = oh * s.stride_h - s.pad_top + kh * s.dilation_h;
        int64_t ow = 0;
        for (; ow < left; ++ow) cell(ih, ow, to + ow * layout.step);
        if (ih >= 0 && ih < s.in_h && source.pixel_stride == s.in_c) ow = copy_windows(ih, ow, to);
        for (; ow < layout.pitch; ++ow) cell(ih, ow, to + ow * layout.step);
      }
    }
  }

  // Copies windows from column `ow` on as far as they lie inside; returns the column reached.
  int64_t copy_windows(int64_t ih, int64_t ow, uint8_t* to) const {
    const int64_t room = s.in_w - s.kernel_w + s.pad_left;  // last window start inside
    int64_t stop = room < 0 ? ow : std::max(ow, std::min(layout.pitch, room / s.stride_w + 1));
    const uint8_t* from = row(ih) + (ow * s.stride_w - s.pad_left) * s.in_c;
    const int64_t from_step = s.stride_w * s.in_c;
    while (stop > ow && source.end - (from + (stop - 1 - ow) * from_step) < kWindowCopy) --stop;
    for (; ow < stop; ++ow, from += from_step) {
      __builtin_memcpy(to + ow * layout.step, from, kWindowCopy);
    }
    return ow;
  }
};

}  // namespace

FrameLayout make_frame_layout(const ConvShape& shape, const PackedWeights& weights, FrameMode mode,
                              int64_t rows) {
  FrameLayout out;
  out.mode = mode;
  out.rows = rows;
  if (mode == FrameMode::flat) lay_out_flat(shape, weights, out);
  if (mode == FrameMode::expanded) lay_out_expanded(shape, weights, out);
  if (mode == FrameMode::im2col) lay_out_im2col(shape, weights, out);
  if (mode == FrameMode::direct) {
    out.pitch = 1;
    for (const auto& p : weights.pieces) out.pieces.push_back(piece_at(0, p));
  }
  return out;
}

void fill_frame(const FrameLayout& layout, const ConvShape& shape, const FrameSource& source,
                int64_t first, int64_t count, uint8_t* frame) {
  const Filler filler{layout, shape, source};
  if (layout.mode == FrameMode::flat) filler.flat(first, count, frame);
  if (layout.mode == FrameMode::expanded) filler.expanded(first, count, frame);
  if (layout.mode == FrameMode::im2col) filler.im2col(first, count, frame);
  if (layout.flip) {
    for (int64_t i = 0; i < layout.bytes; ++i) frame[i] = static_cast<uint8_t>(frame[i] ^ 0x80);
  }
}

}  // namespace pt2q::kernels
