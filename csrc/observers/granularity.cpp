// How finely affine observers look: names, and the blocks of a tensor.
#include "base/strings.h"
#include "observers/affine_observer.h"
#include "pt2q/error.h"
#include "tensor/format.h"

namespace pt2q {
namespace {

struct GranularityName {
  Granularity::Kind kind;
  const char* name;
  const char* field;  // "" when it has none
};
constexpr GranularityName kGranularities[] = {
    {Granularity::Kind::PerTensor, "PerTensor", ""},
    {Granularity::Kind::PerAxis, "PerAxis", "axis"},
    {Granularity::Kind::PerGroup, "PerGroup", "group_size"},
    {Granularity::Kind::PerRow, "PerRow", "dim"},
    {Granularity::Kind::PerToken, "PerToken", ""},
    {Granularity::Kind::PerBlock, "PerBlock", "block_size"}};

}  // namespace

Granularity Granularity::parse(const std::string& name, const Shape& values) {
  for (const GranularityName& g : kGranularities) {
    if (name != g.name) continue;
    const bool one = g.kind == Kind::PerAxis || g.kind == Kind::PerGroup || g.kind == Kind::PerRow;
    if (one && values.size() != 1) {
      throw ValueError(cat(name, " needs one number, ", g.field, "; got ", values.size()));
    }
    const bool sizes = g.kind == Kind::PerGroup || g.kind == Kind::PerBlock;
    if (sizes && std::any_of(values.begin(), values.end(), [](int64_t v) { return v < 1; })) {
      throw ValueError(cat(name, ": sizes must be positive, got ", tuple_text(values)));
    }
    return {g.kind, values};
  }
  throw ValueError(cat("Unsupported Granularity: ", name),
                   "use PerTensor, PerAxis, PerGroup, PerRow, PerToken or PerBlock");
}

std::string Granularity::to_string() const {
  for (const GranularityName& g : kGranularities) {
    if (g.kind != kind) continue;
    if (std::string(g.field).empty()) return cat(g.name, "()");
    const bool block = kind == Kind::PerBlock;
    return cat(g.name, "(", g.field, "=", block ? tuple_text(values) : cat(values.at(0)), ")");
  }
  return "Granularity()";
}

Shape Granularity::block_size(const Shape& sizes) const {
  const auto rank = static_cast<int64_t>(sizes.size());
  const auto at = [](int64_t i) { return static_cast<size_t>(i); };
  const auto last = [&](const char* whose) {
    if (rank == 0) throw IndexError(cat(whose, " needs a tensor of at least one dimension"));
    return sizes.back();
  };
  Shape block(sizes.size(), 1);
  switch (kind) {
    case Kind::PerTensor:
      return sizes;
    case Kind::PerAxis:
      block = sizes;
      block[at(wrap_dim(values[0], rank))] = 1;
      return block;
    case Kind::PerRow: {
      const size_t dim = at(wrap_dim(values[0], rank));
      block[dim] = sizes[dim];
      return block;
    }
    case Kind::PerToken:
      block[at(rank - 1)] = last("PerToken");
      return block;
    case Kind::PerGroup:
      if (last("PerGroup") % values[0] != 0) {
        throw AssertionError(cat("Last dimension of input ", sizes.back(),
                                 " is not divisible by group size ", values[0]));
      }
      block[at(rank - 1)] = values[0];
      return block;
    default:
      break;
  }
  if (values.size() > sizes.size()) {
    throw AssertionError(cat("Block size ", tuple_text(values),
                             " must have the same number of dimensions as input shape ",
                             tuple_text(sizes)));
  }
  std::copy(values.begin(), values.end(), block.end() - static_cast<std::ptrdiff_t>(values.size()));
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] % block[i] == 0) continue;
    throw AssertionError(cat("Not all shapes in input shape torch.Size(", list_to_string(sizes),
                             ") are divisible by block size ", tuple_text(block)));
  }
  return block;
}

}  // namespace pt2q
