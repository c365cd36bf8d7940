// scaled_dot_product_attention: softmax(q k^T * scale + mask) v.
#include <cmath>
#include <limits>

#include "base/parallel.h"
#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/gemm.h"
#include "ops/support/operands.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

// Arguments: query [*, H, L, E], key [*, Hk, S, E], value [*, Hk, S, Ev], attn_mask, dropout_p,
// is_causal, scale, enable_gqa.
enum Position : size_t { kQuery, kKey, kValue, kMask, kDropout, kCausal, kScale, kGroups };

SymShape batch_of(const SymShape& sizes) { return SymShape(sizes.begin(), sizes.end() - 2); }

// With enable_gqa key heads are repeated: their batch shape counts as the query's.
SymShape attention_batch(const Args& args) {
  const SymShape q = batch_of(args.meta(kQuery).sizes);
  if (!args.boolean(kGroups)) {
    return broadcast(q,
                     broadcast(batch_of(args.meta(kKey).sizes), batch_of(args.meta(kValue).sizes)));
  }
  for (const size_t i : {kKey, kValue}) {
    const SymShape& sizes = args.meta(i).sizes;
    if (sizes.size() < 3 || q.empty() || sizes[sizes.size() - 3].hint() == 0 ||
        q.back().hint() % sizes[sizes.size() - 3].hint() != 0) {
      throw ValueError(
          cat("Number of heads in key and value must divide the number of heads in "
              "query, but got query ",
              text(args.meta(kQuery).sizes), " and ", text(sizes)));
    }
  }
  return q;
}

Value infer_attention(const Args& args) {
  const TensorMeta &q = args.meta(kQuery), &k = args.meta(kKey), &v = args.meta(kValue);
  for (const TensorMeta* m : {&q, &k, &v}) {
    if (rank(*m) < 2) {
      throw ValueError(
          cat("Expected query, key, and value to all be at least 2 dimensional, but got "
              "query ",
              text(q.sizes), ", key ", text(k.sizes), ", value ", text(v.sizes)));
    }
    if (m->dtype != q.dtype) {
      throw TypeError(cat("Expected query, key, and value to have the same dtype, but got ",
                          dtype_name(q.dtype), ", ", dtype_name(k.dtype), " and ",
                          dtype_name(v.dtype)));
    }
  }
  if (!same_size(q.sizes.back(), k.sizes.back()) ||
      !same_size(k.sizes[k.sizes.size() - 2], v.sizes[v.sizes.size() - 2])) {
    throw ValueError(cat("attention shapes do not fit: query ", text(q.sizes), ", key ",
                         text(k.sizes), ", value ", text(v.sizes)));
  }
  SymShape out = attention_batch(args);
  const SymInt &length = q.sizes[q.sizes.size() - 2], &source = k.sizes[k.sizes.size() - 2];
  if (!args.is_none(kMask)) {
    SymShape scores = out;
    scores.push_back(length);
    scores.push_back(source);
    const SymShape both = broadcast(scores, args.meta(kMask).sizes);
    if (hints(both) != hints(scores)) {
      throw ValueError(cat("attn_mask of shape ", text(args.meta(kMask).sizes),
                           " does not broadcast to ", text(scores)));
    }
  }
  out.push_back(length);
  out.push_back(v.sizes.back());
  return with_sizes(q, out);
}

// One query row: scores → probabilities in place. A row that may look at nothing gives zeros.
template <typename T>
void softmax_row(T* scores, int64_t n) {
  T top = -std::numeric_limits<T>::infinity();
  for (int64_t i = 0; i < n; ++i) top = std::max(top, scores[i]);
  if (top == -std::numeric_limits<T>::infinity()) {
    std::fill(scores, scores + n, T(0));
    return;
  }
  T sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    scores[i] = std::exp(scores[i] - top);
    sum += scores[i];
  }
  for (int64_t i = 0; i < n; ++i) scores[i] /= sum;
}

template <typename T>
struct Head {
  const T* q;
  const T* k;
  const T* v;
  const T* bias;  // additive mask or null
  int64_t bias_row, bias_column;
  int64_t length, source, depth, value_depth;
  T scale;
  bool causal;
};

template <typename T>
void attend(const Head<T>& h, T* out) {
  std::vector<T> scores(static_cast<size_t>(h.source));
  for (int64_t i = 0; i < h.length; ++i) {
    for (int64_t j = 0; j < h.source; ++j) {
      T s = dot(h.q + i * h.depth, h.k + j * h.depth, h.depth) * h.scale;
      if (h.bias != nullptr) s += h.bias[i * h.bias_row + j * h.bias_column];
      scores[idx(j)] = h.causal && j > i ? -std::numeric_limits<T>::infinity() : s;
    }
    softmax_row(scores.data(), h.source);
    T* row = out + i * h.value_depth;
    std::fill(row, row + h.value_depth, T(0));
    for (int64_t j = 0; j < h.source; ++j) {
      const T* value = h.v + j * h.value_depth;
      for (int64_t d = 0; d < h.value_depth; ++d) row[d] += scores[idx(j)] * value[d];
    }
  }
}

// Boolean masks: true = may attend. As an additive mask of type T.
template <typename T>
Tensor additive_mask(const Tensor& mask) {
  if (mask.dtype() != DType::Bool) return dense<T>(mask);
  Tensor out = Tensor::empty(mask.sizes(), DTypeOf<T>::value);
  const Tensor allowed = mask.contiguous();
  for (int64_t i = 0; i < out.numel(); ++i) {
    out.mutable_data<T>()[i] = allowed.data<bool>()[i] ? T(0) : -std::numeric_limits<T>::infinity();
  }
  return out;
}

// Batch dimensions expanded to `batch`; key heads repeated for grouped queries.
Tensor expand_batch(Tensor t, const Shape& batch, bool groups) {
  if (groups && t.size(-3) != batch.back()) {
    const OpDef& op = op_table().get("aten.repeat_interleave.self_int");
    t = call(op, {t, batch.back() / t.size(-3), t.dim() - 3}).as<Tensor>();
  }
  Shape sizes = batch;
  sizes.insert(sizes.end(), t.sizes().end() - 2, t.sizes().end());
  return t.expand(sizes);
}

Value attention(const Args& args) {
  const TensorMeta meta = infer_output(args);
  if (args.number(kDropout) != 0) {
    throw NotImplementedError("attention dropout is not supported", "use dropout_p=0.0");
  }
  const Shape out_sizes = hints(meta.sizes);
  const Shape batch(out_sizes.begin(), out_sizes.end() - 2);
  const bool groups = args.boolean(kGroups);
  return visit_float(meta.dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    const Tensor q = expand_batch(dense<T>(args.tensor(kQuery)), batch, false);
    const Tensor k = expand_batch(dense<T>(args.tensor(kKey)), batch, groups);
    const Tensor v = expand_batch(dense<T>(args.tensor(kValue)), batch, groups);
    const int64_t length = q.size(-2), source = k.size(-2), depth = q.size(-1);
    Tensor bias;
    if (!args.is_none(kMask)) {
      Shape sizes = batch;
      sizes.push_back(length);
      sizes.push_back(source);
      bias = additive_mask<T>(args.tensor(kMask)).expand(sizes);
    }
    const double scale =
        args.is_none(kScale) ? 1 / std::sqrt(static_cast<double>(depth)) : args.number(kScale);
    Tensor out = make_output(with_dtype(meta, DTypeOf<T>::value));
    if (out.numel() == 0) return out.to(meta.dtype);
    const auto batch_strides = [](const Tensor& t) {
      return t.defined() ? Shape(t.strides().begin(), t.strides().end() - 2) : Shape();
    };
    std::vector<Head<T>> heads;
    const Shape none(batch.size(), 0);
    StridedIterator<4> it(batch, {batch_strides(q), batch_strides(k), batch_strides(v),
                                  bias.defined() ? batch_strides(bias) : none});
    for (; !it.done(); it.next()) {
      heads.push_back({q.data<T>() + it.offset(0), k.data<T>() + it.offset(1),
                       v.data<T>() + it.offset(2),
                       bias.defined() ? bias.data<T>() + it.offset(3) : nullptr,
                       bias.defined() ? bias.strides()[batch.size()] : 0,
                       bias.defined() ? bias.strides()[batch.size() + 1] : 0, length, source, depth,
                       v.size(-1), static_cast<T>(scale), args.boolean(kCausal)});
    }
    T* y = out.mutable_data<T>();
    const int64_t work = length * source * (depth + v.size(-1));
    parallel_for(static_cast<int64_t>(heads.size()), grain_for(work),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t h = begin; h < end; ++h)
                     attend(heads[idx(h)], y + h * length * v.size(-1));
                 });
    return out.to(meta.dtype);
  });
}

}  // namespace

void register_attention(OpTable& t) {
  OpDef& op = t.define("aten.scaled_dot_product_attention.default",
                       "(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, float "
                       "dropout_p=0.0, bool is_causal=False, *, float? scale=None, bool "
                       "enable_gqa=False) -> Tensor");
  op.infer = infer_attention;
  op.reference = attention;
  op.quant = own({kQuery, kKey, kValue});
}

}  // namespace pt2q
