#include "observers/learnable_fake_quantize.h"

#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "pt2q/error.h"
#include "tensor/format.h"

namespace pt2q {
namespace {

std::string bool_text(bool v) { return v ? "True" : "False"; }
std::string optional_text(std::optional<int64_t> v) { return v ? std::to_string(*v) : "None"; }

ObserverCtr child_recipe(KwReader* reader, const ObserverCtr& recipe, const char* fallback) {
  const std::string name = reader->string("observer", fallback);
  return recipe.observer ? *recipe.observer : observer_class(name);
}

}  // namespace

// --- AffineFakeQuantize --------------------------------------------------------------------------

AffineFakeQuantize::AffineFakeQuantize(const ObserverCtr& observer, bool is_dynamic,
                                       const KwArgs& observer_kwargs)
    : is_dynamic_(is_dynamic) {
  KwArgs kwargs = observer_kwargs;
  kwargs["is_dynamic"] = Value(is_dynamic);
  observer_ = std::dynamic_pointer_cast<AffineQuantizedObserverBase>(observer(kwargs));
  if (!observer_) {
    throw AssertionError(
        cat("AffineFakeQuantize needs an affine observer, not ", observer.to_string()),
        "use AffineQuantizedMinMaxObserver or another AffineQuantized... class");
  }
  const bool real = observer_->args().zero_point_domain == ZeroPointDomain::Float;
  register_buffer("scale", Tensor::full({1}, 1.0, DType::Float32));
  register_buffer("zero_point", Tensor::zeros({1}, real ? DType::Float32 : DType::Int32));
}

std::shared_ptr<AffineFakeQuantize> AffineFakeQuantize::make(const ObserverCtr& recipe) {
  KwReader reader(recipe.class_name, recipe.kwargs);
  const ObserverCtr child = child_recipe(&reader, recipe, "AffineQuantizedMinMaxObserver");
  const bool is_dynamic = reader.boolean("is_dynamic", false);
  return std::make_shared<AffineFakeQuantize>(child, is_dynamic, reader.take_rest());
}

Tensor AffineFakeQuantize::forward(const Tensor& x) {
  if (!observer_->block_size()) observer_->forward(x);
  if (observer_enabled()) {
    observer_->forward(x);
    set_qparams(calculate_qparams());
  }
  if (!fake_quant_enabled() || x.numel() == 0) return x;
  const AffineArgs& a = observer_->args();
  const auto real = [](const std::optional<int64_t>& v) {
    return v ? std::optional<double>(static_cast<double>(*v)) : std::nullopt;
  };
  const AffineRange range = affine_range(a.target_dtype, real(a.quant_min), real(a.quant_max));
  const bool none = a.zero_point_domain == ZeroPointDomain::None;
  return fake_quantize_blocks(x, a.granularity.block_size(x.sizes()), buffer("scale"),
                              none ? Tensor() : buffer("zero_point"), range, a.zero_point_domain);
}

void AffineFakeQuantize::set_qparams(const QParams& qparams) {
  for (const auto& [name, value] :
       {std::pair("scale", qparams.scale), std::pair("zero_point", qparams.zero_point)}) {
    if (!value.defined()) continue;
    Tensor& own = buffer(name);
    if (own.sizes() != value.sizes()) own = Tensor::empty(value.sizes(), own.dtype());
    own.copy_(value);
  }
}

void AffineFakeQuantize::merge(const Observer& other) {
  const auto* o = dynamic_cast<const AffineFakeQuantize*>(&other);
  if (o == nullptr) {
    throw ValueError(cat("cannot merge a ", other.type_name(), " into a ", type_name()));
  }
  observer_->merge(*o->observer_);
  if (observer_->has_buffer("min_val")) set_qparams(calculate_qparams());
}

StatefulObserver::Buffers AffineFakeQuantize::named_buffers() const {
  Buffers out = StatefulObserver::named_buffers();
  add_child_buffers(*observer_, &out);
  return out;
}

void AffineFakeQuantize::load_state_dict(const std::map<std::string, Tensor>& state) {
  const SplitState parts = split_child_state(state);
  StatefulObserver::load_state_dict(parts.own);
  observer_->load_state_dict(parts.child);
}

void AffineFakeQuantize::own_buffers() {
  StatefulObserver::own_buffers();
  observer_ = std::dynamic_pointer_cast<AffineQuantizedObserverBase>(observer_->clone());
}

std::string AffineFakeQuantize::extra_repr() const {
  const AffineArgs& a = observer_->args();
  const auto& block = observer_->block_size();
  return cat(fake_quant_flags_text(*this), ", quant_min=", optional_text(a.quant_min),
             ", quant_max=", optional_text(a.quant_max), ", target_dtype=pt2q.",
             dtype_name(a.target_dtype), ", granularity=", a.granularity.to_string(),
             ", mapping_type=MappingType.", mapping_type_name(a.mapping_type),
             ", zero_point_domain=ZeroPointDomain.", zero_point_domain_name(a.zero_point_domain),
             ", scale=", format_tensor(buffer("scale")),
             ", zero_point=", format_tensor(buffer("zero_point")),
             ", block_size=", block ? tuple_text(*block) : "None");
}

// --- LearnableFakeQuantize -----------------------------------------------------------------------

LearnableFakeQuantize::LearnableFakeQuantize(const ObserverCtr& observer, int64_t quant_min,
                                             int64_t quant_max, bool use_grad_scaling,
                                             KwArgs observer_kwargs)
    : quant_min_(quant_min), quant_max_(quant_max), use_grad_scaling_(use_grad_scaling) {
  if (quant_min >= quant_max) {
    throw AssertionError("quant_min must be strictly less than quant_max.");
  }
  observer_kwargs["quant_min"] = Value(quant_min);
  observer_kwargs["quant_max"] = Value(quant_max);
  observer_ = observer(observer_kwargs);
  check_fake_quant_bounds(observer_->dtype(), quant_min, quant_max);
  register_buffer("learning_enabled", Tensor::zeros({1}, DType::UInt8));
  register_buffer("eps", Tensor::full({1}, kFloatEps, DType::Float32));
}

std::shared_ptr<LearnableFakeQuantize> LearnableFakeQuantize::make(const ObserverCtr& recipe) {
  KwReader reader(recipe.class_name, recipe.kwargs);
  if (!recipe.observer && !reader.has("observer")) {
    throw TypeError("LearnableFakeQuantize.__init__() missing required argument: 'observer'");
  }
  const ObserverCtr child = child_recipe(&reader, recipe, "MovingAverageMinMaxObserver");
  const int64_t quant_min = reader.integer("quant_min", 0);
  const int64_t quant_max = reader.integer("quant_max", 255);
  const bool scaling = reader.boolean("use_grad_scaling", false);
  return std::make_shared<LearnableFakeQuantize>(child, quant_min, quant_max, scaling,
                                                 reader.take_rest());
}

void LearnableFakeQuantize::enable_range_learning() {
  buffer("learning_enabled").copy_(Tensor::scalar_int(1));
  FakeQuantizeBase::enable_observer(false);
}

void LearnableFakeQuantize::disable_range_learning() {
  buffer("learning_enabled").copy_(Tensor::scalar_int(0));
}

void LearnableFakeQuantize::enable_observer(bool enabled) {
  FakeQuantizeBase::enable_observer(enabled);
  if (enabled) disable_range_learning();
}

void LearnableFakeQuantize::set_qparams(const QParams& qparams) {
  for (const auto& [name, value] :
       {std::pair("scale", qparams.scale), std::pair("zero_point", qparams.zero_point)}) {
    if (!has_buffer(name) || buffer(name).sizes() != value.sizes()) {
      register_buffer(name, Tensor::empty(value.sizes()));
    }
    buffer(name).copy_(value);
  }
}

Tensor LearnableFakeQuantize::forward(const Tensor& x) {
  if (observer_enabled() || !initialized()) {
    observer_->forward(x);
    set_qparams(observer_->calculate_qparams());
  }
  return fake_quant_enabled() ? fake_quantized(x) : x;
}

Tensor LearnableFakeQuantize::fake_quantized(const Tensor& x) {
  Tensor& zero_point = buffer("zero_point");
  if (is_symmetric(qscheme())) zero_point.copy_(Tensor::scalar(0.0));
  const QuantRange range{quant_min_, quant_max_};
  const auto lo = static_cast<float>(quant_min_);
  const auto hi = static_cast<float>(quant_max_);
  if (qscheme() == QScheme::PerChannelSymmetric || qscheme() == QScheme::PerChannelAffine) {
    Tensor rounded = Tensor::empty(zero_point.sizes(), DType::Int32);
    for (int64_t i = 0; i < rounded.numel(); ++i) {
      const float z = std::clamp(std::nearbyint(float_data(zero_point)[i]), lo, hi);
      rounded.mutable_data<int32_t>()[i] = static_cast<int32_t>(z);
    }
    return fake_quantize_per_channel(x, buffer("scale"), rounded, ch_axis().value_or(-1), range);
  }
  // PyTorch's kernel truncates zero_point + 0.5.
  const float z = std::clamp(float_data(zero_point)[0] + 0.5F, lo, hi);
  return fake_quantize_per_tensor(x, buffer("scale").reshape({-1}).select(0, 0).item(),
                                  static_cast<int64_t>(z), range);
}

QParams LearnableFakeQuantize::calculate_qparams() {
  if (!initialized()) {
    throw RuntimeError("LearnableFakeQuantize has no scale and zero point before its first batch",
                       "run the prepared model on data first");
  }
  Tensor& scale = buffer("scale");
  const Tensor& zero_point = buffer("zero_point");
  Tensor rounded = Tensor::empty(zero_point.sizes(), DType::Int64);
  const auto smallest = static_cast<float>(eps());
  for (int64_t i = 0; i < scale.numel(); ++i) {
    if (float_data(scale)[i] < smallest) float_data(scale)[i] = smallest;
    const float z = std::nearbyint(float_data(zero_point)[i]);
    rounded.mutable_data<int64_t>()[i] =
        std::clamp(static_cast<int64_t>(z), quant_min_, quant_max_);
  }
  return {scale.clone(), rounded};
}

void LearnableFakeQuantize::merge(const Observer& other) {
  const auto* o = dynamic_cast<const LearnableFakeQuantize*>(&other);
  if (o == nullptr) {
    throw ValueError(cat("cannot merge a ", other.type_name(), " into a ", type_name()));
  }
  observer_->merge(*o->observer_);
  if (!learning_enabled() && (initialized() || o->initialized())) {
    set_qparams(observer_->calculate_qparams());
  }
}

StatefulObserver::Buffers LearnableFakeQuantize::named_buffers() const {
  // Parameters come before buffers in PyTorch's state dicts.
  Buffers out;
  for (const char* name : {"scale", "zero_point"}) {
    if (has_buffer(name)) out.emplace_back(name, buffer(name));
  }
  for (const auto& entry : StatefulObserver::named_buffers()) {
    if (entry.first != "scale" && entry.first != "zero_point") out.push_back(entry);
  }
  add_child_buffers(*observer_, &out);
  return out;
}

void LearnableFakeQuantize::load_state_dict(const std::map<std::string, Tensor>& state) {
  const SplitState parts = split_child_state(state);
  for (const char* name : {"scale", "zero_point"}) {
    const auto it = parts.own.find(name);
    if (it != parts.own.end()) register_buffer(name, Tensor::empty(it->second.sizes()));
  }
  StatefulObserver::load_state_dict(parts.own);
  observer_->load_state_dict(parts.child);
}

void LearnableFakeQuantize::own_buffers() {
  StatefulObserver::own_buffers();
  observer_ = observer_->clone();
}

std::string LearnableFakeQuantize::extra_repr() const {
  const auto value = [&](const char* name) {
    return has_buffer(name) ? format_tensor(buffer(name)) : std::string("None");
  };
  return cat(fake_quant_flags_text(*this),
             ", learning_enabled=", format_tensor(buffer("learning_enabled")),
             ", quant_min=", quant_min_, ", quant_max=", quant_max_, ", dtype=pt2q.",
             dtype_name(dtype()), ", qscheme=pt2q.", qscheme_name(qscheme()),
             ", ch_axis=", ch_axis().value_or(-1),
             ", use_grad_scaling=", bool_text(use_grad_scaling_), ", scale=", value("scale"),
             ", zero_point=", value("zero_point"));
}

}  // namespace pt2q
