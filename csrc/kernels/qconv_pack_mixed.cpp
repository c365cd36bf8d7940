// The proof that picks the exact dot products on CPUs without VNNI, and weights in their order.
#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/qconv_pack.h"

namespace pt2q::kernels {

void WeightPanel::prove(int32_t src_max) {
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

bool WeightPanel::fit(size_t q, size_t other) const {
  if (most_of[q] + most_of[other] <= limit) return true;
  const uint16_t *a = parts.data() + q * 64, *b = parts.data() + other * 64;
  int32_t most = 0;
  for (size_t i = 0; i < 64; ++i) most = std::max(most, int32_t{a[i]} + int32_t{b[i]});
  return most <= limit;
}

namespace {

// Panels that share their steps.
class MixedBlock {
 public:
  MixedBlock(const WeightPanel* panels, int64_t count, const std::vector<int64_t>& taps)
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
      const bool fits = all([&](const WeightPanel& p) { return p.fits(static_cast<size_t>(q)); });
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
        return all([&](const WeightPanel& p) {
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

  static void append_step(const WeightPanel& panel, const Step& s, std::vector<uint8_t>& bytes) {
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

  const WeightPanel* panels_;
  int64_t count_;
  std::vector<Step> steps_;
  std::vector<size_t> starts_;  // of each tap, and the end
};

// The panels of all groups in blocks of `block`.
std::vector<MixedBlock> mixed_blocks(const std::vector<WeightPanel>& panels,
                                     const PackedWeights& out, int64_t block) {
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

}  // namespace

// Two panels to a block split a wide quad once for both, but a pair that saturates in one makes it
// wide in the other.
void fill_mixed(PackedWeights& out, std::vector<WeightPanel>& panels) {
  out.max_pair_sum = 0;
  for (WeightPanel& panel : panels) {
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

}  // namespace pt2q::kernels
