// Attention of quantized operands where no instruction multiplies bytes: operands less their zero
// points as 16-bit words, two products and their sum at a time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_int8_words.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "base/parallel.h"
#include "hwy/highway.h"
#include "kernels/attention_int8.h"
#include "kernels/attention_int8_words.h"
#include "kernels/attention_rows.h"
#include "kernels/float_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pt2q {
#ifndef PT2Q_BYTE_HEAD
#define PT2Q_BYTE_HEAD
// Pointers of one (batch, head).
struct ByteHead {
  const uint8_t* q;
  const uint8_t* k;
  const uint8_t* v;
  const float* added;   // mask of row 0, or null
  const bool* allowed;  // likewise
};
#endif

namespace HWY_NAMESPACE {

#if HWY_NATIVE_FMA

using IntTag = hn::ScalableTag<int32_t>;
using IntVec = hn::Vec<IntTag>;

constexpr int64_t kRows = 4;    // query rows multiplied at a time
constexpr int64_t kBlock = 32;  // query rows whose scores are kept
constexpr size_t kVectors = 2;  // of columns at a time

HWY_INLINE int64_t int_lanes() { return static_cast<int64_t>(hn::Lanes(IntTag())); }
int64_t round_up(int64_t a, int64_t b) { return (a + b - 1) / b * b; }

// Scratch memory of a thread in 32-bit words, all of whole cache lines.
struct Scratch {
  int64_t pitch, pairs, value_pairs, keys, values, queries, scores;

  explicit Scratch(const AttentionShape& s)
      : pitch(round_up(s.source, 32)),
        pairs(s.depth / 2),
        value_pairs((s.source + 1) / 2),
        keys(pitch * pairs),
        values(value_pairs * s.value_depth),
        queries(round_up(kRows * pairs, 16)),
        scores(kBlock * pitch) {}
  int64_t total() const { return keys + values + queries + scores; }
};

int32_t pair_of(int32_t low, int32_t high) {
  return static_cast<int32_t>(static_cast<uint32_t>(low & 0xffff) | static_cast<uint32_t>(high)
                                                                        << 16);
}

// sums[r][c] = sum over i of both products of word i of row r with word [i * stride + c].
template <class Store>
HWY_INLINE void multiply(const int32_t* const (&rows)[kRows], int64_t n, const int32_t* panel,
                         int64_t stride, const Store& store) {
  const IntTag d;
  const hn::Repartition<int16_t, IntTag> words;
  IntVec sums[kRows][kVectors], unused = hn::Zero(d);
  for (auto& row : sums) {
    for (IntVec& sum : row) sum = hn::Zero(d);
  }
  for (int64_t i = 0; i < n; ++i, panel += stride) {
    for (size_t r = 0; r < static_cast<size_t>(kRows); ++r) {
      const auto a = hn::BitCast(words, hn::Set(d, rows[r][i]));
      for (size_t c = 0; c < kVectors; ++c) {
        const auto b = hn::BitCast(words, hn::LoadU(d, panel + c * hn::Lanes(d)));
        sums[r][c] = hn::ReorderWidenMulAccumulate(d, a, b, sums[r][c], unused);
      }
    }
  }
  for (size_t r = 0; r < static_cast<size_t>(kRows); ++r) {
    for (size_t c = 0; c < kVectors; ++c) store(r, c, hn::ConvertTo(FloatTag(), sums[r][c]));
  }
}

// One head.
template <typename Out>
struct Work {
  const AttentionShape& s;
  const kernels::AttentionQuant& quant;
  const ByteHead& head;
  Out* out;
  const QuantParams& to;
  const Scratch& sizes;
  int32_t* keys;
  int32_t* values;
  int32_t* queries;
  float* scores;
};

template <typename Out>
void pack(const Work<Out>& w) {
  const AttentionShape& s = w.s;
  const int32_t zk = w.quant.k.zero_point, zv = w.quant.v.zero_point;
  for (int64_t e = 0; e < w.sizes.pairs; ++e) {
    int32_t* to = w.keys + e * w.sizes.pitch;
    for (int64_t j = 0; j < s.source; ++j) {
      const uint8_t* k = w.head.k + j * s.k[2] + 2 * e;
      to[j] = pair_of(k[0] - zk, k[1] - zk);
    }
    std::fill(to + s.source, to + w.sizes.pitch, 0);
  }
  for (int64_t j = 0; j < w.sizes.value_pairs; ++j) {
    const uint8_t* v = w.head.v + 2 * j * s.v[2];
    const bool both = 2 * j + 1 < s.source;
    int32_t* to = w.values + j * s.value_depth;
    for (int64_t c = 0; c < s.value_depth; ++c)
      to[c] = pair_of(v[c] - zv, both ? v[s.v[2] + c] - zv : 0);
  }
}

// Exponentials [0, n) to codes less the zero point, 16 bits each, at the row's beginning; a zero
// behind an odd number.
void encode_row(float* row, int64_t n, int64_t whole, float factor, const QuantParams& p) {
  const FloatTag d;
  const hn::Rebind<int16_t, FloatTag> words;
  const FloatVec f = hn::Set(d, factor), zero_point = hn::Set(d, static_cast<float>(p.zero_point));
  const FloatVec low = hn::Set(d, static_cast<float>(p.quant_min));
  const FloatVec high = hn::Set(d, static_cast<float>(p.quant_max));
  auto* const to = reinterpret_cast<int16_t*>(row);
  for (int64_t j = 0; j < whole; j += int_lanes()) {
    const FloatVec x = hn::Add(hn::Round(hn::Mul(load_lanes(row + j), f)), zero_point);
    // The second operand of a maximum is the result where the first is NaN.
    const FloatVec code = hn::Min(hn::Max(x, low), high);
    const auto integers = hn::ConvertTo(IntTag(), hn::Sub(code, zero_point));
    hn::StoreU(hn::DemoteTo(words, integers), words, to + j);
  }
  if (n % 2 != 0) to[n] = 0;
}

template <typename Out>
void score_rows(const Work<Out>& w, int64_t first, int64_t row, int64_t count) {
  const AttentionShape& s = w.s;
  const FloatVec factor = hn::Set(FloatTag(), kernels::score_factor(s, w.quant));
  const int32_t* rows[kRows];
  for (int64_t r = 0; r < kRows; ++r) {
    const uint8_t* q = w.head.q + (first + std::min(row + r, count - 1)) * s.q[2];
    int32_t* to = w.queries + r * w.sizes.pairs;
    const int32_t zq = w.quant.q.zero_point;
    for (int64_t e = 0; e < w.sizes.pairs; ++e) to[e] = pair_of(q[2 * e] - zq, q[2 * e + 1] - zq);
    rows[r] = to;
  }
  const int64_t width = static_cast<int64_t>(kVectors) * int_lanes();
  for (int64_t j = 0; j < s.source; j += width) {
    float* to = w.scores + row * w.sizes.pitch + j;
    multiply(rows, w.sizes.pairs, w.keys + j, w.sizes.pitch,
             [&](size_t r, size_t c, FloatVec sum) HWY_ATTR {
               store_lanes(hn::Mul(sum, factor), to + static_cast<int64_t>(r) * w.sizes.pitch +
                                                     static_cast<int64_t>(c) * int_lanes());
             });
  }
}

template <typename Out>
void soften_rows_of(const Work<Out>& w, int64_t first, int64_t row, int64_t rows) {
  const AttentionShape& s = w.s;
  const int64_t whole = round_up(s.source, static_cast<int64_t>(kPartials));
  float* const scores = w.scores + row * w.sizes.pitch;
  const AttentionHead<Out> masks{nullptr, nullptr, nullptr, w.head.added, w.head.allowed, nullptr};
  for (int64_t r = 0; r < rows; ++r) {
    float* const at = scores + r * w.sizes.pitch;
    mask_scores(s, masks, first + row + r, s.source, at);
    std::fill(at + s.source, at + whole, -std::numeric_limits<float>::infinity());
  }
  float factors[kRows];
  for (size_t r = 0; r < static_cast<size_t>(kRows); r += kSoftRows) {
    soften_rows<kSoftRows>(scores + static_cast<int64_t>(r) * w.sizes.pitch, w.sizes.pitch, whole,
                           factors + r);
  }
  const float inverse = inverse_scale(w.quant.p.scale);
  for (int64_t r = 0; r < rows; ++r)
    encode_row(scores + r * w.sizes.pitch, s.source, whole, factors[r] * inverse, w.quant.p);
}

template <typename Out>
void value_rows(const Work<Out>& w, int64_t first, int64_t row, int64_t count) {
  const AttentionShape& s = w.s;
  const FloatVec factor = hn::Set(FloatTag(), kernels::result_factor(w.quant));
  const QuantizeLanes quantize(w.to);
  const int32_t* rows[kRows];
  for (int64_t r = 0; r < kRows; ++r) {
    rows[r] = reinterpret_cast<int32_t*>(w.scores + std::min(row + r, count - 1) * w.sizes.pitch);
  }
  const int64_t width = static_cast<int64_t>(kVectors) * int_lanes();
  for (int64_t at = 0; at < s.value_depth; at += width) {
    multiply(rows, w.sizes.value_pairs, w.values + at, s.value_depth,
             [&](size_t r, size_t c, FloatVec sum) HWY_ATTR {
               const int64_t i = row + static_cast<int64_t>(r);
               const int64_t column = at + static_cast<int64_t>(c) * int_lanes();
               if (i >= count || column >= s.value_depth) return;
               const FloatVec real = hn::Mul(sum, factor);
               Out* to = w.out + (first + i) * s.out[2] + column;
               if constexpr (std::is_same_v<Out, float>) {
                 store_lanes(real, to);
               } else {
                 store_lanes(quantize(real), to);
               }
             });
  }
}

template <typename Out>
HWY_INLINE void attend(const AttentionShape& s, const kernels::AttentionQuant& quant,
                       const ByteHead& head, Out* out, int64_t first, int64_t last,
                       const QuantParams& to) {
  const Scratch sizes(s);
  // Values read behind the last column are thrown away.
  thread_local std::vector<int32_t> memory;
  const size_t words = static_cast<size_t>(sizes.total()) + kVectors * kPartials;
  if (memory.size() < words) memory.resize(words);
  int32_t* const queries = memory.data() + sizes.keys + sizes.values;
  const Work<Out> w{s,
                    quant,
                    head,
                    out,
                    to,
                    sizes,
                    memory.data(),
                    memory.data() + sizes.keys,
                    queries,
                    reinterpret_cast<float*>(queries + sizes.queries)};
  pack(w);
  for (int64_t i = first; i < last; i += kBlock) {
    const int64_t count = std::min(kBlock, last - i);
    for (int64_t row = 0; row < count; row += kRows) {
      score_rows(w, i, row, count);
      soften_rows_of(w, i, row, std::min(kRows, count - row));
      value_rows(w, i, row, count);
    }
  }
}

#endif  // HWY_NATIVE_FMA

// False: this target has no fused multiply-add, which the definition needs.
#if HWY_NATIVE_FMA
#define PT2Q_ATTEND(NAME, Out)                                                            \
  bool attend_words_##NAME(const AttentionShape& s, const kernels::AttentionQuant& quant, \
                           const ByteHead& head, Out* out, int64_t first, int64_t last,   \
                           const QuantParams& to) {                                       \
    attend(s, quant, head, out, first, last, to);                                         \
    return true;                                                                          \
  }
#else
#define PT2Q_ATTEND(NAME, Out)                                                                     \
  bool attend_words_##NAME(const AttentionShape&, const kernels::AttentionQuant&, const ByteHead&, \
                           Out*, int64_t, int64_t, const QuantParams&) {                           \
    return false;                                                                                  \
  }
#endif
PT2Q_ATTEND(f32, float)
PT2Q_ATTEND(u8, uint8_t)
PT2Q_ATTEND(s8, int8_t)
#undef PT2Q_ATTEND

}  // namespace HWY_NAMESPACE
}  // namespace pt2q
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pt2q {

HWY_EXPORT(attend_words_f32);
HWY_EXPORT(attend_words_u8);
HWY_EXPORT(attend_words_s8);

namespace kernels {
namespace {

template <typename Out, class Attend>
void attend_heads(const AttentionShape& s, const AttentionQuant& quant, const uint8_t* q,
                  const uint8_t* k, const uint8_t* v, const AttentionMask& mask, Out* out,
                  const QuantParams& to, Attend* attend) {
  const auto head_at = [&](int64_t index) {
    const int64_t b = index / s.heads, h = index % s.heads, hk = h / s.heads_per_key;
    const int64_t masked = b * s.mask[0] + h * s.mask[1];
    return ByteHead{q + b * s.q[0] + h * s.q[1], k + b * s.k[0] + hk * s.k[1],
                    v + b * s.v[0] + hk * s.v[1],
                    mask.added == nullptr ? nullptr : mask.added + masked,
                    mask.allowed == nullptr ? nullptr : mask.allowed + masked};
  };
  const int64_t heads = s.batch * s.heads;
  if (heads == 0 || s.length == 0) return;
  if (!attend(s, quant, head_at(0), out, 0, 0, to))
    return attention_int8_reference(s, quant, q, k, v, mask, out, to);
  const int64_t work = s.length * s.source * (s.depth + s.value_depth);
  parallel_for(heads, 1 + 65536 / std::max<int64_t>(1, work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Out* const to_head = out + i / s.heads * s.out[0] + i % s.heads * s.out[1];
      attend(s, quant, head_at(i), to_head, 0, s.length, to);
    }
  });
}

}  // namespace

#define PT2Q_ATTENTION(NAME, Out)                                                              \
  template <>                                                                                  \
  void attention_int8_words(const AttentionShape& s, const AttentionQuant& quant,              \
                            const uint8_t* q, const uint8_t* k, const uint8_t* v,              \
                            const AttentionMask& mask, Out* out, const QuantParams& to) {      \
    attend_heads(s, quant, q, k, v, mask, out, to, HWY_DYNAMIC_DISPATCH(attend_words_##NAME)); \
  }
PT2Q_ATTENTION(f32, float)
PT2Q_ATTENTION(u8, uint8_t)
PT2Q_ATTENTION(s8, int8_t)
#undef PT2Q_ATTENTION

}  // namespace kernels
}  // namespace pt2q
#endif  // HWY_ONCE
