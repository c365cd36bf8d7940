// Operators on quantized tensors, each a small graph that goes through compile() once.
#include <algorithm>

#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/quantized.h"
#include "pt2q/trace.h"

namespace pt2q {
namespace {

constexpr size_t kMaxEntries = 16;

bool takes_list(const OpDef& op) {
  return !op.schema.args.empty() && op.schema.args[0].is_list &&
         op.schema.args[0].type == ArgType::Tensor;
}

// The dimension a weight fixes: channels of a convolution, features of a linear layer.
size_t fixed_dim(const OpDef& op, size_t rank) {
  return starts_with(op.base_name(), "conv") ? size_t{1} : rank - 1;
}

void append_qparams(const OutputQParams& q, std::string* out) {
  *out += cat(dtype_name(q.dtype), " ", double_to_string(q.scale), " ", q.zero_point, ";");
}

}  // namespace

QuantizedOp::QuantizedOp(const std::string& op, std::vector<Value> args, std::string unary)
    : op_(op_table().get(op)), args_(std::move(args)), unary_(std::move(unary)) {}

void QuantizedOp::set_weight(size_t position, QuantizedTensor weight) {
  const std::lock_guard<std::mutex> lock(mutex_);
  weight_at_ = position;
  weight_ = std::move(weight);
  entries_.clear();
}

QuantizedTensor QuantizedOp::emit(const std::vector<QuantizedTensor>& inputs,
                                  const OutputQParams& out) const {
  std::vector<Value> args = args_;
  if (args.size() < inputs.size()) args.resize(takes_list(op_) ? 1 : inputs.size());
  Value::List items;
  for (const QuantizedTensor& input : inputs) items.emplace_back(input.dequantize());
  if (takes_list(op_)) {
    args.at(0) = Value(std::move(items));
  } else {
    std::copy(items.begin(), items.end(), args.begin());
  }
  if (weight_) {
    Tracer* tracer = Tracer::current();
    const Tensor& values = weight_->values();
    if (tracer != nullptr && !tracer->is_traced(values)) {
      tracer->add_attribute(tracer->module().unique_attr("_quantized_weight"), values,
                            AttrKind::Buffer);
    }
    args.at(weight_at_) = weight_->dequantize();
  }
  Value result = call(op_, std::move(args));
  if (!unary_.empty()) result = call(unary_, {result});
  return QuantizedTensor::quantize(result.as<Tensor>(), out);
}

// Weighted operators are compiled once for all batch and image sizes: packing weights takes time.
SymShape QuantizedOp::input_shape(size_t index, const Tensor& values) const {
  SymShape shape = to_sym(values.sizes());
  if (!weight_ || shape.empty()) return shape;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (d != fixed_dim(op_, shape.size())) {
      shape[d] = SymInt::symbol(cat("s", index, "_", d), values.sizes()[d]);
    }
  }
  return shape;
}

std::string QuantizedOp::key_of(const std::vector<QuantizedTensor>& inputs,
                                const OutputQParams& out) const {
  std::string key;
  for (const QuantizedTensor& input : inputs) {
    append_qparams(input.qparams(), &key);
    const Tensor& values = input.values();
    key += weight_ ? cat(values.dim()) : list_to_string(values.sizes());
  }
  append_qparams(out, &key);
  return key;
}

std::unique_ptr<GraphModule> QuantizedOp::capture(const std::vector<QuantizedTensor>& inputs,
                                                  const OutputQParams& out) const {
  auto module = std::make_unique<GraphModule>();
  Tracer tracer(*module);
  const Tracer::Scope scope(&tracer);
  std::vector<QuantizedTensor> traced;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& values = inputs[i].values();
    traced.push_back(inputs[i].with_values(tracer.add_input(
        cat("x", i), TensorMeta{input_shape(i, values), values.dtype(), values.device()})));
  }
  tracer.finish(emit(traced, out).values());
  return module;
}

std::shared_ptr<CompiledModel> QuantizedOp::compiled(const std::vector<QuantizedTensor>& inputs,
                                                     const OutputQParams& out) {
  std::string key = key_of(inputs, out);
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.key == key; });
  if (found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
    return entries_.front().model;
  }
  std::shared_ptr<CompiledModel> model = compile(*capture(inputs, out));
  entries_.push_front({std::move(key), model});
  if (entries_.size() > kMaxEntries) entries_.pop_back();
  return model;
}

namespace {

std::vector<Value> values_of(const std::vector<QuantizedTensor>& inputs) {
  std::vector<Value> values;
  for (const QuantizedTensor& input : inputs) values.emplace_back(input.values());
  return values;
}

}  // namespace

QuantizedTensor QuantizedOp::operator()(const std::vector<QuantizedTensor>& inputs,
                                        const OutputQParams& out) {
  if (Tracer::current() != nullptr) return emit(inputs, out);
  const Value result = (*compiled(inputs, out))(values_of(inputs));
  return {result.as<Tensor>(), out.scale, out.zero_point};
}

std::string QuantizedOp::explain(const std::vector<QuantizedTensor>& inputs,
                                 const OutputQParams& out) {
  return compiled(inputs, out)->explain(values_of(inputs));
}

// --- operators by name
// -----------------------------------------------------------------------------

namespace {

// Operators are shared by all callers: the key is everything but the inputs.
std::shared_ptr<QuantizedOp> shared_op(const OpDef& op, const std::vector<Value>& args,
                                       size_t inputs) {
  static std::mutex mutex;
  static auto* known = new std::list<std::pair<std::string, std::shared_ptr<QuantizedOp>>>();
  std::string key = op.name;
  for (size_t i = inputs; i < args.size(); ++i) {
    if (args[i].is<Tensor>()) return std::make_shared<QuantizedOp>(op.name, args);
    key += "," + args[i].to_string();
  }
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found =
      std::find_if(known->begin(), known->end(), [&](const auto& e) { return e.first == key; });
  if (found != known->end()) {
    known->splice(known->begin(), *known, found);
    return known->front().second;
  }
  known->emplace_front(key, std::make_shared<QuantizedOp>(op.name, args));
  constexpr size_t kMaxOps = 64;
  if (known->size() > kMaxOps) known->pop_back();
  return known->front().second;
}

// The quantized tensors among the leading arguments, or in a leading list.
std::vector<QuantizedTensor> leading(const OpDef& op, const std::vector<Value>& args,
                                     const std::map<const void*, QuantizedTensor>& quantized) {
  std::vector<Value> candidates = args;
  if (takes_list(op) && !args.empty() && args[0].is<Value::List>()) candidates = args[0].list();
  std::vector<QuantizedTensor> out;
  for (const Value& v : candidates) {
    if (!v.is<Tensor>()) break;
    const auto it = quantized.find(v.as<Tensor>().id());
    if (it == quantized.end()) break;
    out.push_back(it->second);
  }
  const bool whole_list = !takes_list(op) || out.size() == candidates.size();
  if (out.empty() || !whole_list) {
    throw NotImplementedError("quantized and other tensors are mixed",
                              "call dequantize() first, or quantize all operands")
        .at_op(op.name);
  }
  return out;
}

}  // namespace

QuantizedResult call_quantized(const OpDef& op, std::vector<Value> args,
                               const std::map<std::string, Value>& kwargs,
                               const std::map<const void*, QuantizedTensor>& quantized) {
  const OpDef& functional = op.functional.empty() ? op : op_table().get(op.functional);
  std::vector<Value> full = normalize_args(functional, std::move(args), kwargs);
  const std::vector<QuantizedTensor> inputs = leading(functional, full, quantized);
  const OutputQParams first = inputs[0].qparams();
  if (functional.traits.view) return {call(functional, std::move(full)), first};
  OutputQParams out = first;
  switch (functional.quant.output) {
    case QuantFacts::Output::SharesInput:
      break;
    case QuantFacts::Output::Fixed:
      out = {functional.quant.fixed_scale, functional.quant.fixed_zero_point, first.dtype};
      if (out.dtype == DType::QInt8) out.zero_point -= 128;
      break;
    default:
      throw NotImplementedError(
          cat("Could not run '", op.name,
              "' on quantized tensors: its result needs a scale of its own"),
          "use the module or FloatFunctional that carries one, or dequantize() first")
          .at_op(op.name);
  }
  // The places of the inputs are filled by the call.
  for (size_t i = 0; i < (takes_list(functional) ? 1 : inputs.size()); ++i) full[i] = Value();
  const auto run = shared_op(functional, full, takes_list(functional) ? 1 : inputs.size());
  return {(*run)(inputs, out).values(), out};
}

}  // namespace pt2q
