// Packing of int8 weights and the proof that picks the exact dot product.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "base/cpu.h"
#include "kernels/qconv.h"
#include "pt2q/error.h"

namespace pt2q::kernels {
namespace {

constexpr int kTileQuads = 16;

// One packed layout being filled.
struct Packer {
  const WeightShape& shape;
  const int8_t* weights;
  PackedWeights& out;

  // Weight of input byte `byte` of run `run`, for output channel `oc`.
  int8_t weight(int64_t oc, int run, int64_t byte) const {
    int64_t kh = out.runs[static_cast<size_t>(run)].kh;
    int64_t kw = out.runs[static_cast<size_t>(run)].kw;
    int64_t c = byte;
    if (out.im2col) {
      kh = byte / (shape.kernel_w * shape.in_c);
      c = byte % (shape.kernel_w * shape.in_c);
    }
    kw += c / shape.in_c;
    c %= shape.in_c;
    return weights[((oc * shape.in_c + c) * shape.kernel_h + kh) * shape.kernel_w + kw];
  }

  // First byte of a piece that earlier pieces of its run have not covered.
  int64_t fresh_byte(size_t piece) const {
    const PackedWeights::Piece& p = out.pieces[piece];
    if (piece == 0 || out.pieces[piece - 1].run != p.run) return p.byte;
    return out.pieces[piece - 1].byte + 4 * out.pieces[piece - 1].quads;
  }

  // Calls fn(quad index, channel in panel, byte in quad, weight) for every used byte of a panel.
  template <class Fn>
  void for_panel(int64_t group, int64_t panel, Fn fn) const {
    const int64_t per_group = shape.out_c / shape.groups;
    const int64_t channels = std::min<int64_t>(16, per_group - panel * 16);
    int64_t quad = 0;
    for (size_t i = 0; i < out.pieces.size(); ++i) {
      const PackedWeights::Piece& p = out.pieces[i];
      const int64_t fresh = fresh_byte(i);
      for (int64_t b = fresh; b < std::min(p.byte + int64_t{4} * p.quads, out.run_bytes); ++b) {
        const int64_t at = quad + (b - p.byte) / 4;
        for (int64_t c = 0; c < channels; ++c) {
          fn(at, c, (b - p.byte) % 4, weight(group * per_group + panel * 16 + c, p.run, b));
        }
      }
      quad += p.quads;
    }
  }
};

// A piece may not read past its run, which may be the end of the tensor: the last piece of a run
// overlaps the one before, with zero weights on the bytes already covered.
void cut_run(PackedWeights& out, int run) {
  const auto bytes = static_cast<int>(out.run_bytes);
  if (out.route.tiles()) {
    for (int b = 0; b < bytes; b += 64) {
      out.pieces.push_back({run, std::max(0, std::min(b, bytes - 64)), kTileQuads});
    }
    return;
  }
  const int whole = bytes / 4;
  if (whole == 0) {
    out.pieces.push_back({run, 0, 1});
    return;
  }
  out.pieces.push_back({run, 0, whole});
  if (bytes % 4 != 0) out.pieces.push_back({run, bytes - 4, 1});
}

void lay_out_runs(PackedWeights& out) {
  const WeightShape& s = out.shape;
  const bool whole_row = s.groups == 1 && s.dilation_w == 1;
  out.im2col = whole_row && s.kernel_h > 1 && s.kernel_w * s.in_c <= 32;
  if (out.im2col) {
    out.run_bytes = s.kernel_h * s.kernel_w * s.in_c;
    out.runs.push_back({0, 0});
  } else {
    out.run_bytes = whole_row ? s.kernel_w * s.in_c : s.in_c;
    for (int kh = 0; kh < s.kernel_h; ++kh) {
      for (int kw = 0; kw < (whole_row ? 1 : s.kernel_w); ++kw) out.runs.push_back({kh, kw});
    }
  }
  for (size_t i = 0; i < out.runs.size(); ++i) cut_run(out, static_cast<int>(i));
}

// vpmaddubsw adds two u8 x s8 products in 16 bits: safe if the positive parts and the negative
// parts of each weight pair stay within 16 bits at the largest input.
bool pairs_fit_16_bits(const Packer& packer, int32_t src_max) {
  const WeightShape& s = packer.shape;
  int64_t quads = 0;
  for (const auto& p : packer.out.pieces) quads += p.quads;
  std::vector<int32_t> positive(static_cast<size_t>(quads * 32));
  std::vector<int32_t> negative(static_cast<size_t>(quads * 32));
  bool fits = true;
  for (int64_t g = 0; g < s.groups; ++g) {
    for (int64_t panel = 0; panel * 16 < s.out_c / s.groups; ++panel) {
      std::fill(positive.begin(), positive.end(), 0);
      std::fill(negative.begin(), negative.end(), 0);
      packer.for_panel(g, panel, [&](int64_t quad, int64_t c, int64_t byte, int8_t w) {
        const auto at = static_cast<size_t>((quad * 16 + c) * 2 + byte / 2);
        (w > 0 ? positive : negative)[at] += std::abs(int32_t{w});
        fits = fits && src_max * positive[at] <= 32767 && src_max * negative[at] <= 32768;
      });
      if (!fits) return false;
    }
  }
  return true;
}

void fill_panels(const Packer& packer) {
  PackedWeights& out = packer.out;
  const bool wide = out.route.dot == DotKind::s16 && !out.route.tiles();
  for (int64_t g = 0; g < out.shape.groups; ++g) {
    for (int64_t panel = 0; panel < out.panels_per_group; ++panel) {
      const int64_t index = g * out.panels_per_group + panel;
      uint8_t* base = out.data.data() + index * out.panel_bytes;
      int32_t* sums = out.sums.data() + index * 16;
      packer.for_panel(g, panel, [&](int64_t quad, int64_t c, int64_t byte, int8_t w) {
        sums[c] += w;
        if (wide) {  // [even bytes][odd bytes], each 16 channels x 2
          const int16_t value = w;
          std::memcpy(base + quad * 128 + byte % 2 * 64 + c * 4 + byte / 2 * 2, &value, 2);
        } else {
          base[quad * 64 + c * 4 + byte] = static_cast<uint8_t>(w);
        }
      });
    }
  }
}

void check_shape(const WeightShape& s) {
  if (s.out_c < 1 || s.in_c < 1 || s.kernel_h < 1 || s.kernel_w < 1 || s.groups < 1 ||
      s.dilation_w < 1) {
    throw ValueError("pack_weights: every size must be positive");
  }
  if (s.out_c % s.groups != 0) {
    throw ValueError("pack_weights: " + std::to_string(s.out_c) +
                     " output channels do not divide into " + std::to_string(s.groups) + " groups");
  }
  if (s.in_c * s.kernel_h * s.kernel_w > 65536) {
    throw ValueError("pack_weights: a sum over " +
                     std::to_string(s.in_c * s.kernel_h * s.kernel_w) +
                     " products may leave 32 bits");
  }
}

}  // namespace

void AlignedBuffer::Free::operator()(uint8_t* p) const { std::free(p); }

AlignedBuffer::AlignedBuffer(size_t bytes) : size_((bytes + 63) / 64 * 64) {
  if (size_ == 0) return;
  data_.reset(static_cast<uint8_t*>(std::aligned_alloc(64, size_)));
  if (data_ == nullptr) throw std::bad_alloc();
  std::memset(data_.get(), 0, size_);
}

ConvShape linear_shape(int64_t m, int64_t k, int64_t n) {
  ConvShape shape;
  shape.in_w = m;
  shape.in_c = k;
  shape.out_c = n;
  return shape;
}

WeightShape weight_shape(const ConvShape& shape) {
  return {shape.out_c,    shape.in_c / std::max<int64_t>(1, shape.groups),
          shape.kernel_h, shape.kernel_w,
          shape.groups,   shape.dilation_w};
}

std::string Route::name() const {
  std::string text = isa_label(isa);
  if (isa == Isa::avx2 || isa == Isa::avx512) {
    text += dot == DotKind::maddubs ? "/maddubs" : (dot == DotKind::s16 ? "/s16" : "/vnni");
  }
  return emulated ? text + " (emulated)" : text;
}

Route choose_route(const WeightShape& shape, const int8_t* weights, Isa isa, int32_t src_max) {
  check_shape(shape);
  Route route{isa, DotKind::vnni, false};
  if (isa == Isa::avx2 && cpu_features().avxvnni) return route;
  if (isa != Isa::avx2 && isa != Isa::avx512) return route;
  PackedWeights layout;
  layout.shape = shape;
  layout.route = route;
  lay_out_runs(layout);
  route.dot =
      pairs_fit_16_bits({shape, weights, layout}, src_max) ? DotKind::maddubs : DotKind::s16;
  return route;
}

std::shared_ptr<const PackedWeights> pack_weights(const WeightShape& shape, const int8_t* weights,
                                                  const Route& route, int32_t src_max) {
  check_shape(shape);
  auto out = std::make_shared<PackedWeights>();
  out->shape = shape;
  out->route = route;
  out->src_max = src_max;
  lay_out_runs(*out);
  int64_t quads = 0;
  for (const auto& p : out->pieces) quads += p.quads;
  out->panels_per_group = (shape.out_c / shape.groups + 15) / 16;
  out->panel_bytes = quads * (route.dot == DotKind::s16 && !route.tiles() ? 128 : 64);
  const int64_t panels = shape.groups * out->panels_per_group;
  out->sums.assign(static_cast<size_t>(panels * 16), 0);
  out->data = AlignedBuffer(static_cast<size_t>(panels * out->panel_bytes));
  fill_panels({shape, weights, *out});
  return out;
}

std::shared_ptr<const PackedWeights> pack_weights(const WeightShape& shape, const int8_t* weights,
                                                  int32_t src_max) {
  return pack_weights(shape, weights, choose_route(shape, weights, best_isa(), src_max), src_max);
}

}  // namespace pt2q::kernels
