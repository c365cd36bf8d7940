#include "observers/per_channel.h"

#include <cmath>

#include "base/strings.h"
#include "kernels/observe.h"
#include "observers/minmax.h"
#include "pt2q/error.h"
#include "tensor/format.h"

namespace pt2q {
namespace {

const UniformArgs& checked(const UniformArgs& args, const char* class_name) {
  if (!is_per_channel(args.qscheme)) {
    throw NotImplementedError(
        cat(class_name,
            "'s qscheme only support torch.per_channel_symmetric, torch.per_channel_affine and "
            "torch.per_channel_affine_float_qparams."),
        cat("it was asked for torch.", qscheme_name(args.qscheme)));
  }
  if (args.is_dynamic) {
    throw NotImplementedError(cat(class_name, " doesn't support dynamic quantization"));
  }
  return args;
}

}  // namespace

void channel_ranges(const Tensor& x, int64_t axis, Tensor* out) {
  const Tensor values = observed_values(x);
  const ChannelView view = channel_view(values, axis);
  if (!out->defined() || out->size(1) != view.channels) *out = Tensor::empty({2, view.channels});
  min_max_per_channel(values.data<float>(), view.outer, view.channels, view.inner, float_data(*out),
                      float_data(*out) + view.channels);
}

PerChannelMinMaxObserver::PerChannelMinMaxObserver(int64_t ch_axis, const UniformArgs& args)
    : PerChannelMinMaxObserver(ch_axis, args, "PerChannelMinMaxObserver") {}

PerChannelMinMaxObserver::PerChannelMinMaxObserver(int64_t ch_axis, const UniformArgs& args,
                                                   const char* class_name)
    : UniformObserverBase(checked(args, class_name)) {
  set_ch_axis(ch_axis);
  register_buffer("min_val", Tensor::empty({0}));
  register_buffer("max_val", Tensor::empty({0}));
  if (args.qscheme == QScheme::PerChannelSymmetric && args.reduce_range &&
      args.dtype == DType::QUInt8) {
    throw NotImplementedError("Cannot reduce range for symmetric quantization for quint8");
  }
}

std::shared_ptr<PerChannelMinMaxObserver> PerChannelMinMaxObserver::make(KwReader args) {
  const int64_t ch_axis = args.integer("ch_axis", 0);
  const UniformArgs uniform = args.uniform(QScheme::PerChannelAffine);
  args.finish();
  return std::make_shared<PerChannelMinMaxObserver>(ch_axis, uniform);
}

Tensor PerChannelMinMaxObserver::forward(const Tensor& x) {
  if (x.numel() == 0) return x;
  channel_ranges(x, *ch_axis(), &batch_);
  const int64_t channels = batch_.size(1);
  const int64_t known = buffer("min_val").numel();
  if (known == 0 || known == channels) {
    note(float_data(batch_), float_data(batch_) + channels, channels);
  }
  update(float_data(batch_), float_data(batch_) + channels, channels);
  return x;
}

void PerChannelMinMaxObserver::update(const float* mins, const float* maxs, int64_t channels) {
  Tensor& lo = buffer("min_val");
  Tensor& hi = buffer("max_val");
  if (lo.numel() == 0 || hi.numel() == 0) {
    lo = Tensor::empty({channels});
    hi = Tensor::empty({channels});
    std::copy(mins, mins + channels, float_data(lo));
    std::copy(maxs, maxs + channels, float_data(hi));
    return;
  }
  if (lo.numel() != channels) {
    throw RuntimeError(
        cat("The size of tensor a (", channels, ") must match the size of tensor b (", lo.numel(),
            ") at non-singleton dimension 0"),
        cat(type_name(), ": earlier inputs had ", lo.numel(), " channels along axis ", *ch_axis()));
  }
  advance(mins, maxs, channels, float_data(lo), float_data(hi));
}

void PerChannelMinMaxObserver::advance(const float* mins, const float* maxs, int64_t channels,
                                       float* lows, float* highs) const {
  // A NaN wins over a number, whichever comes first.
  for (int64_t c = 0; c < channels; ++c) {
    lows[c] = std::isnan(mins[c]) || mins[c] < lows[c] ? mins[c] : lows[c];
  }
  for (int64_t c = 0; c < channels; ++c) {
    highs[c] = std::isnan(maxs[c]) || maxs[c] > highs[c] ? maxs[c] : highs[c];
  }
}

QParams PerChannelMinMaxObserver::calculate_qparams() {
  return calculate_from(buffer("min_val"), buffer("max_val"));
}

void PerChannelMinMaxObserver::merge(const Observer& other) {
  check_mergeable(other);
  const auto& o = dynamic_cast<const PerChannelMinMaxObserver&>(other);
  const Tensor& lo = o.buffer("min_val");
  if (lo.numel() > 0) update(float_data(lo), float_data(o.buffer("max_val")), lo.numel());
}

void PerChannelMinMaxObserver::own_buffers() {
  StatefulObserver::own_buffers();
  batch_ = Tensor();
}

void PerChannelMinMaxObserver::reset_min_max_vals() {
  register_buffer("min_val", Tensor::empty({0}));
  register_buffer("max_val", Tensor::empty({0}));
}

std::string PerChannelMinMaxObserver::extra_repr() const {
  return cat("min_val=", format_tensor(buffer("min_val")),
             ", max_val=", format_tensor(buffer("max_val")));
}

std::string PerChannelMinMaxObserver::present_key(const std::string& key) const {
  if (key == "min_vals") return "min_val";
  if (key == "max_vals") return "max_val";
  return key;
}

MovingAveragePerChannelMinMaxObserver::MovingAveragePerChannelMinMaxObserver(
    double averaging_constant, int64_t ch_axis, const UniformArgs& args)
    : PerChannelMinMaxObserver(ch_axis, args, "MovingAveragePerChannelMinMaxObserver"),
      MovingAverage(averaging_constant) {}

std::shared_ptr<MovingAveragePerChannelMinMaxObserver> MovingAveragePerChannelMinMaxObserver::make(
    KwReader args) {
  const double constant = args.number("averaging_constant", 0.01);
  const int64_t ch_axis = args.integer("ch_axis", 0);
  const UniformArgs uniform = args.uniform(QScheme::PerChannelAffine);
  args.finish();
  return std::make_shared<MovingAveragePerChannelMinMaxObserver>(constant, ch_axis, uniform);
}

void MovingAveragePerChannelMinMaxObserver::advance(const float* mins, const float* maxs,
                                                    int64_t channels, float* lows,
                                                    float* highs) const {
  const double constant = averaging_constant();
  for (int64_t c = 0; c < channels; ++c) lows[c] = moving_average(lows[c], mins[c], constant);
  for (int64_t c = 0; c < channels; ++c) highs[c] = moving_average(highs[c], maxs[c], constant);
}

void MovingAveragePerChannelMinMaxObserver::merge(const Observer& other) {
  check_mergeable(other);
  const auto& o = dynamic_cast<const MovingAveragePerChannelMinMaxObserver&>(other);
  const Tensor& lo = o.buffer("min_val");
  if (lo.numel() == 0) return;
  for (const char* name : {"min_val", "max_val"}) {
    if (buffer(name).numel() == 0) register_buffer(name, Tensor::empty(lo.sizes()));
  }
  if (buffer("min_val").numel() != lo.numel()) {
    throw ValueError(cat("cannot merge ranges of ", lo.numel(), " channels into ranges of ",
                         buffer("min_val").numel()));
  }
  append(o, float_data(lo), float_data(o.buffer("max_val")), float_data(buffer("min_val")),
         float_data(buffer("max_val")), lo.numel());
}

void MovingAveragePerChannelMinMaxObserver::reset_min_max_vals() {
  PerChannelMinMaxObserver::reset_min_max_vals();
  forget_history(true);
}

void MovingAveragePerChannelMinMaxObserver::load_state_dict(
    const std::map<std::string, Tensor>& state) {
  PerChannelMinMaxObserver::load_state_dict(state);
  forget_history(buffer("min_val").numel() == 0);
}

}  // namespace pt2q
