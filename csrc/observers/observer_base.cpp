#include "observers/observer_base.h"

#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "base/strings.h"
#include "pt2q/error.h"
#include "tensor/affine.h"
#include "tensor/format.h"

namespace pt2q {

// --- Observer ------------------------------------------------------------------------------------

void Observer::merge(const Observer&) {
  throw NotImplementedError(cat(type_name(), " cannot merge statistics"),
                            "calibrate one observer with all batches in order");
}

bool Observer::convert(GraphModule&, Node*) { return false; }

std::shared_ptr<Observer> Observer::clone() const {
  throw NotImplementedError(cat(type_name(), " cannot be copied"));
}

void Observer::reset_min_max_vals() {
  throw NotImplementedError("Cannot reset min/max values in the given observer.");
}

// --- StatefulObserver ----------------------------------------------------------------------------

namespace {

std::string indented(const std::string& text) {
  std::string out;
  for (const char c : text) {
    out += c;
    if (c == '\n') out += "  ";
  }
  return out;
}

std::string quoted(const std::vector<std::string>& keys) {
  std::vector<std::string> parts;
  for (const std::string& key : keys) parts.push_back(cat('"', key, '"'));
  return join(parts, ", ");
}

std::string torch_size(const Tensor& t) {
  return cat("torch.Size(", list_to_string(t.sizes()), ")");
}

}  // namespace

std::string StatefulObserver::repr() const {
  std::vector<std::string> lines;
  const std::string extra = extra_repr();
  const auto subs = children();
  if (subs.empty() && extra.find('\n') == std::string::npos) {
    return cat(type_name(), "(", extra, ")");
  }
  if (!extra.empty()) {
    // Like nn.Module: a multi-line extra_repr is indented line by line.
    for (const std::string& line : split(extra, '\n')) lines.push_back(line);
  }
  for (const auto& [name, module] : subs) {
    lines.push_back(cat("(", name, "): ", indented(module->repr())));
  }
  std::string out = type_name() + "(\n";
  for (const std::string& line : lines) out += cat("  ", line, "\n");
  return out + ")";
}

void StatefulObserver::own_buffers() {
  for (auto& entry : buffers_) entry.second = entry.second.clone();
}

void StatefulObserver::register_buffer(const std::string& name, Tensor tensor) {
  for (auto& [existing, value] : buffers_) {
    if (existing == name) {
      value = std::move(tensor);
      return;
    }
  }
  buffers_.emplace_back(name, std::move(tensor));
}

void StatefulObserver::remove_buffer(const std::string& name) {
  buffers_.erase(std::remove_if(buffers_.begin(), buffers_.end(),
                                [&](const auto& entry) { return entry.first == name; }),
                 buffers_.end());
}

bool StatefulObserver::has_buffer(const std::string& name) const {
  return std::any_of(buffers_.begin(), buffers_.end(),
                     [&](const auto& entry) { return entry.first == name; });
}

const Tensor& StatefulObserver::buffer(const std::string& name) const {
  for (const auto& [existing, value] : buffers_) {
    if (existing == name) return value;
  }
  throw KeyError(cat(type_name(), " has no buffer '", name, "'"));
}

Tensor& StatefulObserver::buffer(const std::string& name) {
  return const_cast<Tensor&>(static_cast<const StatefulObserver*>(this)->buffer(name));
}

std::map<std::string, Tensor> StatefulObserver::state_dict() const {
  std::map<std::string, Tensor> out;
  for (const auto& [name, value] : named_buffers()) out[name] = value;
  return out;
}

void StatefulObserver::load_state_dict(const std::map<std::string, Tensor>& state) {
  std::vector<std::string> errors;
  std::vector<std::string> unexpected;
  std::vector<std::string> loaded;
  for (const auto& [key, value] : state) {
    const std::string name = present_key(key);
    loaded.push_back(name);
    if (!has_buffer(name)) {
      unexpected.push_back(key);
      continue;
    }
    Tensor& own = buffer(name);
    if (own.sizes() != value.sizes()) {
      if (!resizes_on_load(name)) {
        errors.push_back(cat("size mismatch for ", name, ": copying a param with shape ",
                             torch_size(value), " from checkpoint, the shape in current model is ",
                             torch_size(own), "."));
        continue;
      }
      own = Tensor::empty(value.sizes(), own.dtype());
    }
    own.copy_(value);
  }
  std::vector<std::string> missing;
  for (const auto& [name, value] : buffers_) {
    const bool found = std::find(loaded.begin(), loaded.end(), name) != loaded.end();
    if (!found && !optional_key(name)) missing.push_back(name);
  }
  if (!unexpected.empty()) {
    errors.insert(errors.begin(),
                  cat("Unexpected key(s) in state_dict: ", quoted(unexpected), ". "));
  }
  if (!missing.empty()) {
    errors.insert(errors.begin(), cat("Missing key(s) in state_dict: ", quoted(missing), ". "));
  }
  if (!errors.empty()) {
    throw RuntimeError(
        cat("Error(s) in loading state_dict for ", type_name(), ":\n\t", join(errors, "\n\t")));
  }
}

// --- ObserverBase
// ----------------------------------------------------------------------------------

QParams ObserverBase::calculate_qparams() {
  throw RuntimeError(cat("calculate_qparams should not be called for ", type_name()));
}

void ObserverBase::check_mergeable(const Observer& other) const {
  const bool same = type_name() == other.type_name() && dtype() == other.dtype() &&
                    qscheme() == other.qscheme() && quant_min() == other.quant_min() &&
                    quant_max() == other.quant_max() && ch_axis() == other.ch_axis() &&
                    eps() == other.eps();
  if (!same) {
    throw ValueError(cat("cannot merge ", other.repr(), " into ", repr(),
                         ": class, dtype, qscheme, range, channel axis and eps must be equal"));
  }
}

void ObserverBase::merge(const Observer& other) { check_mergeable(other); }

// --- UniformObserverBase
// -----------------------------------------------------------------------------

UniformObserverBase::UniformObserverBase(const UniformArgs& args)
    : ObserverBase(args.dtype, args.is_dynamic),
      reduce_range_(args.reduce_range),
      has_customized_qrange_(args.quant_min.has_value() && args.quant_max.has_value()) {
  set_qscheme(args.qscheme);
  if (reduce_range_) {
    warn(
        "Please use quant_min and quant_max to specify the range for observers. reduce_range will "
        "be deprecated in a future release of PyTorch.");
  }
  register_buffer("eps", Tensor::full({1}, args.eps, DType::Float32));
  static constexpr DType kAllowed[] = {DType::QInt8,        DType::QUInt8, DType::QUInt4x2,
                                       DType::QInt32,       DType::Int8,   DType::UInt8,
                                       DType::Int16,        DType::Int32,  DType::Float8E5M2,
                                       DType::Float8E4M3FN, DType::UInt16};
  if (std::find(std::begin(kAllowed), std::end(kAllowed), args.dtype) == std::end(kAllowed)) {
    std::vector<std::string> names;
    for (const DType dtype : kAllowed) names.push_back(torch_name(dtype));
    throw AssertionError(cat("Default Observer only works for (", join(names, ", "), ") data type"),
                         cat("the observer was asked for ", torch_name(args.dtype)));
  }
  const QuantRange range =
      resolve_quant_range(args.dtype, args.quant_min, args.quant_max, args.reduce_range);
  set_quant_min(range.min);
  set_quant_max(range.max);
}

double UniformObserverBase::eps() const { return buffer("eps").item(); }
void UniformObserverBase::set_eps(double v) { *float_data(buffer("eps")) = static_cast<float>(v); }
void UniformObserverBase::reset_min_max_vals() { Observer::reset_min_max_vals(); }

QParams UniformObserverBase::calculate_from(const Tensor& min, const Tensor& max) const {
  const Tensor lo = min.to(DType::Float32).contiguous();
  const Tensor hi = max.to(DType::Float32).contiguous();
  bool infinite = false;
  for (int64_t i = 0; i < std::min(lo.numel(), hi.numel()); ++i) {
    const float a = float_data(lo)[i];
    const float b = float_data(hi)[i];
    if (std::isnan(a) || std::isnan(b)) {
      throw ValueError(
          cat(type_name(), ": the observed range is NaN",
              lo.dim() > 0 ? cat(" in channel ", i) : std::string(), ", so there is no scale"),
          "the calibration data or the weights hold NaN: look for the first "
          "operator whose output is NaN");
    }
    infinite = infinite || (a <= b && (std::isinf(a) || std::isinf(b)));
  }
  if (infinite) {
    warn(cat(type_name(), ": the observed range is infinite, so the scale is infinite: ", repr()));
  }
  const QParamsRule rule{
      dtype(), qscheme(), {*quant_min(), *quant_max()}, eps(), has_customized_qrange_};
  QParamTensors q = pt2q::calculate_qparams(lo, hi, rule);
  return {std::move(q.scale), std::move(q.zero_point)};
}

Tensor observed_values(const Tensor& x) { return densely_packed(x.to(DType::Float32)); }

// --- KwReader
// --------------------------------------------------------------------------------------

Value KwReader::take(const std::string& name) {
  const auto it = kwargs_.find(name);
  if (it == kwargs_.end()) return Value();
  Value v = std::move(it->second);
  kwargs_.erase(it);
  return v;
}

template <typename Fn>
auto KwReader::read(const std::string& name, Fn&& fn) {
  const Value v = take(name);
  try {
    return fn(v);
  } catch (const TypeError& e) {
    throw TypeError(cat(class_name_, ": argument '", name, "': ", e.message()));
  }
}

bool KwReader::has(const std::string& name) const {
  const auto it = kwargs_.find(name);
  return it != kwargs_.end() && !it->second.is_none();
}
DType KwReader::dtype(const std::string& name, DType fallback) {
  return read(name, [&](const Value& v) { return v.is_none() ? fallback : v.as<DType>(); });
}
QScheme KwReader::qscheme(const std::string& name, QScheme fallback) {
  return read(name, [&](const Value& v) {
    return v.is_none() ? fallback : parse_qscheme(v.as<std::string>());
  });
}
double KwReader::number(const std::string& name, double fallback) {
  return read(name, [&](const Value& v) { return v.is_none() ? fallback : v.to_double(); });
}
int64_t KwReader::integer(const std::string& name, int64_t fallback) {
  return read(name, [&](const Value& v) { return v.is_none() ? fallback : v.to_int(); });
}
std::optional<int64_t> KwReader::optional_integer(const std::string& name) {
  return read(name, [&](const Value& v) {
    return v.is_none() ? std::optional<int64_t>() : std::optional<int64_t>(v.to_int());
  });
}
bool KwReader::boolean(const std::string& name, bool fallback) {
  return read(name, [&](const Value& v) { return v.is_none() ? fallback : v.to_bool(); });
}
std::string KwReader::string(const std::string& name, const std::string& fallback) {
  return read(name, [&](const Value& v) { return v.is_none() ? fallback : v.as<std::string>(); });
}

UniformArgs KwReader::uniform(QScheme scheme) {
  take("factory_kwargs");  // PyTorch's device and dtype of buffers: here always CPU and float32
  UniformArgs args;
  args.dtype = dtype("dtype", args.dtype);
  args.qscheme = qscheme("qscheme", scheme);
  args.reduce_range = boolean("reduce_range", false);
  args.quant_min = optional_integer("quant_min");
  args.quant_max = optional_integer("quant_max");
  args.eps = number("eps", kFloatEps);
  args.is_dynamic = boolean("is_dynamic", false);
  return args;
}

KwArgs KwReader::take_rest() {
  KwArgs rest;
  rest.swap(kwargs_);
  return rest;
}

void KwReader::finish() const {
  if (!kwargs_.empty()) {
    throw TypeError(cat(class_name_, ".__init__() got an unexpected keyword argument '",
                        kwargs_.begin()->first, "'"));
  }
}

}  // namespace pt2q
