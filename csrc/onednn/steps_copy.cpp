// Steps that only copy: concatenation of any type and table look-ups.
#include <cstring>

#include "base/parallel.h"
#include "base/strings.h"
#include "kernels/qconcat.h"
#include "onednn/float_ops.h"
#include "onednn/kernel_step.h"
#include "onednn/step_makers.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

// --- cat -----------------------------------------------------------------------------------------

// Rows of the output: all dimensions that lie outside `dim` in memory.
int64_t rows_outside(const Shape& sizes, const Shape& strides, size_t dim) {
  int64_t rows = 1;
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (d != dim && strides[d] >= strides[dim] * sizes[dim]) rows *= sizes[d];
  }
  return rows;
}

bool make_cat(PlanBuilder& builder, const Node& node, std::string*) {
  const Shape sizes = builder.result_sizes(node);
  const DType dtype = builder.result_meta(node).dtype;
  std::vector<int> inputs;
  bool images = sizes.size() == 4;
  for (const Value& item : node.arg(0).list()) {
    const int id = builder.value_of(item);
    if (id < 0 || builder.value(id).dtype != dtype) return false;
    if (numel_of(builder.value(id).sizes) == 0) continue;
    const PlanValue& v = builder.value(id);
    images = images && v.layout_known && same_layout(v.sizes, v.strides, channels_last_of(v.sizes));
    inputs.push_back(id);
  }
  const Shape strides = images ? channels_last_of(sizes) : contiguous_strides(sizes);
  const auto dim = static_cast<size_t>(
      wrap_dim(builder.plain_arg(node, 1).to_int(), static_cast<int64_t>(sizes.size())));
  const int64_t rows = rows_outside(sizes, strides, dim);
  std::vector<BytePart> parts;
  for (int& id : inputs) {
    const Shape part = builder.value(id).sizes;
    id = builder.as_layout(id, images ? channels_last_of(part) : contiguous_strides(part));
    parts.push_back({nullptr, numel_of(part) / rows * static_cast<int64_t>(itemsize(dtype))});
  }
  const int out = builder.new_value(sizes, strides, dtype);
  auto step = std::make_unique<KernelStep>([=](RunContext& ctx) {
    std::vector<BytePart> now = parts;
    for (size_t i = 0; i < now.size(); ++i) now[i].data = ctx.data(inputs[i]);
    concat_rows(now, rows, ctx.data(out));
  });
  step->info = builder.describe(node, "pt2q cat", out);
  builder.add(std::move(step), inputs, {out});
  builder.bind(node, out);
  return true;
}

// --- embedding -----------------------------------------------------------------------------------

template <typename Index>
void look_up(const char* table, int64_t rows, int64_t bytes, const Index* indices, int64_t n,
             char* out) {
  for (int64_t i = 0; i < n; ++i) {
    if (indices[i] >= 0 && indices[i] < rows) continue;
    throw IndexError(
        cat("index out of range in self: ", indices[i], " for an embedding of ", rows, " rows"));
  }
  parallel_for(n, (128 << 10) / std::max<int64_t>(bytes, 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(out + i * bytes, table + static_cast<int64_t>(indices[i]) * bytes,
                  static_cast<size_t>(bytes));
    }
  });
}

// embedding(weight, indices, ...): rows of any type.
bool make_embedding(PlanBuilder& builder, const Node& node, std::string*) {
  int table = builder.tensor_arg(node, 0), indices = builder.tensor_arg(node, 1);
  if (table < 0 || indices < 0) return false;
  const DType type = builder.value(indices).dtype;
  if (type != DType::Int64 && type != DType::Int32) return false;
  table = builder.as_contiguous(table);
  indices = builder.as_contiguous(indices);
  const PlanValue w = builder.value(table);
  const Shape sizes = builder.result_sizes(node);
  const int out = builder.new_value(sizes, contiguous_strides(sizes), w.dtype);
  const int64_t bytes = w.sizes[1] * static_cast<int64_t>(itemsize(w.dtype));
  const int64_t n = numel_of(builder.value(indices).sizes);
  auto step = std::make_unique<KernelStep>([=, name = node.name()](RunContext& ctx) {
    const char* from = ctx.data<const char>(table);
    char* to = ctx.data<char>(out);
    try {
      type == DType::Int64
          ? look_up(from, w.sizes[0], bytes, ctx.data<const int64_t>(indices), n, to)
          : look_up(from, w.sizes[0], bytes, ctx.data<const int32_t>(indices), n, to);
    } catch (Error& e) {
      e.at_op("aten.embedding.default").at_node(name);
      throw;
    }
  });
  step->info = builder.describe(node, "pt2q embedding", out);
  builder.add(std::move(step), {table, indices}, {out});
  builder.bind(node, out);
  return true;
}

}  // namespace

void add_copy_steps(StepMakerMap& makers) {
  makers["aten.cat.default"] = make_cat;
  makers["aten.embedding.default"] = make_embedding;
}

}  // namespace pt2q
