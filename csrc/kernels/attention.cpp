#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include <new>
#include <type_traits>
#include <vector>

#include "base/parallel.h"
#include "hwy/aligned_allocator.h"
#include "hwy/highway.h"
#include "kernels/attention.h"
#include "kernels/attention_rows.h"
#include "kernels/float_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pt2q {
namespace HWY_NAMESPACE {

#if HWY_NATIVE_FMA

// Query rows that are multiplied at a time.
constexpr int64_t kRows = 4;
// Rows of a block, whose scores stay in the second-level cache; the keys and then the values stay
// in the first.
constexpr int64_t kMostRows = 32;
constexpr int64_t kScoreFloats = 16384;
constexpr auto kPadding = static_cast<int64_t>(kPartials);

// Vectors of keys (or values) a block of rows is multiplied with at a time: what registers hold.
constexpr size_t kVectors = HWY_MAX_BYTES >= 64 ? 4 : 2;

// Keys per panel of the packed keys.
HWY_INLINE int64_t panel_width() { return static_cast<int64_t>(kVectors * hn::Lanes(FloatTag())); }

// Four columns of four keys from `row` on, turned.
HWY_INLINE void pack_square(const float* row, int64_t stride, float* packed, int64_t width) {
  const hn::FixedTag<float, 4> d;
  const auto r0 = hn::LoadU(d, row), r1 = hn::LoadU(d, row + stride);
  const auto r2 = hn::LoadU(d, row + 2 * stride), r3 = hn::LoadU(d, row + 3 * stride);
  const auto a0 = hn::InterleaveLower(d, r0, r2), a1 = hn::InterleaveLower(d, r1, r3);
  const auto b0 = hn::InterleaveUpper(d, r0, r2), b1 = hn::InterleaveUpper(d, r1, r3);
  hn::StoreU(hn::InterleaveLower(d, a0, a1), d, packed);
  hn::StoreU(hn::InterleaveUpper(d, a0, a1), d, packed + width);
  hn::StoreU(hn::InterleaveLower(d, b0, b1), d, packed + 2 * width);
  hn::StoreU(hn::InterleaveUpper(d, b0, b1), d, packed + 3 * width);
}

// Vectors of keys that scores are computed for at a time when `left` keys are left.
HWY_INLINE size_t vectors_for(int64_t left) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(FloatTag()));
  return left > 2 * lanes ? kVectors : left > lanes ? 2 : 1;
}

// Packs keys [source, depth] into panels [depth][panel_width]. Behind the last key stays what is
// there: its scores are thrown away.
void pack_keys(const AttentionShape& s, const float* k, float* packed) {
  const int64_t width = panel_width();
  for (int64_t j = 0; j < s.source; j += 4) {
    float* to = packed + j / width * width * s.depth + j % width;
    const float* row = k + j * s.k[2];
    const int64_t rows = std::min<int64_t>(4, s.source - j);
    int64_t e = 0;
    if (rows == 4) {
      for (; e + 4 <= s.depth; e += 4) pack_square(row + e, s.k[2], to + e * width, width);
    }
    for (; e < s.depth; ++e) {
      for (int64_t r = 0; r < rows; ++r) to[e * width + r] = row[r * s.k[2] + e];
    }
  }
}

struct Rows {
  const float* p[kRows];
};

// sums[r][c] = sum over i of rows.p[r][i] * panel[i * stride + c], kV vectors of columns.
template <size_t kV, class Store>
HWY_INLINE void multiply(const Rows& rows, int64_t n, const float* panel, int64_t stride,
                         const Store& store) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  FloatVec sums[kRows][kV];
  for (auto& row : sums) {
    for (FloatVec& sum : row) sum = hn::Zero(d);
  }
  for (int64_t i = 0; i < n; ++i, panel += stride) {
    FloatVec b[kV];
    for (size_t c = 0; c < kV; ++c) b[c] = hn::LoadU(d, panel + c * lanes);
    for (size_t r = 0; r < static_cast<size_t>(kRows); ++r) {
      const FloatVec a = hn::Set(d, rows.p[r][i]);
      for (size_t c = 0; c < kV; ++c) sums[r][c] = hn::MulAdd(a, b[c], sums[r][c]);
    }
  }
  for (size_t r = 0; r < static_cast<size_t>(kRows); ++r) {
    for (size_t c = 0; c < kV; ++c) store(r, c, sums[r][c]);
  }
}

// Where results go: as they are, or quantized.
template <typename Out>
struct Sink {
  QuantizeLanes lanes;
  const QuantParams& to;

  explicit Sink(const QuantParams& params) : lanes(params), to(params) {}
  HWY_INLINE void put(FloatVec v, Out* out) const { store_lanes(lanes(v), out); }
  void put_one(float v, Out* out) const { quantize_reference(&v, 1, to, out); }
};
template <>
struct Sink<float> {
  explicit Sink(const QuantParams&) {}
  HWY_INLINE void put(FloatVec v, float* out) const { store_lanes(v, out); }
  void put_one(float v, float* out) const { *out = v; }
};

// What the next head reads, fetched a little with every row of this one.
template <typename Out>
struct Fetcher {
  const AttentionShape& s;
  const AttentionHead<Out>* next;  // null: no head follows
  int64_t keys, queries;           // rows at a time

  Fetcher(const AttentionShape& shape, const AttentionHead<Out>* head, int64_t rows)
      : s(shape),
        next(head),
        keys((shape.source + rows - 1) / rows),
        queries((shape.length + rows - 1) / rows) {}

  HWY_INLINE void fetch(int64_t row) const {
    if (next == nullptr) return;
    fetch_rows(next->k, row * keys, std::min(s.source, (row + 1) * keys), s.k[2], s.depth);
    fetch_rows(next->v, row * keys, std::min(s.source, (row + 1) * keys), s.v[2], s.value_depth);
    fetch_rows(next->q, row * queries, std::min(s.length, (row + 1) * queries), s.q[2], s.depth);
  }
  static HWY_INLINE void fetch_rows(const float* rows, int64_t begin, int64_t end, int64_t stride,
                                    int64_t columns) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t at = 0; at < columns; at += 16) __builtin_prefetch(rows + i * stride + at, 0, 2);
    }
  }
};

// What the blocks of one head share.
template <typename Out>
struct Work {
  const AttentionShape& s;
  const AttentionHead<Out>& head;
  const Fetcher<Out>& fetcher;
  const Sink<Out>& sink;
  const float* keys;    // packed
  const float* values;  // rows, `step` apart
  int64_t step;
  float* scores;  // rows, `pitch` apart: whole panels
  int64_t pitch;
  int64_t begin;  // the first row that this thread computes
  float inverse[kMostRows];
};

// out rows = (probabilities x values) * inverse, kV vectors of columns from column `at`; rows
// [row, row + count) of the block that begins with `first`.
template <size_t kV, typename Out>
HWY_INLINE void multiply_values(const Work<Out>& w, const Rows& probabilities, int64_t n,
                                int64_t first, int64_t row, int64_t count, int64_t at) {
  multiply<kV>(probabilities, n, w.values + at, w.step,
               [&](size_t r, size_t c, FloatVec sum) HWY_ATTR {
                 if (static_cast<int64_t>(r) >= count) return;
                 const int64_t i = row + static_cast<int64_t>(r);
                 Out* out = w.head.out + (first + i) * w.s.out[2] + at;
                 w.sink.put(hn::Mul(sum, hn::Set(FloatTag(), w.inverse[i])),
                            out + c * hn::Lanes(FloatTag()));
               });
}

template <typename Out>
void values_of_rows(const Work<Out>& w, int64_t n, int64_t first, int64_t row, int64_t count) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(FloatTag()));
  const auto most = static_cast<int64_t>(kVectors) * lanes;
  Rows p;
  for (int64_t r = 0; r < kRows; ++r) p.p[r] = w.scores + (row + std::min(r, count - 1)) * w.pitch;
  int64_t at = 0;
  for (; at + most <= w.s.value_depth; at += most)
    multiply_values<kVectors>(w, p, n, first, row, count, at);
  for (; at + 2 * lanes <= w.s.value_depth; at += 2 * lanes)
    multiply_values<2>(w, p, n, first, row, count, at);
  for (; at + lanes <= w.s.value_depth; at += lanes)
    multiply_values<1>(w, p, n, first, row, count, at);
  for (; at < w.s.value_depth; ++at) {
    for (int64_t r = 0; r < count; ++r) {
      float sum = 0.0f;
      for (int64_t j = 0; j < n; ++j) sum = std::fma(p.p[r][j], w.values[j * w.step + at], sum);
      w.sink.put_one(sum * w.inverse[row + r], w.head.out + (first + row + r) * w.s.out[2] + at);
    }
  }
}

// mask_scores for masks whose columns are neighbours.
template <typename Out>
HWY_INLINE void mask_row(const Work<Out>& w, int64_t i, int64_t n, float* scores) {
  if (w.head.added == nullptr && w.head.allowed == nullptr) return;
  if (w.s.mask[3] != 1) return mask_scores(w.s, w.head, i, n, scores);
  const auto lanes = static_cast<int64_t>(hn::Lanes(FloatTag()));
  const int64_t at = i * w.s.mask[2];
  int64_t j = 0;
  if (w.head.added != nullptr) {
    const float* added = w.head.added + at;
    for (; j + lanes <= n; j += lanes)
      store_lanes(hn::Add(load_lanes(scores + j), load_lanes(added + j)), scores + j);
    for (; j < n; ++j) scores[j] += added[j];
    return;
  }
  const FloatVec never = hn::Set(FloatTag(), -std::numeric_limits<float>::infinity());
  static_assert(sizeof(bool) == 1);
  const auto* allowed = reinterpret_cast<const uint8_t*>(w.head.allowed + at);
  for (; j + lanes <= n; j += lanes) {
    const auto yes = hn::Gt(load_lanes(allowed + j), hn::Zero(FloatTag()));
    store_lanes(hn::IfThenElse(yes, load_lanes(scores + j), never), scores + j);
  }
  for (; j < n; ++j) scores[j] = allowed[j] != 0 ? scores[j] : hn::GetLane(never);
}

// Scores of rows [row, row + count) of the block that begins with `first` to exponentials; columns
// that a row does not see, up to a whole number of partial sums behind `keys`, become zero.
template <typename Out>
HWY_INLINE void soften(Work<Out>& w, int64_t first, int64_t row, int64_t count, int64_t keys) {
  const int64_t whole = (keys + kPadding - 1) / kPadding * kPadding;
  for (int64_t r = row; r < row + count; ++r) {
    float* scores = w.scores + r * w.pitch;
    const int64_t n = visible_keys(w.s, first + r);
    mask_row(w, first + r, n, scores);
    std::fill(scores + n, scores + whole, -std::numeric_limits<float>::infinity());
  }
  if (count == 1) return soften_rows<1>(w.scores + row * w.pitch, w.pitch, whole, w.inverse + row);
  // Rows behind the last hold scores of the last one; nobody reads what becomes of them.
  for (int64_t r = row; r < row + count; r += static_cast<int64_t>(kSoftRows)) {
    soften_rows<kSoftRows>(w.scores + r * w.pitch, w.pitch, whole, w.inverse + r);
  }
}

// Scaled scores of a block of rows with kV vectors of keys from key j on.
template <size_t kV, typename Out>
void score_keys(const Work<Out>& w, int64_t first, int64_t count, int64_t j) {
  const AttentionShape& s = w.s;
  const FloatVec scale = hn::Set(FloatTag(), s.scale);
  const size_t lanes = hn::Lanes(FloatTag());
  for (int64_t row = 0; row < count; row += kRows) {
    Rows queries;
    for (int64_t r = 0; r < kRows; ++r)
      queries.p[r] = w.head.q + (first + std::min(row + r, count - 1)) * s.q[2];
    float* scores = w.scores + row * w.pitch + j;
    multiply<kV>(queries, s.depth, w.keys + j * s.depth, panel_width(),
                 [&](size_t r, size_t c, FloatVec sum) HWY_ATTR {
                   store_lanes(hn::Mul(sum, scale),
                               scores + static_cast<int64_t>(r) * w.pitch + c * lanes);
                 });
  }
}

// Rows [first, first + count) of one head.
template <typename Out>
void attend_block(Work<Out>& w, int64_t first, int64_t count) {
  const AttentionShape& s = w.s;
  const int64_t keys = visible_keys(s, first + count - 1);
  for (int64_t j = 0; j < keys; j += panel_width()) {
    const size_t vectors = vectors_for(keys - j);
    if (vectors == kVectors) {
      score_keys<kVectors>(w, first, count, j);
    } else if (vectors == 2) {
      score_keys<2>(w, first, count, j);
    } else {
      score_keys<1>(w, first, count, j);
    }
  }
  for (int64_t row = 0; row < count; row += kRows) {
    const int64_t rows = std::min(kRows, count - row);
    soften(w, first, row, rows, keys);
    for (int64_t r = row; r < row + rows; ++r) w.fetcher.fetch(first + r - w.begin);
    values_of_rows(w, keys, first, row, rows);
  }
}

HWY_INLINE void copy_row(const float* from, int64_t n, float* to) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(FloatTag()));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) store_lanes(load_lanes(from + i), to + i);
  for (; i < n; ++i) to[i] = from[i];
}

// Sizes of one thread's scratch memory in floats: packed keys, values, scores of a block.
struct Scratch {
  int64_t pitch, rows, keys, values;

  explicit Scratch(const AttentionShape& s) {
    const int64_t width = panel_width();
    pitch = (s.source + width - 1) / width * width;
    rows = std::min(kMostRows,
                    std::max(kRows, kScoreFloats / std::max<int64_t>(1, pitch) / kRows * kRows));
    keys = pitch * s.depth;
    values = s.v[2] == s.value_depth ? 0 : (s.source * s.value_depth + 15) / 16 * 16;
  }
  int64_t total() const { return keys + values + rows * pitch; }
};

int64_t attention_scratch(const AttentionShape& s) { return Scratch(s).total(); }

template <typename Out>
HWY_INLINE void attend(const AttentionShape& s, const AttentionHead<Out>& head,
                       const AttentionHead<Out>* next, int64_t first, int64_t last,
                       const QuantParams& to, float* scratch) {
  const Scratch sizes(s);
  const Sink<Out> sink(to);
  pack_keys(s, head.k, scratch);
  const Fetcher<Out> fetcher(s, next, last - first);
  Work<Out> w{s,           head,   fetcher, sink,
              scratch,     head.v, s.v[2],  scratch + sizes.keys + sizes.values,
              sizes.pitch, first,  {}};
  if (sizes.values > 0) {
    float* values = scratch + sizes.keys;
    for (int64_t j = 0; j < s.source; ++j)
      copy_row(head.v + j * s.v[2], s.value_depth, values + j * s.value_depth);
    w.values = values;
    w.step = s.value_depth;
  }
  for (int64_t i = first; i < last; i += sizes.rows)
    attend_block(w, i, std::min(sizes.rows, last - i));
}

#else  // no fused multiply-add: the scalar definition

int64_t attention_scratch(const AttentionShape&) { return 0; }

template <typename Out>
void attend(const AttentionShape& s, const AttentionHead<Out>& head, const AttentionHead<Out>*,
            int64_t first, int64_t last, const QuantParams& to, float*) {
  attend_rows_reference(s, head, first, last, to);
}

#endif  // HWY_NATIVE_FMA

#define PT2Q_ATTEND(NAME, Out)                                                    \
  void attend_##NAME(const AttentionShape& s, const AttentionHead<Out>& head,     \
                     const AttentionHead<Out>* next, int64_t first, int64_t last, \
                     const QuantParams& to, float* scratch) {                     \
    attend(s, head, next, first, last, to, scratch);                              \
  }
PT2Q_ATTEND(f32, float)
PT2Q_ATTEND(u8, uint8_t)
PT2Q_ATTEND(s8, int8_t)
#undef PT2Q_ATTEND

}  // namespace HWY_NAMESPACE
}  // namespace pt2q
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pt2q {
namespace {

HWY_EXPORT(attention_scratch);
HWY_EXPORT(attend_f32);
HWY_EXPORT(attend_u8);
HWY_EXPORT(attend_s8);

// Memory of the calling thread, kept between calls.
float* thread_scratch(size_t floats) {
  thread_local hwy::AlignedFreeUniquePtr<float[]> memory;
  thread_local size_t size = 0;
  if (size < floats) {
    size = 0;
    memory = hwy::AllocateAligned<float>(floats);
    if (memory == nullptr) throw std::bad_alloc();
    size = floats;
  }
  return memory.get();
}

template <typename Out, class Attend>
void run_attention(const AttentionShape& shape, const float* q, const float* k, const float* v,
                   const AttentionMask& mask, Out* out, const QuantParams& to, Attend* attend) {
  const int64_t heads = shape.batch * shape.heads;
  if (heads == 0 || shape.length == 0) return;
  // Few heads: their rows are split as well; each part packs the keys again.
  const int64_t wanted = heads >= 2 * num_threads() ? 1 : num_threads();
  const int64_t parts = std::max<int64_t>(1, std::min(wanted, shape.length / 16));
  const int64_t work = shape.length * shape.source * (shape.depth + shape.value_depth) / parts;
  const auto scratch = static_cast<size_t>(HWY_DYNAMIC_DISPATCH(attention_scratch)(shape));
  const auto head_at = [&](int64_t h) {
    return attention_head(shape, std::min(h, heads - 1), q, k, v, mask, out);
  };
  parallel_for(
      heads * parts, 1 + 65536 / std::max<int64_t>(1, work), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t part = i % parts;
          const AttentionHead<Out> head = head_at(i / parts), next = head_at(i / parts + 1);
          attend(shape, head, i + parts < end ? &next : nullptr, shape.length * part / parts,
                 shape.length * (part + 1) / parts, to, thread_scratch(scratch));
        }
      });
}

}  // namespace

#define PT2Q_ATTENTION(NAME, Out)                                                             \
  template <>                                                                                 \
  void attention(const AttentionShape& shape, const float* q, const float* k, const float* v, \
                 const AttentionMask& mask, Out* out, const QuantParams& to) {                \
    run_attention(shape, q, k, v, mask, out, to, HWY_DYNAMIC_DISPATCH(attend_##NAME));        \
  }
PT2Q_ATTENTION(f32, float)
PT2Q_ATTENTION(u8, uint8_t)
PT2Q_ATTENTION(s8, int8_t)
#undef PT2Q_ATTENTION

}  // namespace pt2q
#endif  // HWY_ONCE
