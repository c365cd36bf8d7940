// cat and stack; split, chunk and unbind (views).
#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/operands.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

// A 1-D empty tensor is skipped by cat, as PyTorch still does.
bool legacy_empty(const SymShape& sizes) { return sizes.size() == 1 && sizes[0] == SymInt(0); }

DType promoted(const std::vector<TensorMeta>& metas) {
  std::vector<Value> operands(metas.begin(), metas.end());
  return result_type(operands);
}

Value infer_cat(const Args& args) {
  const std::vector<TensorMeta> metas = args.metas(0);
  if (metas.empty()) throw ValueError("cat(): expected a non-empty list of Tensors");
  TensorMeta out = metas[0];
  out.dtype = promoted(metas);
  bool started = false;
  size_t dim = 0;
  for (size_t i = 0; i < metas.size(); ++i) {
    const SymShape& sizes = metas[i].sizes;
    if (sizes.empty()) {
      throw ValueError(cat("zero-dimensional tensor (at position ", i, ") cannot be concatenated"));
    }
    if (legacy_empty(sizes)) continue;
    if (!started) {
      started = true;
      out.sizes = sizes;
      dim = idx(wrap_dim(args.integer(1), rank(out)));
      continue;
    }
    bool fits = sizes.size() == out.sizes.size();
    for (size_t d = 0; fits && d < sizes.size(); ++d) {
      fits = d == dim || same_size(sizes[d], out.sizes[d]);
    }
    if (!fits) {
      throw ValueError(cat("Sizes of tensors must match except in dimension ", dim,
                           ". Expected shape ", text(out.sizes), " but got ", text(sizes),
                           " for tensor number ", i, " in the list."));
    }
    out.sizes[dim] = out.sizes[dim] + sizes[dim];
  }
  return out;
}

Value concatenate(const Args& args) {
  const TensorMeta meta = infer_output(args);
  const std::vector<Tensor> parts = args.tensors(0);
  // All in channels_last: so is the result.
  Tensor out = make_output(meta);
  if (!parts[0].is_contiguous() && parts[0].is_contiguous(MemoryFormat::ChannelsLast)) {
    out =
        Tensor::empty(out.sizes(), meta.dtype, MemoryFormat::ChannelsLast).set_device(meta.device);
  }
  if (out.numel() == 0) return out;
  const int64_t dim = wrap_dim(args.integer(1), out.dim());
  int64_t at = 0;
  for (const Tensor& part : parts) {
    if (part.dim() == 1 && part.numel() == 0) continue;
    out.slice(dim, at, at + part.size(dim)).copy_(part);
    at += part.size(dim);
  }
  return out;
}

Value infer_stack(const Args& args) {
  const std::vector<TensorMeta> metas = args.metas(0);
  if (metas.empty()) throw ValueError("stack expects a non-empty TensorList");
  TensorMeta out = metas[0];
  for (size_t i = 0; i < metas.size(); ++i) {
    if (hints(metas[i].sizes) == hints(out.sizes)) continue;
    throw ValueError(cat("stack expects each tensor to be equal size, but got ", text(out.sizes),
                         " at entry 0 and ", text(metas[i].sizes), " at entry ", i));
  }
  out.dtype = promoted(metas);
  out.sizes.insert(out.sizes.begin() + wrap_dim(args.integer(1), rank(out) + 1),
                   SymInt(static_cast<int64_t>(metas.size())));
  return out;
}

Value stack(const Args& args) {
  Tensor out = make_output(infer_output(args));
  const std::vector<Tensor> parts = args.tensors(0);
  const int64_t dim = wrap_dim(args.integer(1), out.dim());
  for (size_t i = 0; i < parts.size(); ++i) {
    out.select(dim, static_cast<int64_t>(i)).copy_(parts[i]);
  }
  return out;
}

void register_joins(OpTable& t) {
  OpDef& join = t.define("aten.cat.default", "(Tensor[] tensors, int dim=0) -> Tensor");
  join.infer = infer_cat;
  join.reference = concatenate;
  join.quant = shares_input();
  t.define_alias("aten.concat.default", "aten.cat.default");
  OpDef& stacked = t.define("aten.stack.default", "(Tensor[] tensors, int dim=0) -> Tensor");
  stacked.infer = infer_stack;
  stacked.reference = stack;
  stacked.quant = shares_input();
}

// --- splitting -----------------------------------------------------------------------------------

// Sizes of the parts along the split dimension.
using PartsFn = SymShape (*)(const Args& args, const SymInt& size);

// Parts of `length` each, the last one smaller. The number of parts must not be dynamic.
SymShape split_parts(const Args& args, const SymInt& size) {
  const int64_t length = args.integer(1), total = size.constant();
  if (length < 0 || (length == 0 && total != 0)) {
    throw ValueError(cat("split expects split_size be positive, but got split_size=", length));
  }
  if (length == 0) return {SymInt(0)};
  SymShape parts;
  for (int64_t at = 0; at < total; at += length) parts.emplace_back(std::min(length, total - at));
  if (parts.empty()) parts.emplace_back(0);
  return parts;
}

// ceil(size / chunks) each; a dynamic size gives expressions as long as it fills all chunks.
SymShape chunk_parts(const Args& args, const SymInt& size) {
  const int64_t chunks = args.integer(1);
  if (chunks <= 0) {
    throw ValueError(cat("chunk expects `chunks` to be greater than 0, got: ", chunks));
  }
  const SymInt length = floordiv(size + SymInt(chunks - 1), chunks);
  if (length.hint() == 0) return SymShape(static_cast<size_t>(chunks), SymInt(0));
  const int64_t count = (size.hint() + length.hint() - 1) / length.hint();
  if (count != chunks) size.constant();
  SymShape parts(static_cast<size_t>(count), length);
  parts.back() = size - SymInt(count - 1) * length;
  return parts;
}

SymShape section_parts(const Args& args, const SymInt& size) {
  const int64_t n = args.integer(1), total = size.constant();
  if (n <= 0) throw ValueError(cat("number of sections must be larger than 0, got ", n));
  SymShape parts;
  for (int64_t i = 0; i < n; ++i) parts.emplace_back(total / n + (i < total % n ? 1 : 0));
  return parts;
}

SymShape given_parts(const Args& args, const SymInt& size) {
  const SymShape parts = args.sym_ints(1);
  SymInt total = 0;
  for (const SymInt& p : parts) {
    total = total + p;
    if (p.hint() < 0)
      throw ValueError("split_with_sizes expects split_sizes have only non-negative entries");
  }
  if (!same_size(total, size)) {
    throw ValueError(cat("split_with_sizes expects split_sizes to sum exactly to ", size,
                         " (input tensor's size at dimension ", args.integer(2),
                         "), but got split_sizes=", text(parts)));
  }
  return parts;
}

SymShape unit_parts(const Args&, const SymInt& size) {
  return SymShape(static_cast<size_t>(size.constant()), SymInt(1));
}

void define_split(OpTable& t, const std::string& name, const std::string& schema, PartsFn parts,
                  size_t dim_arg = 2, bool drop_dim = false) {
  OpDef& op = t.define("aten." + name, schema);
  op.infer = [=](const Args& args) -> Value {
    const TensorMeta& x = args.meta(0);
    if (rank(x) == 0) throw ValueError("split expects at least a 1-dimensional tensor");
    const int64_t dim = wrap_dim(args.integer(dim_arg), rank(x));
    Value::List out;
    for (const SymInt& size : parts(args, x.sizes[idx(dim)])) {
      TensorMeta part = x;
      part.sizes[idx(dim)] = size;
      if (drop_dim) part.sizes.erase(part.sizes.begin() + dim);
      out.emplace_back(part);
    }
    return out;
  };
  op.reference = [=](const Args& args) -> Value {
    infer_outputs(args);
    const Tensor& x = args.tensor(0);
    const int64_t dim = wrap_dim(args.integer(dim_arg), x.dim());
    Value::List out;
    int64_t at = 0;
    for (const SymInt& size : parts(args, SymInt(x.size(dim)))) {
      out.emplace_back(drop_dim ? x.select(dim, at) : x.slice(dim, at, at + size.hint()));
      at += size.hint();
    }
    return out;
  };
  op.traits.view = true;
  op.quant = shares_input();
}

}  // namespace

void register_concat_split(OpTable& t) {
  register_joins(t);
  define_split(t, "split.Tensor",
               "(Tensor(a -> *) self, SymInt split_size, int dim=0) -> Tensor(a)[]", split_parts);
  define_split(t, "split.sizes",
               "(Tensor(a -> *) self, SymInt[] split_size, int dim=0) -> Tensor(a)[]", given_parts);
  define_split(t, "split_with_sizes.default",
               "(Tensor(a -> *) self, SymInt[] split_sizes, int dim=0) -> Tensor(a)[]",
               given_parts);
  define_split(t, "chunk.default", "(Tensor(a -> *) self, int chunks, int dim=0) -> Tensor(a)[]",
               chunk_parts);
  define_split(t, "tensor_split.sections",
               "(Tensor(a -> *) self, SymInt sections, int dim=0) -> Tensor(a)[]", section_parts);
  define_split(t, "unsafe_split.Tensor", "(Tensor self, SymInt split_size, int dim=0) -> Tensor[]",
               split_parts);
  define_split(t, "unsafe_chunk.default", "(Tensor self, int chunks, int dim=0) -> Tensor[]",
               chunk_parts);
  define_split(t, "unsafe_split_with_sizes.default",
               "(Tensor self, SymInt[] split_sizes, int dim=0) -> Tensor[]", given_parts);
  define_split(t, "unbind.int", "(Tensor(a -> *) self, int dim=0) -> Tensor(a)[]", unit_parts, 1,
               true);
}

}  // namespace pt2q
