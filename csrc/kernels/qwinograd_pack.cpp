// The filters' transform of F(4x4, 3x3), and the proof that results can be told from their
// residues.
#include <algorithm>
#include <cstring>

#include "base/parallel.h"
#include "base/strings.h"
#include "kernels/qwinograd.h"
#include "kernels/qwinograd_kernel.h"
#include "pt2q/error.h"

namespace pt2q::kernels {
namespace {

constexpr int64_t kLargest = int64_t{1} << 25;  // of a result's magnitude
constexpr int64_t kGrain = 1024;                // filters a thread transforms at least

// A column or row of C g C'.
void filter_line(const int* g, int step, int* out, int out_step) {
  const int a = g[0], b = g[step], c = g[2 * step];
  out[0] = 6 * a;
  out[out_step] = -4 * (a + b + c);
  out[2 * out_step] = -4 * (a - b + c);
  out[3 * out_step] = a + 2 * b + 4 * c;
  out[4 * out_step] = a - 2 * b + 4 * c;
  out[5 * out_step] = 12 * c;
}

void transform_filter(const int8_t* filter, int* points) {
  int g[9], columns[kWinogradIn * 3];
  std::copy(filter, filter + 9, g);
  for (int j = 0; j < 3; ++j) filter_line(g + j, 3, columns + j, 3);
  for (int i = 0; i < kWinogradIn; ++i) filter_line(columns + 3 * i, 1, points + 6 * i, 1);
}

// Adds the channel's weights; false when some input may lead out of the range.
bool sum_channel(const int8_t* weights, int64_t count, int32_t* sum) {
  int64_t positive = 0, negative = 0;
  for (int64_t i = 0; i < count; ++i) (weights[i] < 0 ? negative : positive) += weights[i];
  *sum = static_cast<int32_t>(positive + negative);
  return 255 * positive < kLargest && 255 * negative >= -kLargest;
}

void check_shape(const WeightShape& s) {
  if (s.kernel_h == 3 && s.kernel_w == 3 && s.groups == 1 && s.dilation_w == 1 && s.out_c > 0 &&
      s.in_c > 0 && s.in_c % 16 == 0)
    return;
  throw ValueError(cat("winograd: expected 3x3 filters of whole sixteens of channels in one group, "
                       "got ",
                       s.kernel_h, "x", s.kernel_w, " filters of ", s.in_c, " channels in ",
                       s.groups, " groups"),
                   "use QConv for other convolutions");
}

}  // namespace

std::shared_ptr<const PackedWinograd> pack_winograd(const WeightShape& shape, const int8_t* weights,
                                                    Isa isa) {
  check_shape(shape);
  auto p = std::make_shared<PackedWinograd>();
  p->shape = shape;
  p->isa = std::min(isa, Isa::avx512_vnni);
  p->panels = (shape.out_c + 15) / 16;
  p->sums.assign(static_cast<size_t>(16 * p->panels), 0);
  const int64_t each = shape.in_c * 9;
  for (int64_t oc = 0; oc < shape.out_c; ++oc) {
    if (!sum_channel(weights + oc * each, each, &p->sums[static_cast<size_t>(oc)])) return nullptr;
  }
  const int64_t point_words = p->panels * shape.in_c * 16;
  const size_t bytes = static_cast<size_t>(kWinogradPoints * point_words) * sizeof(int16_t);
  p->data = AlignedBuffer(bytes);
  if (shape.out_c % 16 != 0) std::memset(p->data.data(), 0, bytes);
  auto* const data = reinterpret_cast<int16_t*>(p->data.data());
  parallel_for(shape.out_c, kGrain / shape.in_c + 1, [&](int64_t first, int64_t last) {
    for (int64_t oc = first; oc < last; ++oc) {
      for (int64_t c = 0; c < shape.in_c; ++c) {
        int points[kWinogradPoints];
        transform_filter(weights + oc * each + c * 9, points);
        int16_t* to = data + (oc / 16 * (shape.in_c / 2) + c / 2) * 32 + oc % 16 * 2 + c % 2;
        for (const int point : points) {
          *to = static_cast<int16_t>(point);
          to += point_words;
        }
      }
    }
  });
  return p;
}

}  // namespace pt2q::kernels
