#include "observers/placeholder.h"

#include "base/log.h"
#include "base/strings.h"
#include "tensor/affine.h"

namespace pt2q {

PlaceholderObserver::PlaceholderObserver(DType dtype, bool is_dynamic, std::string custom_op)
    : ObserverBase(dtype, is_dynamic), custom_op_(std::move(custom_op)) {
  set_qscheme(QScheme::PerTensorAffine);
}

std::shared_ptr<PlaceholderObserver> PlaceholderObserver::make(KwReader args) {
  const DType dtype = args.dtype("dtype", DType::Float32);
  const std::string custom_op = args.string("custom_op_name", "");
  const bool is_dynamic = args.boolean("is_dynamic", false);
  auto observer = std::make_shared<PlaceholderObserver>(dtype, is_dynamic, custom_op);
  observer->set_quant_min(args.optional_integer("quant_min"));
  observer->set_quant_max(args.optional_integer("quant_max"));
  observer->set_qscheme(args.qscheme("qscheme", QScheme::PerTensorAffine));
  observer->set_eps(args.number("eps", kFloatEps));
  if (args.has("compute_dtype")) {
    args.dtype("compute_dtype", dtype);
    warn_compute_dtype();
  }
  args.optional_integer("compute_dtype");  // None counts as absent
  args.finish();
  return observer;
}

void PlaceholderObserver::warn_compute_dtype() {
  warn(
      "Please use `is_dynamic` instead of `compute_dtype`. `compute_dtype` will be deprecated in a "
      "future release of PyTorch.");
}

std::string PlaceholderObserver::extra_repr() const {
  return cat("dtype=pt2q.", dtype_name(dtype()), ", is_dynamic=", is_dynamic() ? "True" : "False");
}

std::shared_ptr<NoopObserver> NoopObserver::make(KwReader args) {
  const DType dtype = args.dtype("dtype", DType::Float16);
  const std::string custom_op = args.string("custom_op_name", "");
  args.finish();
  return std::make_shared<NoopObserver>(dtype, custom_op);
}

std::shared_ptr<ReuseInputObserver> ReuseInputObserver::make(KwReader args) {
  args.finish();
  return std::make_shared<ReuseInputObserver>();
}

}  // namespace pt2q
