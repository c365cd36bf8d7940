#include "ops/support/gather.h"

#include <algorithm>
#include <cstring>

namespace pt2q::ops {

Tensor take_slices(const Tensor& x, int64_t dim, const Ints& table, const Value& fill) {
  const Tensor source = x.contiguous();
  Shape sizes = x.sizes();
  const int64_t length = sizes.at(idx(dim));
  sizes[idx(dim)] = static_cast<int64_t>(table.size());
  Tensor out = Tensor::empty(sizes, x.dtype());
  out.set_device(x.device());
  if (std::find(table.begin(), table.end(), -1) != table.end()) {
    out.copy_(as_tensor(fill, x.dtype()));
  }
  if (out.numel() == 0) return out;
  int64_t outer = 1;
  for (int64_t d = 0; d < dim; ++d) outer *= sizes[idx(d)];
  const size_t bytes = static_cast<size_t>(out.nbytes()) / idx(outer) / table.size();
  const auto* from = static_cast<const char*>(source.raw_data());
  auto* to = static_cast<char*>(out.raw_mutable_data());
  for (int64_t o = 0; o < outer; ++o) {
    for (const int64_t i : table) {
      if (i >= 0) std::memcpy(to, from + static_cast<size_t>(o * length + i) * bytes, bytes);
      to += bytes;
    }
  }
  return out;
}

std::vector<Ints> true_positions(const Tensor& mask) {
  const Tensor truth = mask.to(DType::Bool).contiguous();
  const Shape& sizes = truth.sizes();
  std::vector<Ints> positions(sizes.size());
  Shape at(sizes.size(), 0);
  for (int64_t i = 0; i < truth.numel(); ++i) {
    if (truth.data<bool>()[i]) {
      for (size_t d = 0; d < sizes.size(); ++d) positions[d].push_back(at[d]);
    }
    for (size_t d = sizes.size(); d-- > 0;) {
      if (++at[d] < sizes[d]) break;
      at[d] = 0;
    }
  }
  return positions;
}

}  // namespace pt2q::ops
