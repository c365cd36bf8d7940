#include "ir/autocast.h"

#include <array>
#include <set>
#include <string>
#include <utility>

namespace pt2q {
namespace {

std::array<bool, 2>& state() {
  thread_local std::array<bool, 2> enabled{};
  return enabled;
}

bool converts(DType from, DType to) {
  return (from == DType::Float32 && to == DType::BFloat16) ||
         (from == DType::BFloat16 && to == DType::Float32);
}

void convert(Value* value, DType dtype) {
  if (value->is<Value::List>()) {
    for (Value& item : value->as<Value::List>()) convert(&item, dtype);
  } else if (value->is<Tensor>() && value->as<Tensor>().defined()) {
    const Tensor& t = value->as<Tensor>();
    if (autocast_enabled(t.device().type) && converts(t.dtype(), dtype))
      *value = call("aten.to.dtype", {t, dtype});
  }
}

}  // namespace

bool autocast_enabled(DeviceType device) { return state()[static_cast<size_t>(device)]; }

bool set_autocast_enabled(DeviceType device, bool enabled) {
  return std::exchange(state()[static_cast<size_t>(device)], enabled);
}

std::optional<DType> autocast_dtype(const OpDef& op) {
  static const std::set<std::string> kLower = {"conv1d",
                                               "conv2d",
                                               "conv3d",
                                               "conv_tbc",
                                               "conv_transpose1d",
                                               "conv_transpose2d",
                                               "conv_transpose3d",
                                               "convolution",
                                               "_convolution",
                                               "linear",
                                               "addmm",
                                               "addbmm",
                                               "baddbmm",
                                               "bmm",
                                               "mm",
                                               "matmul",
                                               "chain_matmul",
                                               "scaled_dot_product_attention",
                                               "prelu",
                                               "einsum"};
  static const std::set<std::string> kFloat32 = {"avg_pool3d",
                                                 "adaptive_avg_pool3d",
                                                 "max_pool3d",
                                                 "grid_sampler",
                                                 "grid_sampler_2d",
                                                 "grid_sampler_3d",
                                                 "prod",
                                                 "cdist",
                                                 "trace",
                                                 "quantile",
                                                 "reflection_pad1d",
                                                 "reflection_pad2d",
                                                 "replication_pad1d",
                                                 "replication_pad2d",
                                                 "replication_pad3d",
                                                 "mse_loss",
                                                 "l1_loss",
                                                 "smooth_l1_loss",
                                                 "huber_loss",
                                                 "nll_loss",
                                                 "nll_loss_nd",
                                                 "nll_loss2d",
                                                 "cross_entropy_loss",
                                                 "kl_div",
                                                 "binary_cross_entropy",
                                                 "binary_cross_entropy_with_logits"};
  if (op.namespace_name() != "aten") return std::nullopt;
  const std::string base = op.base_name();
  if (kLower.count(base) > 0) return DType::BFloat16;
  if (kFloat32.count(base) > 0) return DType::Float32;
  return std::nullopt;
}

void autocast_args(const OpDef& op, std::vector<Value>* args) {
  if (!state()[0] && !state()[1]) return;
  const auto dtype = autocast_dtype(op);
  if (!dtype) return;
  for (Value& arg : *args) convert(&arg, *dtype);
}

}  // namespace pt2q
