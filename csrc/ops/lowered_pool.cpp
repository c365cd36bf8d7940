// Average pooling of quantized tensors; only compile() makes these. The arithmetic is that of
// kernels/pool.h: the exact integer sum, one multiplication, then quantization as in
// quantize_per_tensor, or a float32 result when out_dtype is None.
#include "ops/support/lowered_pool.h"

#include "base/strings.h"
#include "kernels/pool.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

std::vector<Value> all_args(const Args& args) {
  std::vector<Value> out;
  for (size_t i = 0; i < args.size(); ++i) out.push_back(args.value(i));
  return out;
}

Value infer_like(const Args& args, const char* plain, size_t leading) {
  const OpDef& op = op_table().get(plain);
  std::vector<Value> values = all_args(args);
  const DType dtype = pool_output_dtype(values, leading);
  values.resize(leading);
  TensorMeta x = values[0].as<TensorMeta>();
  x.dtype = DType::Float32;
  values[0] = x;
  TensorMeta out = op.infer(Args(op, values)).as<TensorMeta>();
  out.dtype = dtype;
  return out;
}

template <typename Kernel>
Value run(const Args& args, const Shape& out_sizes, size_t tail, Kernel&& kernel) {
  const Tensor x = args.tensor(0).contiguous(MemoryFormat::ChannelsLast);
  const PoolQuant quant = read_pool_quant(all_args(args), tail);
  Tensor out = Tensor::empty(out_sizes, quant.out_dtype, MemoryFormat::ChannelsLast);
  const NhwcShape shape{x.size(0), x.size(2), x.size(3), x.size(1)};
  visit_pool_types(x.dtype(), quant.out_dtype, [&](auto in, auto result) {
    using In = decltype(in);
    using Out = decltype(result);
    kernel(static_cast<const In*>(x.raw_data()), shape, quant,
           static_cast<Out*>(out.raw_mutable_data()));
  });
  return out;
}

Shape output_sizes(const Args& args, const char* plain, size_t leading) {
  const Tensor& x = args.tensor(0);
  if (x.dim() != 4) throw ValueError(cat("expected a 4-D input, got ", describe(x)));
  std::vector<Value> values = all_args(args);
  values[0] = TensorMeta{to_sym(x.sizes()), x.dtype(), x.device()};
  const OpDef& op = args.op();
  return hints(infer_like(Args(op, values), plain, leading).as<TensorMeta>().sizes);
}

Value qavg_pool(const Args& args) {
  const Pool2d pool = read_avg_pool(all_args(args));
  const Shape sizes = output_sizes(args, "aten.avg_pool2d.default", kQAvgPoolTail);
  return run(args, sizes, kQAvgPoolTail,
             [&](const auto* x, const NhwcShape& shape, const PoolQuant& q, auto* out) {
               avg_pool_reference(x, shape, pool, q.from, q.to, out);
             });
}

Value qadaptive(const Args& args) {
  const Shape sizes = output_sizes(args, "aten.adaptive_avg_pool2d.default", kQAdaptiveAvgPoolTail);
  return run(args, sizes, kQAdaptiveAvgPoolTail,
             [&](const auto* x, const NhwcShape& shape, const PoolQuant& q, auto* out) {
               adaptive_avg_pool_reference(x, shape, sizes[2], sizes[3], q.from, q.to, out);
             });
}

constexpr const char* kTail =
    "*, float x_scale=1.0, int x_zero_point=0, float out_scale=1.0, int out_zero_point=0, int "
    "out_min=0, int out_max=255, ScalarType? out_dtype=None) -> Tensor";

}  // namespace

namespace ops {

DType pool_output_dtype(const std::vector<Value>& args, size_t tail) {
  const Value& v = args.at(tail + 6);
  return v.is_none() ? DType::Float32 : v.as<DType>();
}

PoolQuant read_pool_quant(const std::vector<Value>& args, size_t tail) {
  PoolQuant q;
  q.from.scale = args.at(tail).to_double();
  q.from.zero_point = static_cast<int32_t>(args.at(tail + 1).to_int());
  q.to.scale = args.at(tail + 2).to_double();
  q.to.zero_point = static_cast<int32_t>(args.at(tail + 3).to_int());
  q.to.quant_min = static_cast<int32_t>(args.at(tail + 4).to_int());
  q.to.quant_max = static_cast<int32_t>(args.at(tail + 5).to_int());
  q.out_dtype = pool_output_dtype(args, tail);
  return q;
}

Pool2d read_avg_pool(const std::vector<Value>& args) {
  const auto pair = [&](size_t i, int64_t* h, int64_t* w) {
    const auto list = args.at(i).to_ints();
    if (list.empty()) return;
    *h = list.front();
    *w = list.back();
  };
  Pool2d pool;
  pair(1, &pool.kernel_h, &pool.kernel_w);
  pool.stride_h = pool.kernel_h;
  pool.stride_w = pool.kernel_w;
  pair(2, &pool.stride_h, &pool.stride_w);
  pair(3, &pool.padding_h, &pool.padding_w);
  pool.ceil_mode = args.at(4).to_bool();
  pool.count_include_pad = args.at(5).to_bool();
  if (!args.at(6).is_none()) pool.divisor_override = args.at(6).to_int();
  return pool;
}

}  // namespace ops

void register_lowered_pool(OpTable& t) {
  OpDef& average =
      t.define("pt2q.qavg_pool2d.default",
               cat("(Tensor x, int[2] kernel_size, int[2] stride=[], int[2] padding=0, bool "
                   "ceil_mode=False, bool count_include_pad=True, int? divisor_override=None, ",
                   kTail));
  average.infer = [](const Args& a) {
    return infer_like(a, "aten.avg_pool2d.default", kQAvgPoolTail);
  };
  average.reference = qavg_pool;
  OpDef& adaptive = t.define("pt2q.qadaptive_avg_pool2d.default",
                             cat("(Tensor x, SymInt[2] output_size, ", kTail));
  adaptive.infer = [](const Args& a) {
    return infer_like(a, "aten.adaptive_avg_pool2d.default", kQAdaptiveAvgPoolTail);
  };
  adaptive.reference = qadaptive;
}

}  // namespace pt2q
