#include "ops/support/shapes.h"

#include <algorithm>
#include <limits>

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q::ops {

TensorMeta with_sizes(const TensorMeta& meta, SymShape sizes) {
  return TensorMeta{std::move(sizes), meta.dtype, meta.device};
}

TensorMeta with_dtype(TensorMeta meta, DType dtype) {
  meta.dtype = dtype;
  return meta;
}

int64_t rank(const TensorMeta& meta) { return static_cast<int64_t>(meta.sizes.size()); }

SymInt size_at(const TensorMeta& meta, int64_t dim) {
  return meta.sizes.at(idx(wrap_dim(dim, rank(meta))));
}

SymInt product(const SymShape& sizes, size_t begin, size_t end) {
  SymInt count = 1;
  for (size_t i = begin; i < std::min(end, sizes.size()); ++i) count = count * sizes[i];
  return count;
}

SymShape broadcast(const SymShape& a, const SymShape& b) {
  SymShape out(std::max(a.size(), b.size()), SymInt(1));
  const SymInt one = 1;
  for (size_t i = 0; i < out.size(); ++i) {
    const SymInt& x = i < a.size() ? a[a.size() - 1 - i] : one;
    const SymInt& y = i < b.size() ? b[b.size() - 1 - i] : one;
    SymInt& result = out[out.size() - 1 - i];
    if (x == one) {
      result = y;
    } else if (y == one || x == y) {
      result = x;
    } else if (x.hint() == y.hint()) {
      result = x.is_constant() ? x : y;  // the equality is checked again when a model runs
    } else {
      throw ValueError(cat("The size of tensor a (", x, ") must match the size of tensor b (", y,
                           ") at non-singleton dimension ", out.size() - 1 - i, " (shapes ",
                           text(a), " and ", text(b), ")"));
    }
  }
  return out;
}

Ints wrap_dims(const Ints& dims, int64_t ndim) {
  Ints out;
  if (dims.empty()) {
    for (int64_t d = 0; d < ndim; ++d) out.push_back(d);
    return out;
  }
  for (const int64_t d : dims) {
    const int64_t wrapped = wrap_dim(d, ndim);
    if (std::find(out.begin(), out.end(), wrapped) != out.end()) {
      throw ValueError(cat("dim ", wrapped, " appears multiple times in the list of dims"));
    }
    if (ndim > 0) out.push_back(wrapped);
  }
  return out;
}

SymShape reduced(const SymShape& sizes, const Ints& dims, bool keepdim) {
  SymShape out;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const bool gone = std::find(dims.begin(), dims.end(), static_cast<int64_t>(i)) != dims.end();
    if (!gone) {
      out.push_back(sizes[i]);
    } else if (keepdim) {
      out.emplace_back(1);
    }
  }
  return out;
}

namespace {

bool is_minus_one(const SymInt& s) { return s.is_constant() && s.hint() == -1; }

// Sizes that occur on both sides cancel, so that [s0, 512, 7, 7] viewed as [s0, -1] has 25088.
SymInt quotient(const SymShape& sizes, const SymShape& known) {
  SymShape top = sizes;
  SymShape bottom;
  for (const SymInt& k : known) {
    const auto it = std::find(top.begin(), top.end(), k);
    if (it != top.end() && k.hint() != 0) {
      top.erase(it);
    } else {
      bottom.push_back(k);
    }
  }
  const SymInt divisor = product(bottom);
  if (divisor.hint() == 0) return SymInt(0);
  // Keep constants last so that (s0*c)//c simplifies.
  SymInt constant = 1;
  SymInt symbolic = 1;
  for (const SymInt& t : top)
    (t.is_constant() ? constant : symbolic) = (t.is_constant() ? constant : symbolic) * t;
  if (divisor.is_constant() && constant.hint() % divisor.hint() == 0) {
    return symbolic * SymInt(constant.hint() / divisor.hint());
  }
  return floordiv(symbolic * constant, divisor);
}

}  // namespace

SymShape resolve_view(const SymShape& sizes, SymShape wanted) {
  int unknown = -1;
  SymShape known;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (is_minus_one(wanted[i])) {
      if (unknown >= 0) throw ValueError("only one dimension can be inferred");
      unknown = static_cast<int>(i);
    } else if (wanted[i].hint() < 0) {
      throw ValueError(cat("invalid shape dimension ", wanted[i]));
    } else {
      known.push_back(wanted[i]);
    }
  }
  const int64_t total = product(sizes).hint();
  const int64_t given = product(known).hint();
  const bool fits = unknown < 0 ? given == total : given != 0 && total % given == 0;
  if (!fits) {
    if (unknown >= 0 && given == 0 && total == 0) {
      throw ValueError(cat("cannot reshape tensor of 0 elements into shape ", text(wanted),
                           " because the unspecified dimension size -1 can be any value and is "
                           "ambiguous"));
    }
    throw ValueError(cat("shape '", text(wanted), "' is invalid for input of size ", total,
                         " (input shape ", text(sizes), ")"));
  }
  if (unknown >= 0) wanted[static_cast<size_t>(unknown)] = quotient(sizes, known);
  return wanted;
}

SymShape expanded(const SymShape& sizes, const SymShape& wanted) {
  if (wanted.size() < sizes.size()) {
    throw ValueError(cat("expand(", text(sizes), ", size=", text(wanted),
                         "): the number of sizes provided (", wanted.size(),
                         ") must be greater or equal to the number of dimensions in the tensor (",
                         sizes.size(), ")"));
  }
  SymShape out = wanted;
  const size_t extra = wanted.size() - sizes.size();
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (i < extra) {
      if (is_minus_one(wanted[i])) {
        throw ValueError(cat("expand: -1 is not allowed in a leading, non-existing dimension ", i));
      }
      continue;
    }
    const SymInt& old = sizes[i - extra];
    if (is_minus_one(wanted[i])) {
      out[i] = old;
    } else if (!(old == SymInt(1)) && !same_size(old, wanted[i])) {
      throw ValueError(cat("The expanded size of the tensor (", wanted[i],
                           ") must match the existing size (", old, ") at non-singleton dimension ",
                           i, ".  Target sizes: ", text(wanted), ".  Tensor sizes: ", text(sizes)));
    }
  }
  return out;
}

SymInt slice_length(const SymInt& size, const Value& start, const Value& end, int64_t step) {
  if (step <= 0) throw ValueError("slice step must be positive");
  const auto bound = [&](const Value& v, const SymInt& fallback) {
    if (v.is_none()) return fallback;
    SymInt b = v.to_sym_int();
    if (b.hint() < 0) b = b + size;
    if (b.hint() <= 0) return SymInt(0);
    if (b.hint() == std::numeric_limits<int64_t>::max()) return size;
    // A dynamic size may become smaller or larger than the bound.
    if (!size.is_constant()) return min(b, size);
    return b.hint() >= size.hint() ? size : b;
  };
  const SymInt first = bound(start, SymInt(0));
  const SymInt last = bound(end, size);
  if (last.hint() <= first.hint()) return SymInt(0);
  return floordiv(last - first + SymInt(step - 1), SymInt(step));
}

void require_rank(const TensorMeta& meta, int64_t ndim, const char* what) {
  if (rank(meta) == ndim) return;
  throw ValueError(cat(what, " must have ", ndim, " dimensions, but has shape ", text(meta.sizes)));
}

bool same_size(const SymInt& a, const SymInt& b) { return a.hint() == b.hint(); }
std::string text(const SymShape& sizes) { return list_to_string(sizes); }
int64_t grain_for(int64_t operations) {
  constexpr int64_t kWorthAThread = 1 << 16;
  return std::max<int64_t>(1, kWorthAThread / std::max<int64_t>(1, operations));
}
size_t idx(int64_t i) { return static_cast<size_t>(i); }

Ints repeat_to(const Ints& given, size_t count, int64_t fallback) {
  if (given.empty()) return Ints(count, fallback);
  if (given.size() == 1) return Ints(count, given[0]);
  if (given.size() != count) {
    throw ValueError(cat("expected ", count, " values, got ", list_to_string(given)));
  }
  return given;
}

}  // namespace pt2q::ops
