#include "observers/affine_observer.h"

#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "pt2q/error.h"
#include "tensor/affine.h"
#include "tensor/format.h"

namespace pt2q {
// --- arguments -----------------------------------------------------------------------------------

namespace {

Granularity granularity_value(const Value& v) {
  if (v.is_none()) throw AssertionError("granularity is None");
  if (v.is<std::string>()) return Granularity::parse(v.as<std::string>(), {});
  const Value::List& items = v.list();
  Shape values;
  for (size_t i = 1; i < items.size(); ++i) {
    if (items[i].is<Value::List>()) {
      values = items[i].to_ints();
    } else {
      values.push_back(items[i].to_int());
    }
  }
  return Granularity::parse(items.empty() ? "" : items[0].as<std::string>(), values);
}

}  // namespace

AffineArgs affine_args(KwReader* reader) {
  AffineArgs args;
  for (const char* name : {"mapping_type", "target_dtype", "granularity"}) {
    if (!reader->has(name)) {
      throw TypeError(cat("affine observers are missing the required argument '", name, "'"));
    }
  }
  args.mapping_type = parse_mapping_type(reader->string("mapping_type", ""));
  args.target_dtype = reader->dtype("target_dtype", args.target_dtype);
  args.granularity = granularity_value(reader->value("granularity"));
  args.quant_min = reader->optional_integer("quant_min");
  args.quant_max = reader->optional_integer("quant_max");
  if (reader->has("eps")) args.eps = reader->number("eps", 0.0);
  if (reader->has("scale_dtype")) args.scale_dtype = reader->dtype("scale_dtype", DType::Float32);
  if (reader->has("zero_point_dtype")) {
    args.zero_point_dtype = reader->dtype("zero_point_dtype", DType::Int32);
  }
  args.preserve_zero = reader->boolean("preserve_zero", true);
  args.zero_point_domain = parse_zero_point_domain(reader->string("zero_point_domain", "INT"));
  args.is_dynamic = reader->boolean("is_dynamic", false);
  reader->take_rest();
  return args;
}

// --- AffineQuantizedObserverBase -----------------------------------------------------------------

const BlockGrid& AffineQuantizedObserverBase::see(const Tensor& x) {
  if (!original_dtype_ || *original_dtype_ != x.dtype()) original_dtype_ = x.dtype();
  if (!grid_ || grid_->sizes != x.sizes()) {
    block_size_ = args_.granularity.block_size(x.sizes());
    grid_.emplace(x.sizes(), *block_size_);
  }
  return *grid_;
}

QParams AffineQuantizedObserverBase::params_from_range() const {
  if (!has_buffer("min_val") || !has_buffer("max_val")) {
    throw AssertionError(
        "Expecting the observer has min_val and max_val, please run the observer before calling "
        "calculate_qparams");
  }
  const auto real = [](const std::optional<int64_t>& v) {
    return v ? std::optional<double>(static_cast<double>(*v)) : std::nullopt;
  };
  AffineRule rule;
  rule.mapping = args_.mapping_type;
  rule.range = affine_range(args_.target_dtype, real(args_.quant_min), real(args_.quant_max));
  rule.eps = args_.eps;
  rule.scale_dtype = args_.scale_dtype;
  rule.zero_point_dtype = args_.zero_point_dtype;
  rule.preserve_zero = args_.preserve_zero;
  rule.domain = args_.zero_point_domain;
  const AffineParams params = choose_affine_params(buffer("min_val"), buffer("max_val"), rule);
  return {params.scale, params.zero_point};
}

void AffineQuantizedObserverBase::check_mergeable(const Observer& other) const {
  const auto* o = dynamic_cast<const AffineQuantizedObserverBase*>(&other);
  const bool same = o != nullptr && o->type_name() == type_name() &&
                    o->args_.mapping_type == args_.mapping_type &&
                    o->args_.target_dtype == args_.target_dtype &&
                    o->args_.granularity.to_string() == args_.granularity.to_string() &&
                    o->args_.quant_min == args_.quant_min &&
                    o->args_.quant_max == args_.quant_max && o->args_.eps == args_.eps;
  if (!same) {
    throw ValueError(cat("cannot merge ", other.repr(), " into ", repr(),
                         ": class, mapping type, dtype, granularity, range and eps must be equal"));
  }
}

void AffineQuantizedObserverBase::reset_min_max_vals() {
  remove_buffer("min_val");
  remove_buffer("max_val");
}

void AffineQuantizedObserverBase::load_state_dict(const std::map<std::string, Tensor>& state) {
  for (const char* name : {"min_val", "max_val"}) {
    const auto it = state.find(name);
    if (it != state.end()) {
      register_buffer(name, Tensor::empty(it->second.sizes(), it->second.dtype()));
    }
  }
  StatefulObserver::load_state_dict(state);
}

namespace {

// The nodes convert writes.
class AffineWriter {
 public:
  AffineWriter(GraphModule& model, Node* observer)
      : model_(model), graph_(model.graph()), input_(observer->arg_node(0)) {}

  Node* make(const std::string& op, std::vector<Value> args,
             const std::map<std::string, Value>& kwargs = {}) {
    Node* node = graph_.call_function(op, std::move(args), kwargs);
    node->meta.val = infer_node(*node);
    return node;
  }
  Node* buffer(const std::string& prefix, const Tensor& value) {
    const std::string name = model_.unique_attr(prefix);
    model_.set_attr(name, value.clone(), AttrKind::Buffer);
    Node* node = graph_.get_attr(name);
    node->meta.val = TensorMeta{to_sym(value.sizes()), value.dtype(), value.device()};
    return node;
  }
  Node* input() const { return input_; }

 private:
  GraphModule& model_;
  Graph& graph_;
  Node* input_;
};

template <typename T>
Value or_none(const std::optional<T>& v) {
  return v ? Value(*v) : Value();
}

}  // namespace

bool AffineQuantizedObserverBase::convert(GraphModule& model, Node* observer_node) {
  if (!block_size_) {
    throw AssertionError("Expecting block_size to be populated",
                         "run the prepared model on calibration data before convert_pt2e")
        .at_node(observer_node->name());
  }
  if (args_.zero_point_domain != ZeroPointDomain::Int) {
    throw NotImplementedError(
        cat("convert_pt2e: zero points in the domain ",
            zero_point_domain_name(args_.zero_point_domain), " have no operator in the graph"),
        "use ZeroPointDomain.INT")
        .at_node(observer_node->name());
  }
  const auto point = model.graph().inserting_before(observer_node);
  AffineWriter out(model, observer_node);
  const Value block(*block_size_);
  const Value qmin = or_none(args_.quant_min);
  const Value qmax = or_none(args_.quant_max);
  const Value dtype(args_.target_dtype);
  Node* scale = nullptr;
  Node* zero_point = nullptr;
  if (args_.is_dynamic) {
    Node* chosen =
        out.make("torchao.choose_qparams_affine.default",
                 {out.input(), mapping_type_name(args_.mapping_type), block, dtype, qmin, qmax,
                  or_none(args_.eps), or_none(args_.scale_dtype), or_none(args_.zero_point_dtype)});
    scale = out.make("_operator.getitem", {chosen, 0});
    zero_point = out.make("_operator.getitem", {chosen, 1});
  } else {
    const QParams params = calculate_qparams();
    scale = out.buffer("_scale", params.scale);
    zero_point = out.buffer("_zero_point", params.zero_point);
  }
  Node* q = out.make("torchao.quantize_affine.default",
                     {out.input(), block, scale, zero_point, dtype, qmin, qmax});
  Node* dq = out.make("torchao.dequantize_affine.default",
                      {q, block, scale, zero_point, dtype, qmin, qmax},
                      {{"output_dtype", Value(*original_dtype_)}});
  observer_node->replace_all_uses_with(dq);
  model.graph().erase_node(observer_node);
  return true;
}

// --- AffineQuantizedMinMaxObserver ---------------------------------------------------------------

namespace {

// fn(running, current) on every value of two tensors of one shape and dtype.
template <typename Fn>
void combine(Tensor& running, const Tensor& current, Fn&& fn) {
  if (running.dtype() == DType::Float32) {
    auto* to = running.mutable_data<float>();
    const auto* from = current.data<float>();
    for (int64_t i = 0; i < running.numel(); ++i) {
      to[i] = static_cast<float>(fn(static_cast<double>(to[i]), static_cast<double>(from[i])));
    }
    return;
  }
  const Tensor a = running.to(DType::Float64).clone();
  const Tensor b = current.to(DType::Float64).contiguous();
  Tensor out = a;
  for (int64_t i = 0; i < a.numel(); ++i) {
    out.mutable_data<double>()[i] = fn(a.data<double>()[i], b.data<double>()[i]);
  }
  running.copy_(out);
}

double nan_min(double a, double b) { return std::isnan(a) || a < b ? a : b; }
double nan_max(double a, double b) { return std::isnan(a) || a > b ? a : b; }

}  // namespace

std::shared_ptr<AffineQuantizedMinMaxObserver> AffineQuantizedMinMaxObserver::make(KwReader args) {
  AffineArgs affine = affine_args(&args);
  affine.is_dynamic = false;  // an argument this class does not have
  return std::make_shared<AffineQuantizedMinMaxObserver>(std::move(affine));
}

Tensor AffineQuantizedMinMaxObserver::forward(const Tensor& x) {
  if (x.numel() == 0) return x;
  block_ranges(x, see(x), &batch_min_, &batch_max_);
  if (!has_buffer("min_val") || !has_buffer("max_val")) {
    register_buffer("min_val", batch_min_.clone());
    register_buffer("max_val", batch_max_.clone());
    update(batch_min_, batch_max_);
    return x;
  }
  if (buffer("min_val").sizes() != batch_min_.sizes()) {
    const auto size = [](const Tensor& t) {
      return cat("torch.Size(", list_to_string(t.sizes()), ")");
    };
    throw AssertionError(cat("Can't update existing min_val - shape mismatch, self.min_val:",
                             size(buffer("min_val")), " != min_val:", size(batch_min_)));
  }
  if (buffer("min_val").dtype() != batch_min_.dtype()) {
    batch_min_ = batch_min_.to(buffer("min_val").dtype());
    batch_max_ = batch_max_.to(buffer("max_val").dtype());
  }
  update(batch_min_, batch_max_);
  return x;
}

void AffineQuantizedMinMaxObserver::update(const Tensor& min, const Tensor& max) {
  combine(buffer("min_val"), min, [](double a, double b) { return nan_min(b, a); });
  combine(buffer("max_val"), max, [](double a, double b) { return nan_max(b, a); });
}

void AffineQuantizedMinMaxObserver::merge(const Observer& other) {
  check_mergeable(other);
  const auto& o = dynamic_cast<const AffineQuantizedMinMaxObserver&>(other);
  if (!o.has_buffer("min_val")) return;
  const Tensor& lo = o.buffer("min_val");
  if (!has_buffer("min_val")) {
    register_buffer("min_val", lo.clone());
    register_buffer("max_val", o.buffer("max_val").clone());
    return;
  }
  if (buffer("min_val").sizes() != lo.sizes() || buffer("min_val").dtype() != lo.dtype()) {
    throw ValueError(
        cat("cannot merge ranges ", describe(lo), " into ranges ", describe(buffer("min_val"))));
  }
  update(lo, o.buffer("max_val"));
}

void AffineQuantizedMinMaxObserver::own_buffers() {
  StatefulObserver::own_buffers();
  batch_min_ = Tensor();
  batch_max_ = Tensor();
}

// --- the other two -------------------------------------------------------------------------------

AffineQuantizedMovingAverageMinMaxObserver::AffineQuantizedMovingAverageMinMaxObserver(
    double averaging_constant, AffineArgs args)
    : AffineQuantizedMinMaxObserver(std::move(args)), averaging_constant_(averaging_constant) {
  if (is_dynamic() && averaging_constant != 1.0) {
    throw NotImplementedError(
        cat("MovingAverageMinMaxObserver doesn't support dynamic quantization for averaging "
            "constant of ",
            python_float(averaging_constant)),
        "give averaging_constant=1");
  }
}

std::shared_ptr<AffineQuantizedMovingAverageMinMaxObserver>
AffineQuantizedMovingAverageMinMaxObserver::make(KwReader args) {
  const double constant = args.number("averaging_constant", 0.01);
  return std::make_shared<AffineQuantizedMovingAverageMinMaxObserver>(constant, affine_args(&args));
}

void AffineQuantizedMovingAverageMinMaxObserver::update(const Tensor& min, const Tensor& max) {
  const DType dtype = min.dtype();
  const auto average = [&](double running, double current) {
    const double step = round_to(dtype, current - running);
    return round_to(dtype, running + round_to(dtype, averaging_constant_ * step));
  };
  const auto in_float = [&](double running, double current) {
    return static_cast<double>(moving_average(static_cast<float>(running),
                                              static_cast<float>(current), averaging_constant_));
  };
  if (dtype == DType::Float32) {
    combine(buffer("min_val"), min, in_float);
    combine(buffer("max_val"), max, in_float);
  } else {
    combine(buffer("min_val"), min, average);
    combine(buffer("max_val"), max, average);
  }
}

std::shared_ptr<AffineQuantizedPlaceholderObserver> AffineQuantizedPlaceholderObserver::make(
    KwReader args) {
  return std::make_shared<AffineQuantizedPlaceholderObserver>(affine_args(&args));
}

Tensor AffineQuantizedPlaceholderObserver::forward(const Tensor& x) {
  see(x);
  return x;
}

QParams AffineQuantizedPlaceholderObserver::calculate_qparams() {
  throw RuntimeError("calculate_qparams should not be called for PlaceholderObserver");
}

}  // namespace pt2q
