// An array that is made once and shared by copies of what holds it, 64-byte aligned: vector loads
// of a whole cache line then touch one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <vector>

namespace pt2q::kernels {

template <typename T>
class SharedArray {
 public:
  SharedArray() = default;
  explicit SharedArray(const std::vector<T>& values) : size_(values.size()) {
    if (values.empty()) return;
    constexpr std::align_val_t kAlign{64};
    const auto free = [](T* p) { ::operator delete (p, std::align_val_t{64}); };
    T* const data = static_cast<T*>(::operator new(values.size() * sizeof(T), kAlign));
    values_ = std::shared_ptr<T>(data, free);
    std::copy(values.begin(), values.end(), data);
  }

  const T* data() const { return values_.get(); }
  const T& operator[](size_t i) const { return values_.get()[i]; }
  size_t size() const { return size_; }

 private:
  std::shared_ptr<const T> values_;
  size_t size_ = 0;
};

}  // namespace pt2q::kernels
