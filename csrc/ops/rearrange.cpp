// Operators that copy elements to other places: flip, roll, repeat, pixel_shuffle, triangles,
// grids.
#include <algorithm>
#include <utility>

#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/gather.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

OpDef& define_copy(OpTable& t, const std::string& name, const std::string& schema, InferFn infer,
                   KernelFn kernel) {
  OpDef& op = t.define("aten." + name, schema);
  op.infer = std::move(infer);
  op.reference = std::move(kernel);
  op.quant = shares_input();
  return op;
}

// --- flip, roll ----------------------------------------------------------------------------------

Value flip(const Args& args) {
  Tensor x = args.tensor(0);
  const Ints dims = args.integers(1);
  for (const int64_t dim : dims.empty() ? dims : wrap_dims(dims, x.dim())) {
    Ints table;
    for (int64_t i = x.size(dim); i-- > 0;) table.push_back(i);
    x = take_slices(x, dim, table);
  }
  return x.is(args.tensor(0)) ? x.clone() : x;
}

Tensor roll_dim(const Tensor& x, int64_t shift, int64_t dim) {
  const int64_t n = x.size(dim);
  Ints table;
  for (int64_t i = 0; i < n; ++i) table.push_back(((i - shift) % n + n) % n);
  return take_slices(x, dim, table);
}

Value roll(const Args& args) {
  const Tensor& x = args.tensor(0);
  const Ints shifts = args.integers(1), dims = args.integers(2);
  if (x.numel() == 0) return x.clone();
  if (dims.empty()) {
    if (shifts.size() != 1) throw ValueError("roll without dims needs exactly one shift");
    return roll_dim(x.contiguous().reshape({-1}), shifts[0], 0).reshape(x.sizes());
  }
  if (shifts.size() != dims.size()) {
    throw ValueError(
        cat("shifts and dimensions must align. shifts: ", shifts.size(), ", dims:", dims.size()));
  }
  Tensor out = x;
  for (size_t i = 0; i < dims.size(); ++i) {
    out = roll_dim(out, shifts[i], wrap_dim(dims[i], x.dim()));
  }
  return out;
}

void register_moves(OpTable& t) {
  define_copy(
      t, "flip.default", "(Tensor self, int[] dims) -> Tensor",
      [](const Args& args) -> Value {
        if (!args.integers(1).empty()) wrap_dims(args.integers(1), rank(args.meta(0)));
        return args.meta(0);
      },
      flip);
  define_copy(t, "roll.default", "(Tensor self, SymInt[1] shifts, int[1] dims=[]) -> Tensor",
              same_as_input, roll);
}

// --- repeat --------------------------------------------------------------------------------------

// Sizes of 1 in front until x has as many dimensions as `repeats`.
SymShape with_leading_ones(const SymShape& sizes, size_t count) {
  SymShape out(std::max(count, sizes.size()) - sizes.size(), SymInt(1));
  out.insert(out.end(), sizes.begin(), sizes.end());
  return out;
}

SymShape repeated(const SymShape& sizes, const SymShape& repeats) {
  SymShape out = sizes;
  for (size_t i = 0; i < out.size(); ++i) {
    if (repeats[i].hint() < 0) throw ValueError("Trying to create tensor with negative dimension");
    out[i] = out[i] * repeats[i];
  }
  return out;
}

Tensor repeat_tensor(const Tensor& x, const Ints& repeats) {
  Tensor out = x.reshape(hints(with_leading_ones(to_sym(x.sizes()), repeats.size())));
  for (size_t d = 0; d < repeats.size(); ++d) {
    if (repeats[d] == 1) continue;
    const auto dim = static_cast<int64_t>(d);
    Ints table;
    for (int64_t r = 0; r < repeats[d]; ++r) {
      for (int64_t i = 0; i < out.size(dim); ++i) table.push_back(i);
    }
    out = take_slices(out, dim, table);
  }
  return out.shares_storage(x) ? out.clone() : out;
}

// tile: missing repeats in front are 1.
SymShape tile_repeats(const SymShape& sizes, const SymShape& given) {
  return with_leading_ones(given, sizes.size());
}

void register_repeats(OpTable& t) {
  define_copy(
      t, "repeat.default", "(Tensor self, SymInt[] repeats) -> Tensor",
      [](const Args& args) -> Value {
        const TensorMeta& x = args.meta(0);
        const SymShape repeats = args.sym_ints(1);
        if (repeats.size() < x.sizes.size()) {
          throw ValueError(
              "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
              "tensor");
        }
        return with_sizes(x, repeated(with_leading_ones(x.sizes, repeats.size()), repeats));
      },
      [](const Args& args) -> Value {
        infer_output(args);
        return repeat_tensor(args.tensor(0), args.integers(1));
      });
  define_copy(
      t, "tile.default", "(Tensor self, SymInt[] dims) -> Tensor",
      [](const Args& args) -> Value {
        const TensorMeta& x = args.meta(0);
        const SymShape repeats = tile_repeats(x.sizes, args.sym_ints(1));
        return with_sizes(x, repeated(with_leading_ones(x.sizes, repeats.size()), repeats));
      },
      [](const Args& args) -> Value {
        const SymShape sizes = to_sym(args.tensor(0).sizes());
        return repeat_tensor(args.tensor(0), hints(tile_repeats(sizes, args.sym_ints(1))));
      });
  define_copy(
      t, "repeat_interleave.self_int",
      "(Tensor self, SymInt repeats, int? dim=None, *, SymInt? output_size=None) -> Tensor",
      [](const Args& args) -> Value {
        TensorMeta meta = args.meta(0);
        if (args.sym_int(1).hint() < 0) throw ValueError("repeats must be non-negative");
        if (args.is_none(2)) return with_sizes(meta, {product(meta.sizes) * args.sym_int(1)});
        SymInt& size = meta.sizes.at(idx(wrap_dim(args.integer(2), rank(meta))));
        size = size * args.sym_int(1);
        return meta;
      },
      [](const Args& args) -> Value {
        infer_output(args);
        const Tensor x = args.is_none(2) ? args.tensor(0).reshape({-1}) : args.tensor(0);
        const int64_t dim = args.is_none(2) ? 0 : wrap_dim(args.integer(2), x.dim());
        Ints table;
        for (int64_t i = 0; i < x.size(dim); ++i)
          table.insert(table.end(), idx(args.integer(1)), i);
        return take_slices(x, dim, table);
      });
}

// --- channels and pixels -------------------------------------------------------------------------

void require_image(const TensorMeta& x, const char* what) {
  if (rank(x) >= 3) return;
  throw ValueError(cat(what, " expects input to have at least 3 dimensions, but got input with ",
                       rank(x), " dimension(s)"));
}

void require_multiple(const SymInt& size, int64_t factor, const char* what) {
  if (factor > 0 && size.hint() % factor == 0) return;
  throw ValueError(cat(what, " expects a size divisible by ", factor, ", but got ", size));
}

// [*, C r r, H, W] → [*, C, H r, W r] by way of [*, C, H, r, W, r].
Value pixel_shuffle(const Args& args) {
  const Shape out = hints(infer_output(args).sizes);
  const Tensor& x = args.tensor(0);
  const int64_t r = args.integer(1), c = out[out.size() - 3], h = x.size(-2), w = x.size(-1);
  return x.reshape({-1, c, r, r, h, w}).permute({0, 1, 4, 2, 5, 3}).contiguous().reshape(out);
}

Value pixel_unshuffle(const Args& args) {
  const Shape out = hints(infer_output(args).sizes);
  const Tensor& x = args.tensor(0);
  const int64_t r = args.integer(1), c = x.size(-3), h = x.size(-2) / r, w = x.size(-1) / r;
  return x.reshape({-1, c, h, r, w, r}).permute({0, 1, 3, 5, 2, 4}).contiguous().reshape(out);
}

void register_pixels(OpTable& t) {
  define_copy(
      t, "pixel_shuffle.default", "(Tensor self, int upscale_factor) -> Tensor",
      [](const Args& args) -> Value {
        TensorMeta meta = args.meta(0);
        const int64_t r = args.integer(1);
        require_image(meta, "pixel_shuffle");
        if (r <= 0) throw ValueError("pixel_shuffle expects a positive upscale_factor");
        const size_t n = meta.sizes.size();
        require_multiple(meta.sizes[n - 3], r * r, "pixel_shuffle");
        meta.sizes[n - 3] = floordiv(meta.sizes[n - 3], r * r);
        meta.sizes[n - 2] = meta.sizes[n - 2] * SymInt(r);
        meta.sizes[n - 1] = meta.sizes[n - 1] * SymInt(r);
        return meta;
      },
      pixel_shuffle);
  define_copy(
      t, "pixel_unshuffle.default", "(Tensor self, int downscale_factor) -> Tensor",
      [](const Args& args) -> Value {
        TensorMeta meta = args.meta(0);
        const int64_t r = args.integer(1);
        require_image(meta, "pixel_unshuffle");
        const size_t n = meta.sizes.size();
        for (const size_t d : {n - 2, n - 1}) {
          require_multiple(meta.sizes[d], r, "pixel_unshuffle");
          meta.sizes[d] = floordiv(meta.sizes[d], r);
        }
        meta.sizes[n - 3] = meta.sizes[n - 3] * SymInt(r * r);
        return meta;
      },
      pixel_unshuffle);
  define_copy(
      t, "channel_shuffle.default", "(Tensor self, SymInt groups) -> Tensor",
      [](const Args& args) -> Value {
        require_image(args.meta(0), "channel_shuffle");
        require_multiple(args.meta(0).sizes[1], args.integer(1), "channel_shuffle");
        return args.meta(0);
      },
      [](const Args& args) -> Value {
        infer_output(args);
        const Tensor& x = args.tensor(0);
        const int64_t groups = args.integer(1), c = x.size(1);
        Ints table;
        for (int64_t i = 0; i < c; ++i) table.push_back(i % groups * (c / groups) + i / groups);
        return take_slices(x, 1, table);
      });
}

// --- parts of a tensor replaced ------------------------------------------------------------------

void require_shape(const Tensor& src, const Tensor& part) {
  if (src.sizes() == part.sizes()) return;
  throw ValueError(cat("expected src to have a size equal to the slice of self. src size = ",
                       list_to_string(src.sizes()),
                       ", slice size = ", list_to_string(part.sizes())));
}

void register_replacements(OpTable& t) {
  define_copy(t, "slice_scatter.default",
              "(Tensor self, Tensor src, int dim=0, SymInt? start=None, SymInt? end=None, SymInt "
              "step=1) -> Tensor",
              same_as_input, [](const Args& args) -> Value {
                Tensor out = args.tensor(0).clone();
                Tensor part = call("aten.slice.Tensor", {out, args.value(2), args.value(3),
                                                         args.value(4), args.value(5)})
                                  .as<Tensor>();
                require_shape(args.tensor(1), part);
                part.copy_(args.tensor(1));
                return out;
              });
  define_copy(t, "select_scatter.default",
              "(Tensor self, Tensor src, int dim, SymInt index) -> Tensor", same_as_input,
              [](const Args& args) -> Value {
                Tensor out = args.tensor(0).clone();
                Tensor part = out.select(args.integer(2), args.integer(3));
                require_shape(args.tensor(1), part);
                part.copy_(args.tensor(1));
                return out;
              });
}

// --- joins ---------------------------------------------------------------------------------------

// hstack and vstack: cat after giving every tensor enough dimensions.
void register_stacks(OpTable& t) {
  for (const bool vertical : {false, true}) {
    const int64_t least = vertical ? 2 : 1;
    const auto widened = [least](const SymShape& sizes) {
      return with_leading_ones(sizes, static_cast<size_t>(least));
    };
    const auto dim_for = [vertical](size_t n) { return int64_t{!vertical && n > 1 ? 1 : 0}; };
    OpDef& op = t.define(vertical ? "aten.vstack.default" : "aten.hstack.default",
                         "(Tensor[] tensors) -> Tensor");
    op.infer = [=](const Args& args) -> Value {
      Value::List parts;
      for (TensorMeta meta : args.metas(0)) {
        meta.sizes = widened(meta.sizes);
        parts.emplace_back(meta);
      }
      if (parts.empty()) throw ValueError("stacking expects a non-empty TensorList");
      const OpDef& join = op_table().get("aten.cat.default");
      const int64_t dim = dim_for(parts[0].as<TensorMeta>().sizes.size());
      const std::vector<Value> values = {Value(parts), Value(dim)};
      return join.infer(Args(join, values));
    };
    op.reference = [=](const Args& args) -> Value {
      Value::List parts;
      for (const Tensor& part : args.tensors(0)) {
        parts.emplace_back(part.reshape(hints(widened(to_sym(part.sizes())))));
      }
      if (parts.empty()) throw ValueError("stacking expects a non-empty TensorList");
      const int64_t dim = dim_for(parts[0].as<Tensor>().sizes().size());
      return call("aten.cat.default", {Value(parts), Value(dim)});
    };
    op.quant = shares_input();
  }
}

}  // namespace

void register_rearrange(OpTable& t) {
  register_moves(t);
  register_repeats(t);
  register_pixels(t);
  register_replacements(t);
  register_stacks(t);
}

}  // namespace pt2q
