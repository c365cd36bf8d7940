// Observers allocate nothing after their first batch. The whole test binary counts allocations: the
// global operator new below adds to a counter and calls malloc. Not under AddressSanitizer, which
// needs its own operators to see mismatched deletes.
#ifndef __SANITIZE_ADDRESS__
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "pt2q/observer.h"

namespace {
std::atomic<long> g_allocations{0};

void* counted(std::size_t size) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* p = std::malloc(size == 0 ? 1 : size)) return p;
  throw std::bad_alloc();
}
void* counted_aligned(std::size_t size, std::size_t alignment) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  const std::size_t rounded = (size + alignment - 1) / alignment * alignment;
  if (void* p = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded)) return p;
  throw std::bad_alloc();
}
}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(size == 0 ? 1 : size);
}
void* operator new[](std::size_t size, const std::nothrow_t& tag) noexcept {
  return operator new(size, tag);
}
void* operator new(std::size_t size, std::align_val_t a) {
  return counted_aligned(size, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t size, std::align_val_t a) {
  return counted_aligned(size, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace pt2q {
namespace {

Tensor ramp(const Shape& sizes, float scale) {
  Tensor t = Tensor::empty(sizes);
  for (int64_t i = 0; i < t.numel(); ++i) {
    t.mutable_data<float>()[i] = scale * static_cast<float>(i - t.numel() / 3);
  }
  return t;
}

TEST(ObserverAllocations, NoneAfterTheFirstBatch) {
  const KwArgs group = {{"mapping_type", "SYMMETRIC"},
                        {"target_dtype", DType::Int8},
                        {"granularity", Value::List{"PerGroup", 8}}};
  const ObserverCtr recipes[] = {
      observer_class("MinMaxObserver"),
      observer_class("MovingAverageMinMaxObserver"),
      observer_class("PerChannelMinMaxObserver").with_args({{"ch_axis", 1}}),
      observer_class("MovingAveragePerChannelMinMaxObserver"),
      observer_class("HistogramObserver"),
      observer_class("GridHistogramObserver"),
      observer_class("PlaceholderObserver"),
      observer_class("NoopObserver"),
      observer_class("FixedQParamsObserver").with_args({{"scale", 0.5}, {"zero_point", 0}}),
      observer_class("AffineQuantizedMinMaxObserver").with_args(group),
      observer_class("AffineQuantizedMovingAverageMinMaxObserver").with_args(group)};
  for (const ObserverCtr& recipe : recipes) {
    SCOPED_TRACE(recipe.to_string());
    const auto observer = recipe();
    // Wide, so that a histogram keeps its range; then within it; then beyond it.
    const Tensor first = ramp({4, 8, 16}, 2.0F);
    const Tensor inside = ramp({4, 8, 16}, 1.0F);
    const Tensor beyond = ramp({4, 8, 16}, 3.0F);
    const Tensor further = ramp({4, 8, 16}, 4.0F);
    observer->forward(first);
    observer->forward(beyond);  // histograms make their second buffer when a range first grows
    const long before = g_allocations.load();
    for (int i = 0; i < 10; ++i) observer->forward(inside);
    observer->forward(further);
    EXPECT_EQ(g_allocations.load(), before);
  }
  // The counter counts.
  const long before = g_allocations.load();
  const auto some = std::make_unique<int>(1);
  EXPECT_GT(g_allocations.load(), before);
}

}  // namespace
}  // namespace pt2q
#endif  // __SANITIZE_ADDRESS__
