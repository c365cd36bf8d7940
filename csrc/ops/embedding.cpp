// Table look-ups.
#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/gather.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

void require_indices(const TensorMeta& indices) {
  if (indices.dtype == DType::Int64 || indices.dtype == DType::Int32) return;
  throw TypeError(
      cat("Expected tensor for argument 'indices' to have one of the following scalar "
          "types: int64, int32; but got ",
          dtype_name(indices.dtype), " instead"));
}

Ints checked_rows(const Tensor& indices, int64_t rows) {
  const Tensor flat = dense<int64_t>(indices);
  const auto* p = flat.data<int64_t>();
  for (int64_t i = 0; i < flat.numel(); ++i) {
    if (p[i] < 0 || p[i] >= rows) {
      throw IndexError(
          cat("index out of range in self: ", p[i], " for an embedding of ", rows, " rows"));
    }
  }
  return Ints(p, p + flat.numel());
}

void register_lookup(OpTable& t) {
  OpDef& op = t.define("aten.embedding.default",
                       "(Tensor weight, Tensor indices, SymInt padding_idx=-1, bool "
                       "scale_grad_by_freq=False, bool sparse=False) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    require_rank(args.meta(0), 2, "weight");
    require_indices(args.meta(1));
    SymShape sizes = args.meta(1).sizes;
    sizes.push_back(args.meta(0).sizes[1]);
    return with_sizes(args.meta(0), sizes);
  };
  op.reference = [](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    const Tensor& weight = args.tensor(0);
    return take_slices(weight, 0, checked_rows(args.tensor(1), weight.size(0)))
        .reshape(hints(meta.sizes));
  };
  op.quant.weight = 0;
  op.quant.weight_channel_axis = 0;
}

// --- embedding_bag -------------------------------------------------------------------------------

enum BagMode : int64_t { kSum = 0, kMean = 1, kMax = 2 };

int64_t padding_of(const Args& args) { return args.is_none(8) ? -1 : args.integer(8); }

// {output [bags, width], offset2bag, bag_size, max_indices}
Value infer_bag(const Args& args) {
  const TensorMeta &weight = args.meta(0), &indices = args.meta(1), &offsets = args.meta(2);
  require_rank(weight, 2, "weight");
  require_rank(indices, 1, "indices");
  require_rank(offsets, 1, "offsets");
  require_indices(indices);
  const SymInt entries = offsets.sizes[0];
  const SymInt bags = args.boolean(7) ? entries - SymInt(1) : entries;
  const int64_t mode = args.integer(4);
  if (mode < kSum || mode > kMax) throw ValueError(cat("unknown embedding_bag mode ", mode));
  if (!args.is_none(6) && mode != kSum) {
    throw ValueError("embedding_bag: per_sample_weights only supported with mode='sum'");
  }
  const bool plain = mode == kSum && padding_of(args) < 0;
  const TensorMeta index = with_dtype(indices, indices.dtype);
  return Value::List{with_sizes(weight, {bags, weight.sizes[1]}),
                     with_sizes(index, {plain ? SymInt(0) : indices.sizes[0]}),
                     with_sizes(index, {plain ? entries : bags}),
                     mode == kMax ? with_sizes(index, {bags, weight.sizes[1]})
                                  : with_sizes(index, {plain ? entries : bags})};
}

template <typename T>
void reduce_bag(const Tensor& weight, const T* scale, const Ints& rows, int64_t mode, T* out,
                int64_t* best) {
  const int64_t width = weight.size(1);
  std::fill(out, out + width, T(0));
  for (size_t i = 0; i < rows.size(); ++i) {
    const T* row = weight.data<T>() + rows[i] * width;
    for (int64_t j = 0; j < width; ++j) {
      if (mode != kMax) {
        out[j] += row[j] * (scale == nullptr ? T(1) : scale[i]);
      } else if (i == 0 || row[j] > out[j]) {
        out[j] = row[j];
        best[j] = rows[i];
      }
    }
  }
  for (int64_t j = 0; mode == kMean && !rows.empty() && j < width; ++j) {
    out[j] /= static_cast<T>(rows.size());
  }
}

Value embedding_bag(const Args& args) {
  const Value inferred = infer_outputs(args);
  const auto meta = [&](size_t i) { return inferred.list()[i].as<TensorMeta>(); };
  const Ints rows = checked_rows(args.tensor(1), args.tensor(0).size(0));
  const Tensor offsets = dense<int64_t>(args.tensor(2));
  const int64_t mode = args.integer(4), padding = padding_of(args), bags = meta(0).sizes[0].hint();
  const auto total = static_cast<int64_t>(rows.size());
  return visit_float(meta(0).dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    const Tensor weight = dense<T>(args.tensor(0));
    const Tensor scale = args.is_none(6) ? Tensor() : dense<T>(args.tensor(6));
    Tensor out = make_output(with_dtype(meta(0), DTypeOf<T>::value));
    Tensor bag_of = Tensor::zeros(hints(meta(1).sizes), DType::Int64);
    Tensor sizes = Tensor::zeros(hints(meta(2).sizes), DType::Int64);
    Tensor best = Tensor::zeros(hints(meta(3).sizes), DType::Int64);
    const bool keeps_books = bag_of.numel() > 0;
    for (int64_t b = 0; b < bags; ++b) {
      const int64_t begin = offsets.data<int64_t>()[b];
      const int64_t end = b + 1 < offsets.numel() ? offsets.data<int64_t>()[b + 1] : total;
      if (begin < 0 || begin > end || end > total) {
        throw ValueError(cat("embedding_bag: offsets ", begin, " and ", end,
                             " are not increasing or exceed the ", total, " indices"));
      }
      Ints members;
      std::vector<T> weights;
      for (int64_t i = begin; i < end; ++i) {
        if (keeps_books) bag_of.mutable_data<int64_t>()[i] = b;
        if (rows[idx(i)] == padding) continue;
        members.push_back(rows[idx(i)]);
        if (scale.defined()) weights.push_back(scale.template data<T>()[i]);
      }
      int64_t* best_row =
          mode == kMax ? best.mutable_data<int64_t>() + b * weight.size(1) : nullptr;
      reduce_bag<T>(weight, scale.defined() ? weights.data() : nullptr, members, mode,
                    out.mutable_data<T>() + b * weight.size(1), best_row);
      if (mode == kSum) continue;
      sizes.mutable_data<int64_t>()[b] = static_cast<int64_t>(members.size());
      if (mode == kMean) best.mutable_data<int64_t>()[b] = static_cast<int64_t>(members.size());
    }
    const DType index = meta(1).dtype;
    return Value::List{out.to(meta(0).dtype), bag_of.to(index), sizes.to(index), best.to(index)};
  });
}

void define_bag(OpTable& t, const std::string& name, const std::string& schema) {
  OpDef& op = t.define("aten." + name, schema);
  op.infer = infer_bag;
  op.reference = embedding_bag;
  op.quant.weight = 0;
}

}  // namespace

void register_embedding(OpTable& t) {
  register_lookup(t);
  define_bag(t, "embedding_bag.padding_idx",
             "(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq, int mode, "
             "bool sparse, Tensor? per_sample_weights, bool include_last_offset, int? padding_idx) "
             "-> (Tensor, Tensor, Tensor, Tensor)");
  define_bag(t, "_embedding_bag.default",
             "(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq=False, int "
             "mode=0, bool sparse=False, Tensor? per_sample_weights=None, bool "
             "include_last_offset=False, int padding_idx=-1) -> (Tensor, Tensor, Tensor, Tensor)");
}

}  // namespace pt2q
