// Packing of int8 weights and the proof that picks the exact dot products.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "base/cpu.h"
#include "base/parallel.h"
#include "kernels/qconv.h"
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

// A panel and what its weights allow on CPUs without VNNI. vpmaddubsw adds two u8 x s8 products in
// 16 bits: exact if the positive and the negative parts of each weight pair stay within 16 bits at
// the largest input.
struct Panel {
  std::vector<int8_t> plain;  // [quads][16 channels][4]
  // [quads][64]: the positive and negative parts of the quad's 32 weight pairs.
  std::vector<uint16_t> parts;
  std::vector<int32_t> most_of;  // [quads]: the largest of these
  int32_t limit = 0;             // of a part, or of a sum of two
  int32_t largest = 0;           // part

  void prove(int32_t src_max) {
    limit = static_cast<int32_t>(Saturation::kLimit / std::max(1, src_max));
    const size_t quads = plain.size() / 64;
    parts.resize(quads * 64);
    for (size_t q = 0; q < quads; ++q) {
      uint16_t* of = parts.data() + q * 64;
      for (size_t i = 0; i < 32; ++i) {
        const int32_t a = plain[q * 64 + 2 * i], b = plain[q * 64 + 2 * i + 1];
        of[i] = static_cast<uint16_t>(std::max(a, 0) + std::max(b, 0));
        of[32 + i] = static_cast<uint16_t>(-std::min(a, 0) - std::min(b, 0));
      }
      most_of.push_back(*std::max_element(of, of + 64));
      largest = std::max(largest, most_of.back());
    }
  }

  // No pair of the quad can saturate.
  bool fits(size_t q) const { return most_of[q] <= limit; }
  // Nor the sum of two quads' pairs.
  bool fit(size_t q, size_t other) const {
    if (most_of[q] + most_of[other] <= limit) return true;
    const uint16_t *a = parts.data() + q * 64, *b = parts.data() + other * 64;
    int32_t most = 0;
    for (size_t i = 0; i < 64; ++i) most = std::max(most, int32_t{a[i]} + int32_t{b[i]});
    return most <= limit;
  }
};

// Panels that share their steps.
class MixedBlock {
 public:
  MixedBlock(const Panel* panels, int64_t count, const std::vector<int64_t>& taps)
      : panels_(panels), count_(count) {
    for (size_t t = 0; t + 1 < taps.size(); ++t) {
      starts_.push_back(steps_.size());
      choose_steps(taps[t], taps[t + 1]);
    }
    starts_.push_back(steps_.size());
  }

  // About the cycles per pixel: of the two vector ports, and of a wide step's splitting.
  double cost() const {
    const auto count = static_cast<double>(count_);
    double sum = 0;
    for (const Step& s : steps_) {
      sum += s.kind == DotStep::wide ? 1.0 + 2.0 * count
                                     : (s.kind == DotStep::pair ? 2.75 : 1.75) * count;
    }
    return sum;
  }

  void append_to(PackedWeights& out, std::vector<uint8_t>& bytes) const {
    const auto start = static_cast<int64_t>(bytes.size());
    out.block_at.push_back(start);
    for (size_t t = 0; t < starts_.size(); ++t) {
      out.taps.push_back({static_cast<int32_t>(static_cast<int64_t>(bytes.size()) - start),
                          static_cast<int32_t>(out.dot_runs.size()),
                          static_cast<int32_t>(out.dot_quads.size())});
      if (t + 1 < starts_.size()) append_tap(starts_[t], starts_[t + 1], out, bytes);
    }
  }

 private:
  struct Step {
    DotStep kind;
    int64_t quad, second;
  };

  template <class Test>
  bool all(Test test) const {
    return std::all_of(panels_, panels_ + count_, test);
  }

  // The quads [from, to) of a tap: as many pairs as are quickly found, quads of large weights first
  // as they fit few others; then the quads left alone, then the wide ones.
  void choose_steps(int64_t from, int64_t to) {
    constexpr size_t kTries = 24;  // partners looked at
    std::vector<std::pair<int32_t, int64_t>> open;
    std::vector<Step> singles, wides;
    for (int64_t q = from; q < to; ++q) {
      int32_t most = 0;
      for (int64_t p = 0; p < count_; ++p)
        most = std::max(most, panels_[p].most_of[static_cast<size_t>(q)]);
      const bool fits = all([&](const Panel& p) { return p.fits(static_cast<size_t>(q)); });
      if (fits) {
        open.emplace_back(most, q);
      } else {
        wides.push_back({DotStep::wide, q, q});
      }
    }
    std::sort(open.begin(), open.end());
    while (!open.empty()) {
      const int64_t q = open.back().second;
      open.pop_back();
      const auto tries = open.begin() + static_cast<ptrdiff_t>(std::min(kTries, open.size()));
      const auto partner = std::find_if(open.begin(), tries, [&](const auto& other) {
        return all([&](const Panel& p) {
          return p.fit(static_cast<size_t>(q), static_cast<size_t>(other.second));
        });
      });
      if (partner == tries) {
        singles.push_back({DotStep::single, q, q});
        continue;
      }
      steps_.push_back({DotStep::pair, std::min(q, partner->second), std::max(q, partner->second)});
      open.erase(partner);
    }
    steps_.insert(steps_.end(), singles.begin(), singles.end());
    steps_.insert(steps_.end(), wides.begin(), wides.end());
  }

  void append_tap(size_t first, size_t last, PackedWeights& out,
                  std::vector<uint8_t>& bytes) const {
    for (size_t i = first; i < last; ++i) {
      const Step& s = steps_[i];
      std::vector<DotRun>& runs = out.dot_runs;
      if (i == first || runs.back().step != s.kind || runs.back().count == 255)
        runs.push_back({s.kind, 0});
      ++runs.back().count;
      out.dot_quads.push_back(static_cast<uint16_t>(s.quad));
      if (s.kind == DotStep::pair) out.dot_quads.push_back(static_cast<uint16_t>(s.second));
      for (int64_t p = 0; p < count_; ++p) append_step(panels_[p], s, bytes);
    }
  }

  static void append_step(const Panel& panel, const Step& s, std::vector<uint8_t>& bytes) {
    const int8_t* from = panel.plain.data() + s.quad * 64;
    if (s.kind == DotStep::wide) {
      int16_t wide[64];  // bytes 0 and 2 of every channel, then 1 and 3
      for (int i = 0; i < 64; ++i) wide[i % 2 * 32 + i / 4 * 2 + i / 2 % 2] = from[i];
      const auto* p = reinterpret_cast<const uint8_t*>(wide);
      bytes.insert(bytes.end(), p, p + 128);
      return;
    }
    const auto* p = reinterpret_cast<const uint8_t*>(from);
    bytes.insert(bytes.end(), p, p + 64);
    if (s.kind == DotStep::single) return;
    const auto* second = reinterpret_cast<const uint8_t*>(panel.plain.data() + s.second * 64);
    bytes.insert(bytes.end(), second, second + 64);
  }

  const Panel* panels_;
  int64_t count_;
  std::vector<Step> steps_;
  std::vector<size_t> starts_;  // of each tap, and the end
};

// The panels of all groups in blocks of `block`.
std::vector<MixedBlock> mixed_blocks(const std::vector<Panel>& panels, const PackedWeights& out,
                                     int64_t block) {
  std::vector<MixedBlock> blocks;
  for (int64_t first = 0; first < static_cast<int64_t>(panels.size());) {
    const int64_t left = out.panels_per_group - first % out.panels_per_group;
    blocks.emplace_back(panels.data() + first, std::min(block, left), out.tap_quads);
    first += std::min(block, left);
  }
  return blocks;
}

double cost_of(const std::vector<MixedBlock>& blocks) {
  double sum = 0;
  for (const MixedBlock& b : blocks) sum += b.cost();
  return sum;
}

// Two panels to a block split a wide quad once for both, but a pair that saturates in one makes it
// wide in the other.
void fill_mixed(PackedWeights& out, std::vector<Panel>& panels) {
  out.max_pair_sum = 0;
  for (Panel& panel : panels) {
    panel.prove(out.src_max);
    out.max_pair_sum = std::max(out.max_pair_sum, int64_t{panel.largest} * out.src_max);
  }
  std::vector<MixedBlock> blocks = mixed_blocks(panels, out, 1);
  if (out.route.isa == Isa::avx512 && out.panels_per_group > 1) {
    std::vector<MixedBlock> twos = mixed_blocks(panels, out, 2);
    if (cost_of(twos) < cost_of(blocks)) {
      blocks.swap(twos);
      out.block = 2;
    }
  }
  std::vector<uint8_t> bytes;
  for (const MixedBlock& b : blocks) b.append_to(out, bytes);
  out.data = AlignedBuffer(bytes.size());
  std::memcpy(out.data.data(), bytes.data(), bytes.size());
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
  std::vector<Panel> panels(mixed ? static_cast<size_t>(count) : 0);
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
  for (size_t i = 0; i < out->tap_sums.size(); ++i) out->sums[i % channels] += out->tap_sums[i];
  return out;
}

std::shared_ptr<const PackedWeights> pack_weights(const WeightShape& shape, const int8_t* weights,
                                                  int32_t src_max) {
  return pack_weights(shape, weights, choose_route(best_isa()), src_max);
}

}  // namespace pt2q::kernels
