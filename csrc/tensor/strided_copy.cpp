#include "tensor/strided_copy.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "base/parallel.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

constexpr int64_t kTile = 16;  // rows and columns that are transposed at a time
constexpr int64_t kBytesPerTask = 1 << 17;

template <typename T>
void copy_row(T* to, int64_t to_step, const T* from, int64_t from_step, int64_t n) {
  if (to_step == 1 && from_step == 1) {
    std::memcpy(to, from, static_cast<size_t>(n) * sizeof(T));
  } else if (to_step == 1 && from_step == 0) {
    std::fill(to, to + n, *from);
  } else {
    for (int64_t i = 0; i < n; ++i) to[i * to_step] = from[i * from_step];
  }
}

template <typename T>
void copy_rows(T* to, const T* from, const CopyLoops& loops) {
  const int64_t n = loops.sizes.back(), to_step = loops.to.back(), from_step = loops.from.back();
  const int64_t grain = kBytesPerTask / (n * static_cast<int64_t>(sizeof(T))) + 1;
  parallel_for(loops.outer(1), grain, [&](int64_t begin, int64_t end) {
    CopyWalk at(loops, 1, begin);
    for (int64_t i = begin; i < end; ++i, at.next())
      copy_row(to + at.to(), to_step, from + at.from(), from_step, n);
  });
}

// The innermost loop of one array is the next one of the other: tiles, so that each cache line is
// read once.
template <typename T>
void copy_transposed(T* to, const T* from, const CopyLoops& loops) {
  const size_t last = loops.sizes.size() - 1;
  const int64_t n = loops.sizes[last], m = loops.sizes[last - 1];
  const int64_t to_row = loops.to[last - 1], to_step = loops.to[last];
  const int64_t from_row = loops.from[last - 1], from_step = loops.from[last];
  const int64_t strips = (m + kTile - 1) / kTile;
  const int64_t grain = kBytesPerTask / (n * kTile * static_cast<int64_t>(sizeof(T))) + 1;
  parallel_for(loops.outer(2) * strips, grain, [&](int64_t begin, int64_t end) {
    CopyWalk at(loops, 2, begin / strips);
    for (int64_t i = begin, strip = begin % strips; i < end; ++i) {
      const int64_t top = strip * kTile, bottom = std::min(m, top + kTile);
      for (int64_t left = 0; left < n; left += kTile) {
        const int64_t columns = std::min(n - left, kTile);
        for (int64_t r = top; r < bottom; ++r) {
          copy_row(to + at.to() + r * to_row + left * to_step, to_step,
                   from + at.from() + r * from_row + left * from_step, from_step, columns);
        }
      }
      if (++strip == strips) {
        strip = 0;
        at.next();
      }
    }
  });
}

template <typename T>
void copy_elements(void* to, const void* from, const CopyLoops& loops) {
  auto* out = static_cast<T*>(to);
  const auto* in = static_cast<const T*>(from);
  const size_t loop_count = loops.sizes.size();
  if (loop_count == 0) {
    *out = *in;
  } else if (loop_count > 1 && loops.from.back() > 1 && loops.from[loop_count - 2] == 1) {
    copy_transposed(out, in, loops);
  } else {
    copy_rows(out, in, loops);
  }
}

}  // namespace

CopyLoops::CopyLoops(const Shape& shape, const Shape& to_strides, const Shape& from_strides) {
  std::vector<size_t> order(shape.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::abs(to_strides[a]) > std::abs(to_strides[b]);
  });
  for (const size_t d : order) {
    if (shape[d] == 1) continue;
    const bool joins = !sizes.empty() && to.back() == to_strides[d] * shape[d] &&
                       from.back() == from_strides[d] * shape[d];
    if (joins) {
      sizes.back() *= shape[d];
      to.back() = to_strides[d];
      from.back() = from_strides[d];
    } else {
      sizes.push_back(shape[d]);
      to.push_back(to_strides[d]);
      from.push_back(from_strides[d]);
    }
  }
}

int64_t CopyLoops::outer(size_t inner) const {
  return std::accumulate(sizes.begin(), sizes.end() - static_cast<std::ptrdiff_t>(inner),
                         int64_t{1}, std::multiplies<>());
}

CopyWalk::CopyWalk(const CopyLoops& loops, size_t inner, int64_t first)
    : loops_(loops), index_(loops.sizes.size() - inner, 0) {
  for (size_t d = index_.size(); d-- > 0;) {
    index_[d] = first % loops.sizes[d];
    first /= loops.sizes[d];
    to_ += index_[d] * loops.to[d];
    from_ += index_[d] * loops.from[d];
  }
}

void CopyWalk::next() {
  for (size_t d = index_.size(); d-- > 0;) {
    to_ += loops_.to[d];
    from_ += loops_.from[d];
    if (++index_[d] < loops_.sizes[d]) return;
    index_[d] = 0;
    to_ -= loops_.to[d] * loops_.sizes[d];
    from_ -= loops_.from[d] * loops_.sizes[d];
  }
}

void copy_strided(void* to, const Shape& to_strides, const void* from, const Shape& from_strides,
                  const Shape& sizes, size_t itemsize) {
  if (numel_of(sizes) == 0) return;
  const CopyLoops loops(sizes, to_strides, from_strides);
  switch (itemsize) {
    case 1:
      return copy_elements<uint8_t>(to, from, loops);
    case 2:
      return copy_elements<uint16_t>(to, from, loops);
    case 4:
      return copy_elements<uint32_t>(to, from, loops);
    case 8:
      return copy_elements<uint64_t>(to, from, loops);
    default:
      throw InternalError("copy_strided: elements of " + std::to_string(itemsize) + " bytes");
  }
}

}  // namespace pt2q
