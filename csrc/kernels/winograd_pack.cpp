// The filters' transform of F(4x4, 3x3), and the proof that results can be told from their
// residues.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/parallel.h"
#include "base/strings.h"
#include "kernels/winograd.h"
#include "kernels/winograd_kernel.h"
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

// The same for float32: [1, p, p^2] over the product of p's distances to the other points.
void filter_line(const double* g, int step, double* out, int out_step) {
  const double root = std::sqrt(0.5), a = g[0], b = g[step], c = g[2 * step];
  const double near = a + 0.5 * c, far = a + 2 * c;
  out[0] = a;
  out[out_step] = (near + root * b) / -1.5;
  out[2 * out_step] = (near - root * b) / -1.5;
  out[3 * out_step] = (far + 2 * root * b) / 6;
  out[4 * out_step] = (far - 2 * root * b) / 6;
  out[5 * out_step] = c;
}

template <class Weight, class Exact>
void transform_filter(const Weight* filter, Exact* points) {
  Exact g[9], columns[kWinogradIn * 3];
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

std::shared_ptr<PackedWinograd> start_pack(const WeightShape& shape, Isa isa, bool real) {
  check_shape(shape);
  auto p = std::make_shared<PackedWinograd>();
  p->shape = shape;
  p->isa = std::min(isa, real ? Isa::avx512 : Isa::avx512_vnni);
  p->real = real;
  p->panels = (shape.out_c + 15) / 16;
  return p;
}

// Point is what kernels read, `Exact` what it is computed in. `together` input channels are next to
// each other.
template <class Point, class Exact, class Weight>
void fill(PackedWinograd& p, const Weight* weights, int64_t together) {
  const WeightShape& shape = p.shape;
  const int64_t each = shape.in_c * 9, per_point = p.panels * shape.in_c * 16;
  const size_t bytes = static_cast<size_t>(kWinogradPoints * per_point) * sizeof(Point);
  p.data = AlignedBuffer(bytes);
  if (shape.out_c % 16 != 0) std::memset(p.data.data(), 0, bytes);
  auto* const data = reinterpret_cast<Point*>(p.data.data());
  parallel_for(shape.out_c, kGrain / shape.in_c + 1, [&](int64_t first, int64_t last) {
    for (int64_t oc = first; oc < last; ++oc) {
      for (int64_t c = 0; c < shape.in_c; ++c) {
        Exact points[kWinogradPoints];
        transform_filter(weights + oc * each + c * 9, points);
        const int64_t row = (oc / 16 * shape.in_c + c / together * together) * 16;
        Point* to = data + row + oc % 16 * together + c % together;
        for (const Exact point : points) {
          *to = static_cast<Point>(point);
          to += per_point;
        }
      }
    }
  });
}

}  // namespace

std::shared_ptr<const PackedWinograd> pack_winograd(const WeightShape& shape, const int8_t* weights,
                                                    Isa isa) {
  const auto p = start_pack(shape, isa, false);
  p->sums.assign(static_cast<size_t>(16 * p->panels), 0);
  const int64_t each = shape.in_c * 9;
  for (int64_t oc = 0; oc < shape.out_c; ++oc) {
    if (!sum_channel(weights + oc * each, each, &p->sums[static_cast<size_t>(oc)])) return nullptr;
  }
  fill<int16_t, int>(*p, weights, 2);
  return p;
}

std::shared_ptr<const PackedWinograd> pack_winograd(const WeightShape& shape, const float* weights,
                                                    Isa isa) {
  const auto p = start_pack(shape, isa, true);
  fill<float, double>(*p, weights, 1);
  return p;
}

}  // namespace pt2q::kernels
