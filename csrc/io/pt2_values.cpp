#include "io/pt2_values.h"

#include <cmath>

#include "io/pt2_codes.h"

namespace pt2q {

Json size_json(const SymInt& size) {
  if (size.is_constant()) return {{"as_int", size.hint()}};
  return {{"as_expr", {{"expr_str", to_srepr(size)}, {"hint", {{"as_int", size.hint()}}}}}};
}

Json float_json(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return value;
}

namespace {

Json sizes_json(const SymShape& sizes) {
  Json out = Json::array();
  for (const SymInt& size : sizes) out.push_back(size_json(size));
  return out;
}

SymShape row_major(const SymShape& sizes) {
  SymShape strides(sizes.size());
  SymInt step(1);
  for (size_t i = sizes.size(); i-- > 0;) {
    strides[i] = step;
    if (!(sizes[i].is_constant() && sizes[i].hint() == 0)) step = step * sizes[i];
  }
  return strides;
}

}  // namespace

Json tensor_meta_json(const SymShape& sizes, const SymShape& strides, int64_t offset, DType dtype,
                      bool requires_grad) {
  return {{"dtype", code_of_dtype(dtype)},  {"sizes", sizes_json(sizes)},
          {"requires_grad", requires_grad}, {"device", {{"type", "cpu"}, {"index", nullptr}}},
          {"strides", sizes_json(strides)}, {"storage_offset", {{"as_int", offset}}},
          {"layout", kStridedLayout}};
}

Json meta_json(const TensorMeta& meta) {
  return tensor_meta_json(meta.sizes, row_major(meta.sizes), 0, meta.dtype, false);
}

Json tensor_argument(const std::string& name) { return {{"as_tensor", {{"name", name}}}}; }

}  // namespace pt2q
