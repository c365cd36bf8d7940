#include "observers/fake_quantize.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/strings.h"
#include "kernels/observe.h"
#include "observers/fixed.h"
#include "observers/minmax.h"
#include "observers/per_channel.h"
#include "pt2q/error.h"
#include "tensor/format.h"

namespace pt2q {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const std::string kChild = "activation_post_process";

// Values the dtype's own representation holds (torch.iinfo).
QuantRange dtype_limits(DType dtype) {
  if (is_floating_point(dtype)) {
    throw TypeError(cat("FakeQuantize: quant_min and quant_max need an integer dtype, got ",
                        torch_name(dtype)));
  }
  return quant_bounds(storage_dtype(dtype));
}

std::shared_ptr<Observer> make_observer(const FakeQuantizeArgs& args) {
  KwArgs kwargs = args.observer_kwargs;
  if (args.quant_min && args.quant_max) {
    if (*args.quant_min > *args.quant_max) {
      throw AssertionError("quant_min must be less than or equal to quant_max");
    }
    Value dtype = args.observer.kwargs.count("dtype") > 0 ? args.observer.kwargs.at("dtype")
                  : kwargs.count("dtype") > 0             ? kwargs.at("dtype")
                                                          : Value(DType::QUInt8);
    check_fake_quant_bounds(dtype.as<DType>(), *args.quant_min, *args.quant_max);
    kwargs["quant_min"] = Value(*args.quant_min);
    kwargs["quant_max"] = Value(*args.quant_max);
  }
  kwargs["is_dynamic"] = Value(args.is_dynamic);
  return args.observer(kwargs);
}

// Splits the arguments of a fake-quantize recipe into its own and its observer's.
FakeQuantizeArgs split_args(const ObserverCtr& recipe, std::optional<int64_t> quant_min,
                            std::optional<int64_t> quant_max) {
  KwReader reader(recipe.class_name, recipe.kwargs);
  FakeQuantizeArgs args;
  const std::string name = reader.string("observer", "MovingAverageMinMaxObserver");
  args.observer = recipe.observer ? *recipe.observer : observer_class(name);
  args.quant_min = reader.has("quant_min") ? reader.optional_integer("quant_min") : quant_min;
  args.quant_max = reader.has("quant_max") ? reader.optional_integer("quant_max") : quant_max;
  args.is_dynamic = reader.boolean("is_dynamic", false);
  args.observer_kwargs = reader.take_rest();
  return args;
}

}  // namespace

void check_fake_quant_bounds(DType dtype, int64_t quant_min, int64_t quant_max) {
  const QuantRange limits = dtype_limits(dtype);
  if (limits.min > quant_min) throw AssertionError("quant_min out of bound");
  if (quant_max > limits.max) throw AssertionError("quant_max out of bound");
}

SplitState split_child_state(const std::map<std::string, Tensor>& state) {
  const std::string prefix = kChild + ".";
  SplitState out;
  for (const auto& [key, value] : state) {
    if (starts_with(key, prefix)) {
      out.child[key.substr(prefix.size())] = value;
    } else {
      out.own[key] = value;
    }
  }
  return out;
}

void add_child_buffers(const Observer& child, StatefulObserver::Buffers* out) {
  const std::string prefix = kChild + ".";
  if (const auto* stateful = dynamic_cast<const StatefulObserver*>(&child)) {
    for (const auto& [name, value] : stateful->named_buffers()) {
      out->emplace_back(prefix + name, value);
    }
    return;
  }
  for (const auto& [name, value] : child.state_dict()) out->emplace_back(prefix + name, value);
}

std::string fake_quant_flags_text(const StatefulObserver& fq) {
  return cat("fake_quant_enabled=", format_tensor(fq.buffer("fake_quant_enabled")),
             ", observer_enabled=", format_tensor(fq.buffer("observer_enabled")));
}

FakeQuantizeBase::FakeQuantizeBase(DType flag_dtype) {
  register_buffer("fake_quant_enabled", Tensor::full({1}, 1.0, flag_dtype));
  register_buffer("observer_enabled", Tensor::full({1}, 1.0, flag_dtype));
}

void FakeQuantizeBase::set_flag(const std::string& name, bool on) {
  buffer(name).copy_(Tensor::scalar_int(on ? 1 : 0));
}

FakeQuantize::FakeQuantize(const FakeQuantizeArgs& args, DType flag_dtype)
    : FakeQuantizeBase(flag_dtype), activation_post_process_(make_observer(args)) {
  const bool fractional = qscheme() == QScheme::PerChannelAffineFloatQParams;
  register_buffer("scale", Tensor::full({1}, 1.0, DType::Float32));
  register_buffer("zero_point", Tensor::zeros({1}, fractional ? DType::Float32 : DType::Int32));
}

std::shared_ptr<FakeQuantize> FakeQuantize::make(const ObserverCtr& recipe) {
  return std::make_shared<FakeQuantize>(split_args(recipe, {}, {}));
}

Tensor FakeQuantize::forward(const Tensor& x) {
  if (observer_enabled()) {
    activation_post_process_->forward(x);
    set_qparams(calculate_qparams());
  }
  return fake_quant_enabled() ? fake_quantized(x) : x;
}

void FakeQuantize::set_qparams(const QParams& qparams) {
  Tensor& scale = buffer("scale");
  Tensor& zero_point = buffer("zero_point");
  if (scale.sizes() != qparams.scale.sizes()) {
    scale = Tensor::empty(qparams.scale.sizes(), scale.dtype());
    zero_point = Tensor::empty(qparams.zero_point.sizes(), zero_point.dtype());
  }
  if (!scale.is(qparams.scale)) scale.copy_(qparams.scale);
  if (!zero_point.is(qparams.zero_point)) zero_point.copy_(qparams.zero_point);
}

Tensor FakeQuantize::fake_quantized(const Tensor& x) const {
  if (!quant_min() || !quant_max()) {
    throw RuntimeError(cat(type_name(), ": its observer has no quant_min and quant_max: ", repr()));
  }
  const QuantRange range{*quant_min(), *quant_max()};
  const Tensor& scale = buffer("scale");
  const Tensor& zero_point = buffer("zero_point");
  if (is_per_channel(qscheme())) {
    return fake_quantize_per_channel(x, scale, zero_point, ch_axis().value_or(-1), range);
  }
  return fake_quantize_per_tensor(x, scale.item(), zero_point.item_int(), range);
}

void FakeQuantize::merge(const Observer& other) {
  const auto* o = dynamic_cast<const FakeQuantize*>(&other);
  if (o == nullptr || o->type_name() != type_name()) {
    throw ValueError(cat("cannot merge a ", other.type_name(), " into a ", type_name()));
  }
  activation_post_process_->merge(*o->activation_post_process_);
  set_qparams(calculate_qparams());
}

void FakeQuantize::own_buffers() {
  StatefulObserver::own_buffers();
  activation_post_process_ = activation_post_process_->clone();
}

StatefulObserver::Buffers FakeQuantize::named_buffers() const {
  Buffers out = StatefulObserver::named_buffers();
  add_child_buffers(*activation_post_process_, &out);
  return out;
}

void FakeQuantize::load_state_dict(const std::map<std::string, Tensor>& state) {
  const SplitState parts = split_child_state(state);
  StatefulObserver::load_state_dict(parts.own);
  activation_post_process_->load_state_dict(parts.child);
}

namespace {

std::string optional_text(std::optional<int64_t> v) { return v ? std::to_string(*v) : "None"; }

std::string range_text(const Observer& fq) {
  return cat("quant_min=", optional_text(fq.quant_min()),
             ", quant_max=", optional_text(fq.quant_max()));
}
std::string qparams_text(const StatefulObserver& fq) {
  return cat("scale=", format_tensor(fq.buffer("scale")),
             ", zero_point=", format_tensor(fq.buffer("zero_point")));
}
std::string scheme_text(const Observer& fq) {
  return cat("qscheme=pt2q.", qscheme_name(fq.qscheme()));
}

}  // namespace

std::string FakeQuantize::extra_repr() const {
  return cat(fake_quant_flags_text(*this), ", ", range_text(*this), ", dtype=pt2q.",
             dtype_name(dtype()), ", ", scheme_text(*this), ", ch_axis=", ch_axis().value_or(-1),
             ", ", qparams_text(*this));
}

// --- FixedQParamsFakeQuantize
// ----------------------------------------------------------------------

FixedQParamsFakeQuantize::FixedQParamsFakeQuantize(const ObserverCtr& observer)
    : FakeQuantize(FakeQuantizeArgs{observer, {}, {}, false, {}}) {
  share_qparams();
  if (is_per_channel(qscheme())) {
    throw AssertionError(
        cat("Only per tensor quantization is supported FixedQParamsFakeQuantize module, got "
            "qscheme:torch.",
            qscheme_name(qscheme())));
  }
}

void FixedQParamsFakeQuantize::share_qparams() {
  const auto* fixed = dynamic_cast<FixedQParamsObserver*>(activation_post_process().get());
  if (fixed == nullptr) {
    throw AssertionError("FixedQParamsFakeQuantize's observer must be a FixedQParamsObserver");
  }
  register_buffer("scale", fixed->buffer("scale"));
  register_buffer("zero_point", fixed->buffer("zero_point"));
}

void FixedQParamsFakeQuantize::own_buffers() {
  FakeQuantize::own_buffers();
  share_qparams();
}

std::shared_ptr<FixedQParamsFakeQuantize> FixedQParamsFakeQuantize::make(
    const ObserverCtr& recipe) {
  KwArgs rest = recipe.kwargs;
  KwReader name("FixedQParamsFakeQuantize", recipe.kwargs);
  rest.erase("observer");
  const ObserverCtr base = recipe.observer
                               ? *recipe.observer
                               : observer_class(name.string("observer", "FixedQParamsObserver"));
  return std::make_shared<FixedQParamsFakeQuantize>(base.with_args(rest));
}

std::string FixedQParamsFakeQuantize::extra_repr() const {
  return cat(fake_quant_flags_text(*this), ", ", qparams_text(*this), ", dtype=pt2q.",
             dtype_name(dtype()), ", ", range_text(*this), ", ", scheme_text(*this));
}

// --- FusedMovingAvgObsFakeQuantize
// -------------------------------------------------------------------

FusedMovingAvgObsFakeQuantize::FusedMovingAvgObsFakeQuantize(const FakeQuantizeArgs& args)
    : FakeQuantize(args, DType::Int64) {
  Observer* child = activation_post_process().get();
  average_ = dynamic_cast<MovingAverage*>(child);
  if (average_ == nullptr) {
    throw AssertionError(
        "Fused observer+fake_quant module only works with MovingAverageMinMaxObserver");
  }
  ranges_ = dynamic_cast<UniformObserverBase*>(child);
}

void FusedMovingAvgObsFakeQuantize::own_buffers() {
  FakeQuantize::own_buffers();
  ranges_ = dynamic_cast<UniformObserverBase*>(activation_post_process().get());
  average_ = dynamic_cast<MovingAverage*>(activation_post_process().get());
  batch_ = Tensor();
}

std::shared_ptr<FusedMovingAvgObsFakeQuantize> FusedMovingAvgObsFakeQuantize::make(
    const ObserverCtr& recipe) {
  return std::make_shared<FusedMovingAvgObsFakeQuantize>(split_args(recipe, 0, 255));
}

// Only with fake quantization on are scale and zero point computed, as in PyTorch's fused kernel.
Tensor FusedMovingAvgObsFakeQuantize::forward(const Tensor& x) {
  if (x.numel() == 0) return x;
  if (observer_enabled()) observe(x);
  if (!fake_quant_enabled()) return x;
  choose_qparams();
  return fake_quantized(x);
}

void FusedMovingAvgObsFakeQuantize::observe(const Tensor& x) {
  if (is_per_channel(qscheme())) {
    channel_ranges(x, *ch_axis(), &batch_);
  } else {
    const Tensor values = observed_values(x);
    const MinMax range = min_max(values.data<float>(), values.numel());
    if (!batch_.defined()) batch_ = Tensor::empty({2, 1});
    float_data(batch_)[0] = range.min;
    float_data(batch_)[1] = range.max;
  }
  const int64_t channels = batch_.size(1);
  Tensor& lo = ranges_->buffer("min_val");
  Tensor& hi = ranges_->buffer("max_val");
  if (lo.numel() == 0) {
    lo = Tensor::full({channels}, static_cast<double>(kInf));
    hi = Tensor::full({channels}, static_cast<double>(-kInf));
  }
  if (lo.numel() != channels) {
    throw RuntimeError(cat(type_name(), ": the input has ", channels,
                           " channels, earlier inputs had ", lo.numel()));
  }
  const double constant = average_->averaging_constant();
  average_->note_batch(float_data(batch_), float_data(batch_) + channels, channels);
  for (int64_t c = 0; c < channels; ++c) {
    float& a = float_data(lo)[c];
    float& b = float_data(hi)[c];
    const float min = float_data(batch_)[c];
    const float max = float_data(batch_)[channels + c];
    a = std::isinf(a) ? min : moving_average(a, min, constant);
    b = std::isinf(b) ? max : moving_average(b, max, constant);
  }
}

void FusedMovingAvgObsFakeQuantize::choose_qparams() {
  const Tensor& lo = ranges_->buffer("min_val");
  const Tensor& hi = ranges_->buffer("max_val");
  if (lo.numel() == 0) return;
  QParams q{Tensor::empty({lo.numel()}), Tensor::empty({lo.numel()}, DType::Float64)};
  for (int64_t c = 0; c < lo.numel(); ++c) {
    const ScaleZeroPoint chosen =
        fbgemm_qparams(float_data(lo)[c], float_data(hi)[c], static_cast<int32_t>(*quant_min()),
                       static_cast<int32_t>(*quant_max()), is_symmetric(qscheme()));
    float_data(q.scale)[c] = static_cast<float>(chosen.scale);
    q.zero_point.mutable_data<double>()[c] = chosen.zero_point;
  }
  set_qparams(q);
}

std::string FusedMovingAvgObsFakeQuantize::extra_repr() const {
  return cat(fake_quant_flags_text(*this), ", ", qparams_text(*this), ", dtype=pt2q.",
             dtype_name(dtype()), ", ", range_text(*this), ", ", scheme_text(*this),
             ", reduce_range=", ranges_->reduce_range() ? "True" : "False");
}

}  // namespace pt2q
