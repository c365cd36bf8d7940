#include "ops/support/operands.h"

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q::ops {

bool is_number(const Value& v) {
  return v.is<int64_t>() || v.is<double>() || v.is<bool>() || v.is<SymInt>();
}

namespace {

DType number_dtype(const Value& v) {
  if (v.is<bool>()) return DType::Bool;
  return v.is<double>() ? DType::Float32 : DType::Int64;
}

// PyTorch's combine_categories: the lower category only matters when its kind is higher.
DType combine(const DType* higher, const DType* lower) {
  if (higher == nullptr) return lower == nullptr ? DType::Float32 : *lower;
  if (lower == nullptr || is_floating_point(*higher)) return *higher;
  if (*higher == DType::Bool || is_floating_point(*lower)) return promote_types(*higher, *lower);
  return *higher;
}

}  // namespace

TensorMeta meta_of(const Value& value) {
  if (value.is<TensorMeta>()) return value.as<TensorMeta>();
  if (is_number(value)) return TensorMeta{{}, number_dtype(value), {}};
  const Tensor& t = value.as<Tensor>();
  return TensorMeta{to_sym(t.sizes()), t.dtype(), t.device()};
}

DType result_type(const std::vector<Value>& operands) {
  DType found[3] = {};
  bool present[3] = {};
  for (const Value& v : operands) {
    if (v.is_none()) continue;
    const TensorMeta meta = meta_of(v);
    const int category = is_number(v) ? 2 : meta.sizes.empty() ? 1 : 0;
    found[category] = present[category] ? promote_types(found[category], meta.dtype) : meta.dtype;
    present[category] = true;
  }
  const auto entry = [&](int i) { return present[i] ? &found[i] : nullptr; };
  if (!present[1] && !present[2]) return combine(entry(0), nullptr);
  const DType low = combine(entry(1), entry(2));
  return combine(entry(0), &low);
}

DType to_float(DType dtype) { return is_floating_point(dtype) ? dtype : DType::Float32; }

DType compute_dtype(DType dtype) {
  if (dtype == DType::Float64) return DType::Float64;
  return is_floating_point(dtype) ? DType::Float32 : DType::Int64;
}

Tensor as_tensor(const Value& value, DType dtype) {
  if (value.is<Tensor>()) return value.as<Tensor>().to(dtype);
  if (value.is<double>()) return Tensor::scalar(value.as<double>(), dtype);
  return Tensor::scalar_int(value.to_int(), dtype);
}

namespace {

void describe_tensors(Value& v) {
  if (v.is<Tensor>()) {
    v = meta_of(v);
  } else if (v.is<Value::List>()) {
    for (Value& item : v.as<Value::List>()) describe_tensors(item);
  }
}

}  // namespace

Value infer_outputs(const Args& args) {
  std::vector<Value> metas;
  metas.reserve(args.size());
  for (size_t i = 0; i < args.size(); ++i) {
    metas.push_back(args.value(i));
    describe_tensors(metas.back());
  }
  return args.op().infer(Args(args.op(), metas));
}

TensorMeta infer_output(const Args& args) { return infer_outputs(args).as<TensorMeta>(); }

Tensor empty_like(const Tensor& like, DType dtype) {
  auto format = MemoryFormat::Contiguous;
  if (!like.is_contiguous()) {
    if (like.dim() == 4 && like.is_contiguous(MemoryFormat::ChannelsLast))
      format = MemoryFormat::ChannelsLast;
    if (like.dim() == 5 && like.is_contiguous(MemoryFormat::ChannelsLast3d))
      format = MemoryFormat::ChannelsLast3d;
  }
  Tensor out = Tensor::empty(like.sizes(), dtype, format);
  out.set_device(like.device());
  return out;
}

Tensor make_output(const TensorMeta& meta, const Tensor& like) {
  const Shape sizes = hints(meta.sizes);
  if (like.defined() && like.sizes() == sizes) return empty_like(like, meta.dtype);
  Tensor out = Tensor::empty(sizes, meta.dtype);
  out.set_device(meta.device);
  return out;
}

Value finish(const Args& args, const Tensor& computed) {
  const TensorMeta meta = infer_output(args);
  if (computed.sizes() != hints(meta.sizes)) {
    throw InternalError(cat(args.op().name, ": the kernel made shape ",
                            list_to_string(computed.sizes()), ", inference promised ",
                            text(meta.sizes)));
  }
  Tensor out = computed.to(meta.dtype);
  if (!(out.device() == meta.device)) out.set_device(meta.device);
  return out;
}

Value same_as_input(const Args& args) { return args.meta(0); }

Value same_as_input_float(const Args& args) {
  return with_dtype(args.meta(0), to_float(args.meta(0).dtype));
}

}  // namespace pt2q::ops
