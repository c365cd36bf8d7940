// What a Tensor handle points to.
#pragma once

#include <memory>

#include "pt2q/tensor.h"

namespace pt2q {

struct Tensor::Impl {
  std::shared_ptr<void> storage;  // null for a traced tensor
  size_t storage_bytes = 0;
  int64_t offset = 0;  // elements
  Shape sizes;
  Shape strides;
  DType dtype = DType::Float32;
  Device device;
  bool read_only = false;
  Node* node = nullptr;
  std::shared_ptr<void> node_owner;
};

}  // namespace pt2q
