// The configurations the built-in quantizers are used with (SPEC section 6).
#include <map>
#include <mutex>
#include <tuple>

#include "pt2q/quantizers.h"

namespace pt2q {
namespace {

constexpr double kEps = 1.0 / 4096;  // 2^-12, as everywhere in PyTorch's quantizers

// Activation observer of the four modes; `fused` fake quantization observes by moving average.
ObserverCtr activation_ctr(bool is_qat, bool is_dynamic) {
  const KwArgs eps = {{"eps", kEps}};
  if (is_qat && is_dynamic) {
    return observer_class("FakeQuantize")
        .with_args(eps)
        .with_observer(
            observer_class("MovingAverageMinMaxObserver").with_args({{"averaging_constant", 1.0}}));
  }
  if (is_qat) return observer_class("FusedMovingAvgObsFakeQuantize").with_args(eps);
  return observer_class(is_dynamic ? "PlaceholderObserver" : "HistogramObserver").with_args(eps);
}

ObserverCtr weight_ctr(bool is_qat, bool per_channel) {
  if (is_qat) {
    return observer_class("FusedMovingAvgObsFakeQuantize")
        .with_args({{"eps", kEps},
                    {"observer", per_channel ? "MovingAveragePerChannelMinMaxObserver"
                                             : "MovingAverageMinMaxObserver"}});
  }
  return observer_class(per_channel ? "PerChannelMinMaxObserver" : "MinMaxObserver")
      .with_args({{"eps", kEps}});
}

SpecPtr make_spec(DType dtype, ObserverCtr ctr, int64_t quant_min, int64_t quant_max,
                  QScheme scheme, bool is_dynamic = false) {
  auto spec = std::make_shared<QuantizationSpec>();
  spec->dtype = dtype;
  spec->observer_or_fake_quant_ctr = std::move(ctr);
  spec->quant_min = quant_min;
  spec->quant_max = quant_max;
  spec->qscheme = scheme;
  spec->is_dynamic = is_dynamic;
  spec->check();
  return spec;
}

SpecPtr make_weight_spec(bool is_qat, bool per_channel, int64_t quant_min, int64_t quant_max,
                         bool with_axis) {
  auto spec = std::make_shared<QuantizationSpec>(dynamic_cast<const QuantizationSpec&>(
      *make_spec(DType::Int8, weight_ctr(is_qat, per_channel), quant_min, quant_max,
                 per_channel ? QScheme::PerChannelSymmetric : QScheme::PerTensorSymmetric)));
  if (with_axis) spec->ch_axis = 0;
  return spec;
}

ConfigPtr make_config(SpecPtr input, SpecPtr output, SpecPtr weight, bool is_qat) {
  auto config = std::make_shared<QuantizationConfig>();
  config->input_activation = std::move(input);
  config->output_activation = std::move(output);
  config->weight = std::move(weight);
  config->is_qat = is_qat;
  return config;
}

// One object per set of arguments: configurations compare and cache by identity in user code.
template <typename Key, typename Make>
ConfigPtr cached(const Key& key, Make make) {
  static std::mutex mutex;
  static std::map<Key, ConfigPtr> cache;
  const std::lock_guard<std::mutex> lock(mutex);
  ConfigPtr& entry = cache[key];
  if (!entry) entry = make();
  return entry;
}

}  // namespace

ConfigPtr get_default_x86_inductor_quantization_config(bool is_qat, bool is_dynamic,
                                                       bool reduce_range) {
  return cached(std::make_tuple('x', is_qat, is_dynamic, reduce_range), [&] {
    const SpecPtr activation =
        make_spec(DType::UInt8, activation_ctr(is_qat, is_dynamic), 0, reduce_range ? 127 : 255,
                  QScheme::PerTensorAffine, is_dynamic);
    return make_config(activation, activation, make_weight_spec(is_qat, true, -128, 127, true),
                       is_qat);
  });
}

ConfigPtr get_x86_inductor_linear_dynamic_fp16_config() {
  return cached(std::make_tuple("fp16"), [] {
    auto weight = std::make_shared<QuantizationSpec>();
    weight->dtype = DType::Float16;
    weight->observer_or_fake_quant_ctr = observer_class("PlaceholderObserver");
    return make_config(nullptr, nullptr, weight, false);
  });
}

ConfigPtr get_default_xpu_inductor_quantization_config() {
  return cached(std::make_tuple("xpu", 0), [] {
    const SpecPtr activation =
        make_spec(DType::Int8, activation_ctr(false, false), -128, 127, QScheme::PerTensorAffine);
    return make_config(activation, activation, make_weight_spec(false, true, -128, 127, true),
                       false);
  });
}

ConfigPtr get_default_arm_inductor_quantization_config(bool is_qat, bool is_dynamic) {
  return cached(std::make_tuple('a', is_qat, is_dynamic), [&] {
    const SpecPtr activation = make_spec(DType::Int8, activation_ctr(is_qat, is_dynamic), -128, 127,
                                         QScheme::PerTensorAffine, is_dynamic);
    return make_config(activation, activation, make_weight_spec(is_qat, false, -128, 127, false),
                       is_qat);
  });
}

ConfigPtr get_symmetric_quantization_config(bool is_per_channel, bool is_qat, bool is_dynamic,
                                            int64_t act_qmin, int64_t act_qmax, int64_t weight_qmin,
                                            int64_t weight_qmax) {
  return cached(std::make_tuple(is_per_channel, is_qat, is_dynamic, act_qmin, act_qmax, weight_qmin,
                                weight_qmax),
                [&] {
                  const SpecPtr activation =
                      make_spec(DType::Int8, activation_ctr(is_qat, is_dynamic), act_qmin, act_qmax,
                                QScheme::PerTensorAffine, is_dynamic);
                  return make_config(
                      activation, is_dynamic ? nullptr : activation,
                      make_weight_spec(is_qat, is_per_channel, weight_qmin, weight_qmax, true),
                      is_qat);
                });
}

ConfigPtr get_embedding_operators_config() {
  return cached(std::make_tuple("embedding", 0, 0), [] {
    auto weight = std::make_shared<QuantizationSpec>();
    weight->dtype = DType::UInt8;
    weight->observer_or_fake_quant_ctr =
        observer_class("PerChannelMinMaxObserver").with_args({{"eps", kEps}});
    weight->qscheme = QScheme::PerChannelAffineFloatQParams;
    weight->ch_axis = 0;
    return make_config(nullptr, nullptr, weight, false);
  });
}

}  // namespace pt2q
