// Weights in the form of one of our own kernels, made once per model.
#pragma once

#include <any>
#include <memory>
#include <string>
#include <utility>

#include "onednn/plan_builder.h"

namespace pt2q {

// pack()'s result for the constant `key`; `form` names all it depends on besides.
template <typename Packed, typename Pack>
std::shared_ptr<const Packed> packed_once(PlanBuilder& builder, const Tensor& key,
                                          const std::string& form, Pack&& pack) {
  std::any& slot = builder.cache().packed[{key.id(), form}];
  if (!slot.has_value()) {
    slot = std::shared_ptr<const Packed>(std::forward<Pack>(pack)());
    builder.cache().kept_alive.push_back(key);
    release_pages(key);
  }
  return std::any_cast<std::shared_ptr<const Packed>>(slot);
}

}  // namespace pt2q
