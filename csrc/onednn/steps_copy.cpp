// Steps that only copy: concatenation and padding of any type, and table look-ups.
#include <cstring>

#include "base/parallel.h"
#include "base/strings.h"
#include "kernels/qconcat.h"
#include "onednn/float_ops.h"
#include "onednn/kernel_step.h"
#include "onednn/plan_join.h"
#include "onednn/step_makers.h"
#include "pt2q/error.h"
#include "tensor/strided_copy.h"

namespace pt2q {
namespace {

// --- cat -----------------------------------------------------------------------------------------

// A step that copies the parts side by side into the rows of `out`, a value or a slice of one.
void add_copy(PlanBuilder& builder, const Node& node, const std::vector<JoinPart>& given,
              const JoinShape& shape, int out) {
  const auto size = static_cast<int64_t>(itemsize(builder.value(out).dtype));
  const int64_t rows = shape.rows(), whole = shape.sizes[shape.dim] * shape.inner();
  std::vector<int> inputs;
  std::vector<BytePart> parts;
  for (const JoinPart& part : given) {
    const Shape sizes = builder.value(part.value).sizes;
    inputs.push_back(builder.as_layout(part.value, shape.strides_of(sizes)));
    parts.push_back({nullptr, sizes[shape.dim] * shape.inner() * size});
  }
  auto step = std::make_unique<RowKernelStep>([=](RunContext& ctx, const Rows& to) {
    std::vector<BytePart> now = parts;
    for (size_t i = 0; i < now.size(); ++i) now[i].data = ctx.data(inputs[i]);
    concat_rows(now, rows, ctx.data(out), (to.stride != 0 ? to.stride : whole) * size);
  });
  step->info = builder.describe(node, "pt2q cat", out);
  builder.add(std::move(step), inputs, {out});
}

bool make_cat(PlanBuilder& builder, const Node& node, std::string*) {
  const Shape sizes = builder.result_sizes(node);
  const DType dtype = builder.result_meta(node).dtype;
  std::vector<JoinPart> parts;
  bool images = sizes.size() == 4;
  for (const Value& item : node.arg(0).list()) {
    const int id = builder.value_of(item);
    if (id < 0 || builder.value(id).dtype != dtype) return false;
    if (numel_of(builder.value(id).sizes) == 0) continue;
    const PlanValue& v = builder.value(id);
    images = images && v.layout_known && same_layout(v.sizes, v.strides, channels_last_of(v.sizes));
    parts.push_back({item.as<Node*>(), id});
  }
  const Shape strides = images ? channels_last_of(sizes) : contiguous_strides(sizes);
  const auto dim = static_cast<size_t>(
      wrap_dim(builder.plain_arg(node, 1).to_int(), static_cast<int64_t>(sizes.size())));
  const JoinShape shape{sizes, strides, dim};
  const Joined joined = join_parts(builder, parts, shape, dtype, node.name());
  if (joined.out < 0) {
    const int out = builder.new_value(sizes, strides, dtype);
    add_copy(builder, node, parts, shape, out);
    builder.bind(node, out);
    return true;
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    if (joined.slices[i] >= 0) add_copy(builder, node, {parts[i]}, shape, joined.slices[i]);
  }
  builder.bind(node, joined.out);
  return true;
}

// --- pad -----------------------------------------------------------------------------------------

// pad(x, amounts, value) and pad(x, amounts, "constant", value): fill, then copy a block. Negative
// amounts cut off.
bool make_pad(PlanBuilder& builder, const Node& node, std::string*) {
  const bool any_mode = node.is_call("aten.pad.default");
  if (any_mode && builder.plain_arg(node, 2).as<std::string>() != "constant") return false;
  int x = builder.tensor_arg(node, 0);
  if (x < 0) return false;
  const PlanValue given = builder.value(x);
  const Shape sizes = builder.result_sizes(node);
  const bool images = sizes.size() == 4 && given.layout_known &&
                      same_layout(given.sizes, given.strides, channels_last_of(given.sizes));
  if (!images) x = builder.as_contiguous(x);
  const Shape from_strides = builder.value(x).strides;
  const Shape strides = images ? channels_last_of(sizes) : contiguous_strides(sizes);
  Shape block = given.sizes;
  int64_t skipped = 0, offset = 0;  // elements before the block in x and in the result
  const std::vector<int64_t> amounts = builder.plain_arg(node, 1).to_ints();
  for (size_t i = 0; i < amounts.size() / 2; ++i) {
    const size_t d = sizes.size() - 1 - i;
    const int64_t low = amounts[2 * i], high = amounts[2 * i + 1];
    block[d] =
        std::max<int64_t>(block[d] + std::min<int64_t>(low, 0) + std::min<int64_t>(high, 0), 0);
    skipped += std::max<int64_t>(-low, 0) * from_strides[d];
    offset += std::max<int64_t>(low, 0) * strides[d];
  }
  const Value value = builder.plain_arg(node, any_mode ? 3 : 2);
  const Tensor filling = Tensor::full({1}, value.is_none() ? 0.0 : value.to_double(), given.dtype);
  const int out = builder.new_value(sizes, strides, given.dtype);
  const size_t size = itemsize(given.dtype);
  const Shape step(sizes.size(), 0);
  auto made = std::make_unique<KernelStep>([=](RunContext& ctx) {
    copy_strided(ctx.data(out), strides, filling.raw_data(), step, sizes, size);
    copy_strided(ctx.data<char>(out) + static_cast<size_t>(offset) * size, strides,
                 ctx.data<const char>(x) + static_cast<size_t>(skipped) * size, from_strides, block,
                 size);
  });
  made->info = builder.describe(node, "pt2q pad", out);
  builder.add(std::move(made), {x}, {out});
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
  makers["aten.pad.default"] = make_pad;
  makers["aten.constant_pad_nd.default"] = make_pad;
  makers["aten.embedding.default"] = make_embedding;
}

}  // namespace pt2q
