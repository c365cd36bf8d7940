// Packing of int8 weights; qconv_pack_mixed.cpp orders those of CPUs without VNNI.
#include "kernels/qconv_pack.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "base/cpu.h"
#include "base/parallel.h"
#include "kernels/qconv.h"
#include "kernels/qconv_narrow.h"
#include "pt2q/error.h"

namespace pt2q::kernels {
namespace {

constexpr int kTileQuads = 16;
constexpr int64_t kGrain = 1 << 16;  // bytes a thread packs at least

// One packed layout being filled.
struct Packer {
  const WeightShape& shape;
  const int8_t* weights;
  PackedWeights& out;

  // Where the weight of input byte `byte` of run `run` lies among those of an output channel.
  int64_t place(int run, int64_t byte) const {
    int64_t kh = out.runs[static_cast<size_t>(run)].kh;
    int64_t kw = out.runs[static_cast<size_t>(run)].kw;
    int64_t c = byte;
    if (out.im2col) {
      kh = byte / (shape.kernel_w * shape.in_c);
      c = byte % (shape.kernel_w * shape.in_c);
    }
    kw += c / shape.in_c;
    c %= shape.in_c;
    return (c * shape.kernel_h + kh) * shape.kernel_w + kw;
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
    const int64_t each = shape.in_c * shape.kernel_h * shape.kernel_w;
    const int8_t* from = weights + (group * per_group + panel * 16) * each;
    int64_t quad = 0;
    for (size_t i = 0; i < out.pieces.size(); ++i) {
      const PackedWeights::Piece& p = out.pieces[i];
      const int64_t fresh = fresh_byte(i);
      for (int64_t b = fresh; b < std::min(p.byte + int64_t{4} * p.quads, out.run_bytes); ++b) {
        const int64_t at = quad + (b - p.byte) / 4;
        const int64_t place_of = place(p.run, b);
        for (int64_t c = 0; c < channels; ++c)
          fn(at, c, (b - p.byte) % 4, from[c * each + place_of]);
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

// Gathering the window of every pixel fills K without gaps, but costs about two cycles per window
// row; vector blocks can read the rows where they are and take the gaps.
bool gathers(const PackedWeights& out) {
  const WeightShape& s = out.shape;
  const int64_t row = s.kernel_w * s.in_c;
  if (s.groups != 1 || s.dilation_w != 1 || s.kernel_h == 1 || row > 32) return false;
  if (out.route.tiles() || out.route.dot == DotKind::mixed) return true;
  const int64_t gaps = s.kernel_h * ((row + 3) / 4) - (s.kernel_h * row + 3) / 4;
  return gaps * ((s.out_c + 15) / 16) > 2 * s.kernel_h;
}

void lay_out_runs(PackedWeights& out) {
  const WeightShape& s = out.shape;
  const bool whole_row = s.groups == 1 && s.dilation_w == 1;
  out.im2col = gathers(out);
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

// Taps are what window mode may leave out.
void cut_taps(PackedWeights& out) {
  const bool whole = !out.im2col && !out.route.tiles() && out.shape.in_c % 4 == 0;
  int64_t quad = 0;
  for (const auto& p : out.pieces) {
    const int64_t each = whole ? out.shape.in_c / 4 : p.quads;
    for (int64_t q = 0; q < p.quads; q += each) out.tap_quads.push_back(quad + q);
    quad += p.quads;
  }
  out.tap_quads.push_back(quad);
}

void fill_panels(const Packer& packer) {
  PackedWeights& out = packer.out;
  const int64_t count = out.shape.groups * out.panels_per_group;
  const int64_t quads = out.tap_quads.back();
  std::vector<int64_t> tap_of(static_cast<size_t>(quads));
  for (size_t t = 0; t + 1 < out.tap_quads.size(); ++t) {
    std::fill(tap_of.begin() + out.tap_quads[t], tap_of.begin() + out.tap_quads[t + 1], t);
  }
  const bool mixed = out.route.dot == DotKind::mixed;
  std::vector<WeightPanel> panels(mixed ? static_cast<size_t>(count) : 0);
  if (!mixed) out.data = AlignedBuffer(static_cast<size_t>(count * out.panel_bytes));
  const auto fill = [&](int64_t index) {
    int8_t* plain = nullptr;
    if (mixed) {
      panels[static_cast<size_t>(index)].plain.assign(static_cast<size_t>(quads * 64), 0);
      plain = panels[static_cast<size_t>(index)].plain.data();
    } else {
      plain = reinterpret_cast<int8_t*>(out.data.data()) + index * out.panel_bytes;
    }
    const auto put = [&](int64_t quad, int64_t c, int64_t byte, int8_t w) {
      plain[quad * 64 + c * 4 + byte] = w;
      const int64_t tap = tap_of[static_cast<size_t>(quad)];
      out.tap_sums[static_cast<size_t>((tap * count + index) * 16 + c)] += w;
    };
    packer.for_panel(index / out.panels_per_group, index % out.panels_per_group, put);
  };
  parallel_for(count, std::max<int64_t>(1, kGrain / out.panel_bytes),
               [&](int64_t first, int64_t last) {
                 for (int64_t index = first; index < last; ++index) fill(index);
               });
  if (mixed) fill_mixed(out, panels);
}

AlignedBuffer narrow_weights(const WeightShape& shape, const int8_t* weights) {
  AlignedBuffer out(static_cast<size_t>(shape.out_c * narrow_depth(shape.in_c)));
  for (int64_t c = 0; c < shape.out_c; ++c) {
    std::memcpy(out.data() + c * narrow_depth(shape.in_c), weights + c * shape.in_c,
                static_cast<size_t>(shape.in_c));
  }
  return out;
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
    text += dot == DotKind::mixed ? "/mixed" : "/vnni";
  }
  return emulated ? text + " (emulated)" : text;
}

Route choose_route(Isa isa) {
  const bool vector = isa == Isa::avx2 || isa == Isa::avx512;
  const bool vnni = isa == Isa::avx2 && cpu_features().avxvnni;
  return {isa, vector && !vnni ? DotKind::mixed : DotKind::vnni, false};
}

std::shared_ptr<const PackedWeights> pack_weights(const WeightShape& shape, const int8_t* weights,
                                                  const Route& route, int32_t src_max) {
  check_shape(shape);
  auto out = std::make_shared<PackedWeights>();
  out->shape = shape;
  out->route = route;
  out->src_max = src_max;
  lay_out_runs(*out);
  cut_taps(*out);
  out->panels_per_group = (shape.out_c / shape.groups + 15) / 16;
  out->panel_bytes = out->tap_quads.back() * 64;
  const auto channels = static_cast<size_t>(shape.groups * out->panels_per_group * 16);
  out->tap_sums.assign((out->tap_quads.size() - 1) * channels, 0);
  out->sums.assign(channels, 0);
  fill_panels({shape, weights, *out});
  if (is_narrow(shape)) out->narrow = narrow_weights(shape, weights);
  for (size_t i = 0; i < out->tap_sums.size(); ++i) out->sums[i % channels] += out->tap_sums[i];
  return out;
}

std::shared_ptr<const PackedWeights> pack_weights(const WeightShape& shape, const int8_t* weights,
                                                  int32_t src_max) {
  return pack_weights(shape, weights, choose_route(best_isa()), src_max);
}

}  // namespace pt2q::kernels
