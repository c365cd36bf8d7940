#include "onednn/tuning.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <vector>

#include "base/cpu.h"
#include "base/parallel.h"
#include "base/strings.h"

namespace pt2q {
namespace {

using kernels::AlignedBuffer;
using kernels::PackedWeights;
using kernels::QConv;
using kernels::QConvAspect;
using kernels::QConvChoice;
using kernels::QConvSpec;
using kernels::WinogradConv;
using Clock = std::chrono::steady_clock;

constexpr int kRounds = 5;
constexpr double kSampleSeconds = 5e-5;  // of one variant in one round, at least
constexpr double kMostSeconds = 1e9;     // no limit, and no overflow of the clock either
constexpr double kWorthIt = 0.97;        // a variant must be faster by 3 % than the model's choice

// Input, output and residual of one layer. What the input holds does not matter to the time.
class Trial {
 public:
  explicit Trial(const QConvSpec& spec) {
    const kernels::ConvShape& s = spec.shape;
    const int64_t in = s.batch * s.in_h * s.in_w * std::max(s.in_c, spec.src_stride);
    const int64_t pixels = s.batch * s.out_h() * s.out_w();
    const int64_t out = pixels * std::max(s.out_c, spec.dst_stride);
    src_ = AlignedBuffer(static_cast<size_t>(in) + 64);
    for (size_t i = 0; i < src_.size(); ++i) src_.data()[i] = static_cast<uint8_t>(i % 101);
    dst_ = AlignedBuffer(static_cast<size_t>(out) * sizeof(float));
    if (spec.scaled_rows) rows_ = {&row_scale_, &row_zero_, 0};
    for (const kernels::PostOp& op : spec.epilogue.ops) {
      if (op.kind != kernels::PostOpKind::add) continue;
      residual_ = AlignedBuffer(
          static_cast<size_t>(pixels * std::max(s.out_c, spec.residual_stride)) * sizeof(float));
    }
  }

  template <class Conv>
  double seconds(const Conv& conv, int repeats) {
    if (scratch_.size() < conv.scratch_bytes()) scratch_ = AlignedBuffer(conv.scratch_bytes());
    const auto begin = Clock::now();
    for (int i = 0; i < repeats; ++i) run(conv);
    return std::chrono::duration<double>(Clock::now() - begin).count() / repeats;
  }

  Trial(const Trial&) = delete;  // rows_ points into it
  Trial& operator=(const Trial&) = delete;

 private:
  void run(const QConv& conv) {
    conv.run(src_.data(), dst_.data(), scratch_.data(), residual_.data(), rows_);
  }
  void run(const WinogradConv& conv) {
    conv.run(src_.data(), dst_.data(), scratch_.data(), residual_.data());
  }

  AlignedBuffer src_, dst_, residual_, scratch_;
  float row_scale_ = 0.1F;
  int32_t row_zero_ = 3;
  kernels::RowScales rows_;
};

struct Variant {
  QConvChoice choice;
  QConv conv;
  double best = std::numeric_limits<double>::infinity();
};

Variant variant_of(QConvSpec spec, const std::shared_ptr<const PackedWeights>& weights,
                   const QConvChoice& choice) {
  spec.choice = choice;
  return {choice, QConv(spec, weights)};
}

int repeats_for(double once) {
  return static_cast<int>(std::clamp(kSampleSeconds / std::max(once, 1e-7), 1.0, 50.0));
}

bool winograd_is_faster(const QConv& conv, const WinogradConv& winograd, Trial& trial) {
  const int repeats = repeats_for(trial.seconds(conv, 1));
  double best = std::numeric_limits<double>::infinity(), best_winograd = best;
  for (int round = 0; round < kRounds; ++round) {
    best = std::min(best, trial.seconds(conv, repeats));
    best_winograd = std::min(best_winograd, trial.seconds(winograd, repeats));
  }
  return best_winograd < kWorthIt * best;
}

// The fastest of `choices` and `from`, by turns; `from` unless another is clearly faster.
QConvChoice fastest(const QConvSpec& spec, const std::shared_ptr<const PackedWeights>& weights,
                    const QConvChoice& from, const std::vector<QConvChoice>& choices,
                    Trial& trial) {
  std::vector<Variant> variants;
  variants.push_back(variant_of(spec, weights, from));
  for (const QConvChoice& c : choices) variants.push_back(variant_of(spec, weights, c));
  const int repeats = repeats_for(trial.seconds(variants[0].conv, 1));
  for (int round = 0; round < kRounds; ++round) {
    for (Variant& v : variants) v.best = std::min(v.best, trial.seconds(v.conv, repeats));
  }
  const Variant* best = &variants[0];
  for (const Variant& v : variants) {
    if (v.best < best->best && v.best < kWorthIt * variants[0].best) best = &v;
  }
  return best->choice;
}

}  // namespace

std::string size_bucket(const kernels::ConvShape& shape) {
  const auto round_up = [](int64_t n) {
    int64_t power = 1;
    while (power < n) power *= 2;
    return n > 2 && n <= power / 4 * 3 ? power / 4 * 3 : power;
  };
  return cat("<=", round_up(shape.batch), "x", round_up(shape.in_h), "x", round_up(shape.in_w));
}

std::string tuning_key(const QConvSpec& spec, const PackedWeights& weights, bool any_size,
                       bool winograd) {
  const kernels::ConvShape& s = spec.shape;
  const std::string size = any_size ? size_bucket(s) : cat(s.batch, "x", s.in_h, "x", s.in_w);
  std::string key = cat("qconv 2|", cpu_name(), "|", weights.route.name(), "|", num_threads(), "|",
                        size, "x", s.in_c, ">", s.out_c, " k", s.kernel_h, "x", s.kernel_w, " s",
                        s.stride_h, "x", s.stride_w, " p");
  for (const int64_t pad : {s.pad_top, s.pad_left, s.pad_bottom, s.pad_right}) key += cat(pad, ",");
  key += cat(" d", s.dilation_h, "x", s.dilation_w, " g", s.groups, "|", spec.src_is_s8, ",",
             spec.src_stride, ",", spec.dst_stride, ",", spec.residual_stride, ",",
             spec.src_zero_point != 0, "|", static_cast<int>(spec.epilogue.out), ",",
             spec.epilogue.out_zero_point != 0, spec.scaled_rows ? ",rows" : "",
             winograd ? ",winograd" : "");
  for (const kernels::PostOp& op : spec.epilogue.ops)
    key += cat(",", static_cast<int>(op.kind), ":", static_cast<int>(op.residual_type));
  return key;
}

std::string choice_text(const QConvChoice& c) {
  return cat(c.mode, " ", c.frame_bytes, " ", c.pixel_ways);
}

bool parse_choice(const std::string& text, QConvChoice* choice) {
  long long mode = 0, bytes = 0, ways = 0;
  char after = 0;
  if (std::sscanf(text.c_str(), "%lld %lld %lld%c", &mode, &bytes, &ways, &after) != 3)
    return false;
  if (mode < -1 || mode > QConvChoice::kWinograd || bytes < 0 || bytes > (1 << 30) || ways < 0 ||
      ways > (1 << 16))
    return false;
  *choice = {static_cast<int>(mode), bytes, ways};
  return true;
}

Tuner::Tuner(double seconds, DiskCache cache)
    : end_(Clock::now() + std::chrono::duration_cast<Clock::duration>(
                              std::chrono::duration<double>(std::min(seconds, kMostSeconds)))),
      cache_(std::move(cache)) {}

ChoiceSource Tuner::choose(QConvSpec* spec, const Weights& weights, const WinogradWeights& winograd,
                           bool any_size) {
  const std::string key = tuning_key(*spec, *weights, any_size, winograd != nullptr);
  if (const auto same = measured_.find(key); same != measured_.end()) {
    spec->choice = same->second;
    return ChoiceSource::Measured;
  }
  if (const auto known = cache_.find(key)) {
    if (parse_choice(*known, &spec->choice)) return ChoiceSource::Remembered;
  }
  if (spec->shape.batch == 0 || Clock::now() >= end_) {
    if (winograd != nullptr) spec->choice.mode = QConvChoice::kWinograd;
    return ChoiceSource::Model;
  }
  Trial trial(*spec);
  QConvChoice best;
  for (const QConvAspect aspect :
       {QConvAspect::mode, QConvAspect::frame_bytes, QConvAspect::pixel_ways}) {
    const auto choices = kernels::qconv_choices(*spec, *weights, best, aspect);
    if (!choices.empty()) best = fastest(*spec, weights, best, choices, trial);
  }
  spec->choice = best;
  if (winograd != nullptr && winograd_is_faster({*spec, weights}, {*spec, winograd}, trial))
    spec->choice = {QConvChoice::kWinograd, 0, 0};
  measured_[key] = spec->choice;
  cache_.store(key, choice_text(spec->choice));
  return ChoiceSource::Measured;
}

}  // namespace pt2q
