// An array that is made once and shared by copies of what holds it.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace pt2q::kernels {

template <typename T>
class SharedArray {
 public:
  SharedArray() = default;
  explicit SharedArray(std::vector<T> values)
      : values_(std::make_shared<const std::vector<T>>(std::move(values))),
        data_(values_->data()) {}

  const T* data() const { return data_; }
  const T& operator[](size_t i) const { return data_[i]; }
  size_t size() const { return values_ ? values_->size() : 0; }

 private:
  std::shared_ptr<const std::vector<T>> values_;
  const T* data_ = nullptr;
};

}  // namespace pt2q::kernels
