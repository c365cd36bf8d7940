// Conversions between dtypes and devices.
#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/operands.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

// Looks its arguments up by name, so one pair of functions serves all overloads.
size_t position(const Args& args, const char* name) {
  const int i = args.op().schema.index_of(name);
  return i < 0 ? SIZE_MAX : static_cast<size_t>(i);
}

bool given(const Args& args, size_t i) { return i != SIZE_MAX && !args.is_none(i); }

Value infer_to(const Args& args) {
  TensorMeta meta = args.meta(0);
  const size_t dtype = position(args, "dtype"), device = position(args, "device");
  if (given(args, dtype)) meta.dtype = args.dtype(dtype, meta.dtype);
  if (given(args, device)) meta.device = args.value(device).as<Device>();
  return meta;
}

// Returns the input itself when nothing changes and copy is false, as Tensor.to does.
Value to(const Args& args) {
  const TensorMeta meta = infer_output(args);
  const Tensor& x = args.tensor(0);
  const size_t copy = position(args, "copy"), format = position(args, "memory_format");
  const bool must_copy =
      copy == SIZE_MAX ? args.op().base_name() == "_to_copy" : args.boolean(copy);
  Tensor out = x.to(meta.dtype);
  const auto wanted =
      given(args, format) ? args.value(format).as<MemoryFormat>() : MemoryFormat::Preserve;
  if (wanted != MemoryFormat::Preserve) out = out.contiguous(wanted);
  if ((must_copy || !(meta.device == x.device())) && out.shares_storage(x)) out = out.clone();
  if (!(out.device() == meta.device)) out.set_device(meta.device);
  return out;
}

void define_to(OpTable& t, const std::string& name, const std::string& schema) {
  OpDef& op = t.define("aten." + name, schema);
  op.infer = infer_to;
  op.reference = to;
}

void define_like_other(OpTable& t, const std::string& name, const std::string& schema) {
  OpDef& op = t.define("aten." + name, schema);
  op.infer = [](const Args& args) -> Value {
    return TensorMeta{args.meta(0).sizes, args.meta(1).dtype, args.meta(1).device};
  };
  op.reference = [](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    Tensor out = args.tensor(0).to(meta.dtype);
    if (!(out.device() == meta.device)) out = out.clone().set_device(meta.device);
    return out;
  };
}

}  // namespace

void register_cast(OpTable& t) {
  const char* tail =
      "bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> "
      "Tensor(a)";
  define_to(t, "to.dtype", cat("(Tensor(a) self, ScalarType dtype, ", tail));
  define_to(t, "to.device", cat("(Tensor(a) self, Device device, ScalarType dtype, ", tail));
  define_to(t, "to.dtype_layout",
            cat("(Tensor(a) self, *, ScalarType? dtype=None, Layout? layout=None, Device? "
                "device=None, bool? pin_memory=None, ",
                tail));
  define_to(t, "_to_copy.default",
            "(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, "
            "bool? pin_memory=None, bool non_blocking=False, MemoryFormat? memory_format=None) -> "
            "Tensor");
  define_like_other(t, "to.other", cat("(Tensor(a) self, Tensor other, ", tail));
  define_like_other(t, "type_as.default", "(Tensor self, Tensor other) -> Tensor");
}

}  // namespace pt2q
