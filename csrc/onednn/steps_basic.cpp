#include "onednn/steps_basic.h"

#include <cstring>

#include "base/parallel.h"
#include "base/strings.h"
#include "onednn/float_ops.h"
#include "pt2q/error.h"
#include "tensor/strided_copy.h"

namespace pt2q {
namespace {

template <typename T>
void swap_layout(const void* src, void* dst, const ImageShape& shape, bool to_channels_last) {
  if (to_channels_last) {
    nchw_to_nhwc(static_cast<const T*>(src), shape, static_cast<T*>(dst));
  } else {
    nhwc_to_nchw(static_cast<const T*>(src), shape, static_cast<T*>(dst));
  }
}

bool is_one_of_our_dtypes(DType dtype) {
  return dtype == DType::Float32 || dtype == DType::UInt8 || dtype == DType::Int8;
}

// Does not own: the result of a kernel may be a view of memory that the plan reuses.
Value detach_from_arena(Value v, RunContext& ctx) {
  if (v.is<Tensor>() && v.as<Tensor>().defined() && ctx.in_arena(v.as<Tensor>().raw_data()))
    return v.as<Tensor>().clone();
  return v;
}

}  // namespace

ImageShape image_shape(const Shape& sizes) {
  ImageShape s{sizes[0], sizes[1], 1};
  for (size_t d = 2; d < sizes.size(); ++d) s.pixels *= sizes[d];
  return s;
}

void ReferenceStep::run(RunContext& ctx) const {
  std::vector<Value> args;
  args.reserve(args_.size());
  for (const Bound& b : args_) args.push_back(materialize(b, ctx));
  Value result;
  try {
    result = op_.reference(Args(op_, args));
  } catch (Error& e) {
    e.at_op(op_.name).at_node(node_);
    throw;
  }
  if (outputs.size() == 1 && !result.is<Value::List>()) {
    ctx.hold(outputs[0], detach_from_arena(std::move(result), ctx));
  } else if (outputs.size() == 1 && !ctx.value(outputs[0]).known) {
    for (Value& item : result.as<Value::List>()) item = detach_from_arena(std::move(item), ctx);
    ctx.hold(outputs[0], std::move(result));
  } else {
    const Value::List& items = result.list();
    for (size_t i = 0; i < outputs.size(); ++i)
      ctx.hold(outputs[i], detach_from_arena(items.at(i), ctx));
  }
}

void ModuleStep::run(RunContext& ctx) const {
  const Tensor input = materialize(input_, ctx).as<Tensor>();
  Tensor result;
  try {
    result = module_->forward(input);
  } catch (Error& e) {
    e.at_node(info.node);
    throw;
  }
  if (outputs.empty() && (!result.defined() || result.raw_data() != input.raw_data())) {
    throw RuntimeError(cat(module_->type_name(), " returned another tensor than its input"),
                       "observers return their input; override passes_through otherwise")
        .at_node(info.node);
  }
  if (!outputs.empty()) ctx.hold(outputs[0], detach_from_arena(Value(std::move(result)), ctx));
}

void copy_layout(const void* src, const Shape& src_strides, void* dst, const Shape& dst_strides,
                 const Shape& sizes, DType dtype) {
  if (numel_of(sizes) == 0) return;
  if (same_layout(sizes, src_strides, dst_strides) && is_dense(sizes, src_strides)) {
    const auto bytes = static_cast<int64_t>(itemsize(dtype)) * numel_of(sizes);
    parallel_for(bytes, 1 << 18, [&](int64_t begin, int64_t end) {
      std::memcpy(static_cast<char*>(dst) + begin, static_cast<const char*>(src) + begin,
                  static_cast<size_t>(end - begin));
    });
    return;
  }
  if (sizes.size() >= 3 && is_one_of_our_dtypes(dtype)) {
    const Shape last = channels_last_of(sizes);
    const Shape plain = contiguous_strides(sizes);
    const bool to_last =
        same_layout(sizes, src_strides, plain) && same_layout(sizes, dst_strides, last);
    const bool from_last =
        same_layout(sizes, src_strides, last) && same_layout(sizes, dst_strides, plain);
    if (to_last || from_last) {
      const ImageShape shape = image_shape(sizes);
      if (dtype == DType::Float32) {
        swap_layout<float>(src, dst, shape, to_last);
      } else {
        swap_layout<uint8_t>(src, dst, shape, to_last);
      }
      return;
    }
  }
  copy_strided(dst, dst_strides, src, src_strides, sizes, itemsize(dtype));
}

void LayoutStep::run(RunContext& ctx) const {
  const PlanValue& from = ctx.value(inputs[0]);
  const PlanValue& to = ctx.value(outputs[0]);
  copy_layout(ctx.data(inputs[0]), from.strides, ctx.data(outputs[0]), to.strides, from.sizes,
              from.dtype);
}

void SettleStep::run(RunContext& ctx) const {
  const Tensor given = ctx.held[static_cast<size_t>(inputs[0])].as<Tensor>();
  const PlanValue& to = ctx.value(outputs[0]);
  if (given.sizes() != to.sizes || given.dtype() != to.dtype) {
    throw InternalError(cat("node ", info.node, ": shape inference says ", dtype_name(to.dtype),
                            list_to_string(to.sizes), ", the kernel returned ", describe(given)));
  }
  if (same_layout(to.sizes, given.strides(), to.strides)) {
    ctx.hold(outputs[0], given);
    return;
  }
  // Fresh storage with the wanted stride order.
  auto buffer = aligned_buffer(given.nbytes());
  copy_layout(given.raw_data(), given.strides(), buffer.get(), to.strides, to.sizes, to.dtype);
  void* p = buffer.get();
  ctx.hold(outputs[0], Tensor::from_blob(p, to.sizes, to.strides, to.dtype, std::move(buffer)));
}

void ReturnStep::run(RunContext& ctx) const {
  Value& given = ctx.held[static_cast<size_t>(inputs[0])];
  if (!given.is<Tensor>()) {
    ctx.hold(outputs[0], given);
    return;
  }
  const Tensor t = given.as<Tensor>();
  bool foreign = t.nbytes() > 0 && ctx.in_arena(t.raw_data());
  for (const Tensor& input : ctx.inputs)
    foreign = foreign || (input.defined() && t.shares_storage(input));
  for (const PlanValue& v : ctx.plan->values)
    foreign = foreign || (v.storage == Storage::Constant && t.shares_storage(v.constant));
  for (const int id : ctx.plan->outputs) {
    const Tensor& other = ctx.held[static_cast<size_t>(id)].as<Tensor>();
    foreign = foreign || t.shares_storage(other);
  }
  ctx.hold(outputs[0], foreign ? t.clone().contiguous() : t.contiguous());
}

}  // namespace pt2q
