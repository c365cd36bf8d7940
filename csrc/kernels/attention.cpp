#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h.
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

// Query rows of one block: their scores and one panel of keys or values stay in the first-level
// cache.
constexpr int64_t kRows = 4;

#if HWY_NATIVE_FMA

// Vectors of keys (or values) a block of rows is multiplied with at a time: what registers hold.
constexpr size_t kVectors = HWY_MAX_BYTES >= 64 ? 4 : 2;

// Keys per panel of the packed keys.
HWY_INLINE int64_t panel_width() { return static_cast<int64_t>(kVectors * hn::Lanes(FloatTag())); }

// Packs keys [source, depth] into panels [depth][panel_width], the last one filled up with zeros.
void pack_keys(const AttentionShape& s, const float* k, float* packed) {
  const int64_t width = panel_width();
  for (int64_t j0 = 0; j0 < s.source; j0 += width, packed += width * s.depth) {
    for (int64_t j = 0; j < width; ++j) {
      const float* row = k + (j0 + j) * s.k[2];
      for (int64_t e = 0; e < s.depth; ++e) {
        packed[e * width + j] = j0 + j < s.source ? row[e] : 0.0f;
      }
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

// out rows = (probabilities x values) * inverse, kV vectors of columns from column `at`.
template <size_t kV>
HWY_INLINE void multiply_values(const AttentionShape& s, const AttentionHead& head,
                                const Rows& probabilities, int64_t n, const float* inverse,
                                int64_t first, int64_t count, int64_t at) {
  multiply<kV>(probabilities, n, head.v + at, s.v[2],
               [&](size_t r, size_t c, FloatVec sum) HWY_ATTR {
                 if (static_cast<int64_t>(r) >= count) return;
                 float* out = head.out + (first + static_cast<int64_t>(r)) * s.out[2] + at;
                 hn::StoreU(hn::Mul(sum, hn::Set(FloatTag(), inverse[r])), FloatTag(),
                            out + c * hn::Lanes(FloatTag()));
               });
}

void values_of_block(const AttentionShape& s, const AttentionHead& head, const Rows& probabilities,
                     int64_t n, const float* inverse, int64_t first, int64_t count) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(FloatTag()));
  int64_t at = 0;
  for (; at + static_cast<int64_t>(kVectors) * lanes <= s.value_depth;
       at += static_cast<int64_t>(kVectors) * lanes) {
    multiply_values<kVectors>(s, head, probabilities, n, inverse, first, count, at);
  }
  for (; at + 2 * lanes <= s.value_depth; at += 2 * lanes)
    multiply_values<2>(s, head, probabilities, n, inverse, first, count, at);
  for (; at + lanes <= s.value_depth; at += lanes)
    multiply_values<1>(s, head, probabilities, n, inverse, first, count, at);
  for (; at < s.value_depth; ++at) {
    for (int64_t r = 0; r < count; ++r) {
      float sum = 0.0f;
      for (int64_t j = 0; j < n; ++j)
        sum = std::fma(probabilities.p[r][j], head.v[j * s.v[2] + at], sum);
      head.out[(first + r) * s.out[2] + at] = sum * inverse[r];
    }
  }
}

// Rows [first, first + count) of one head; `scores` holds kRows rows of whole panels.
void attend_block(const AttentionShape& s, const AttentionHead& head, const float* packed,
                  int64_t first, int64_t count, float* scores) {
  const int64_t width = panel_width();
  const int64_t pitch = (s.source + width - 1) / width * width;
  const int64_t keys = visible_keys(s, first + count - 1);
  const size_t lanes = hn::Lanes(FloatTag());
  const FloatVec scale = hn::Set(FloatTag(), s.scale);
  Rows queries, probabilities;
  for (int64_t r = 0; r < kRows; ++r) {
    queries.p[r] = head.q + (first + std::min(r, count - 1)) * s.q[2];
    probabilities.p[r] = scores + r * pitch;
  }
  for (int64_t j = 0; j < keys; j += width) {
    multiply<kVectors>(queries, s.depth, packed + j * s.depth, width,
                       [&](size_t r, size_t c, FloatVec sum) HWY_ATTR {
                         hn::StoreU(hn::Mul(sum, scale), FloatTag(),
                                    scores + static_cast<int64_t>(r) * pitch + j + c * lanes);
                       });
  }
  float inverse[kRows] = {};
  for (int64_t r = 0; r < kRows; ++r) {
    float* row = scores + r * pitch;
    const int64_t n = r < count ? visible_keys(s, first + r) : 0;
    if (n > 0 && mask_scores(s, head, first + r, n, row)) {
      inverse[r] = softmax_exponentials(row, static_cast<size_t>(n), row);
      std::fill(row + n, row + keys, 0.0f);
    } else {
      std::fill(row, row + keys, 0.0f);
    }
  }
  values_of_block(s, head, probabilities, keys, inverse, first, count);
}

// Floats of scratch memory one thread needs.
int64_t attention_scratch(const AttentionShape& s) {
  const int64_t width = panel_width();
  return (s.source + width - 1) / width * width * (s.depth + kRows);
}

void attend(const AttentionShape& s, const AttentionHead& head, int64_t first, int64_t last,
            float* scratch) {
  const int64_t width = panel_width();
  float* scores = scratch + (s.source + width - 1) / width * width * s.depth;
  pack_keys(s, head.k, scratch);
  for (int64_t i = first; i < last; i += kRows) {
    attend_block(s, head, scratch, i, std::min(kRows, last - i), scores);
  }
}

#else  // no fused multiply-add: the scalar definition

int64_t attention_scratch(const AttentionShape&) { return 0; }

void attend(const AttentionShape& s, const AttentionHead& head, int64_t first, int64_t last,
            float*) {
  attend_rows_reference(s, head, first, last);
}

#endif  // HWY_NATIVE_FMA

}  // namespace HWY_NAMESPACE
}  // namespace pt2q
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pt2q {
namespace {

HWY_EXPORT(attention_scratch);
HWY_EXPORT(attend);

// Memory of the calling thread, kept between calls.
float* thread_scratch(size_t floats) {
  thread_local hwy::AlignedFreeUniquePtr<float[]> memory;
  thread_local size_t size = 0;
  if (size < floats) {
    memory = hwy::AllocateAligned<float>(floats);
    size = floats;
  }
  return memory.get();
}

}  // namespace

void attention(const AttentionShape& shape, const float* q, const float* k, const float* v,
               const AttentionMask& mask, float* out) {
  const int64_t heads = shape.batch * shape.heads;
  if (heads == 0 || shape.length == 0) return;
  // Few heads: their rows are split as well; each part packs the keys again.
  const int64_t wanted = heads >= 2 * num_threads() ? 1 : num_threads();
  const int64_t parts = std::max<int64_t>(1, std::min(wanted, shape.length / 16));
  const int64_t work = shape.length * shape.source * (shape.depth + shape.value_depth) / parts;
  const auto scratch = static_cast<size_t>(HWY_DYNAMIC_DISPATCH(attention_scratch)(shape));
  parallel_for(heads * parts, 1 + 65536 / std::max<int64_t>(1, work),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t part = i % parts;
                   const AttentionHead head = attention_head(shape, i / parts, q, k, v, mask, out);
                   HWY_DYNAMIC_DISPATCH(attend)
                   (shape, head, shape.length * part / parts, shape.length * (part + 1) / parts,
                    thread_scratch(scratch));
                 }
               });
}

}  // namespace pt2q
#endif  // HWY_ONCE
